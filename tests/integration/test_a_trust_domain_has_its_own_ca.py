"""`tls.trust`: a leaf with a SPIFFE ID of a domain must chain to that domain's CA, whichever else is trusted."""

from collections.abc import Iterator

import pytest

from support.clients import PING, Version, context, refusal, talk
from support.guarded import Guarded, handshake_failure
from support.pki import SPIFFE_ID, Authority

PARTNER = "spiffe://partner.example/billing"


@pytest.fixture(name="both", scope="module")
def _both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guarded, Authority]]:
    """example.org belongs to the bundle's CA by its own entry; partner.example to another."""
    folder = tmp_path_factory.mktemp("guarded")
    partner = Authority("Partner Root")
    bundle, ours = folder / "pki" / "partner.pem", folder / "pki" / "ca.pem"
    trust = [{"domain": "partner.example", "ca": str(bundle)}, {"domain": "example.org", "ca": str(ours)}]
    guarded = Guarded(folder, {"tls": {"trust": trust}})
    bundle.write_bytes(partner.pem)
    guarded.files.client = guarded.files.write("client", guarded.authority.client(uri=(SPIFFE_ID,)))
    with guarded:
        yield guarded, partner


def test_each_domain_by_its_own_ca_gets_through(both: tuple[Guarded, Authority]) -> None:
    guarded, partner = both
    guarded.greet()
    identity = guarded.files.write("partner-client", partner.client("billing", uri=(PARTNER,)))
    assert talk(guarded.port, context(guarded.files, identity)) == PING


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_one_domain_signed_by_the_other_ca_is_refused(both: tuple[Guarded, Authority], version: Version) -> None:
    guarded, partner = both
    crossed = {
        "partner signs ours": partner.client("x", uri=(SPIFFE_ID,)),
        "we sign partner's": guarded.authority.client("x", uri=(PARTNER,)),
    }
    for credential in crossed.values():
        identity = guarded.files.write("crossed", credential)
        with guarded.refuses(handshake_failure("unknown_ca")):
            refusal(guarded.port, context(guarded.files, identity, version=version))


def test_a_domain_nobody_knows_is_judged_by_the_bundle(both: tuple[Guarded, Authority]) -> None:
    guarded, _ = both
    identity = guarded.files.write("other", guarded.authority.client("x", uri=("spiffe://other.example/x",)))
    assert talk(guarded.port, context(guarded.files, identity)) == PING


def test_the_partners_ca_vouches_for_nobody_without_an_id_of_its_domain(both: tuple[Guarded, Authority]) -> None:
    guarded, partner = both
    identity = guarded.files.write("plain", partner.client("no-id"))
    with guarded.refuses(handshake_failure("unknown_ca")):
        refusal(guarded.port, context(guarded.files, identity))
