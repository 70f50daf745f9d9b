"""The JSON of /statusz."""

import json

from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.observe.health import CertificateState
from mtls_tunnel.observe.status_page import (
    MAX_CONNECTIONS,
    ConnectionState,
    Page,
    ReloadState,
    TunnelState,
    page,
)

NOW = 1_774_739_264.0


def test_the_page_tells_all_that_the_table_shows() -> None:
    state = Page(
        version="0.1.0",
        started=NOW - 90,
        ready="draining",
        tunnels=(TunnelState("db", "server", "0.0.0.0:8443", "127.0.0.1:5432", 1, 1000, 17),),
        certificates=(CertificateState("db", "server.pem", "leaf", NOW - 1, NOW + 3 * 86_400),),
        reloads=ReloadState(ok=2, failed=1, last_at=NOW - 30, last_error="key does not match"),
        connections=[
            ConnectionState(
                "db", "192.0.2.1:50000", NOW - 12.34, "web", "spiffe://a/web", ("reader",), "TLSv1.3", 10, 20, "open"
            )
        ],
    )
    assert json.loads(page(state, NOW)) == {
        "version": "0.1.0",
        "uptime_seconds": 90.0,
        "ready": False,
        "reason": "draining",
        "tunnels": [
            {
                "name": "db",
                "mode": "server",
                "listen": "0.0.0.0:8443",
                "target": "127.0.0.1:5432",
                "active": 1,
                "max_connections": 1000,
                "accepted": 17,
            }
        ],
        "certificates": [
            {
                "role": "leaf",
                "tunnel": "db",
                "name": "server.pem",
                "not_after": "2026-03-31T23:07:44Z",
                "days_left": 3,
            }
        ],
        "reloads": {"ok": 2, "failed": 1, "last_at": "2026-03-28T23:07:14Z", "last_error": "key does not match"},
        "connections_total": 1,
        "connections": [
            {
                "tunnel": "db",
                "remote": "192.0.2.1:50000",
                "peer": "web",
                "uri": "spiffe://a/web",
                "roles": ["reader"],
                "tls": "TLSv1.3",
                "age_seconds": 12.3,
                "bytes_in": 10,
                "bytes_out": 20,
                "phase": "open",
            }
        ],
    }


def test_a_process_that_just_started_has_an_empty_page() -> None:
    body = json.loads(page(Page("0.1.0", NOW), NOW))
    assert (body["ready"], body["reloads"]["last_at"], body["connections"]) == (True, None, [])


@given(st.integers(min_value=0, max_value=3 * MAX_CONNECTIONS))
def test_at_most_a_thousand_connections_are_listed_and_all_are_counted(number: int) -> None:
    connections = (ConnectionState("", f"192.0.2.1:{port}", NOW - port) for port in range(number))
    body = json.loads(page(Page("0.1.0", NOW - 9e6, connections=connections), NOW))
    assert body["connections_total"] == number
    assert len(body["connections"]) == min(number, MAX_CONNECTIONS)


def test_connections_that_were_not_passed_in_are_counted_by_their_tunnel() -> None:
    tunnel = TunnelState("", "server", "0.0.0.0:8443", "127.0.0.1:5432", 5000, 9000, 17)
    body = json.loads(page(Page("0.1.0", NOW, tunnels=(tunnel,), connections=[ConnectionState("", "a", NOW)]), NOW))
    assert (body["connections_total"], len(body["connections"])) == (5000, 1)


def test_the_longest_lived_connections_are_listed_first() -> None:
    connections = [ConnectionState("", str(age), NOW - age) for age in (5, 50, 1, 500)]
    body = json.loads(page(Page("0.1.0", NOW, connections=connections), NOW))
    assert [one["remote"] for one in body["connections"]] == ["500", "50", "5", "1"]


@given(st.text(), st.text())
def test_a_peers_name_cannot_break_out_of_the_page(peer: str, uri: str) -> None:
    body = page(Page("0.1.0", NOW, connections=[ConnectionState("", "192.0.2.1:1", NOW, peer, uri)]), NOW)
    assert body.decode("ascii").isprintable()
    assert (json.loads(body)["connections"][0]["peer"], json.loads(body)["connections"][0]["uri"]) == (peer, uri)
