import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_tunnel.errors import MaterialError
from mtls_tunnel.trust import material as materials
from mtls_tunnel.trust.material import File, Material, TlsFiles
from support.clock import NOW
from support.leaves import files
from support.pki import Authority

ROOT = Authority(now=NOW)
MIDDLE = ROOT.intermediate("Middle", path_length=None)
LOW = MIDDLE.intermediate("Low")
SERVER = ROOT.server()
DEEP = LOW.leaf("web", dns=("localhost",))


def parse(given_files: TlsFiles, *, strict: bool = False) -> Material:
    return materials.parse(given_files, now=NOW, strict=strict, serves=True)


def problems(given_files: TlsFiles) -> list[str]:
    with pytest.raises(MaterialError) as caught:
        parse(given_files)
    return [str(problem) for problem in caught.value.problems]


def cautions(material: Material) -> list[str]:
    return [caution.msg for caution in material.warnings]


def test_without_crl_there_are_none_to_look_at() -> None:
    material = parse(files(SERVER, ROOT))
    assert (material.crls, material.crl_next_update) == (None, None)


def test_several_crls_in_one_file_and_der_are_read() -> None:
    der = LOW.crl(3).public_bytes(Encoding.DER)
    material = parse(files(SERVER, ROOT, crls=(ROOT.crl_pem(1) + MIDDLE.crl_pem(2, hours=5), der)))
    assert [crl.issuer for crl in material.crls or ()] == [
        ROOT.certificate.subject,
        MIDDLE.certificate.subject,
        LOW.certificate.subject,
    ]
    assert material.crl_next_update == NOW + 5 * 3600


def test_an_expired_crl_is_no_error_since_it_lets_nobody_in() -> None:
    material = parse(files(SERVER, ROOT, crls=(ROOT.crl_pem(hours=-0.5),)), strict=True)
    assert material.crl_next_update == NOW - 1800


def test_a_crl_that_another_key_signed_is_refused() -> None:
    impostor = Authority(now=NOW)
    [problem] = problems(files(SERVER, ROOT, crls=(impostor.crl_pem(),)))
    assert "is not signed by the CA whose name it bears (CN=Test Root,O=Test)" in problem


def test_a_crl_of_a_ca_that_is_not_known_here_is_kept() -> None:
    material = parse(files(SERVER, ROOT, crls=(LOW.crl_pem(),)), strict=True)
    assert len(material.crls or ()) == 1


def test_a_delta_crl_is_a_caution() -> None:
    delta = ROOT.crl(1, extensions=((x509.DeltaCRLIndicator(1), True),)).public_bytes(Encoding.PEM)
    assert cautions(parse(files(SERVER, ROOT, crls=(delta,)))) == ["certstore: delta CRL is not used"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(ROOT.pem, "the file holds no CRL", id="a certificate"),
        pytest.param(ROOT.crl_pem()[:100], "the file is incomplete", id="half written"),
        pytest.param(
            ROOT.crl_pem() + ROOT.crl_pem().replace(b"CRL-----\nM", b"CRL-----\nA"),
            "CRL 2 of 2 does not parse",
            id="broken",
        ),
        pytest.param(ROOT.crl().public_bytes(Encoding.DER)[:-9], "the CRL does not parse", id="half written DER"),
    ],
)
def test_a_crl_file_that_is_none_says_what_it_is(content: bytes, sentence: str) -> None:
    [problem] = problems(files(SERVER, ROOT, crls=(content,)))
    assert problem.startswith("tls.crl: 0.crl: ")
    assert sentence in problem


def test_comments_and_the_order_of_the_chain_are_no_change() -> None:
    backwards = b"".join(one.public_bytes(Encoding.PEM) for one in (*reversed(DEEP.chain), DEEP.certificate))
    commented = files(DEEP, ROOT, cert=File("other-name.pem", b"# fresh\n" + backwards))
    assert parse(commented).digest == parse(files(DEEP, ROOT)).digest


def test_every_part_of_the_set_counts_as_a_change() -> None:
    base = files(SERVER, ROOT)
    variants = [
        base,
        files(ROOT.server(), ROOT),
        files(SERVER, ROOT, MIDDLE),
        files(SERVER, ROOT, trust=(("example.org", MIDDLE),)),
        files(SERVER, ROOT, trust=(("example.net", MIDDLE),)),
        files(SERVER, ROOT, crls=()),
        files(SERVER, ROOT, crls=(ROOT.crl_pem(),)),
        files(SERVER, ROOT, crls=(ROOT.crl_pem(1),)),
    ]
    assert len({parse(variant).digest for variant in variants}) == len(variants)
