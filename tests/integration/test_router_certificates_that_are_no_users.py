"""Whoever is no user by the certificate gets nowhere, and no row is looked up for them."""

import ssl
from pathlib import Path

from support.clients import context
from support.guarded import handshake_failure
from support.pki import Authority
from support.routed import ISSUER, Routed, refused, spiffe
from support.routes import Routes

GOOD = spiffe()
URIS: dict[str, list[tuple[str, ...]]] = {
    "wrong_issuer": [
        (spiffe(issuer="evil.example"),),
        (spiffe(issuer=f"evil.{ISSUER}"),),
        (spiffe(issuer=f"{ISSUER}.evil.example"),),
    ],
    "no_spiffe_id": [()],
    "bad_spiffe_id": [
        (GOOD, spiffe("somebody")),
        (f"{GOOD}/more",),
        (f"spiffe://{ISSUER}/orgs/org-123",),
        (f"spiffe://{ISSUER}/users/user-456/orgs/org-123",),
        (f"spiffe://{ISSUER}/x/orgs/org-123/users/user-456",),
        (f"https://{ISSUER}/orgs/org-123/users/user-456",),
    ],
}
# What is no SPIFFE ID at all is refused as such, wherever that is noticed first.
NEVER = [
    (f"{GOOD}/",),
    (f"spiffe://{ISSUER.upper()}/orgs/org-123/users/user-456",),
    (f"spiffe://{ISSUER}/orgs//users/user-456",),
    (f"spiffe://{ISSUER}/orgs/org-123/users/user-456?x=1",),
    (f"spiffe://{ISSUER}/orgs/org-123/users/user%2d456",),
    (f"spiffe://{ISSUER}:443/orgs/org-123/users/user-456",),
    (f"spiffe://{ISSUER}/orgs/org-123/users/' OR 1=1 --",),
]


def test_a_certificate_without_the_right_name_is_refused_before_any_lookup(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes) as routed:
        for reason, all_uris in URIS.items():
            for uris in all_uris:
                with routed.refuses(refused(reason)):
                    before = routed.lookups
                    assert routed.attempt(routed.bearing(*uris)) == "closed", uris
                    assert routed.lookups == before, uris


def test_what_only_looks_like_a_user_is_refused_before_any_lookup(tmp_path: Path, routes: Routes) -> None:
    with Routed(tmp_path, routes) as routed:
        for uris in NEVER:
            before = routed.lookups, routed.backend.accepted
            routed.attempt(routed.bearing(*uris))
            assert (routed.lookups, routed.backend.accepted) == before, uris
            routed.greet()


def test_without_a_good_certificate_nothing_is_looked_up(tmp_path: Path, routes: Routes) -> None:
    rogue = Authority("Rogue")
    with Routed(tmp_path, routes) as routed:
        anonymous = routed.trusting(context(routed.files, None))
        old = routed.files.write("old", routed.authority.expired(uri=(GOOD,)))
        cases: list[tuple[str, ssl.SSLContext, str]] = [
            ("no_certificate", anonymous, "certificate_required"),
            ("unknown_ca", routed.bearing(GOOD, ca=rogue), "unknown_ca"),
            ("expired", routed.trusting(context(routed.files, old)), "certificate_expired"),
        ]
        for reason, tls, alert in cases:
            with routed.refuses(handshake_failure(reason)):
                before = routed.lookups
                assert alert in routed.attempt(tls)
                assert routed.lookups == before


def test_two_cas_are_trusted_at_once_and_one_of_them_leaves_by_a_reload(tmp_path: Path, routes: Routes) -> None:
    second = Authority("Second Root")
    with Routed(tmp_path, routes) as routed:
        bundle = routed.files.write_ca(second, name="second.pem")
        newcomer = routed.bearing(GOOD, ca=second)
        assert not routed.lets_in(newcomer)
        routed.tunnel.rewrite({"tls": {"ca": [routed.files.ca, bundle]}})
        routed.tunnel.hang_up()
        assert (routed.lets_in(newcomer), routed.lets_in()) == (True, True)
        routed.tunnel.rewrite({"tls": {"ca": bundle}})
        routed.tunnel.hang_up()
        assert (routed.lets_in(newcomer), routed.lets_in()) == (True, False)
