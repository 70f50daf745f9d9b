"""What watched paths look like at one moment: comparable signatures, and the directories to listen to.

A signature says where the path leads and what is there: inode, size, time of the last change and, up to 1 MiB, a
digest of the content, because two writes within one tick of the kernel's clock have the same time.  A path that does
not exist, or may not be read, has a signature too.  A directory is the sum of what can be a configuration or
a CRL in it and in its directories (`DIR/*/tunnel.yaml` counts): by suffix, and not hidden by a leading dot, so that a
log file in the same place does not look like news.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mtls_tunnel.trust.places import Place, Tracer

DIGEST_BYTES = 1024 * 1024
LEVELS = 2
SUFFIXES = (".yaml", ".pem", ".crl", ".der")

Signature = tuple[object, ...]


@dataclass(slots=True)
class Interest:
    """What matters in one directory: these names, any that may come, or (neither) only that it stays in its place."""

    names: set[str] = field(default_factory=set)
    newcomers: bool = False

    def covers(self, name: str, *, is_write: bool) -> bool:
        """Whether it may matter that `name` was written to (or came, went, was renamed)."""
        # What comes may be a directory, or a link to one, of any name.
        counts = not name.startswith(".") and (name.endswith(SUFFIXES) or not is_write)
        return name in self.names or (self.newcomers and counts)


Plan = Mapping[str, Interest]


@dataclass(frozen=True, slots=True)
class Sighting:
    """`signatures` by watched path; `plan` by real directory."""

    signatures: Mapping[str, Signature]
    plan: Plan

    def changed_since(self, earlier: "Sighting") -> frozenset[str]:
        return frozenset(path for path, now in self.signatures.items() if earlier.signatures.get(path) != now)


def look(paths: Iterable[str]) -> Sighting:
    """Look at all paths once.  Reads small files, opens nothing that could block.

    Raises:
        OSError: of the machine's limits only (descriptors, memory): then nothing is known about the paths.
    """
    looker = _Looker()
    return Sighting({path: looker.signature(path) for path in paths}, looker.plan)


@dataclass(slots=True)
class _Looker:
    tracer: Tracer = field(default_factory=Tracer)
    plan: dict[str, Interest] = field(default_factory=dict)

    def signature(self, path: str, levels: int = LEVELS) -> Signature:
        place = self.tracer.trace(path)
        self._note(place)
        try:
            status = os.stat(place.real, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                return (place.real, status.st_ino, tuple(self._entries(path, place.real, levels)))
            return (place.real, *_file_signature(place.real, status))
        except OSError as error:
            return (place.real, "unreadable", _errno(error))

    def _entries(self, path: str, real: str, levels: int) -> Iterator[tuple[str, Signature]]:
        if levels == 0:
            return
        self._interest(real).newcomers = True
        for name in sorted(os.listdir(real)):
            within = levels > 1 and os.path.isdir(os.path.join(real, name))
            if not name.startswith(".") and (within or name.endswith(SUFFIXES)):
                yield name, self.signature(os.path.join(path, name), levels - 1)

    def _note(self, place: Place) -> None:
        for directory in place.passed:
            self._interest(directory)
        for directory, name in place.turns:
            self._interest(directory).names.add(name)

    def _interest(self, directory: str) -> Interest:
        return self.plan.setdefault(directory, Interest())


def _file_signature(real: str, status: os.stat_result) -> Signature:
    # ctime, not mtime: chmod, chown and a copy that keeps the old mtime count as well.
    outside = (status.st_dev, status.st_ino, status.st_size, status.st_mode, status.st_ctime_ns)
    if not stat.S_ISREG(status.st_mode) or status.st_size > DIGEST_BYTES:
        return outside
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        return (*outside, "unreadable", _errno(error))
    with open(descriptor, "rb", buffering=0) as file:
        return (*outside, hashlib.sha256(file.read(DIGEST_BYTES)).digest())


def _errno(error: OSError) -> int | None:
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        raise error
    return error.errno
