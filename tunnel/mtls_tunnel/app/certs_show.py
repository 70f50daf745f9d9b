"""`tunnel certs show`: what stands in a certificate file, a bundle, a CRL, or in front of a live TLS server.

For people who want to know why a handshake fails: names, dates, the order of the chain, and fingerprints in the form
of `acl.allow_fingerprint`.  A server's chain is shown as it was sent and is not verified.
"""

import argparse
import ipaddress
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from mtls_tunnel.app import certs_text as text
from mtls_tunnel.app.certs_folder import decode_file
from mtls_tunnel.config import addresses
from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import TunnelError
from mtls_tunnel.tls.probe import Presented, Probe, ProbeFailed
from mtls_tunnel.trust import decode, pem
from mtls_tunnel.trust.decode import File

TIMEOUT_SECONDS = 10.0
RECEIVE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds."""

    certificates: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    keys: int = 0


def show(args: argparse.Namespace, now: float) -> int:
    """Show a file if there is one of that name, else a server."""
    what = args.what
    if os.path.lexists(what) or not _is_address(what):
        lines = _file_lines(what, now)
    else:
        address = addresses.parse(what, listening=False)
        lines = text.server(str(address), look_at(address, args.server_name), now)
    print("\n".join(lines))
    return 0


def look_at(address: Address, server_name: str | None = None, *, timeout: float = TIMEOUT_SECONDS) -> Presented:
    """Connect, shake hands without verifying anything, hang up.

    Raises:
        TunnelError: the server could not be reached, does not speak TLS, or took longer than `timeout` seconds.
    """
    name = _sni(address.host) if server_name is None else server_name
    try:
        with socket.create_connection((address.host, address.port), timeout) as connection:
            return _shake_hands(connection, Probe(name), time.monotonic() + timeout)
    except ProbeFailed as error:
        raise TunnelError(f"{address}: no TLS handshake: {error}") from error
    except TimeoutError as error:
        raise TunnelError(f"{address}: no answer within {timeout:g} s") from error
    except (OSError, UnicodeError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TunnelError(f"{address}: cannot connect: {words}") from error


def _shake_hands(connection: socket.socket, probe: Probe, deadline: float) -> Presented:
    received = b""
    while True:
        presented = probe.step(received)
        if outgoing := probe.outgoing():
            connection.sendall(outgoing)
        if presented is not None:
            return presented
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        received = connection.recv(RECEIVE_BYTES)
        if not received:
            raise ProbeFailed("the server closed the connection")


def _is_address(text: str) -> bool:
    try:
        addresses.parse(text, listening=False)
    except ValueError:
        return False
    return True


def _sni(host: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return ""  # RFC 6066 §3: no addresses in the SNI


def _file_lines(path: str, now: float) -> Iterator[str]:
    contents = decode_file(_contents, Path(path))
    yield f"{path}: {text.counts(len(contents.certificates), len(contents.crls), contents.keys)}"
    yield from text.certificates(contents.certificates, now)
    for crl in contents.crls:
        yield from text.crl(crl, now)


def _contents(place: str, file: File) -> Contents:
    """Everything in a file that can be shown.  Raises Unusable."""
    if pem.is_der(file.content):
        return _der(place, file)
    try:
        labels = [block.label for block in pem.blocks(file.content)]
    except pem.PemError as error:
        raise decode.Unusable(place, file, str(error), error.remedy) from error
    certificates = decode.certificates(place, file) if any(one.endswith("CERTIFICATE") for one in labels) else ()
    crls = decode.revocation_lists(place, file) if "X509 CRL" in labels else ()
    keys = sum(one.endswith("PRIVATE KEY") for one in labels)
    if not (certificates or crls or keys):
        raise decode.Unusable(place, file, f"holds no certificate and no CRL, but {', '.join(dict.fromkeys(labels))}")
    return Contents(certificates, crls, keys)


def _der(place: str, file: File) -> Contents:
    try:
        return Contents(certificates=(x509.load_der_x509_certificate(file.content),))
    except ValueError:
        pass
    try:
        return Contents(crls=(x509.load_der_x509_crl(file.content),))
    except ValueError as error:
        remedy = "PEM or DER is wanted; PKCS #12 is unpacked by openssl pkcs12"
        raise decode.Unusable(place, file, "is in DER form, but neither a certificate nor a CRL", remedy) from error
