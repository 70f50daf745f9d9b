"""Certificates and a clock become the warnings that are due.  Pure: the caller logs them."""

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from cryptography import x509

from mtls_tunnel.config.schema import Expiry
from mtls_tunnel.trust.material import Material

DAY_SECONDS = 86400.0


def due(materials: Iterable[Material], expiry: Expiry, now: float) -> Iterator[tuple[int, dict[str, object]]]:
    """Level and attributes of one log line for each certificate that expires soon, or has expired.

    The own leaf and every trusted CA count: a bundle that runs out refuses every peer at once.
    """
    seen: set[bytes] = set()
    for material in materials:
        for certificate in (material.leaf, *material.anchors()):
            der = certificate.tbs_certificate_bytes
            if der not in seen:
                seen.add(der)
                yield from _due(certificate, expiry, now)


def _due(certificate: x509.Certificate, expiry: Expiry, now: float) -> Iterator[tuple[int, dict[str, object]]]:
    left = certificate.not_valid_after_utc.timestamp() - now
    if left >= expiry.warn_days * DAY_SECONDS:
        return
    level = logging.ERROR if left < expiry.critical_days * DAY_SECONDS else logging.WARNING
    not_after = datetime.fromtimestamp(certificate.not_valid_after_utc.timestamp(), UTC)
    yield (
        level,
        {
            "name": certificate.subject.rfc4514_string(),
            "not_after": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "days_left": int(left // DAY_SECONDS),
        },
    )
