"""No bytes make the ClientHello parser raise anything but its own refusal, and no cut changes its answer."""

import sys

import atheris

with atheris.instrument_imports(include=["mtls_tunnel"]):
    from mtls_tunnel.errors import PeerRejected
    from mtls_tunnel.tls.sni import Hello, client_hello


def answer(octets: bytes) -> Hello | str | None:
    try:
        return client_hello(octets)
    except PeerRejected as refusal:
        return refusal.reason


def one_input(octets: bytes) -> None:
    whole = answer(octets)
    if isinstance(whole, Hello) and whole.server_name is not None:
        name = whole.server_name
        assert name == name.lower(), name
        assert name.isascii(), name
        assert not name.endswith("."), name
        assert "\0" not in name, name
    for cut in {len(octets) // 2, len(octets) - 1, 5, 6}:
        part = answer(octets[: max(cut, 0)])
        # What is decided early stays decided: more bytes never turn one answer into another.
        assert part is None or part == whole, (part, whole)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
