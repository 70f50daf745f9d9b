"""`make fuzz`: every `fuzz_*.py` beside this file, one after the other, each for some seconds.

A target is a program that calls `atheris.Setup(sys.argv, one_input)` and `atheris.Fuzz()`.  What it has
learnt stays in the cache folder, outside the repository, and is where its next run goes on; files under
`seeds/NAME/`, if there are any, are read first.  The first input that breaks a target is kept in
`build/fuzz/` and named, and the run fails.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mtls-tunnel" / "fuzz"
BROKEN = ROOT / "build" / "fuzz"
START_SECONDS = 60  # imports under instrumentation, and the last input


def main(argv: Sequence[str] | None = None) -> int:
    """Run the chosen targets; return 1 if one of them was broken, 2 if there is none."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    words.add_argument("names", nargs="*", help="targets without their fuzz_ (default: all)")
    args = words.parse_args(argv)
    targets = [file for file in sorted(HERE.glob("fuzz_*.py")) if not args.names or _name(file) in args.names]
    if not targets:
        print("no such target", file=sys.stderr)
        return 2
    results = [fuzz(target, args.seconds) for target in targets]
    failed = results.count(False)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def fuzz(target: Path, seconds: int) -> bool:
    """Run one target and print one line, or all that it said if it was broken."""
    name = _name(target)
    corpus = CACHE / name
    corpus.mkdir(parents=True, exist_ok=True)
    BROKEN.mkdir(parents=True, exist_ok=True)
    seeds = [str(folder) for folder in [HERE / "seeds" / name] if folder.is_dir()]
    limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]
    command = [sys.executable, str(target), str(corpus), *seeds, *limits, f"-artifact_prefix={BROKEN}/{name}-"]
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("tunnel", "operator", "tests"))
    started = time.monotonic()
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            check=False,
            timeout=seconds + START_SECONDS,
        )
        said, broken = done.stdout, done.returncode != 0
    except subprocess.TimeoutExpired as hung:
        text = hung.stdout.decode(errors="replace") if isinstance(hung.stdout, bytes) else hung.stdout
        said, broken = f"{text}\nhangs outside of any input", True
    if broken:
        print(f"{name}: broken after {time.monotonic() - started:.0f} s\n{said[-6000:]}", flush=True)
        return False
    runs = re.search(r"number_of_executed_units: (\d+)", said)
    print(f"{name}: {runs[1] if runs else '?'} inputs in {time.monotonic() - started:.0f} s", flush=True)
    return True


def _name(target: Path) -> str:
    return target.stem.removeprefix("fuzz_")


if __name__ == "__main__":
    raise SystemExit(main())
