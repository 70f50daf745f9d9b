"""A tunnel whose clock is ten years off refuses what is out of date for it, and its timers go on.

libfaketime shifts the wall clock of the whole process and leaves the monotonic one alone.
"""

from pathlib import Path

import pytest

from mtls_tunnel.trust.pki import Names
from support.clients import context, plain, refusal
from support.guarded import Guarded, handshake_failure
from support.pki import Authority
from support.scrape import get
from support.tools import need_file
from support.waiting import eventually

YEARS = 365 * 20


@pytest.mark.parametrize(("shift", "reason"), [("+10y", "expired"), ("-10y", "not_yet_valid")])
def test_a_shifted_clock_refuses_by_its_own_time(tmp_path: Path, shift: str, reason: str) -> None:
    library = need_file("/usr/lib/*/faketime/libfaketime.so.1", "libfaketime")
    authority = Authority(days=YEARS, since_days=-YEARS)
    guarded = Guarded(
        tmp_path,
        {"proxy": {"handshake_timeout": "1s"}},
        ca=authority,
        # Not by the `faketime` program: that one forks, and signals would end it and not the tunnel.
        env={"LD_PRELOAD": library, "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
    )
    names = Names(cn="localhost", dns=("localhost",))
    guarded.files.write("server", authority.odd(names, days=YEARS, since_days=-YEARS))
    guarded.files.client = guarded.files.write("always", authority.odd(names, days=YEARS, since_days=-YEARS))
    today = guarded.files.write("today", authority.client("today"))
    with guarded:
        with guarded.refuses(handshake_failure(reason)):
            refusal(guarded.port, context(guarded.files, today))
        with plain(guarded.port) as silent:  # a timer that runs by the wall clock would fire now or never
            assert silent.recv(1) == b""
        guarded.tunnel.wait_for_value(1, "mtlsd_handshake_failures_total", reason="timeout")


def test_an_own_leaf_that_has_expired_serves_no_readiness_until_it_is_renewed(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path)
    guarded.files.write("server", guarded.authority.expired("localhost"))
    with guarded:
        admin = guarded.tunnel.admin
        assert get(admin, "/readyz").status == 503
        assert get(admin, "/healthz").status == 200
        assert guarded.tunnel.count("level=ERROR .*certificate") >= 1
        guarded.files.write("server", guarded.authority.server())
        eventually(lambda: get(admin, "/readyz").status == 200, "ready after the renewal")
        guarded.greet()
