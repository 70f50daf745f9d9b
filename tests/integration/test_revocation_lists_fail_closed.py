"""A CRL that says "revoked", or cannot be relied on, refuses: expired, of another issuer, missing, delta only."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from support.clients import Version, context, refusal
from support.guarded import Guarded, handshake_failure, server_settings
from support.pki import Authority, Folder
from support.ports import free_port
from support.tunnels import command, write_settings

Crl = Callable[[Authority], bytes]


def guarded_by(folder: Path, crl: Crl, over: dict[str, str] | None = None) -> Guarded:
    guarded = Guarded(folder, {"tls": {"crl": str(folder / "pki" / "ca.crl"), **(over or {})}})
    guarded.files.put("ca.crl", crl(guarded.authority))
    return guarded


@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_revoked_leaf_is_refused_and_others_are_not(tmp_path: Path, form: Encoding, version: Version) -> None:
    with guarded_by(tmp_path, lambda ca: ca.crl_pem()) as guarded:
        revoked = guarded.authority.client("revoked-service")
        identity = guarded.files.write("revoked", revoked)
        guarded.files.put("ca.crl", guarded.authority.crl(revoked, number=2).public_bytes(form))
        guarded.tunnel.hang_up()
        tls = context(guarded.files, identity, version=version)
        with guarded.refuses(handshake_failure("revoked")):
            assert refusal(guarded.port, tls) == "certificate_revoked"


def expired(ca: Authority) -> bytes:
    return ca.crl_pem(hours=-1, since_hours=-48)


def of_another_issuer(_: Authority) -> bytes:
    return Authority("Somebody Else").crl_pem()


def delta_only(ca: Authority) -> bytes:
    return ca.crl(number=2, extensions=[(x509.DeltaCRLIndicator(1), True)]).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    "crl", [pytest.param(crl, id=crl.__name__) for crl in (expired, of_another_issuer, delta_only)]
)
def test_a_list_that_cannot_be_relied_on_refuses_everybody(tmp_path: Path, crl: Crl) -> None:
    with (
        guarded_by(tmp_path, crl) as guarded,
        guarded.refuses(handshake_failure("crl_unavailable"), bystander=False),
    ):
        refusal(guarded.port, guarded.good)


def test_a_folder_without_a_list_refuses_everybody(tmp_path: Path) -> None:
    (tmp_path / "crls").mkdir()
    with Guarded(tmp_path, {"tls": {"crl": str(tmp_path / "crls")}}) as guarded:
        with guarded.refuses(handshake_failure("crl_unavailable"), bystander=False):
            refusal(guarded.port, guarded.good)
        (tmp_path / "crls" / "ca.crl").write_bytes(guarded.authority.crl_pem())
        guarded.tunnel.hang_up()
        guarded.greet()


def test_with_crl_check_chain_the_intermediate_is_looked_up_too(tmp_path: Path) -> None:
    root = Authority()
    below = root.intermediate()
    leaf_only, chain = tmp_path / "leaf", tmp_path / "chain"
    for folder, check in ((leaf_only, "leaf"), (chain, "chain")):
        settings = {"tls": {"crl": str(folder / "pki" / "all.crl"), "crl_check": check}}
        guarded = Guarded(folder, settings, ca=root)
        guarded.files.put("all.crl", root.crl_pem(below.credential) + below.crl_pem())
        identity = guarded.files.write("deep", below.client("deep"))
        with guarded:
            tls = context(guarded.files, identity)
            if check == "chain":
                with guarded.refuses(handshake_failure("revoked")):
                    refusal(guarded.port, tls)
            else:
                guarded.greet()


UNUSABLE = [
    pytest.param(None, id="missing"),
    pytest.param(b"no list\n", id="garbage"),
    pytest.param(Authority("Test Root").crl_pem(), id="of a CA of the same name and another key"),
]


@pytest.mark.parametrize("content", UNUSABLE)
def test_a_list_that_cannot_be_used_at_the_start_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    files = Folder(tmp_path / "pki")
    path = tmp_path / "pki" / "ca.crl"
    if content is not None:
        path.write_bytes(content)
    settings = server_settings(files, free_port(), "127.0.0.1:1", {"tls": {"crl": str(path)}})
    ended = command("check", "-c", write_settings(tmp_path / "server.yaml", settings))
    assert ended.returncode == 2
    assert "ca.crl" in ended.stderr
    assert "Traceback" not in ended.stderr
