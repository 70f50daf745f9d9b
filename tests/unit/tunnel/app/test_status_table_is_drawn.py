"""What `tunnel status` prints for a page."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.app.status_table import draw, octets, printable, span

PAGE: dict[str, Any] = {
    "version": "0.1.0",
    "uptime_seconds": 11_520.0,
    "ready": True,
    "reason": "",
    "tunnels": [
        {
            "name": "",
            "mode": "server",
            "listen": "0.0.0.0:8443",
            "target": "127.0.0.1:8080",
            "active": 2,
            "max_connections": 1000,
            "accepted": 17,
        }
    ],
    "certificates": [
        {"role": "leaf", "tunnel": "", "name": "server.pem", "not_after": "2036-03-26T00:00:00Z", "days_left": 3649},
        {"role": "ca", "tunnel": "", "name": "CN=ca", "not_after": "2026-04-01T00:00:00Z", "days_left": -2},
    ],
    "reloads": {"ok": 3, "failed": 1, "last_at": "2026-03-28T23:07:14Z", "last_error": "key does not match"},
    "connections_total": 3,
    "connections": [
        {
            "tunnel": "",
            "remote": "192.0.2.1:50000",
            "peer": "frontend-service",
            "uri": "",
            "roles": ["reader", "writer"],
            "tls": "TLSv1.3",
            "age_seconds": 3_700.2,
            "bytes_in": 1_536,
            "bytes_out": 20_971_520,
            "phase": "open",
        },
        {
            "tunnel": "",
            "remote": "192.0.2.7:9",
            "peer": "",
            "uri": "",
            "roles": [],
            "tls": "",
            "age_seconds": 0.4,
            "bytes_in": 0,
            "bytes_out": 0,
            "phase": "handshake",
        },
    ],
}


def test_a_page_becomes_aligned_tables_without_empty_columns() -> None:
    assert draw(PAGE) == [
        "mtls-tunnel 0.1.0, up 3h12m, ready",
        "reloads: 3 ok, 1 failed, last at 2026-03-28T23:07:14Z, last error: key does not match",
        "",
        "MODE    LISTEN        TARGET          CONNECTIONS  ACCEPTED",
        "server  0.0.0.0:8443  127.0.0.1:8080    2 of 1000        17",
        "",
        "CERTIFICATE  ROLE  NOT AFTER             DAYS LEFT",
        "server.pem   leaf  2036-03-26T00:00:00Z       3649",
        "CN=ca        ca    2026-04-01T00:00:00Z         -2",
        "",
        "REMOTE           PEER              ROLES          TLS      PHASE       AGE     IN   OUT",
        "192.0.2.1:50000  frontend-service  reader,writer  TLSv1.3  open       1h1m  1.5KB  20MB",
        "192.0.2.7:9                                                handshake    0s     0B    0B",
        "... and 1 more",
    ]


def test_a_tunnel_that_is_not_ready_says_why() -> None:
    page = PAGE | {"ready": False, "reason": "draining", "connections": [], "connections_total": 0}
    assert draw(page)[0] == "mtls-tunnel 0.1.0, up 3h12m, NOT READY: draining"
    assert draw(page)[-1] == "no connections"


def test_the_page_of_another_version_with_fewer_fields_is_drawn_as_far_as_it_goes() -> None:
    lines = draw({"tunnels": [{"mode": "server"}]})
    assert lines[0] == "mtls-tunnel ?, up 0s, NOT READY: no reason given"
    assert lines[-1] == "no connections"


@given(st.text(), st.text(), st.text(), st.lists(st.text()))
def test_no_name_can_steer_the_terminal(peer: str, uri: str, error: str, roles: list[str]) -> None:
    connection = PAGE["connections"][0] | {"peer": peer, "uri": uri, "roles": roles}
    lines = draw(PAGE | {"connections": [connection], "reason": error, "ready": False})
    assert all(line.isprintable() for line in lines)


def test_a_control_sequence_in_a_name_is_shown_as_question_marks() -> None:
    assert printable("a\x1b[2J\x9b\u202eb") == "a?[2J??b"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m"), (90, "1m30s"), (3600, "1h"), (3_661, "1h1m"), (273_600, "3d4h")],
)
def test_an_age_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1.0KB"),
        (1536, "1.5KB"),
        (20 * 1024**2, "20MB"),
        (5 * 1024**4, "5.0TB"),
        (9 * 1024**5, "9216TB"),
    ],
)
def test_bytes_are_told_in_few_digits(count: int, text: str) -> None:
    assert octets(count) == text
