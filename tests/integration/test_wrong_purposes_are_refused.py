"""A leaf that was made for something else does not open a TLS connection, whoever signed it."""

from collections.abc import Callable, Iterator

import pytest

from mtls_tunnel.trust.pki import Credential
from support.clients import Version, context, refusal
from support.guarded import Guarded, handshake_failure
from support.pki import Authority

Make = Callable[[Authority], Credential]


@pytest.fixture(name="guarded", scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("guarded")) as guarded:
        yield guarded


def a_servers(ca: Authority) -> Credential:
    return ca.server()


def for_mail(ca: Authority) -> Credential:
    return ca.wrong_purpose()


def without_digital_signature(ca: Authority) -> Credential:
    return ca.no_digital_signature()


PURPOSES = [
    pytest.param(a_servers, "wrong_purpose", id="serverAuth only"),
    pytest.param(for_mail, "wrong_purpose", id="e-mail protection only"),
    pytest.param(without_digital_signature, "wrong_purpose", id="no digitalSignature"),
    pytest.param(lambda ca: ca.unknown_critical(), "bad_certificate", id="an unknown critical extension"),
    pytest.param(lambda ca: ca.not_yet_valid(), "not_yet_valid", id="not yet valid"),
    pytest.param(lambda ca: ca.expired(), "expired", id="expired"),
]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(("make", "reason"), PURPOSES)
def test_it_is_refused(guarded: Guarded, make: Make, reason: str, version: Version) -> None:
    identity = guarded.files.write("odd", make(guarded.authority))
    tls = context(guarded.files, identity, version=version)
    with guarded.refuses(handshake_failure(reason)):
        refusal(guarded.port, tls)
