"""Five minutes (`SOAK_SECONDS`) of connections of all kinds through two tunnels that keep reloading."""

import os
from pathlib import Path

from support.soak import soak

SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))


def test_no_leak_and_no_stuck_session(tmp_path: Path) -> None:
    print(soak(tmp_path, SECONDS))
