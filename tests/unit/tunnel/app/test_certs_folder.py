"""`tunnel certs` as a user calls it: what lies in the folder afterwards, and what is said when it cannot be done."""

import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mtls_tunnel.app import certs_folder
from mtls_tunnel.app.certs_folder import Output
from mtls_tunnel.app.cli import main
from mtls_tunnel.config.schema import Tls
from mtls_tunnel.errors import ConfigError
from mtls_tunnel.trust import chain, store

Certs = Callable[..., int]


@pytest.fixture
def certs() -> Certs:
    def call(*words: object) -> int:
        return main(["certs", *map(str, words)])

    return call


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def sans(leaf: x509.Certificate) -> list[str]:
    return [str(one.value) for one in leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]


def test_quickstart_makes_mtlsds_five_files_and_the_key_of_the_ca(certs: Certs, tmp_path: Path) -> None:
    folder = tmp_path / "testdata" / "certs"
    assert certs("quickstart", folder) == 0
    five = {"ca.pem", "server.pem", "server-key.pem", "client.pem", "client-key.pem"}
    assert set(os.listdir(folder)) == five | {"ca-key.pem", "index.json"}
    server, client = certificate(folder / "server.pem"), certificate(folder / "client.pem")
    assert sans(server) == ["localhost", "127.0.0.1", "::1"]
    assert client.subject.rfc4514_string() == "CN=frontend-service,O=example"
    assert sans(client) == ["frontend-service"]


def test_quickstarts_files_load_as_a_strict_set(certs: Certs, tmp_path: Path) -> None:
    certs("quickstart", tmp_path)
    for name in ("server", "client"):
        tls = Tls(str(tmp_path / f"{name}.pem"), str(tmp_path / f"{name}-key.pem"), (str(tmp_path / "ca.pem"),))
        now = certificate(tmp_path / "ca.pem").not_valid_before_utc.timestamp() + 600
        assert store.load(tls, now=now, strict=True, serves=True).warnings == ()


