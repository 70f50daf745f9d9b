"""A child process whose lines can be waited for: started, watched, signalled and always ended by its owner.

Both outputs are read by a thread each, so that no child ever blocks on a full pipe.  Nothing is ended by
name: only the one process that this object started.
"""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from support.waiting import DEADLINE_SECONDS

REPOSITORY = Path(__file__).resolve().parents[2]


class Child:
    """Owns one process.  `lines` is its standard output, `errors` its standard error, both live."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        new_session: bool = False,
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._changed = threading.Condition()
        self._new_session = new_session
        self._process = subprocess.Popen(
            self.argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,  # stays open and silent: some programs end with their input
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            start_new_session=new_session,
        )
        assert self._process.stdout
        assert self._process.stderr
        self._readers = [
            self._reader(self._process.stdout, self.lines),
            self._reader(self._process.stderr, self.errors),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()
        if error is not None:
            error.add_note(f"--- {' '.join(self.argv)}\n{self.output}")

    def _reader(self, pipe: IO[str], into: list[str]) -> threading.Thread:
        def read() -> None:
            with pipe:
                for line in pipe:
                    with self._changed:
                        into.append(line.rstrip("\n"))
                        self._changed.notify_all()
            with self._changed:
                self._changed.notify_all()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """Everything it said so far, for messages of failed assertions."""
        return "\n".join([*self.lines[-80:], *(f"stderr: {line}" for line in self.errors[-40:])])

    def count(self, pattern: str) -> int:
        """How many lines of standard output match the regular expression *pattern*."""
        with self._changed:
            return sum(re.search(pattern, line) is not None for line in self.lines)

    def matching(self, pattern: str) -> list[str]:
        with self._changed:
            return [line for line in self.lines if re.search(pattern, line)]

    def wait_for_line(self, pattern: str, *, times: int = 1, after: int = 0, seconds: float = DEADLINE_SECONDS) -> str:
        """Wait until *times* lines match *pattern*, counted from line number *after*; return the last of them."""
        give_up = time.monotonic() + seconds
        with self._changed:
            while True:
                found = [line for line in self.lines[after:] if re.search(pattern, line)]
                if len(found) >= times:
                    return found[times - 1]
                left = give_up - time.monotonic()
                if left <= 0 or (not self.alive and not any(reader.is_alive() for reader in self._readers)):
                    state = "running" if self.alive else f"ended with {self._process.returncode}"
                    raise AssertionError(f"no line like {pattern!r} ({len(found)} of {times}); {state}\n{self.output}")
                self._changed.wait(min(left, 0.2))

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Wait for its own end; return the exit code."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s: {self.argv}\n{self.output}") from None
        for reader in self._readers:
            reader.join(DEADLINE_SECONDS)
        if self._process.stdin:
            self._process.stdin.close()
        return code

    def stop(self) -> int:
        """End it: SIGTERM, then SIGKILL to it (and to its session, if it has its own) if it does not listen."""
        if self.alive:
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._new_session:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        return self.wait()


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    text: str = "",
    seconds: float = 2 * DEADLINE_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with *text* as its standard input."""
    return subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=text,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=seconds,
        check=False,
    )
