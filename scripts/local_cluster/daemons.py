"""Programs in the background: each start is written down, and only what is written down is ended.

A pid alone may have gone to somebody else since; together with the moment of its start (proc(5), stat,
field 22) it names one process of this boot.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from build_image import Failed

SECONDS = 180  # generous: decides only when to give up
PAUSE = 0.05
GRACE = 10


class Daemons:
    """The programs of the cluster in *folder*; of this run and of those before it."""

    def __init__(self, folder: Path) -> None:
        self._pids = folder / "pids"
        self._logs = folder / "logs"

    def start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Start *command* in a session of its own; it outlives this script."""
        self._pids.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        words = [str(word) for word in command]
        appended = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.log(name)), appended, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        # Not subprocess: its objects complain when they are dropped while their program runs, as here it shall.
        pid = os.posix_spawn(words[0], words, {**_environment(), **(env or {})}, file_actions=actions, setsid=True)
        record = {"pid": pid, "began": _began(pid), "command": words}
        (self._pids / name).write_text(json.dumps(record), encoding="utf-8")

    def names(self) -> list[str]:
        """Everything that was started and not ended, running or not."""
        return sorted(file.name for file in self._pids.glob("*"))

    def running(self, name: str) -> int:
        """Its pid, or 0."""
        try:
            record = json.loads((self._pids / name).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return 0
        return int(record["pid"]) if record["began"] and _began(record["pid"]) == record["began"] else 0

    def stop(self, *names: str) -> None:
        """End *names* together: SIGTERM, and SIGKILL for those that take too long."""
        pids = {name: pid for name in names if (pid := self.running(name))}
        for number in (signal.SIGTERM, signal.SIGKILL):
            for name, pid in pids.items():
                if self.running(name):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
            if comes_true(lambda: not any(map(self.running, pids)), GRACE):
                break
        for name in names:
            (self._pids / name).unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def wait(self, name: str, what: str, condition: Callable[[], bool], seconds: float = SECONDS) -> None:
        """Wait until *condition* holds; if *name* ends before, or nothing happens, say so with its last words."""

        def settled() -> bool:
            return condition() or not self.running(name)

        if not comes_true(settled, seconds) or not condition():
            state = "still runs" if self.running(name) else "has ended"
            raise Failed(
                f"{name} {state}, but {what} did not come true; {self.log(name)} ends with:\n{self.tail(name)}"
            )

    def tail(self, name: str, lines: int = 25) -> str:
        try:
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(it has written nothing)"


def _environment() -> dict[str, str]:
    """Ours, without a proxy: the programs of a cluster speak to each other only."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for *condition*; False if it does not hold within *seconds*."""
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(PAUSE)
    return True


def _began(pid: int) -> int:
    """When *pid* started, in ticks since boot; 0 for what is gone or only waits to be buried."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # ours may be a child of this very script
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])