def test_keys_are_for_their_owner_alone_whatever_the_umask(certs: Certs, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        certs("quickstart", tmp_path)
    finally:
        os.umask(before)
    keys = {path.name: mode(path) for path in tmp_path.glob("*-key.pem")}
    assert keys == {"ca-key.pem": 0o600, "server-key.pem": 0o600, "client-key.pem": 0o600}


def test_a_key_that_others_could_read_is_made_private_by_force(certs: Certs, tmp_path: Path) -> None:
    certs("quickstart", tmp_path)
    (tmp_path / "client-key.pem").chmod(0o666)
    certs("issue", tmp_path, "client", "--force")
    assert mode(tmp_path / "client-key.pem") == 0o600


@pytest.mark.parametrize(
    "words", [("quickstart",), ("init",), ("issue", "server")], ids=["quickstart", "init", "issue"]
)
def test_nothing_is_overwritten_without_force(
    certs: Certs, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    certs("quickstart", tmp_path)
    before = contents(tmp_path)
    assert certs(words[0], tmp_path, *words[1:]) == 2
    assert "already exists - --force replaces it" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_every_file_in_the_way_is_named_at_once(
    certs: Certs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ca.pem").touch()
    (tmp_path / "client-key.pem").symlink_to("nowhere")
    assert certs("quickstart", tmp_path) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}/ca.pem: already exists - --force replaces it",
        f"{tmp_path}/client-key.pem: already exists - --force replaces it",
    ]
    assert sorted(os.listdir(tmp_path)) == ["ca.pem", "client-key.pem"]


def test_a_key_is_not_written_through_a_link_that_somebody_left(certs: Certs, tmp_path: Path) -> None:
    certs("init", tmp_path)
    target = tmp_path / "elsewhere"
    target.write_text("precious")
    (tmp_path / "web-key.pem").symlink_to(target)
    assert certs("issue", tmp_path, "web", "--force") == 0
    assert target.read_text() == "precious"
    assert not (tmp_path / "web-key.pem").is_symlink()


def test_a_file_that_appears_at_the_last_moment_stays(tmp_path: Path) -> None:
    with certs_folder.opened(str(tmp_path)) as folder:
        (tmp_path / "a.pem").write_text("was here first")
        with pytest.raises(ConfigError, match="already exists"):
            folder.write(Output("a.pem", b"late"))
    assert contents(tmp_path) == {"a.pem": b"was here first"}


def test_with_an_intermediate_the_leaf_comes_first_and_the_root_is_left_out(certs: Certs, tmp_path: Path) -> None:
    certs("init", tmp_path, "--intermediate", "--cn", "Team CA")
    certs("issue", tmp_path, "db", "--dns", "db.internal", "--server")
    sent = x509.load_pem_x509_certificates((tmp_path / "db.pem").read_bytes())
    root = certificate(tmp_path / "ca.pem")
    assert [one.subject.rfc4514_string().split(",")[0] for one in sent] == ["CN=db", "CN=Team CA intermediate"]
    assert chain.issued(sent[1], sent[0])
    assert chain.issued(root, sent[1])


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_key_and_certificate_fit_for_each_kind(certs: Certs, tmp_path: Path, kind: str) -> None:
    certs("init", tmp_path, "--key", kind)
    certs("issue", tmp_path, "web", "--key", kind)
    key = load_pem_private_key((tmp_path / "web-key.pem").read_bytes(), None)
    assert key.public_key() == certificate(tmp_path / "web.pem").public_key()


def test_issue_writes_every_name_that_was_asked_for(certs: Certs, tmp_path: Path) -> None:
    certs("init", tmp_path)
    names = ("--cn", "Web", "--org", "A", "--org", "B", "--ou", "Ops", "--dns", "web.example", "--dns", "*.web.example")
    more = ("--ip", "10.0.0.1", "--uri", "spiffe://example.org/web", "--email", "ops@example.org")
    assert certs("issue", tmp_path, "web", *names, *more) == 0
    leaf = certificate(tmp_path / "web.pem")
    assert leaf.subject.rfc4514_string() == "CN=Web,OU=Ops,O=B,O=A"
    assert sans(leaf) == ["web.example", "*.web.example", "10.0.0.1", "spiffe://example.org/web", "ops@example.org"]


def test_a_certificate_without_other_names_gets_its_common_name_as_a_dns_name(certs: Certs, tmp_path: Path) -> None:
    certs("init", tmp_path)
    certs("issue", tmp_path, "web", "--cn", "web.example")
    assert sans(certificate(tmp_path / "web.pem")) == ["web.example"]


def test_a_server_that_no_client_will_accept_is_warned_about(
    certs: Certs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certs("init", tmp_path)
    assert certs("issue", tmp_path, "web", "--cn", "the web server", "--server") == 0
    assert "no subject alternative name" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "hours"), [(("--days", "2"), 48), (("--hours", "3"), 3), ((), 365 * 24)])
def test_a_certificate_lives_as_long_as_was_asked(
    certs: Certs, tmp_path: Path, words: tuple[str, ...], hours: int
) -> None:
    certs("init", tmp_path)
    certs("issue", tmp_path, "web", *words)
    leaf = certificate(tmp_path / "web.pem")
    lived = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds()
    assert lived == pytest.approx(hours * 3600 + 300, abs=2)


