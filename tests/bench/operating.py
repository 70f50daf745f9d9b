"""`python tests/bench/operating.py`: the operator and the injector at scale.  See bench/fleet/command.py.

This file only makes the folders importable.  It is not called after what it measures: a file `operator.py` here
would stand in the place of Python's own module for every script of this folder.
"""

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# In place of this folder: its names are no top-level ones.
sys.path[:1] = [os.path.join(_ROOT, part) for part in ("tests", "tunnel", "operator", "scripts")]

from bench.fleet.command import main  # noqa: E402 - the path must come first

if __name__ == "__main__":
    raise SystemExit(main())
