"""inotify for `watch`: hears that something may have changed in some directories, and says no more than that.

One `Ears` listens to one plan and is thrown away when the plan changes: a watch sticks to its inode, so after a
directory has been moved or deleted only a new one at the same path tells the truth.  Only directories are watched,
because a watch on a file is lost when the file is replaced.  What changed is found out by looking (`sighting`).

Sources: inotify(7), in particular "Limitations and caveats".
"""

import asyncio
import contextlib
import os
from collections.abc import Callable

# asyncinotify searches for the C library when it is imported, with a subprocess; it is imported by `Ears` alone,
# so that whoever does not watch (`tunnel check`, `tunnel certs`) does not wait for that.
from asyncinotify import Event, Inotify, Mask

from mtls_tunnel.trust.sighting import Plan

_ITSELF = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR
_NAMES = Mask.CREATE | Mask.DELETE | Mask.MOVE
_ENTRIES = _NAMES | Mask.MODIFY | Mask.CLOSE_WRITE | Mask.ATTRIB
_GONE = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT | Mask.IGNORED


class Ears:
    """Calls `heard()` when something relevant happened; `stale` means that it can no longer hear everything."""

    def __init__(self, plan: Plan, heard: Callable[[], None]) -> None:
        """Start listening.  Raises OSError if inotify cannot be had, or not for all directories."""
        self.stale = False
        self._plan = plan
        self._heard = heard
        self._written: set[tuple[str, str]] = set()
        self._loop = asyncio.get_running_loop()
        _need_descriptors()
        self._inotify = Inotify(sync_timeout=0)
        try:
            self._subscribe()
            self._loop.add_reader(self._inotify.fd, self._drain)
        except BaseException:
            self._inotify.close()
            raise

    @property
    def writing(self) -> bool:
        """Some file of the plan has been written to and not been closed yet."""
        return bool(self._written)

    def close(self) -> None:
        self._loop.remove_reader(self._inotify.fd)
        self._inotify.close()

    def _subscribe(self) -> None:
        for directory, interest in self._plan.items():
            listed = bool(interest.names) or interest.newcomers
            # A directory that is already gone again shows in the next look; one on the way that we may pass but not
            # list (0711) can only be missed, since inotify demands read permission.
            bearable = (FileNotFoundError, NotADirectoryError, *(() if listed else (PermissionError,)))
            with contextlib.suppress(*bearable):
                self._inotify.add_watch(directory, _ITSELF | _ENTRIES if listed else _ITSELF)

    def _drain(self) -> None:
        relevant = False
        while (event := self._inotify.sync_get()) is not None:
            relevant = self._weigh(event) or relevant
        if relevant:
            self._heard()

    def _weigh(self, event: Event) -> bool:
        watch = event.watch
        if watch is None or event.mask & _GONE:  # None: the kernel's queue was full, anything may have happened
            self.stale = True
            return True
        if event.name is None:
            return True
        directory, name = str(watch.path), str(event.name)
        if not self._plan[directory].covers(name, is_write=not event.mask & _NAMES):
            return False
        if event.mask & Mask.MODIFY:
            self._written.add((directory, name))
        elif event.mask & (Mask.CLOSE_WRITE | Mask.DELETE | Mask.MOVE):
            self._written.discard((directory, name))
        return True


def _need_descriptors() -> None:
    """Raise OSError unless two descriptors are free: asyncinotify keeps its first one if it cannot have the second."""
    for end in os.pipe():
        os.close(end)
