"""What a store holds, as frozen values, and what one lookup finds of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Host:
    """A row of ``backend_hosts``; `address` is its ``internal_ip_addr`` as written there."""

    connect_id: str
    address: str
    org_id: str
    user_ids: frozenset[str] = frozenset()
    team_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Team:
    """A row of ``teams``."""

    team_id: str
    org_id: str
    user_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class User:
    """A row of ``users``."""

    user_id: str
    org_id: str


@dataclass(frozen=True, slots=True)
class Found:
    """The rows that one decision needs, all from one moment.

    `hosts` are those whose ``connect_id`` is the one asked for but for upper and lower case; `teams` those that they
    name; `user` is the one of the certificate.
    """

    hosts: tuple[Host, ...] = ()
    teams: tuple[Team, ...] = ()
    user: User | None = None
