"""The serving certificate is exchanged while connections are being made, and a bad one changes nothing."""

import functools
import itertools
import re
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from mtls_tunnel.trust.pki import Credential
from mtls_tunnel_operator.errors import AuthorityError
from mtls_tunnel_operator.injection.serving import Serving
from support.clock import NOW
from support.injectors import HOME, RELEASE, Injector, serving_secret
from support.pki import Authority
from support.raw_pods import raw_pod
from support.waiting import eventually

SWAPS = 20


def served(injector: Injector) -> int:
    """Serial number of the certificate that is presented now."""
    with injector.connect() as caller:
        caller.connect()
        der = caller.sock.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der).serial_number


def _serves(injector: Injector, credential: Credential) -> bool:
    return served(injector) == credential.certificate.serial_number


def test_pain_08_certificates_are_swapped_under_load_without_one_failed_handshake(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector:
        stop, handshakes, failures = threading.Event(), itertools.count(), []
        context = injector.context()

        def hammer() -> None:
            while not stop.is_set():
                try:
                    with injector.connect(context) as caller:
                        caller.review(raw_pod("web"))
                except (OSError, AssertionError) as error:
                    failures.append(error)
                next(handshakes)

        kept = injector.connect(context)
        kept.review(raw_pod("web"))
        threads = [threading.Thread(target=hammer) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for number in range(SWAPS):
                new = injector.certificate(key="rsa" if number % 2 else "ecdsa")
                injector.put(serving_secret(new))
                eventually(functools.partial(_serves, injector, new), "the new one is served")
        finally:
            stop.set()
            for thread in threads:
                thread.join()

        assert failures == []
        assert next(handshakes) > SWAPS
        kept.review(raw_pod("web"))  # the connection of before has lived through them all
        kept.close()
        assert f'certificate_loads_total{{result="ok"}} {SWAPS + 1}.0' in injector.scrape()


def test_a_secret_that_is_no_pair_keeps_the_last_good_certificate(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector:
        before = served(injector)
        good, other = serving_secret(injector.certificate()), serving_secret(injector.certificate())
        half = {**good, "data": {**good["data"], "tls.key": other["data"]["tls.key"]}}
        for number, broken in enumerate([half, {**good, "data": {"tls.crt": "!"}}, {**good, "data": None}], 1):
            injector.put(broken)
            injector.child.wait_for_line("serving certificate not taken: the last good one stays", times=number)
            assert served(injector) == before
        assert injector.readiness()[0] == 200
        assert 'certificate_loads_total{result="failed"} 3.0' in injector.scrape()

        injector.put(good)
        eventually(lambda: served(injector) != before, "a whole pair is served")


def test_pain_08_without_a_certificate_and_with_one_that_ends_soon_nobody_is_sent_here(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector:
        injector.put(serving_secret(injector.certificate(days=0.5 / 24)))
        eventually(lambda: injector.readiness()[0] == 503, "half an hour is too little")
        assert re.search(r"the serving certificate has 1(800|7\d\d) s left", injector.readiness()[1])
        injector.put(serving_secret(injector.certificate()))
        eventually(lambda: injector.readiness()[0] == 200, "renewed")


EXPIRED = -1.0


@pytest.fixture
def authority() -> Authority:
    return Authority(now=NOW)


def pair(authority: Authority, days: float = 30, since: float = -40) -> Credential:
    return authority.leaf("x", dns=("x",), days=days, since_days=since)


def test_an_expired_certificate_does_not_take_the_place_of_a_valid_one(authority: Authority) -> None:
    serving, good, old = Serving(), pair(authority), pair(authority, EXPIRED)
    assert serving.trouble(NOW) == "no serving certificate yet"

    serving.publish(old.cert_pem, old.key_pem, NOW)  # better than none: the log of the API server then says why
    assert "0 s left" in serving.trouble(NOW)
    assert serving.publish(good.cert_pem, good.key_pem, NOW)
    with pytest.raises(AuthorityError, match="has expired at"):
        serving.publish(old.cert_pem, old.key_pem, NOW)
    assert serving.trouble(NOW) == ""
    assert not serving.publish(good.cert_pem, good.key_pem, NOW), "the same again is no change"


def test_an_encrypted_key_is_refused_and_not_asked_about(authority: Authority) -> None:
    good = pair(authority)
    assert isinstance(good.key, ec.EllipticCurvePrivateKey)
    locked = good.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    with pytest.raises(AuthorityError, match="store it without a password"):
        Serving().publish(good.cert_pem, locked, NOW)


def test_before_there_is_a_certificate_nobody_is_sent_here(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector:
        injector.child.stop()
        injector.remove("secrets", HOME, f"{RELEASE}-webhook-tls")
        injector.start(ready=False)
        with pytest.raises((ssl.SSLError, ConnectionError)), injector.connect() as caller:
            caller.connect()
        assert injector.readiness()[0] == 503
        injector.put(serving_secret(injector.certificate()))
        eventually(lambda: injector.readiness()[0] == 200, "the certificate has come")
        assert injector.review(raw_pod())["allowed"]
