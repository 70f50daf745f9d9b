"""What is dumped loads as the same value."""

from hypothesis import HealthCheck, given, settings

from mtls_tunnel.config.dump import dump
from mtls_tunnel.config.load import Source, load
from mtls_tunnel.config.schema import Config
from support.configs import MINIMAL, configs, configured


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(configs())
def test_every_configuration_survives_dump_and_load(config: Config) -> None:
    loaded = load([Source("dumped.yaml", dump(config))])

    assert (loaded.config, loaded.warnings) == (config, ())


def test_what_equals_a_default_is_not_written() -> None:
    assert dump(configured(MINIMAL)) == (
        "mode: server\n"
        "listen: 0.0.0.0:8443\n"
        "target: 127.0.0.1:8080\n"
        "tls:\n"
        "  cert: server.pem\n"
        "  key: server-key.pem\n"
        "  ca: ca.pem\n"
    )


def test_a_handshake_of_the_default_length_is_written_when_the_dial_takes_another() -> None:
    config = configured(MINIMAL + "proxy: {dial_timeout: 3s, handshake_timeout: 10s}\n")

    assert configured(dump(config)) == config
    assert config.tunnels[0].proxy.handshake_timeout_seconds == 10.0
