"""The bodies of /healthz, /readyz and /certz, byte for byte, and when a tunnel is ready."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.observe.health import CertificateState, Snapshot, certz, days_left, healthz, readyz, rfc3339

NOW = datetime(2026, 3, 28, 12, 0, tzinfo=UTC).timestamp()
DAY = 86_400.0


def leaf(name: str = "server.pem", *, days: float = 30, since: float = -1, tunnel: str = "") -> CertificateState:
    return CertificateState(tunnel, name, "leaf", NOW + since * DAY, NOW + days * DAY)


def authority(name: str = "CN=ca", *, days: float = 300, tunnel: str = "") -> CertificateState:
    return CertificateState(tunnel, name, "ca", NOW - DAY, NOW + days * DAY)


def ready(*certificates: CertificateState) -> Snapshot:
    return Snapshot(listening=True, certificates=certificates)


def test_a_running_process_is_alive() -> None:
    assert healthz() == (200, b'{"status":"alive"}')


def test_a_bound_listener_with_a_valid_certificate_is_ready() -> None:
    assert readyz(ready(leaf(), authority()), NOW) == (200, b'{"status":"ready"}')


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        pytest.param(Snapshot(listening=True, draining=True, certificates=(leaf(),)), "draining", id="draining"),
        pytest.param(Snapshot(listening=False, certificates=(leaf(),)), "not listening yet", id="not bound"),
        pytest.param(
            Snapshot(listening=True, reason="the CRL has expired", certificates=(leaf(),)),
            "the CRL has expired",
            id="a reason of the caller",
        ),
        pytest.param(ready(), "no certificate is loaded", id="nothing loaded"),
        pytest.param(ready(authority()), "no certificate is loaded", id="only a CA"),
        pytest.param(
            ready(leaf(days=-2)), "certificate server.pem expired at 2026-03-26T12:00:00Z", id="an expired leaf"
        ),
        pytest.param(
            ready(leaf(since=1)), "certificate server.pem is not valid before 2026-03-29T12:00:00Z", id="too early"
        ),
        pytest.param(
            ready(leaf(tunnel="db"), leaf(tunnel="web", days=-2)),
            "certificate server.pem of tunnel web expired at 2026-03-26T12:00:00Z",
            id="one of two tunnels",
        ),
        pytest.param(
            ready(leaf(), authority(days=-2)),
            "CA certificate CN=ca expired at 2026-03-26T12:00:00Z",
            id="the only CA has expired",
        ),
        pytest.param(
            ready(
                leaf(tunnel="db"),
                leaf(tunnel="web"),
                authority(tunnel="db"),
                authority(tunnel="web", days=-2),
            ),
            "CA certificate CN=ca of tunnel web expired at 2026-03-26T12:00:00Z",
            id="the only CA of one tunnel",
        ),
    ],
)
def test_what_is_not_ready_says_why(snapshot: Snapshot, reason: str) -> None:
    status, body = readyz(snapshot, NOW)
    assert (status, body) == (
        503,
        json.dumps({"status": "not ready", "reason": reason}, separators=(",", ":")).encode(),
    )


def test_an_expired_ca_beside_a_valid_one_is_how_a_rotation_ends() -> None:
    assert readyz(ready(leaf(), authority(days=-2), authority("CN=new")), NOW)[0] == 200


def test_a_certificate_is_valid_in_its_last_second_and_not_after_it() -> None:
    snapshot = ready(leaf(days=0))
    assert readyz(snapshot, NOW)[0] == 200
    assert readyz(snapshot, NOW + 0.5)[0] == 503


def test_certz_has_mtlsds_keys_in_mtlsds_order() -> None:
    body = b'{"days_left":3649,"not_after":"2036-03-25T12:00:00Z"}'
    assert certz(ready(leaf(days=3650), authority(days=1)), NOW + 1) == (200, body)


def test_certz_of_one_tunnel_tells_of_the_leaf_that_expires_first() -> None:
    """A bridge has two leaves, and is one tunnel."""
    body = b'{"days_left":3,"not_after":"2026-03-31T12:00:00Z"}'
    assert certz(ready(leaf(days=40), leaf("out.pem", days=3)), NOW) == (200, body)


def test_certz_of_several_tunnels_lists_them() -> None:
    status, body = certz(ready(leaf(tunnel="db", days=40), leaf("web.pem", tunnel="web", days=3.5)), NOW)
    assert status == 200
    assert body == (
        b'{"days_left":3,"not_after":"2026-04-01T00:00:00Z","certificates":['
        b'{"tunnel":"db","name":"server.pem","not_after":"2026-05-07T12:00:00Z","days_left":40},'
        b'{"tunnel":"web","name":"web.pem","not_after":"2026-04-01T00:00:00Z","days_left":3}]}'
    )


def test_certz_without_a_certificate_is_not_ready() -> None:
    assert certz(ready(), NOW) == (503, b'{"status":"not ready","reason":"no certificate is loaded"}')


@given(st.integers(min_value=0, max_value=253_402_300_799), st.integers(min_value=0, max_value=4_000_000_000))
def test_days_are_rounded_down(not_after: int, now: int) -> None:
    days = days_left(not_after, now)
    assert days * DAY <= not_after - now < (days + 1) * DAY


@given(st.integers(min_value=0, max_value=253_402_300_799))
def test_times_are_rfc_3339_in_utc(seconds: int) -> None:
    text = rfc3339(seconds)
    assert text.endswith("Z")
    assert datetime.fromisoformat(text).timestamp() == seconds


@given(st.text())
def test_a_certificates_name_cannot_break_out_of_the_body(name: str) -> None:
    _, body = readyz(ready(leaf(name, days=-1)), NOW)
    assert body.decode("ascii").isprintable()
    assert json.loads(body)["reason"].startswith(f"certificate {name} expired")
