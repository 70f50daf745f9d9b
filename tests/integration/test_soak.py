"""Half a minute of connections of all kinds; `SOAK_SECONDS` makes it longer (tests/soak takes minutes)."""

import os
from pathlib import Path

from support.soak import soak

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))


def test_connections_of_all_kinds_leave_nothing_behind(tmp_path: Path) -> None:
    print(soak(tmp_path, SECONDS))
