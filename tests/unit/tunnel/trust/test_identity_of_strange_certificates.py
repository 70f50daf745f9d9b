"""Certificates that were made to be difficult: the vectors of the cryptography project, NIST's PKITS among them."""

from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors
import pytest

from mtls_tunnel.errors import PeerRejected
from mtls_tunnel.trust import pem
from mtls_tunnel.trust.decode import File, Unusable, certificates, revocation_lists
from mtls_tunnel.trust.identity import certificate_of, identity_of
from mtls_tunnel.trust.revocation import is_delta

VECTORS = Path(cryptography_vectors.__path__[0]) / "x509"
FOLDERS = sorted({str(path.parent.relative_to(VECTORS)) for path in VECTORS.rglob("*.*") if path.is_file()})


def files(folder: str) -> Iterator[File]:
    for path in sorted((VECTORS / folder).iterdir()):
        if path.is_file():
            yield File(path.name, path.read_bytes())


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_strange_certificate_is_an_identity_or_is_refused(folder: str) -> None:
    for file in files(folder):
        try:
            if pem.is_der(file.content):
                identity_of(certificate_of(file.content))
            else:
                for one in certificates("tls.cert", file):
                    identity_of(one)
        except (PeerRejected, Unusable) as refused:
            assert str(refused)  # noqa: PT017 - both outcomes are good, a third is not


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_strange_crl_is_read_whole_or_is_refused(folder: str) -> None:
    for file in files(folder):
        try:
            lists = revocation_lists("tls.crl", file)
        except Unusable:
            continue
        for one in lists:
            assert is_delta(one) in (True, False)
            assert len({entry.serial_number for entry in one}) <= len(one)


def test_the_vectors_are_there() -> None:
    assert {"PKITS_data/certs", "PKITS_data/crls", "custom"} <= set(FOLDERS)
