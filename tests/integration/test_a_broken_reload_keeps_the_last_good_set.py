"""Every way of breaking the files under a running tunnel: the old set serves, and the next whole one is taken.

The failure is said once in the log and counted once per attempt; the process exits on none of them.
"""

import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from support.clients import connect
from support.guarded import Guarded
from support.pki import Folder

FAILED = 'level=ERROR msg="certstore: reload failed, keeping the certificates in use" .*error='


def foreign_key(files: Folder) -> None:
    files.put("server-key.pem", files.authority.server().key_pem)


def half_a_certificate(files: Folder) -> None:
    files.put("server.pem", files.authority.server().cert_pem[:300])


def empty_certificate(files: Folder) -> None:
    files.put("server.pem", b"")


def no_certificate(files: Folder) -> None:
    Path(files.server.cert).unlink()


def empty_bundle(files: Folder) -> None:
    files.put("ca.pem", b"")


def no_bundle(files: Folder) -> None:
    Path(files.ca).unlink()


def garbage_bundle(files: Folder) -> None:
    files.put("ca.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def encrypted_key(files: Folder) -> None:
    key = files.server_credential.key
    files.put(
        "server-key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )


def directory_for_a_key(files: Folder) -> None:
    Path(files.server.key).unlink()
    Path(files.server.key).mkdir()


def truncated_key(files: Folder) -> None:
    files.put("server-key.pem", files.server_credential.key_pem[:80])


FAULTS = [
    pytest.param(fault, id=fault.__name__.replace("_", " "))
    for fault in (
        foreign_key,
        half_a_certificate,
        empty_certificate,
        no_certificate,
        empty_bundle,
        no_bundle,
        garbage_bundle,
        encrypted_key,
        directory_for_a_key,
        truncated_key,
    )
]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_old_set_serves_until_a_whole_new_one_is_there(tmp_path: Path, fault: Callable[[Folder], None]) -> None:
    with Guarded(tmp_path) as guarded:
        guarded.greet()
        good = guarded.good  # before the files break
        before = served(guarded, good)
        fault(guarded.files)
        guarded.tunnel.signal(signal.SIGHUP)
        guarded.tunnel.wait_for_line(FAILED)
        guarded.tunnel.wait_for_value(1, "mtlsd_reloads_total", result="failed")
        assert served(guarded, good) == before
        secret = guarded.files.server_credential.key_pem.decode().splitlines()[1]
        assert secret[:40] not in guarded.tunnel.output

        heal(guarded.files)
        new = guarded.authority.server()
        guarded.files.write("server", new)
        guarded.files.write_ca(guarded.authority)
        guarded.tunnel.hang_up()
        assert served(guarded, good) == new.certificate.public_bytes(Encoding.DER)
        guarded.greet()


def test_what_was_there_before_coming_back_is_an_all_clear(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        bundle = Path(guarded.files.ca)
        good = bundle.read_bytes()
        bundle.write_bytes(b"not a certificate")
        guarded.tunnel.wait_for_line(FAILED)
        bundle.write_bytes(good)
        guarded.tunnel.wait_for_line('level=INFO msg="reload: the files are as they are in use again"')
        guarded.greet()


def heal(files: Folder) -> None:
    key = Path(files.server.key)
    if key.is_dir():
        key.rmdir()


def served(guarded: Guarded, tls: ssl.SSLContext) -> bytes:
    """The leaf that a new handshake is given."""
    with connect(guarded.port, tls) as connection:
        leaf = connection.getpeercert(binary_form=True)
    assert leaf
    return leaf
