"""Certificate paths that must not verify: NIST's test suite, and chains made to cost time.

NIST's end entities come with their keys, so each is a real handshake.  What is judged here is path validation
(signatures, dates, names, basic constraints, key usage, name constraints); NIST's policy and CRL
sections need settings that a tunnel does not have.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from mtls_tunnel.trust import pki
from mtls_tunnel.trust.pki import Credential, Names
from support.clients import PING, context, refusal, talk
from support.guarded import Guarded, Sign
from support.pki import Authority, Written
from support.procfs import cpu_seconds

PKITS = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
ANY_FAILURE = Sign("mtlsd_handshake_failures_total", {}, 'level=WARN msg="tls handshake failed" .*peer_sha256=')

# End entity, and the intermediates that a client would send, nearest first (files of PKITS' certs folder).
VALID = {
    "ValidCertificatePathTest1EE": ("GoodCACert",),
    "ValidbasicConstraintsNotCriticalTest4EE": ("basicConstraintsNotCriticalCACert",),
    "ValidkeyUsageNotCriticalTest3EE": ("keyUsageNotCriticalCACert",),
    "ValidpathLenConstraintTest7EE": ("pathLenConstraint0CACert",),
    "ValidDNnameConstraintsTest1EE": ("nameConstraintsDN1CACert",),
    "ValidUnknownNotCriticalCertificateExtensionTest1EE": (),
}
INVALID = {
    "InvalidCASignatureTest2EE": ("BadSignedCACert",),
    "InvalidEESignatureTest3EE": ("GoodCACert",),
    "InvalidCAnotBeforeDateTest1EE": ("BadnotBeforeDateCACert",),
    "InvalidEEnotBeforeDateTest2EE": ("GoodCACert",),
    "InvalidCAnotAfterDateTest5EE": ("BadnotAfterDateCACert",),
    "InvalidEEnotAfterDateTest6EE": ("GoodCACert",),
    "Invalidpre2000UTCEEnotAfterDateTest7EE": ("GoodCACert",),
    "InvalidNameChainingTest1EE": ("GoodCACert",),
    "InvalidNameChainingOrderTest2EE": ("NameOrderingCACert",),
    "InvalidMissingbasicConstraintsTest1EE": ("MissingbasicConstraintsCACert",),
    "InvalidcAFalseTest2EE": ("basicConstraintsCriticalcAFalseCACert",),
    "InvalidcAFalseTest3EE": ("basicConstraintsNotCriticalcAFalseCACert",),
    "InvalidpathLenConstraintTest5EE": ("pathLenConstraint0subCACert", "pathLenConstraint0CACert"),
    "InvalidpathLenConstraintTest6EE": ("pathLenConstraint0subCACert", "pathLenConstraint0CACert"),
    "InvalidpathLenConstraintTest11EE": (
        *("pathLenConstraint6subsubsubCA11XCert", "pathLenConstraint6subsubCA11Cert"),
        *("pathLenConstraint6subCA1Cert", "pathLenConstraint6CACert"),
    ),
    "InvalidkeyUsageCriticalkeyCertSignFalseTest1EE": ("keyUsageCriticalkeyCertSignFalseCACert",),
    "InvalidkeyUsageNotCriticalkeyCertSignFalseTest2EE": ("keyUsageNotCriticalkeyCertSignFalseCACert",),
    "InvalidDNnameConstraintsTest2EE": ("nameConstraintsDN1CACert",),
    "InvalidDNnameConstraintsTest10EE": ("nameConstraintsDN4CACert",),
    "InvalidRFC822nameConstraintsTest22EE": ("nameConstraintsRFC822CA1Cert",),
    "InvalidDNSnameConstraintsTest31EE": ("nameConstraintsDNS1CACert",),
    "InvalidURInameConstraintsTest35EE": ("nameConstraintsURI1CACert",),
    "InvalidUnknownCriticalCertificateExtensionTest2EE": (),
}


@pytest.fixture(name="guarded", scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The bundle holds NIST's root beside the good client's."""
    with Guarded(tmp_path_factory.mktemp("guarded")) as guarded:
        nist = x509.load_der_x509_certificate((PKITS / "certs" / "TrustAnchorRootCertificate.crt").read_bytes())
        guarded.files.put("ca.pem", guarded.authority.pem + nist.public_bytes(Encoding.PEM))
        guarded.tunnel.hang_up()
        yield guarded


