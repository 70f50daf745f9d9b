"""Key updates as fast as a peer can send them: OpenSSL takes them all within one read, and nobody else is served.

The peer has proved who it is and may connect; what it may not do is to hold up the others.
"""

import threading
from pathlib import Path

import pytest

from support.guarded import Guarded
from support.keyupdates import NOT_REQUESTED, REQUESTED, KeyUpdater

QUESTION = b"still there?"
ENDLESS = 200_000  # some seconds of sending


@pytest.mark.parametrize("kind", [NOT_REQUESTED, REQUESTED])
def test_the_connection_is_cut_and_others_are_served_meanwhile(tmp_path: Path, kind: int) -> None:
    with Guarded(tmp_path) as guarded, KeyUpdater(guarded.port, guarded.files.client) as flooding:
        assert flooding.ask(QUESTION) == QUESTION
        sent = 0

        def flood() -> None:
            nonlocal sent
            while sent < ENDLESS and flooding.update(kind):
                sent += 1

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            guarded.greet()
        finally:
            thread.join()
        assert sent < ENDLESS
        guarded.tunnel.wait_for_line('level=WARN msg="proxy: connection broke" .*floods the connection')
        guarded.tunnel.wait_until_idle()


@pytest.mark.parametrize("kind", [NOT_REQUESTED, REQUESTED])
def test_key_updates_between_bytes_are_ordinary(tmp_path: Path, kind: int) -> None:
    with Guarded(tmp_path) as guarded, KeyUpdater(guarded.port, guarded.files.client) as updating:
        for _ in range(60):
            assert all(updating.update(kind) for _ in range(8))
            assert updating.ask(QUESTION) == QUESTION
