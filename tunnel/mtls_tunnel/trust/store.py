"""The only reader of key, certificate and CRL files: a `config.Tls` becomes `TlsFiles`, then `Material`.

All files of one side are read as one: links are followed once for all of them (`places`), each file is opened
through a handle of its real directory, and when the last one has been read everything is looked at again; if a link
or a file changed meanwhile, the reading starts over.  So a swap of a Kubernetes volume or a rewritten file in
the middle never gives a mixed set.  What cannot be told from here (a writer that pauses for long between two files)
shows as a key that does not match, and `material` refuses it.

Content is not judged here but for one thing: an empty file is refused, because it is always a mistake.
"""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mtls_tunnel.config.schema import Tls
from mtls_tunnel.errors import MaterialError, Problem
from mtls_tunnel.trust.material import File, Material, TlsFiles, parse
from mtls_tunnel.trust.places import Place, Tracer

CRL_SUFFIXES = (".pem", ".crl", ".der")
MAX_BYTES = 64 * 1024 * 1024  # the largest public CRLs are about this size; a key or a bundle is far below
ATTEMPTS = 8
PAUSE_SECONDS = 0.025

_ROLES = {
    "cert": "the certificate that this side presents",
    "key": "the private key of tls.cert",
    "ca": "the CA bundle that signs the peers",
    "trust": "the CA bundle of this trust domain",
    "crl": "the revocation list, a file or a directory of them",
}


def load(tls: Tls, *, now: float, strict: bool, serves: bool = False, place: str = "tls") -> Material:
    """Read the files that `tls` names and check them as one set.

    `now` is epoch seconds; `serves` as in `material.parse`; `place` is the path of this section in the
    configuration, for error texts.

    Raises:
        MaterialError: with every problem found, of reading or, if all could be read, of content.
    """
    return parse(read(tls, place=place), now=now, strict=strict, serves=serves)


def paths(tls: Tls) -> tuple[str, ...]:
    """Every file and directory whose change may change the material: what to watch."""
    trusted = [path for domain in tls.trust for path in domain.ca]
    named = [tls.cert, tls.key, *tls.ca, *trusted, tls.crl]
    return tuple(dict.fromkeys(path for path in named if path))


def read(
    tls: Tls,
    *,
    place: str = "tls",
    open_file: Callable[..., int] = os.open,
    pause: Callable[[float], None] = time.sleep,
) -> TlsFiles:
    """Read the files that `tls` names, all of the same moment.

    Raises:
        MaterialError: one problem for each file that is missing, unreadable, empty, too large or no regular
            file; or one alone, if the files kept changing while they were read.
    """
    for _ in range(ATTEMPTS):
        with contextlib.ExitStack() as handles:
            reading = _Reading(place, handles, open_file)
            files = _read_all(tls, reading)
            if reading.is_still_true():
                if reading.problems:
                    raise MaterialError(*dict.fromkeys(reading.problems))
                return files
        pause(PAUSE_SECONDS)
    raise MaterialError(
        Problem(
            "", place, f"the files keep changing while they are read: {tls.cert}", "write them in one go, or mv over"
        )
    )


def _read_all(tls: Tls, reading: "_Reading") -> TlsFiles:
    return TlsFiles(
        cert=reading.file(tls.cert, "cert"),
        key=reading.file(tls.key, "key"),
        ca=tuple(reading.file(path, "ca") for path in tls.ca),
        trust=tuple((one.domain, tuple(reading.file(path, "trust") for path in one.ca)) for one in tls.trust),
        crls=tuple(reading.file(path, "crl") for path in reading.crl_paths(tls.crl)) if tls.crl else None,
        place=reading.place,
    )