def nist(guarded: Guarded, name: str, chain: tuple[str, ...]) -> Written:
    key, leaf, _ = pkcs12.load_key_and_certificates((PKITS / "pkcs12" / f"{name}.p12").read_bytes(), b"password")
    assert key
    assert leaf
    certs = [x509.load_der_x509_certificate((PKITS / "certs" / f"{above}.crt").read_bytes()) for above in chain]
    pem = b"".join(cert.public_bytes(Encoding.PEM) for cert in (leaf, *certs))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Written(guarded.files.put("nist.pem", pem), guarded.files.put("nist-key.pem", private, mode=0o600))


@pytest.mark.parametrize("name", VALID)
def test_what_nist_calls_valid_gets_through(guarded: Guarded, name: str) -> None:
    identity = nist(guarded, name, VALID[name])
    assert talk(guarded.port, context(guarded.files, identity)) == PING


@pytest.mark.parametrize("name", INVALID)
def test_what_nist_calls_invalid_is_refused(guarded: Guarded, name: str) -> None:
    identity = nist(guarded, name, INVALID[name])
    with guarded.refuses(ANY_FAILURE):
        refusal(guarded.port, context(guarded.files, identity))


def long_chain(ca: Authority, length: int) -> Credential:
    """More intermediates than anybody uses: above the verification depth."""
    for number in range(length):
        ca = ca.intermediate(f"Step {number}", path_length=None)
    return ca.client("far-away")


def crowd_of_namesakes(ca: Authority, number: int) -> Credential:
    """Intermediates of one name and different keys: every one is a candidate at every step."""
    namesakes = [ca.intermediate("Same Name", path_length=None) for _ in range(number)]
    leaf = Authority("Not Ours").intermediate("Same Name").client("lost")
    return Credential(leaf.certificate, leaf.key, tuple(one.certificate for one in namesakes))


def loop_of_two(_: Authority) -> Credential:
    """Two CAs that signed each other, and nobody else signed."""
    one, two = Authority("Loop One"), Authority("Loop Two")
    crossed = [
        pki.sign(
            above.credential,
            below.certificate.subject,
            below.credential.key,
            below.validity(100),
            pki.authority_extensions(
                below.credential.key.public_key(), above.credential.key.public_key(), path_length=None
            ),
        ).certificate
        for above, below in ((one, two), (two, one))
    ]
    leaf = one.client("dizzy")
    return Credential(leaf.certificate, leaf.key, tuple(crossed) * 4)


def many_names(ca: Authority, number: int) -> Credential:
    """Thousands of names under name constraints: the product is what costs (CVE-2018-0732's relatives)."""
    names = [f"h{index}.example" for index in range(number)]
    constraints = x509.NameConstraints([x509.DNSName(name) for name in names], None)
    above = ca.credential
    key = pki.new_key()
    extensions = [
        *pki.authority_extensions(key.public_key(), above.key.public_key(), path_length=0),
        (constraints, True),
    ]
    below = pki.sign(above, Names(cn="Constrained").subject(), key, ca.validity(100), extensions)
    return Authority(credential=below).leaf("wide", dns=[f"x.{name}" for name in names] + ["out.of.bounds"])


CHAINS = [
    pytest.param(lambda ca: long_chain(ca, 60), id="sixty intermediates"),
    pytest.param(lambda ca: crowd_of_namesakes(ca, 60), id="sixty namesakes"),
    pytest.param(loop_of_two, id="a loop"),
    pytest.param(lambda ca: many_names(ca, 600), id="names times constraints"),
]


@pytest.mark.parametrize("make", CHAINS)
def test_a_chain_made_to_cost_time_is_refused_and_costs_little(
    guarded: Guarded, make: Callable[[Authority], Credential]
) -> None:
    identity = guarded.files.write("hostile", make(guarded.authority))
    before = cpu_seconds(guarded.tunnel.pid)
    with guarded.refuses(Sign(ANY_FAILURE.metric, {}, 'msg="tls handshake failed"')):
        refusal(guarded.port, context(guarded.files, identity))
    assert cpu_seconds(guarded.tunnel.pid) - before < 1.0
