"""The peer's certificate expires while its connection is open: kept and said, or closed, as configured."""

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.clients import PING, Refused, ask, connect, context, refusal
from support.guarded import Guarded, handshake_failure
from support.waiting import eventually

SECONDS = 4.0


@contextmanager
def with_a_brief_client(folder: Path, on_expiry: str) -> Iterator[tuple[Guarded, ssl.SSLContext, ssl.SSLSocket]]:
    with Guarded(folder, {"acl": {"on_expiry": on_expiry}}) as guarded:
        days = (time.time() - guarded.authority.now + SECONDS) / 86400
        brief = guarded.authority.leaf("brief", days=days)
        tls = context(guarded.files, guarded.files.write("brief", brief))
        ends = brief.certificate.not_valid_after_utc.timestamp()
        with connect(guarded.port, tls) as connection:
            assert ask(connection) == PING
            eventually(lambda: time.time() > ends + 1, "the certificate has expired")
            yield guarded, tls, connection


def test_by_default_it_is_kept_and_said(tmp_path: Path) -> None:
    with with_a_brief_client(tmp_path, "log") as (guarded, _, connection):
        guarded.tunnel.wait_for_line(r"session kept: no longer authorized.*peer_cn=brief .*reason=expired\b")
        assert ask(connection) == PING


def test_with_close_it_is_cut(tmp_path: Path) -> None:
    with with_a_brief_client(tmp_path, "close") as (guarded, tls, connection):
        guarded.tunnel.wait_for_line(r"session closed: no longer authorized.*peer_cn=brief .*reason=expired\b")
        with pytest.raises(Refused):
            ask(connection)
        guarded.tunnel.wait_for_value(1, "mtlsd_sessions_closed_total", reason="expired")
        with guarded.refuses(handshake_failure("expired")):
            refusal(guarded.port, tls)
