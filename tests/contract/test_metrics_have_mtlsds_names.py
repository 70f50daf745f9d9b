"""Names, types and labels of the metrics: dashboards and alerts are written against them."""

import re

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from mtls_tunnel.observe.health import CertificateState
from mtls_tunnel.observe.metrics import Meters

CONNECTION_LABELS: dict[str, dict[str, tuple[str, ...]]] = {
    "active_connections": {},
    "connections_total": {},
    "bytes_proxied_total": {"direction": ("client_to_target", "target_to_client")},
    "connection_duration_seconds": {},
    "acl_decisions_total": {"result": ("allow", "deny", "audit_deny")},
    "tls_handshake_duration_seconds": {},
    "dial_errors_total": {},
    "handshake_failures_total": {
        "reason": (
            *("no_certificate", "unknown_ca", "expired", "not_yet_valid", "revoked", "crl_unavailable"),
            *("wrong_purpose", "bad_certificate", "name_mismatch", "protocol_version", "no_shared_cipher"),
            *("bad_sni", "not_tls", "timeout", "closed", "other"),
        )
    },
    "sessions_closed_total": {
        "reason": (
            *("eof", "truncated", "reset", "idle", "half_close", "lifetime", "reauthorized", "expired"),
            *("dial_failed", "error", "drain"),
        )
    },
}
PROCESS_LABELS: dict[str, dict[str, tuple[str, ...]]] = {
    "reloads_total": {"result": ("ok", "failed")},
    "certificate_not_after_seconds": {"role": ("leaf", "ca"), "name": ("server.pem", "CN=ca")},
    "certificate_not_before_seconds": {"role": ("leaf", "ca"), "name": ("server.pem", "CN=ca")},
    "trust_bundle_info": {"sha256": ("aa",)},
    "crl_next_update_seconds": {},
    "build_info": {"version": ("0.1.0",), "openssl": ("4.0.3",)},
}
HISTOGRAMS = {"connection_duration_seconds", "tls_handshake_duration_seconds"}


def meters(*names: str) -> Meters:
    made = Meters(labelled=any(names), build={"version": "0.1.0", "openssl": "4.0.3"})
    for name in names or ("",):
        made.tunnel(name)
    made.certificates(
        [
            CertificateState(names[0] if names else "", "server.pem", "leaf", 1.0, 2.0),
            CertificateState(names[0] if names else "", "CN=ca", "ca", 1.0, 2.0),
        ]
    )
    made.bundle("aa")
    made.crl_next_update(3.0)
    return made


def families(body: bytes, *, modern: bool = False) -> dict[str, Metric]:
    parsed = parse_openmetrics(body.decode()) if modern else parse_text(body.decode())  # type: ignore[no-untyped-call]
    return {family.name: family for family in parsed}


def kind_of(name: str) -> str:
    if name in HISTOGRAMS:
        return "histogram"
    return "counter" if name.endswith("_total") else "gauge"


@pytest.mark.parametrize("modern", [False, True], ids=["text", "OpenMetrics"])
def test_every_metric_of_the_contract_is_there_from_the_start_with_its_type(modern: bool) -> None:
    _, body = meters().render("application/openmetrics-text" if modern else "")
    found = families(body, modern=modern)
    ours = {name: family.type for name, family in found.items() if not name.startswith("process_")}
    assert ours == {
        f"mtlsd_{name.removesuffix('_total')}": kind_of(name) for name in CONNECTION_LABELS | PROCESS_LABELS
    }


def test_the_processs_own_figures_have_no_prefix() -> None:
    names = {name for name in families(meters().render("")[1]) if name.startswith("process_")}
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"} <= names


@pytest.mark.parametrize("name", CONNECTION_LABELS | PROCESS_LABELS)
def test_every_known_label_value_stands_at_its_start_value(name: str) -> None:
    labels = (CONNECTION_LABELS | PROCESS_LABELS)[name]
    family = families(meters().render("")[1])[f"mtlsd_{name.removesuffix('_total')}"]
    found = {key: tuple(dict.fromkeys(one.labels[key] for one in family.samples)) for key in labels}
    assert {key: set(values) for key, values in found.items()} == {key: set(values) for key, values in labels.items()}
    assert all(set(one.labels) - {"le"} == set(labels) for one in family.samples)


@pytest.mark.parametrize("name", CONNECTION_LABELS)
def test_with_several_tunnels_each_series_of_a_connection_names_its_own(name: str) -> None:
    family = families(meters("db", "web").render("")[1])[f"mtlsd_{name.removesuffix('_total')}"]
    assert {one.labels["tunnel"] for one in family.samples} == {"db", "web"}


def test_there_is_no_series_of_creation_times() -> None:
    for accept in ("", "application/openmetrics-text"):
        assert b"_created" not in meters().render(accept)[1]


def test_counts_print_as_whole_numbers() -> None:
    _, body = meters().render("")
    ours = [line for line in body.decode().splitlines() if line.startswith("mtlsd_")]
    assert [line for line in ours if not re.fullmatch(r"\S+ [0-9]+", line)] == []
    assert "mtlsd_active_connections 0" in ours
    assert 'mtlsd_connection_duration_seconds_bucket{le="1"} 0' in ours


def test_the_media_types_are_those_that_prometheus_asks_for() -> None:
    assert meters().render("")[0] == "text/plain; version=0.0.4; charset=utf-8"
    asked = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3"
    assert meters().render(asked)[0] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
