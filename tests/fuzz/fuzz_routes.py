"""No file of routes and no server name makes the router raise anything but its own refusals; what it takes is clean."""

import re
import sys

import atheris

with atheris.instrument_imports(include=["mtls_tunnel"]):
    from mtls_tunnel.errors import ConfigError
    from mtls_tunnel.router import routes
    from mtls_tunnel.router.cache import Question
    from mtls_tunnel.router.decision import Claim, Refused, address_of, connect_id_of, decide

DOMAIN = "connect.tinyscale.com"
LABEL = re.compile("[a-z0-9_-]{1,63}")


def one_input(octets: bytes) -> None:
    text = octets.decode("utf-8", "replace")
    name(text)
    name(f"{text}.{DOMAIN}")
    try:
        rows = routes.parse(text, "routes.yaml", default_port=22)
    except ConfigError:
        return
    for connect_id, hosts in rows.hosts.items():
        for host in hosts:
            assert address_of(host, 22).port > 0
        for user in (*rows.users, "nobody"):
            found = rows.find(Question(connect_id, user))
            try:
                host = decide(Claim("tinyscale.com", "org-123", user, connect_id), found)
            except Refused:
                continue
            # Whoever gets in is a user of that organization, and so is the host.
            assert host.org_id == "org-123"
            assert rows.users[user].org_id == "org-123"


def name(text: str) -> None:
    try:
        label = connect_id_of(text, DOMAIN)
    except Refused:
        return
    assert LABEL.fullmatch(label), label
    assert text.lower() == f"{label}.{DOMAIN}", text


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