def test_a_certificate_does_not_outlive_its_ca(
    certs: Certs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certs("init", tmp_path, "--days", "1")
    certs("issue", tmp_path, "web")
    ends = [certificate(tmp_path / name).not_valid_after_utc for name in ("web.pem", "ca.pem")]
    assert ends[0] == ends[1]
    assert "ends when its CA does" in capsys.readouterr().err


def test_revoke_lists_every_certificate_of_the_name_and_only_those(certs: Certs, tmp_path: Path) -> None:
    certs("init", tmp_path)
    certs("issue", tmp_path, "good")
    certs("issue", tmp_path, "bad")
    first = certificate(tmp_path / "bad.pem").serial_number
    certs("issue", tmp_path, "bad", "--force")
    second = certificate(tmp_path / "bad.pem").serial_number
    assert certs("revoke", tmp_path, "bad") == 0
    crl = x509.load_pem_x509_crl((tmp_path / "crl.pem").read_bytes())
    assert {entry.serial_number for entry in crl} == {first, second}


def test_what_is_issued_after_a_revocation_is_good(certs: Certs, tmp_path: Path) -> None:
    certs("init", tmp_path)
    certs("issue", tmp_path, "web")
    certs("revoke", tmp_path, "web")
    certs("issue", tmp_path, "web", "--force")
    certs("crl", tmp_path)
    crl = x509.load_pem_x509_crl((tmp_path / "crl.pem").read_bytes())
    assert crl.get_revoked_certificate_by_serial_number(certificate(tmp_path / "web.pem").serial_number) is None
    assert len(list(crl)) == 1


def test_the_number_of_the_crl_grows_with_each_one(certs: Certs, tmp_path: Path) -> None:
    certs("init", tmp_path)
    numbers = []
    for _ in range(3):
        certs("crl", tmp_path)
        crl = x509.load_pem_x509_crl((tmp_path / "crl.pem").read_bytes())
        numbers.append(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
    assert numbers == [1, 2, 3]


def test_below_an_intermediate_each_ca_has_its_crl_and_a_tunnel_takes_both(certs: Certs, tmp_path: Path) -> None:
    certs("init", tmp_path, "--intermediate")
    certs("issue", tmp_path, "web")
    certs("revoke", tmp_path, "web", "--hours", "1")
    tls = Tls(str(tmp_path / "web.pem"), str(tmp_path / "web-key.pem"), (str(tmp_path / "ca.pem"),))
    watched = Tls(tls.cert, tls.key, tls.ca, crl=str(tmp_path / "crl.pem"))
    crls = store.load(watched, now=0, strict=False).crls
    assert crls is not None
    assert [len(list(crl)) for crl in crls] == [1, 0]


def test_a_new_ca_by_force_takes_the_old_intermediate_and_the_old_list_away(certs: Certs, tmp_path: Path) -> None:
    certs("init", tmp_path, "--intermediate")
    certs("issue", tmp_path, "web")
    certs("revoke", tmp_path, "web")
    assert certs("init", tmp_path, "--force") == 0
    assert certs("issue", tmp_path, "web", "--force") == 0
    root = certificate(tmp_path / "ca.pem")
    crl = x509.load_pem_x509_crl((tmp_path / "crl.pem").read_bytes())
    assert chain.issued(root, certificate(tmp_path / "web.pem"))
    assert (crl.is_signature_valid(root.public_key()), len(list(crl))) == (True, 0)  # type: ignore[arg-type]
    assert not (tmp_path / "intermediate.pem").exists()


@pytest.mark.parametrize(
    ("prepare", "words", "complaint"),
    [
        pytest.param("", ("issue", "no/such", "web"), "no such folder - make a CA first", id="no folder"),
        pytest.param("", ("issue", ".", "web"), "holds no CA (ca.pem) - make a CA first", id="no CA"),
        pytest.param("init", ("revoke", ".", "web"), "no certificate was issued under the name web", id="unknown name"),
        pytest.param("init", ("issue", ".", "ca"), "'ca' is taken", id="the CA's own name"),
        pytest.param("init", ("issue", ".", "a/b"), "'a/b' cannot be a file's name", id="a path for a name"),
        pytest.param("init", ("issue", ".", "web-key"), "'web-key' ends in -key", id="a name like a key's"),
        pytest.param("init", ("issue", ".", "w", "--dns", "a b"), "'a b' is no possible DNS name", id="DNS"),
        pytest.param("init", ("issue", ".", "w", "--ip", "10.0.0.0/8"), "is no IP address", id="network"),
        pytest.param("init", ("issue", ".", "w", "--uri", "web"), "'web' is no URI", id="URI"),
        pytest.param("init", ("issue", ".", "w", "--uri", "spiffe://A/b"), "is no SPIFFE ID", id="SPIFFE ID"),
        pytest.param("init", ("issue", ".", "w", "--email", "me"), "is no e-mail address", id="e-mail"),
        pytest.param("init", ("issue", ".", "w", "--cn", "x" * 65), "is longer than 64 characters", id="long CN"),
        pytest.param("init", ("issue", ".", "w", "--org", "a\nb"), "has control characters", id="line break"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_remedy_and_exit_code_2(
    certs: Certs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    prepare: str,
    words: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if prepare:
        certs(prepare, ".")
    before = contents(tmp_path)
    assert certs(*words) == 2
    assert complaint in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_all_wrong_names_are_named_at_once(certs: Certs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certs("init", tmp_path)
    certs("issue", tmp_path, "w", "--dns", "a b", "--ip", "1.2.3", "--uri", "x")
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("ca.pem", b"", "the file is empty"),
        ("ca.pem", b"garbage", "the file holds no PEM block"),
        ("ca-key.pem", b"garbage", "the file holds no PEM block"),
        ("index.json", b"{", "is no index of issued certificates"),
        ("index.json", b'{"crl_number": 1, "issued": [{"x": 1}]}', "is no index of issued certificates"),
        ("index.json", b"[]", "is no index of issued certificates"),
    ],
    ids=["empty CA", "broken CA", "broken key", "broken index", "foreign index", "list for an index"],
)
def test_a_broken_folder_is_left_alone(
    certs: Certs, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, complaint: str
) -> None:
    certs("init", tmp_path)
    (tmp_path / name).write_bytes(content)
    before = contents(tmp_path)
    assert certs("issue", tmp_path, "web") == 2
    assert complaint in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_the_key_of_another_ca_signs_nothing(certs: Certs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certs("init", tmp_path / "a")
    certs("init", tmp_path / "b")
    (tmp_path / "a" / "ca-key.pem").write_bytes((tmp_path / "b" / "ca-key.pem").read_bytes())
    assert certs("issue", tmp_path / "a", "web") == 2
    assert "does not fit ca.pem" in capsys.readouterr().err


def test_the_index_names_each_certificate_with_its_serial(certs: Certs, tmp_path: Path) -> None:
    certs("quickstart", tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    assert [(one["name"], int(one["serial"], 16), one["revoked_at"]) for one in index["issued"]] == [
        (name, certificate(tmp_path / f"{name}.pem").serial_number, None) for name in ("server", "client")
    ]


def test_certificates_issued_at_the_same_time_are_all_in_the_index(certs: Certs, tmp_path: Path) -> None:
    certs("init", tmp_path)
    names = [f"web{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(lambda name: certs("issue", tmp_path, name), names)) == [0] * len(names)
    index = json.loads((tmp_path / "index.json").read_text())
    assert sorted(one["name"] for one in index["issued"]) == names


def test_no_temporary_file_is_left_when_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "b.pem").touch()
    with certs_folder.opened(str(tmp_path)) as folder, pytest.raises(ConfigError):
        folder.write(Output("a-key.pem", b"key", 0o600), Output("b.pem", b"new"))
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_file_where_the_folder_should_be_is_said_so(
    certs: Certs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert certs("init", tmp_path / "file") == 2
    assert "is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("issue", ".", "w", "--days", "0"),
        ("issue", ".", "w", "--days", "nan"),
        ("issue", ".", "w", "--days", "99999"),
        ("issue", ".", "w", "--days", "1", "--hours", "1"),
        ("crl", ".", "--hours", "-1"),
        ("init", ".", "--key", "dsa"),
        ("nothing",),
        (),
    ],
    ids=" ".join,
)
def test_wrong_flags_are_exit_code_2(certs: Certs, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        certs(*words)
    assert caught.value.code == 2


@pytest.mark.parametrize("action", ["init", "issue", "revoke", "crl", "show", "quickstart"])
def test_every_action_has_help_with_examples(certs: Certs, capsys: pytest.CaptureFixture[str], action: str) -> None:
    with pytest.raises(SystemExit) as caught:
        certs(action, "--help")
    assert caught.value.code == 0
    assert f"tunnel certs {action}" in capsys.readouterr().out.partition("examples:")[2]
