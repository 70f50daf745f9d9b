"""Rows and payloads of PostgreSQL become what decision and cache understand; the password is found as by libpq."""

from pathlib import Path

import pytest

from mtls_tunnel.config.schema import Store
from mtls_tunnel.router.cache import Change, Question
from mtls_tunnel.router.credentials import password_of
from mtls_tunnel.router.postgresql import change_in, found_in
from mtls_tunnel.router.rows import Found, Host, Team, User

Q = Question("host-1", "u")
NOTHING = dict.fromkeys(
    ("user_org", "connect_id", "internal_ip_addr", "host_org", "user_ids", "team_ids", "team_id", "team_org", "member")
)
HOST = {
    **NOTHING,
    "user_org": "o",
    "connect_id": "Host-1",
    "internal_ip_addr": "10.0.0.1",
    "host_org": "o",
    "user_ids": ["u"],
    "team_ids": ["a", "b"],
}


def test_one_row_of_nothing_is_nobody_and_nowhere() -> None:
    assert found_in([NOTHING], Q) == Found()


def test_a_row_for_each_team_is_one_host_and_its_teams() -> None:
    rows = [
        {**HOST, "team_id": "a", "team_org": "o", "member": True},
        {**HOST, "team_id": "b", "team_org": "p", "member": False},
    ]

    assert found_in(rows, Q) == Found(
        (Host("Host-1", "10.0.0.1", "o", frozenset({"u"}), frozenset({"a", "b"})),),
        (Team("a", "o", frozenset({"u"})), Team("b", "p")),
        User("u", "o"),
    )


@pytest.mark.parametrize(
    ("payload", "change"),
    [
        ("users=u", Change("users", "u")),
        ("backend_hosts=a=b", Change("backend_hosts", "a=b")),
        ("teams=", Change("teams", "")),
        ("teams:*", None),
        ("passwords=u", None),
        ("", None),
        ("users", None),
    ],
)
def test_a_payload_is_one_row_or_anything(payload: str, change: Change | None) -> None:
    assert change_in(payload) == change


def test_what_was_said_goes_before_the_environment_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pgpass"
    file.write_text("# comment\nother:*:*:*:wrong\n127.0.0.1:5432:tinyscale-ssh:tinyscale:a\\:b\n*:*:*:*:later\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    monkeypatch.delenv("PGPASSWORD", raising=False)

    assert password_of(Store()) == "a:b"
    assert password_of(Store(db_user="x")) == "later"
    monkeypatch.setenv("PGPASSWORD", "env")
    assert password_of(Store()) == "env"
    assert password_of(Store(db_password="said")) == "said"


def test_a_file_that_others_can_read_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:*:later\n")
    file.chmod(0o644)
    monkeypatch.setenv("PGPASSFILE", str(file))
    monkeypatch.delenv("PGPASSWORD", raising=False)

    assert password_of(Store()) == "tinyscale"
