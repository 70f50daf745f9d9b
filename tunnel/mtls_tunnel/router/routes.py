"""The YAML file of the file store -> rows, with all faults at once.

Three lists, ``backend_hosts``, ``teams`` and ``users``, of rows with the columns of the tables; what has a default
there may be left out here.  PURE: whoever calls has read the file.  ``public_keys`` and ``host_user`` belong to
programs that share the tables; they are checked for their form and not used.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mtls_tunnel.config import yaml_source
from mtls_tunnel.config.fields import Section
from mtls_tunnel.config.findings import Findings, Spot, quoted
from mtls_tunnel.router.cache import Question
from mtls_tunnel.router.decision import Refused, address_of
from mtls_tunnel.router.rows import Found, Host, Team, User

Row = TypeVar("Row", Host, Team, User)


@dataclass(slots=True)
class Routes:
    """All rows of a file, found in no time."""

    hosts: dict[str, list[Host]] = field(default_factory=dict)  # by connect_id in lower case
    teams: dict[str, Team] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)

    def find(self, question: Question) -> Found:
        """The rows that a decision about *question* needs."""
        hosts = tuple(self.hosts.get(question.connect_id, ()))
        named = {team for host in hosts for team in host.team_ids}
        teams = tuple(team for name in sorted(named) if (team := self.teams.get(name)) is not None)
        return Found(hosts, teams, self.users.get(question.user_id))


def parse(text: str, name: str, *, default_port: int) -> Routes:
    """The rows that *text* lists; *name* is the file's, for messages.

    Raises:
        ConfigError: with everything that is wrong, unknown columns included: a misspelt one would allow or refuse
            somebody in silence.
    """
    findings = Findings()
    mapping = yaml_source.compose(text, Spot(0, name), findings)
    root = Section(mapping or yaml_source.Mapping(Spot(0, name), {}), findings)
    routes = Routes()
    for host in _rows(root, "backend_hosts", "connect_id", lambda row: _host(row, default_port)):
        routes.hosts.setdefault(host.connect_id.lower(), []).append(host)
    routes.teams = {team.team_id: team for team in _rows(root, "teams", "team_id", _team)}
    routes.users = {user.user_id: user for user in _rows(root, "users", "user_id", _user)}
    root.close()
    if not root.names and not findings.are_errors:
        findings.error(root.spot, "is empty", "list backend_hosts, teams and users, each at least as []")
    findings.verdict(strict=True)
    return routes


def _rows(root: Section, table: str, primary: str, read: Callable[[Section], Row]) -> list[Row]:
    rows: dict[str, Row] = {}
    for section in root.sections(table):
        row = read(section)
        section.close()
        key = getattr(row, primary)
        if key in rows:
            section.error(primary, f"{quoted(key)} stands twice", "each row has a key of its own")
        rows.setdefault(key, row)
    return list(rows.values())


def _host(row: Section, default_port: int) -> Host:
    host = Host(
        connect_id=row.required("connect_id", "the first label of the server name", check=_filled),
        address=row.required("internal_ip_addr", "where the host is dialled, such as 10.0.0.5:22", check=_filled),
        org_id=row.required("org_id", "the organization whose users may be allowed", check=_filled),
        user_ids=frozenset(row.texts("user_ids", _filled)),
        team_ids=frozenset(row.texts("team_ids", _filled)),
    )
    row.text("host_user")
    if host.address:
        try:
            address_of(host, default_port)
        except Refused as refused:
            row.error("internal_ip_addr", refused.detail.partition(": ")[2].partition(" - ")[0] or refused.detail,
                      "write 10.0.0.5, 10.0.0.5:22 or [2001:db8::5]:22")  # fmt: skip
    return host


def _team(row: Section) -> Team:
    return Team(
        team_id=row.required("team_id", "the name under which hosts list the team", check=_filled),
        org_id=row.required("org_id", "the organization of the team", check=_filled),
        user_ids=frozenset(row.texts("user_ids", _filled)),
    )


def _user(row: Section) -> User:
    row.texts("public_keys", _base64)
    return User(
        user_id=row.required("user_id", "the user of the certificate's SPIFFE ID", check=_filled),
        org_id=row.required("org_id", "the organization of the user", check=_filled),
    )


def _filled(text: str) -> str:
    if not text:
        raise ValueError("is empty - write a name")
    return text


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is no base64 - encode the key's bytes") from None
    return text
