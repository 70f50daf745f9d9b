"""A revocation, a deny rule and a removed CA each cut exactly the live connections that they concern.

Sixty connections of four kinds are open; after each change one kind is gone and the others still answer.
The time from the change to the last cut is printed (`pytest -rP` shows it; the contract says one second).
"""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support.clients import PING, Refused, ask, connect, context
from support.guarded import Guarded
from support.pki import Authority, Folder, Written
from support.waiting import eventually

EACH = 15
Connections = list[ssl.SSLSocket]


class Crowd:
    """Connections of several clients through one server tunnel."""

    def __init__(self, guarded: Guarded) -> None:
        self.guarded = guarded
        self.of: dict[str, Connections] = {}

    @contextmanager
    def opened(self, identities: dict[str, Written]) -> Iterator["Crowd"]:
        with ExitStack() as stack:
            for name, identity in identities.items():
                tls = context(self.guarded.files, identity)
                self.of[name] = [stack.enter_context(connect(self.guarded.port, tls)) for _ in range(EACH)]
            self.all_answer()
            yield self

    def all_answer(self) -> None:
        for name, connections in self.of.items():
            assert [ask(one) for one in connections] == [PING] * EACH, name

    def loses_only(self, name: str, reason: str, change: Callable[[], object]) -> float:
        """Make *change*; the connections of *name* end, the rest answer.  Returns the seconds it took."""
        left = sum(map(len, self.of.values())) - EACH
        started = time.monotonic()
        change()
        tunnel = self.guarded.tunnel
        eventually(lambda: tunnel.value("mtlsd_active_connections") == left, f"{left} connections are left")
        took = time.monotonic() - started
        for connection in self.of.pop(name):
            with pytest.raises(Refused):
                ask(connection)
        self.all_answer()
        line = rf'level=WARN msg="session closed: no longer authorized" peer_cn={name} .*reason={reason}\b'
        tunnel.wait_for_line(line, times=EACH)
        assert tunnel.count("no longer authorized") == tunnel.count(line) + self._earlier
        self._earlier += EACH
        return took

    _earlier = 0


def test_each_change_cuts_only_those_whom_it_concerns(tmp_path: Path) -> None:
    files = Folder(tmp_path / "pki")
    ours, theirs = files.authority, Authority("Second Root")
    names = ("revoked-one", "denied-one", "stays")
    identities = {name: files.write(name, ours.client(name)) for name in names}
    identities["removed-ca"] = files.write("removed-ca", theirs.client("removed-ca"))
    revoked = ours.client("revoked-one")
    identities["revoked-one"] = files.write("revoked-one", revoked)
    crls = {"ours.crl": ours.crl_pem(), "theirs.crl": theirs.crl_pem()}
    (files.path / "crls").mkdir()
    for name, pem in crls.items():
        files.put(f"crls/{name}", pem)

    with Guarded(tmp_path, {"tls": {"crl": str(files.path / "crls")}}, ca=ours) as guarded:
        bundle = guarded.files.write_ca(ours, theirs)
        guarded.tunnel.hang_up()
        with Crowd(guarded).opened(identities) as crowd:
            took = {
                "revocation": crowd.loses_only(
                    "revoked-one", "revoked", lambda: files.put("crls/ours.crl", ours.crl_pem(revoked, number=2))
                ),
                "deny rule": crowd.loses_only(
                    "denied-one", "denied", lambda: guarded.tunnel.rewrite({"acl": {"deny_cn": ["denied-one"]}})
                ),
                "removed CA": crowd.loses_only("removed-ca", "ca_removed", lambda: Path(bundle).write_bytes(ours.pem)),
            }
        counted = guarded.tunnel.value("mtlsd_sessions_closed_total", reason="reauthorized")
        assert counted == 3 * EACH
    print(*(f"{change}: {seconds:.2f} s" for change, seconds in took.items()), sep="\n")
