"""`tunnel status --watch`: the same page again and again, until Ctrl-C."""

import io
import json
from collections.abc import Callable
from typing import Any, TextIO

import pytest

from mtls_tunnel.app.status import WATCH_SECONDS, watch
from mtls_tunnel.errors import TunnelError


class Patience:
    """Pauses a number of times, then somebody presses Ctrl-C."""

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.pauses: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == self.turns:
            raise KeyboardInterrupt


def pages(*versions: str) -> Callable[[], Any]:
    left = iter(versions)
    return lambda: {"version": next(left), "tunnels": []}


def show_version(page: Any, out: TextIO) -> None:
    out.write(json.dumps(page["version"]) + "\n")


def test_off_a_terminal_each_page_follows_the_one_before() -> None:
    out, pause = io.StringIO(), Patience(2)
    code = watch(pages("1", "2", "3"), out, redraw=False, show=show_version, pause=pause)
    assert (code, out.getvalue(), pause.pauses) == (0, '"1"\n"2"\n\n', [WATCH_SECONDS] * 2)


def test_on_a_terminal_each_page_is_drawn_over_the_one_before() -> None:
    out = io.StringIO()
    assert watch(pages("1", "2"), out, redraw=True, show=show_version, pause=Patience(2)) == 0
    screens = out.getvalue().split("\x1b[H")
    assert screens[0] == "\x1b[2J"
    assert screens[1].startswith("mtls-tunnel 1, up 0s")
    assert screens[2].startswith("mtls-tunnel 2, up 0s")
    assert screens[1].endswith("\x1b[J")


def test_a_tunnel_that_stops_answering_ends_it() -> None:
    def gone() -> Any:
        raise TunnelError("no tunnel answers")

    with pytest.raises(TunnelError):
        watch(gone, io.StringIO(), redraw=False, show=show_version, pause=Patience(9))