@dataclass(slots=True)
class _Reading:
    """One attempt.  Collects problems instead of stopping at the first, and remembers what it saw."""

    place: str
    handles: contextlib.ExitStack
    open_file: Callable[..., int]
    problems: list[Problem] = field(default_factory=list)
    tracer: Tracer = field(default_factory=Tracer)
    directories: dict[str, int] = field(default_factory=dict)
    seen: dict[str, tuple[object, ...]] = field(default_factory=dict)
    listed: dict[str, list[str]] = field(default_factory=dict)

    def file(self, path: str, role: str) -> File:
        where = self._trace(path)
        try:
            content, status = self._content(where)
        except (OSError, ValueError) as error:
            self._refuse(path, role, error)
            return File(path, b"")
        if not content:
            self._problem(role, f"empty file: {path}", "write it again; an interrupted copy leaves this behind")
        others = role == "key" and bool(status.st_mode & stat.S_IROTH) and not _in_volume(where)
        return File(path, content, readable_by_others=others)

    def crl_paths(self, path: str) -> tuple[str, ...]:
        """The file itself, or the CRLs of a directory in name order (none is no error: it refuses every peer)."""
        where = self._trace(path)
        if where.error or not os.path.isdir(where.real):
            return (path,)
        try:
            self.listed[path] = _crl_names(where.real)
        except OSError as error:
            self._refuse(path, "crl", error)
            return ()
        return tuple(os.path.join(path, name) for name in self.listed[path])

    def is_still_true(self) -> bool:
        """Look again with fresh eyes: the same links, the same files, the same sizes and times?"""
        fresh = Tracer()
        try:
            listed = all(_crl_names(fresh.trace(path).real) == names for path, names in self.listed.items())
        except OSError:
            return False
        return listed and all(_state(fresh.trace(path)) == state for path, state in self.seen.items())

    def _trace(self, path: str) -> Place:
        try:
            where = self.tracer.trace(path)
        except ValueError:  # a NUL in the path
            return Place(path, path, errno.EINVAL, (), ())
        self.seen.setdefault(path, _state(where))
        return where

    def _content(self, where: Place) -> tuple[bytes, os.stat_result]:
        if where.error:
            raise OSError(where.error, os.strerror(where.error))
        directory, name = os.path.split(where.real)
        # O_NONBLOCK: a named pipe would otherwise hold the start up until somebody writes to it.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
        descriptor = self.open_file(name or ".", flags, dir_fd=self._directory(directory))
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("not a regular file")
            if status.st_size > MAX_BYTES:
                raise ValueError(f"larger than {MAX_BYTES // 1024 // 1024} MiB")
            return file.read(), status

    def _directory(self, real: str) -> int:
        if real not in self.directories:
            # O_PATH: search permission is enough, as for any other way to open the file.
            descriptor = self.open_file(real, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.handles.callback(os.close, descriptor)
            self.directories[real] = descriptor
        return self.directories[real]

    def _refuse(self, path: str, role: str, error: OSError | ValueError) -> None:
        match error:
            case OSError(errno=errno.ENOENT | errno.ENOTDIR):
                self._problem(role, f"no such file: {path}", _ROLES[role])
            case OSError(errno=errno.EACCES | errno.EPERM):
                remedy = f"let user {os.geteuid()}, who runs the tunnel, read it"
                self._problem(role, f"permission denied: {path}", remedy)
            case OSError(errno=errno.EISDIR):
                self._problem(role, f"a directory, not a file: {path}", _ROLES[role])
            case OSError():
                self._problem(role, f"cannot be read: {path}: {error.strerror or error}", _ROLES[role])
            case ValueError():
                self._problem(role, f"{error}: {path}", _ROLES[role])

    def _problem(self, role: str, text: str, remedy: str) -> None:
        self.problems.append(Problem("", f"{self.place}.{role}", text, remedy))


def _crl_names(directory: str) -> list[str]:
    def names() -> Iterator[str]:
        with os.scandir(directory) as entries:
            for entry in entries:
                # Kubernetes' own `..data` and editors' left-overs begin with a dot.
                if entry.name.endswith(CRL_SUFFIXES) and not entry.name.startswith(".") and not entry.is_dir():
                    yield entry.name

    return sorted(names())


def _state(where: Place) -> tuple[object, ...]:
    """What must be the same before and after for a reading to count."""
    if where.error:
        return (where.real, where.error)
    try:
        status = os.lstat(where.real)
    except OSError as error:
        return (where.real, error.errno)
    return (where.real, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)


def _in_volume(where: Place) -> bool:
    """Whether the way leads through kubelet's `..data` link: who else can read there is the pod's business.

    Such a volume is mounted into containers of one pod only, and without an fsGroup nothing but 0444 can be read.
    """
    return any(name == "..data" for _, name in where.turns)
