"""Certificates and CRLs put together from raw parts, so that a part may be wrong in ways no builder allows.

Signatures are whatever the caller gives.  Source: RFC 5280 §4.1 and §5.1; X.690 §8.1.3 (lengths).
"""

from collections.abc import Callable

ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
SAN, BASIC_CONSTRAINTS, KEY_USAGE = (bytes.fromhex(f"0603551d{number}") for number in ("11", "13", "0f"))
_SINCE = b"\x17\x0d261101000000Z"
_UNTIL = b"\x17\x0d270101000000Z"


def tlv(tag: int, *parts: bytes) -> bytes:
    """One DER element."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def extension(oid: bytes, value: bytes) -> bytes:
    """A non-critical extension; *oid* is a whole element."""
    return sequence(oid, tlv(0x04, value))


def certificate(subject: bytes, extensions: bytes, public_key: bytes) -> bytes:
    """A certificate with this subject (a whole Name), these extensions, and no real signature."""
    tbs = sequence(
        tlv(0xA0, b"\x02\x01\x02"),
        b"\x02\x01\x05",
        ECDSA_SHA256,
        sequence(),
        sequence(_SINCE, _UNTIL),
        subject,
        public_key,
        tlv(0xA3, sequence(extensions)),
    )
    return sequence(tbs, ECDSA_SHA256, b"\x03\x03\x00\x30\x00")


def crl(issuer: bytes, revoked: bytes, extensions: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """A CRL of *issuer* (a whole Name) with these raw entries and extensions, signed."""
    entries = sequence(revoked) if revoked else b""
    more = tlv(0xA0, sequence(extensions)) if extensions else b""
    tbs = sequence(b"\x02\x01\x01", ECDSA_SHA256, issuer, _SINCE, _UNTIL, entries, more)
    return sequence(tbs, ECDSA_SHA256, tlv(0x03, b"\x00", sign(tbs)))
