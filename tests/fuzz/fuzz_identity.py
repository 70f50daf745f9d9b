"""Whatever a certificate says in its names: an `Identity` that keeps its promises, or a refusal; nothing else.

The input is a whole certificate, or the names and extensions of one that otherwise parses.  What
comes out goes on through policy and the comparison of server names, which must not fail either.
"""

import sys

import atheris

with atheris.instrument_imports(include=["mtls_tunnel"]):
    from mtls_tunnel.config.schema import Acl, Rules
    from mtls_tunnel.errors import PeerRejected
    from mtls_tunnel.trust.identity import Identity, certificate_of, identity_of
    from mtls_tunnel.trust.names import match_host, match_uri
    from mtls_tunnel.trust.policy import Policy
    from mtls_tunnel.trust.spiffe import fault_in_id

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support import der

URI = "spiffe://example.org/ns/*/**"
RULES = Rules(cn=("a",), org=("b",), dns=("*.a",), ip=("10.0.0.0/8",), email=("a@b",), uri=(URI, "https://a/**"))
POLICIES = (Policy.of(Acl(allow=RULES)), Policy.of(Acl(deny=RULES)))
KEY = ec.derive_private_key(7, ec.SECP256R1()).public_key()
PUBLIC_KEY = KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
OIDS = [
    bytes.fromhex(oid) for oid in ("0603550403", "060355040a", "060355040b", "0603550405", "060355042d", "06022a03")
]
STRING_TAGS = [0x0C, 0x13, 0x14, 0x16, 0x1E, 0x1C, 0x03, 0x04, 0x02]
DIRECTORY_NAME = 0xA4
NAME_TAGS = [0x82, 0x86, 0x87, 0x81, 0xA0, DIRECTORY_NAME, 0x88, 0xA3, 0xA5]
PIECES = [
    b"spiffe://example.org",
    b"/ns",
    b"/a",
    b"/",
    b"..",
    b"%2f",
    b"*",
    b".",
    b"a",
    b"A",
    b"@b",
    b"\0",
    b"https://a",
]
PIECES += [
    b",O=b",
    b"+",
    b"\xff",
    b"10.0.0.1",
    b"\x0a\0\0\1",
    b"?",
    b"#",
    b":443",
    b"\x03\x02\x07\x80",
    b"\x30\x03\x01\x01\xff",
]
RAW_SHARE = 0.2


def text_of(bytes_given: atheris.FuzzedDataProvider) -> bytes:
    """Pieces that look like names, and bytes that do not."""
    if bytes_given.ConsumeBool():
        return b"".join(bytes_given.PickValueInList(PIECES) for _ in range(bytes_given.ConsumeIntInRange(0, 8)))
    return bytes(bytes_given.ConsumeBytes(bytes_given.ConsumeIntInRange(0, 40)))


def subject_of(given: atheris.FuzzedDataProvider) -> bytes:
    rdns = []
    for _ in range(given.ConsumeIntInRange(0, 3)):
        attributes = [
            der.sequence(given.PickValueInList(OIDS), der.tlv(given.PickValueInList(STRING_TAGS), text_of(given)))
            for _ in range(given.ConsumeIntInRange(1, 3))
        ]
        rdns.append(der.tlv(0x31, *attributes))
    return der.sequence(*rdns)


def names_of(given: atheris.FuzzedDataProvider) -> bytes:
    parts = []
    for _ in range(given.ConsumeIntInRange(0, 4)):
        tag = given.PickValueInList(NAME_TAGS)
        parts.append(der.tlv(tag, subject_of(given) if tag == DIRECTORY_NAME else text_of(given)))
    return der.sequence(*parts)


def framed(content: bytes) -> bytes:
    """A whole certificate as it came, or one whose names are made of the input."""
    given = atheris.FuzzedDataProvider(content)
    if given.ConsumeProbability() < RAW_SHARE:
        return bytes(given.ConsumeBytes(4096))
    extensions = b""
    if given.ConsumeBool():
        extensions += der.extension(der.SAN, names_of(given))
    if given.ConsumeBool():
        extensions += der.extension(
            given.PickValueInList([der.BASIC_CONSTRAINTS, der.KEY_USAGE, der.SAN]), text_of(given)
        )
    return der.certificate(subject_of(given), extensions, PUBLIC_KEY)


def check(who: Identity) -> None:
    """The promises of `Identity` and of what is built on it."""
    names = (who.cn or "", *who.orgs, *who.ous, *who.dns, *who.emails, *who.uris, *who.every_cn, *who.every_org)
    assert not any("\0" in name for name in names)
    assert who.uri is None or who.uris == (who.uri,)
    assert who.spiffe_id is None or (who.spiffe_id == who.uri and not fault_in_id(who.spiffe_id))
    assert who.uri is None or who.spiffe_id is not None or not who.uri.lower().startswith("spiffe:")
    assert who.cn is None or who.every_cn == (who.cn,)
    allowed, not_denied = (policy.decide(who).allowed for policy in POLICIES)
    assert not (allowed and not_denied), "deny rules see all that allow rules see"
    for name in (*who.dns, *who.ips, "db.a", "10.0.0.1"):
        str(match_host(who, name))
    str(match_uri(who, (URI,)))


def one_input(content: bytes) -> None:
    try:
        who = identity_of(certificate_of(framed(content)))
    except PeerRejected as error:
        if error.reason != "bad_certificate":
            raise AssertionError(error.reason) from error
        return
    check(who)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
