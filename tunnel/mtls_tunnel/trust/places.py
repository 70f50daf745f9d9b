"""Where a path leads: each symbolic link is followed by hand, and by one `Tracer` it is read only once.

A Kubernetes volume shows its files through one link, `..data`, that is swapped when the content changes.
Whoever follows cert and key through the same Tracer gets both from the same generation, however the link moves
meanwhile; and whoever wants to hear of changes learns here which directory entries decide where the path leads.
Nothing is opened.

Sources: path_resolution(7); kubelet's atomic writer (a `..data` link to a dated directory, renamed over).
"""

import errno
import os
import stat
from dataclasses import dataclass

MAX_LINKS = 40  # as the kernel (MAXSYMLINKS)


@dataclass(frozen=True, slots=True)
class Place:
    """What a path means at one moment."""

    path: str  # as it was asked for
    real: str  # without links; where `error` is set, as far as it could be followed
    error: int  # errno, or 0: there is something at `real`
    turns: tuple[tuple[str, str], ...]  # (directory, name): entries that decide: links, the last one, a missing one
    passed: tuple[str, ...]  # link-free directories on the way


class Tracer:
    """Follows paths; a link that two of them share is read once, so that they agree about it."""

    def __init__(self, *, cwd: str | None = None) -> None:
        self._cwd = os.getcwd() if cwd is None else cwd
        self._targets: dict[str, str | None] = {}

    def trace(self, path: str) -> Place:
        """Follow `path`; a failure is part of the answer, not an exception."""
        waiting = list(reversed(_parts(os.path.join(self._cwd, path))))
        here, links = "/", 0
        turns: list[tuple[str, str]] = []
        passed: list[str] = []
        while waiting:
            name = waiting.pop()
            if name == "..":
                here = os.path.dirname(here)
                continue
            entry = os.path.join(here, name)
            try:
                target = self._target(entry)
            except OSError as error:
                turns.append((here, name))
                return Place(path, entry, error.errno or errno.EIO, tuple(turns), tuple(passed))
            if target is not None:
                turns.append((here, name))
                links += 1
                if links > MAX_LINKS:
                    return Place(path, entry, errno.ELOOP, tuple(turns), tuple(passed))
                here = "/" if target.startswith("/") else here
                waiting.extend(reversed(_parts(target)))
                continue
            if waiting:
                passed.append(entry)
            else:
                turns.append((here, name))
            here = entry
        return Place(path, here, 0, tuple(turns), tuple(passed))

    def _target(self, entry: str) -> str | None:
        """What the link says; None for anything that is no link."""
        if entry not in self._targets:
            is_link = stat.S_ISLNK(os.lstat(entry).st_mode)
            self._targets[entry] = os.readlink(entry) if is_link else None
        return self._targets[entry]


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
