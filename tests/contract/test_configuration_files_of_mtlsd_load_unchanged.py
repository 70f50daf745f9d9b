"""mtlsd's files, as its users have them, mean here what they mean there."""

import pytest

from mtls_tunnel.config.load import Loaded, Source, load
from mtls_tunnel.config.schema import Acl, Address, Config, Health, Metrics, Proxy, Rules, Tls, Tunnel

SERVER = """\
# server.yaml
mode: server
listen: "0.0.0.0:8443"
target: "127.0.0.1:8080"

tls:
  cert: "testdata/certs/server.pem"
  key:  "testdata/certs/server-key.pem"
  ca:   "testdata/certs/ca.pem"
  client_auth: required
  min_version: "TLS1.2"

acl:
  allow_cn:
    - "frontend-service"

proxy:
  dial_timeout: 10s
  idle_timeout: 90s
  max_connections: 1000

health:
  enabled: true
  listen: "127.0.0.1:9000"

metrics:
  enabled: true
  listen: "127.0.0.1:9001"

logging:
  level: info
  format: text
"""

CLIENT = """\
# client.yaml
mode: client
listen: "127.0.0.1:9080"
target: "127.0.0.1:8443"

tls:
  cert: "testdata/certs/client.pem"
  key:  "testdata/certs/client-key.pem"
  ca:   "testdata/certs/ca.pem"
  server_name: "localhost"
  min_version: "TLS1.2"

proxy:
  dial_timeout: 10s
  idle_timeout: 90s
  max_connections: 500

logging:
  level: info
  format: text
"""


def test_the_server_file_loads_without_a_word() -> None:
    assert load([Source("server.yaml", SERVER)]) == Loaded(
        Config(
            tunnels=(
                Tunnel(
                    name="",
                    mode="server",
                    listen=Address("0.0.0.0", 8443),
                    target=Address("127.0.0.1", 8080),
                    tls=Tls(
                        cert="testdata/certs/server.pem",
                        key="testdata/certs/server-key.pem",
                        ca=("testdata/certs/ca.pem",),
                    ),
                    acl=Acl(allow=Rules(cn=("frontend-service",))),
                ),
            ),
            health=Health(enabled=True),
            metrics=Metrics(enabled=True),
        ),
        warnings=(),
    )


def test_the_client_file_loads_without_a_word() -> None:
    assert load([Source("client.yaml", CLIENT)]) == Loaded(
        Config(
            tunnels=(
                Tunnel(
                    name="",
                    mode="client",
                    listen=Address("127.0.0.1", 9080),
                    target=Address("127.0.0.1", 8443),
                    tls=Tls(
                        cert="testdata/certs/client.pem",
                        key="testdata/certs/client-key.pem",
                        ca=("testdata/certs/ca.pem",),
                        server_name="localhost",
                    ),
                    proxy=Proxy(max_connections=500),
                ),
            )
        ),
        warnings=(),
    )


@pytest.mark.parametrize("mode", ["server", "client", "bridge"])
def test_every_key_of_mtlsd_fits_every_mode(mode: str) -> None:
    text = SERVER.replace("mode: server", f"mode: {mode}").replace(
        "  client_auth: required", "  client_auth: optional\n  server_name: localhost"
    )

    loaded = load([Source("tunnel.yaml", text.replace("allow_cn:", "allow_org: [engineering]\n  allow_cn:"))])

    assert (loaded.config.tunnels[0].mode, loaded.warnings) == (mode, ())


@pytest.mark.parametrize(
    ("spelling", "enabled"),
    [
        ("true", True),
        ("True", True),
        ("yes", True),
        ("on", True),
        ("y", True),
        ("no", False),
        ("off", False),
        ("n", False),
    ],
)
def test_booleans_are_read_as_go_reads_them(spelling: str, enabled: bool) -> None:
    text = SERVER.replace("enabled: true", f"enabled: {spelling}")

    assert load([Source("server.yaml", text)]).config.health.enabled is enabled


def test_addresses_and_words_need_no_quotes() -> None:
    text = SERVER.replace('"', "")

    assert load([Source("server.yaml", text)]) == load([Source("server.yaml", SERVER)])


def test_sections_left_empty_mean_their_defaults() -> None:
    text = SERVER.split("acl:", maxsplit=1)[0]

    spelled = load([Source("a.yaml", text + "acl:\nproxy: {}\nhealth:\n  enabled:\nmetrics: ~\nlogging: {}\n")])

    assert spelled == load([Source("a.yaml", text)])


def test_line_ends_of_windows_change_nothing() -> None:
    assert load([Source("server.yaml", SERVER.replace("\n", "\r\n"))]) == load([Source("server.yaml", SERVER)])
