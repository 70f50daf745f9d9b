"""The folder of a development PKI: its CA, what it has issued, and how files get there.

    ca.pem, ca-key.pem                       the root; ca.pem is the trust bundle
    intermediate.pem, intermediate-key.pem   the CA that signs, if there is one; its file does not hold the root
    NAME.pem, NAME-key.pem                   leaf first, then the intermediate; the key
    crl.pem                                  a CRL of the CA that signs, then one of the root if that is another
    index.json                               which serials were issued under which name, and which are revoked

Every file is written beside its place and moved there whole.  A key exists from its first moment with mode 0600.
Whoever changes the folder holds a lock on it.  Nothing is decided here about names or lifetimes.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_tunnel.errors import ConfigError, Problem, TunnelError
from mtls_tunnel.trust import chain, decode, pki
from mtls_tunnel.trust.decode import File, Unusable
from mtls_tunnel.trust.pki import Credential, Revoked
from mtls_tunnel.trust.store import MAX_BYTES

T = TypeVar("T")

RESERVED = ("ca", "intermediate", "crl", "index")
KEY_MODE = 0o600
CERT_MODE = 0o644
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True, slots=True)
class Entry:
    """One issued certificate."""

    name: str
    serial: str  # hex
    issuer: str  # SHA-256 of the issuing certificate, hex
    not_after: float  # epoch seconds
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """What index.json holds."""

    crl_number: int = 0
    issued: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """A file to be written."""

    name: str
    content: bytes
    mode: int = CERT_MODE


@dataclass(frozen=True, slots=True)
class Authorities:
    """The CAs of a folder; `signer` is `root` where there is no intermediate."""

    root: Credential
    signer: Credential

    @property
    def all(self) -> tuple[Credential, ...]:
        return (self.signer,) if self.signer is self.root else (self.signer, self.root)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is ours while the `with` block of `opened` lasts."""

    path: Path
    force: bool = False

    def file(self, name: str) -> Path:
        return self.path / name

    def refuse_existing(self, names: Sequence[str]) -> None:
        """Unless forced, raise ConfigError for each file that is already there."""
        if self.force:
            return
        there = [self.file(name) for name in names if os.path.lexists(self.file(name))]
        if there:
            remedy = "--force replaces it"
            raise ConfigError(*(Problem(str(path), "", "already exists", remedy) for path in there))

    def write(self, *outputs: Output, replace_existing: bool = False) -> None:
        """Put files in their places, all written before the first is moved."""
        over = self.force or replace_existing
        with contextlib.ExitStack() as leftovers:
            ready = []
            for output in outputs:
                temporary = self._temporary(output)
                leftovers.callback(temporary.unlink, missing_ok=True)
                ready.append((temporary, self.file(output.name)))
            for temporary, final in ready:
                _move(temporary, final, over=over)
        _sync_directory(self.path)

    def remove(self, *names: str) -> None:
        for name in names:
            self.file(name).unlink(missing_ok=True)

    def authorities(self) -> Authorities:
        """Load the CAs.  Raises ConfigError if there is none, or it cannot be used."""
        if not self.file("ca.pem").exists():
            remedy = f"make a CA first: tunnel certs init {self.path}"
            raise ConfigError(Problem(str(self.path), "", "holds no CA (ca.pem)", remedy))
        root = self._credential("ca")
        if not self.file("intermediate.pem").exists():
            return Authorities(root, root)
        signer = self._credential("intermediate")
        if not chain.issued(root.certificate, signer.certificate):
            remedy = "put the right ca.pem back, or remove intermediate.pem and intermediate-key.pem"
            raise ConfigError(Problem(str(self.file("intermediate.pem")), "", "was not issued by ca.pem", remedy))
        return Authorities(root, signer)

    def index(self) -> Index:
        """Read index.json; without one nothing has been issued yet."""
        path = self.file("index.json")
        try:
            parsed: Any = json.loads(path.read_bytes())
            entries = tuple(Entry(**entry) for entry in parsed["issued"])
            return Index(int(parsed["crl_number"]), entries)
        except FileNotFoundError:
            return Index()
        except (ValueError, TypeError, KeyError):
            remedy = "restore it, or remove it and lose the record of what was issued and revoked"
            raise ConfigError(Problem(str(path), "", "is no index of issued certificates", remedy)) from None

    def write_index(self, index: Index) -> None:
        text = json.dumps({"crl_number": index.crl_number, "issued": [asdict(one) for one in index.issued]}, indent=1)
        self.write(Output("index.json", text.encode() + b"\n"), replace_existing=True)

    def certificate(self, name: str) -> x509.Certificate:
        """The leaf of NAME.pem.  Raises ConfigError."""
        return decode_file(decode.certificates, self.file(f"{name}.pem"))[0]

    def _credential(self, name: str) -> Credential:
        key_path = self.file(f"{name}-key.pem")
        certificate = self.certificate(name)
        key = decode_file(decode.private_key, key_path)
        if key.public_key() != certificate.public_key():
            remedy = "they are of two different CAs; put the right one back"
            raise ConfigError(Problem(str(key_path), "", f"does not fit {name}.pem", remedy))
        return Credential(certificate, key)

    def _temporary(self, output: Output) -> Path:
        path = self.file(f".{output.name}.{secrets.token_hex(6)}")
        # O_EXCL with the final mode: at no moment could another user open the key.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, output.mode)
        try:
            with open(descriptor, "wb") as file:
                file.write(output.content)
                file.flush()
                os.fsync(descriptor)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path


