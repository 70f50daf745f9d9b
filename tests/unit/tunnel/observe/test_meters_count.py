"""Counts of tunnels, over time and over reloads, and how they are rendered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from mtls_tunnel.observe.exposition import prefers_openmetrics
from mtls_tunnel.observe.health import CertificateState
from mtls_tunnel.observe.metrics import (
    CLOSE_REASONS,
    HANDSHAKE_REASONS,
    Meters,
    NullTunnelMeters,
    Tally,
    TunnelMeters,
)


def rendered(meters: Meters, accept: str = "") -> list[str]:
    return meters.render(accept)[1].decode().splitlines()


def openmetrics(body: bytes) -> list[Metric]:
    return list(parse_openmetrics(body.decode()))  # type: ignore[no-untyped-call]


def sample(meters: Meters, series: str) -> str | None:
    """The value of *series* as it is printed, or None."""
    values = [line.removeprefix(f"{series} ") for line in rendered(meters) if line.startswith(f"{series} ")]
    return values[0] if values else None


def test_one_open_connection_reads_as_in_the_readme_of_mtlsd() -> None:
    meters = Meters()
    tunnel = meters.tunnel("")
    for _ in range(3):
        tunnel.accepted()
    tunnel.watch_live(lambda: (1, 42, 7))
    lines = rendered(meters)
    assert "mtlsd_active_connections 1" in lines
    assert "mtlsd_connections_total 3" in lines
    assert 'mtlsd_bytes_proxied_total{direction="client_to_target"} 42' in lines
    assert 'mtlsd_bytes_proxied_total{direction="target_to_client"} 7' in lines


def test_every_word_of_a_session_has_its_series() -> None:
    meters = Meters()
    tunnel = meters.tunnel("")
    tunnel.handshake(0.002)
    tunnel.handshake_failed("unknown_ca")
    tunnel.decided("audit_deny")
    tunnel.dial_failed()
    tunnel.closed("eof", 0.3, 10, 20)
    meters.reloaded("failed")
    assert {
        series: sample(meters, f"mtlsd_{series}")
        for series in (
            'tls_handshake_duration_seconds_bucket{le="0.001"}',
            'tls_handshake_duration_seconds_bucket{le="0.0025"}',
            "tls_handshake_duration_seconds_count",
            "tls_handshake_duration_seconds_sum",
            'handshake_failures_total{reason="unknown_ca"}',
            'acl_decisions_total{result="audit_deny"}',
            "dial_errors_total",
            'sessions_closed_total{reason="eof"}',
            'connection_duration_seconds_bucket{le="0.25"}',
            'connection_duration_seconds_bucket{le="1"}',
            'connection_duration_seconds_bucket{le="+Inf"}',
            'bytes_proxied_total{direction="target_to_client"}',
            'reloads_total{result="failed"}',
        )
    } == {
        'tls_handshake_duration_seconds_bucket{le="0.001"}': "0",
        'tls_handshake_duration_seconds_bucket{le="0.0025"}': "1",
        "tls_handshake_duration_seconds_count": "1",
        "tls_handshake_duration_seconds_sum": "0.002",
        'handshake_failures_total{reason="unknown_ca"}': "1",
        'acl_decisions_total{result="audit_deny"}': "1",
        "dial_errors_total": "1",
        'sessions_closed_total{reason="eof"}': "1",
        'connection_duration_seconds_bucket{le="0.25"}': "0",
        'connection_duration_seconds_bucket{le="1"}': "1",
        'connection_duration_seconds_bucket{le="+Inf"}': "1",
        'bytes_proxied_total{direction="target_to_client"}': "20",
        'reloads_total{result="failed"}': "1",
    }


def test_a_named_tunnel_has_a_label_on_each_series_of_a_connection() -> None:
    meters = Meters(labelled=True)
    meters.tunnel("db").accepted()
    meters.tunnel("web")
    meters.reloaded("ok")
    lines = rendered(meters)
    assert 'mtlsd_connections_total{tunnel="db"} 1' in lines
    assert 'mtlsd_connections_total{tunnel="web"} 0' in lines
    assert 'mtlsd_sessions_closed_total{reason="eof",tunnel="db"} 0' in lines
    assert 'mtlsd_reloads_total{result="ok"} 1' in lines


def test_without_labels_all_tunnels_count_as_one() -> None:
    meters = Meters()
    meters.tunnel("db").accepted()
    meters.tunnel("web").accepted()
    assert sample(meters, "mtlsd_connections_total") == "2"


def test_a_tunnel_that_comes_back_with_a_reload_goes_on_counting() -> None:
    meters = Meters(labelled=True)
    meters.tunnel("db").accepted()
    meters.tunnel("db").accepted()
    assert sample(meters, 'mtlsd_connections_total{tunnel="db"}') == "2"


def test_the_prefix_is_the_one_of_the_configuration() -> None:
    lines = [line for line in rendered(Meters("gate")) if not line.startswith("#")]
    assert all(line.startswith(("gate_", "process_")) for line in lines)


def test_a_reason_that_nobody_knows_counts_as_the_general_one() -> None:
    meters = Meters()
    meters.tunnel("").handshake_failed("CN=evil")
    meters.tunnel("").closed("CN=evil", 1, 0, 0)
    assert sample(meters, 'mtlsd_handshake_failures_total{reason="other"}') == "1"
    assert sample(meters, 'mtlsd_sessions_closed_total{reason="error"}') == "1"
    assert not any("evil" in line for line in rendered(meters))


class Sessions:
    """Sessions of a tunnel as the registry counts them, in the order in which a real one ends."""

    def __init__(self, meters: TunnelMeters) -> None:
        self.meters = meters
        self.open: dict[int, list[int]] = {}
        meters.watch_live(self.totals)

    def totals(self) -> tuple[int, int, int]:
        return (
            len(self.open),
            sum(into for into, _ in self.open.values()),
            sum(out for _, out in self.open.values()),
        )

    def move(self, number: int, into: int, out: int) -> None:
        moved = self.open.setdefault(number, [0, 0])
        moved[0] += into
        moved[1] += out

    def end(self, number: int) -> None:
        if number in self.open:
            into, out = self.open.pop(number)
            self.meters.now()  # a scrape that falls between the two
            self.meters.closed("eof", 1.0, into, out)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["move", "end"]), st.integers(0, 999), st.integers(0, 999)))
)
def test_bytes_are_exact_and_never_step_back(steps: list[tuple[int, str, int, int]]) -> None:
    meters = TunnelMeters("")
    sessions = Sessions(meters)
    shown, moved = (0, 0), (0, 0)
    for number, step, into, out in steps:
        if step == "move":
            sessions.move(number, into, out)
            moved = moved[0] + into, moved[1] + out
        else:
            sessions.end(number)
        _, *now = meters.now()
        assert now[0] >= shown[0]
        assert now[1] >= shown[1]
        assert tuple(now) == moved
        shown = now[0], now[1]


def test_bytes_of_a_tunnel_that_went_away_are_kept() -> None:
    meters = TunnelMeters("db")
    stop = meters.watch_live(lambda: (1, 500, 600))
    assert meters.now() == (1, 500, 600)
    stop()
    assert meters.now() == (0, 500, 600)
    meters.closed("drain", 1.0, 500, 600)
    assert meters.now() == (0, 500, 600)


@given(st.lists(st.floats(min_value=0, max_value=100)))
def test_each_observation_stands_in_exactly_one_bucket(observations: list[float]) -> None:
    tally = Tally((0.5, 1.0, 10.0))
    for seconds in observations:
        tally.observe(seconds)
    assert sum(tally.counts) == len(observations)
    assert tally.counts[0] == sum(seconds <= 0.5 for seconds in observations)
    assert tally.counts[-1] == sum(seconds > 10.0 for seconds in observations)


def test_the_null_twin_takes_every_count_and_keeps_none() -> None:
    null = NullTunnelMeters()
    null.accepted()
    null.handshake(1.0)
    null.handshake_failed("other")
    null.decided("deny")
    null.dial_failed()
    null.closed("eof", 1.0, 2, 3)
    null.watch_live(lambda: (1, 2, 3))()
    assert (null.connections, null.dial_errors, null.now()) == (0, 0, (0, 0, 0))
    assert not any([*null.closings.values(), *null.decisions.values(), *null.handshake_failures.values()])


def test_certificates_bundles_and_crls_replace_those_said_before() -> None:
    meters = Meters()
    meters.certificates([CertificateState("", "old.pem", "leaf", 1.0, 2.0)])
    meters.bundle("aa")
    meters.crl_next_update(5.0)
    meters.certificates([CertificateState("", "new.pem", "leaf", 1774739264.0, 2090015264.0)])
    meters.bundle("bb", "cc", "bb")
    meters.crl_next_update(None)
    lines = rendered(meters)
    assert 'mtlsd_certificate_not_after_seconds{name="new.pem",role="leaf"} 2090015264' in lines
    assert 'mtlsd_certificate_not_before_seconds{name="new.pem",role="leaf"} 1774739264' in lines
    assert [line for line in lines if line.startswith("mtlsd_trust_bundle_info")] == [
        'mtlsd_trust_bundle_info{sha256="bb"} 1',
        'mtlsd_trust_bundle_info{sha256="cc"} 1',
    ]
    assert not any("old.pem" in line or line.startswith("mtlsd_crl_next_update_seconds ") for line in lines)


def test_of_two_certificates_with_one_name_the_one_that_ends_first_is_shown() -> None:
    meters = Meters()
    meters.certificates(
        [CertificateState("", "CN=ca", "ca", 1.0, 900.0), CertificateState("", "CN=ca", "ca", 2.0, 300.0)]
    )
    assert sample(meters, 'mtlsd_certificate_not_after_seconds{name="CN=ca",role="ca"}') == "300"


@given(st.text(), st.text())
def test_no_name_breaks_out_of_its_label(tunnel: str, certificate: str) -> None:
    meters = Meters(labelled=True)
    meters.tunnel(tunnel).accepted()
    meters.certificates([CertificateState(tunnel, certificate, "leaf", 1.0, 2.0)])
    _, body = meters.render("application/openmetrics-text")
    samples = [sample for family in openmetrics(body) for sample in family.samples]
    assert [one.labels for one in samples if one.name == "mtlsd_connections_total"] == [{"tunnel": tunnel}]
    names = [one.labels["name"] for one in samples if one.name == "mtlsd_certificate_not_after_seconds"]
    assert names == [certificate]


@given(
    st.sampled_from(HANDSHAKE_REASONS),
    st.sampled_from(CLOSE_REASONS),
    st.integers(min_value=0, max_value=2**53 - 1),
    st.floats(min_value=0, max_value=1e6),
)
def test_both_formats_are_valid_and_say_the_same(handshake: str, close: str, octets: int, seconds: float) -> None:
    meters = Meters()
    tunnel = meters.tunnel("")
    tunnel.handshake_failed(handshake)
    tunnel.closed(close, seconds, octets, 0)
    text = parse_text(meters.render("text/plain")[1].decode())
    modern = openmetrics(meters.render("application/openmetrics-text")[1])
    first, second = (
        {
            (
                one.name,
                *sorted((key, float(value) if key == "le" else value) for key, value in one.labels.items()),
            ): one.value
            for family in families
            for one in family.samples
            if not one.name.startswith("process_")
        }
        for families in (text, modern)
    )
    assert first == second
    assert first["mtlsd_bytes_proxied_total", ("direction", "client_to_target")] == octets


@pytest.mark.parametrize(
    ("accept", "modern"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", True),
        ("application/openmetrics-text;q=0.1,text/plain;q=0.9", False),
        ("application/openmetrics-text,text/plain", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=high", False),
        ("application/openmetrics-text;version=\x00;;==,,", True),
    ],
)
def test_the_accept_header_chooses_the_format(accept: str, modern: bool) -> None:
    assert prefers_openmetrics(accept) is modern
    kind, body = Meters().render(accept)
    assert kind.startswith("application/openmetrics-text; version=1.0.0" if modern else "text/plain; version=0.0.4")
    assert body.endswith(b"# EOF\n") is modern


@given(st.text(st.characters(max_codepoint=255)))
def test_no_accept_header_is_too_odd(accept: str) -> None:
    assert isinstance(prefers_openmetrics(accept), bool)
