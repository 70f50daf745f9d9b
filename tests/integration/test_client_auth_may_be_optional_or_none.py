"""`client_auth`: who may come without a certificate, and that a rule to be matched is matched by nobody without."""

import ssl
from pathlib import Path

import pytest

from support.clients import PING, context, refusal, talk
from support.guarded import Guarded, acl_denial, handshake_failure
from support.pki import Authority


def without_certificate(guarded: Guarded) -> ssl.SSLContext:
    return context(guarded.files, None)


@pytest.mark.parametrize("choice", ["optional", "none"])
def test_without_rules_nobody_needs_one(tmp_path: Path, choice: str) -> None:
    with Guarded(tmp_path, {"tls": {"client_auth": choice}}) as guarded:
        assert talk(guarded.port, without_certificate(guarded)) == PING


@pytest.mark.parametrize("choice", ["optional", "none"])
def test_with_allow_rules_no_certificate_means_denied(tmp_path: Path, choice: str) -> None:
    over = {"tls": {"client_auth": choice}, "acl": {"allow_cn": ["frontend-service"]}}
    with Guarded(tmp_path, over) as guarded, guarded.refuses(acl_denial("default"), bystander=choice == "optional"):
        refusal(guarded.port, without_certificate(guarded))


def test_an_optional_certificate_must_still_be_a_good_one(tmp_path: Path) -> None:
    with Guarded(tmp_path, {"tls": {"client_auth": "optional"}}) as guarded:
        foreign = guarded.files.write("foreign", Authority("Test Root").client())
        with guarded.refuses(handshake_failure("unknown_ca")):
            assert refusal(guarded.port, context(guarded.files, foreign)) == "unknown_ca"


def test_default_deny_without_rules_lets_nobody_in(tmp_path: Path) -> None:
    with (
        Guarded(tmp_path, {"acl": {"default": "deny"}}) as guarded,
        guarded.refuses(acl_denial("default"), bystander=False),
    ):
        refusal(guarded.port, guarded.good)