@contextlib.contextmanager
def opened(path: str, *, force: bool = False, create: bool = False) -> Iterator[Folder]:
    """Lock the folder, making it if `create`; OSError becomes TunnelError (exit 1) or ConfigError (no folder)."""
    folder = Path(path)
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Folder(folder, force)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        remedy = f"make a CA first: tunnel certs init {folder}"
        raise ConfigError(Problem(str(folder), "", "no such folder", remedy)) from error
    except (NotADirectoryError, FileExistsError) as error:
        raise ConfigError(Problem(str(folder), "", "is not a folder", "name another one")) from error
    except OSError as error:
        where = error.filename2 or error.filename or folder
        raise TunnelError(f"{where}: {error.strerror or error}") from error


def decode_file(parse: Callable[[str, File], T], path: Path) -> T:
    """Read a file and parse it with one of `trust.decode`'s functions.  Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(Problem(str(path), "", f"larger than {MAX_BYTES // 1024 // 1024} MiB"))
        return parse("", File(str(path), content))
    except Unusable as error:
        raise ConfigError(error.problem) from error
    except FileNotFoundError:
        raise ConfigError(Problem(str(path), "", "no such file")) from None
    except OSError as error:
        raise ConfigError(Problem(str(path), "", f"cannot be read: {error.strerror or error}")) from error


def make_crls(authorities: Authorities, index: Index, *, now: float, seconds: float) -> tuple[Output, Index]:
    """crl.pem with a CRL of each CA, signer first, and the index with the number that it bears."""
    number = index.crl_number + 1
    text = b"".join(
        pki.make_crl(
            issuer,
            [
                Revoked(int(one.serial, 16), one.revoked_at)
                for one in index.issued
                if one.revoked_at is not None and one.issuer == fingerprint(issuer.certificate)
            ],
            number=number,
            this_update=now - pki.SKEW_SECONDS,
            next_update=now + seconds,
        ).public_bytes(Encoding.PEM)
        for issuer in authorities.all
    )
    return Output("crl.pem", text), replace(index, crl_number=number)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER in lower-case hex, the form of `acl.allow_fingerprint`."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _move(temporary: Path, final: Path, *, over: bool) -> None:
    if over:
        temporary.rename(final)
        return
    try:
        os.link(temporary, final, follow_symlinks=False)  # unlike rename, fails if there is something
    except FileExistsError:
        raise ConfigError(Problem(str(final), "", "already exists", "--force replaces it")) from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS or os.path.lexists(final):
            raise
        temporary.rename(final)  # a file system without hard links; the folder's lock keeps our own kind out


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
