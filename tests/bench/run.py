"""`python tests/bench/run.py`: the tunnel beside HAProxy, nginx and stunnel.  See bench/command.py.

This file only makes the folder above importable, so that the rest is the package `bench` here, in the
generator's and backend's processes, and for the type checker alike.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # in place of this folder: its names are no top-level ones

from bench.command import main  # noqa: E402 - the path must come first

if __name__ == "__main__":
    raise SystemExit(main())
