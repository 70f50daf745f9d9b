"""Five minutes (`SOAK_SECONDS`) of connections of all kinds through two tunnels that keep reloading."""

import os
from collections.abc import Callable
from pathlib import Path

from support.soak import soak

SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))


def test_no_leak_and_no_stuck_session(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    done = soak(tmp_path, SECONDS)
    print(done)
    for key, value in done.items():
        record_property(key, value)
