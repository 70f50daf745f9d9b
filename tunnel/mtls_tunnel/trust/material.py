"""A tunnel's own certificates: the bytes of its files become one checked `Material`, or a list of what is wrong.

Checked as one: the key fits the leaf, the chain leads upwards, each certificate of the bundle is a CA, each CRL
is signed by the CA whose name it bears.  All faults are reported at once, each with its remedy.  What works but
should not stay so is a `Caution`, an error when strict.  An expired leaf is neither: it is a fact that the caller
asks for with `expired`, so that a renewal can heal a running tunnel.

Nothing is read from disk here and the system's roots are never a substitute.  Pure; the clock is an argument.
Sources: RFC 5280 §4.2.1.9 (CA certificates), §5 (CRLs); RFC 9525 §2 (names in SANs); RFC 8446 §4.4.2 (order).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mtls_tunnel.errors import MaterialError, Problem
from mtls_tunnel.trust import chain as chains
from mtls_tunnel.trust import decode, revocation, spiffe
from mtls_tunnel.trust.decode import File, PrivateKey, Unusable

Parsed = TypeVar("Parsed")

__all__ = ["Caution", "File", "Material", "PrivateKey", "TlsFiles", "parse"]

KEY_READABLE = "certstore: key file can be read by others"
CHAIN_ORDERED = "certstore: chain put in order"
FOREIGN_LEAF = "certstore: leaf was not issued by a CA of tls.ca"
LEAF_WITHOUT_SAN = "certstore: leaf has no subject alternative name, clients will refuse it"
NO_CRL = "certstore: no CRL in tls.crl, every peer is refused"
DELTA_CRL = "certstore: delta CRL is not used"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What one side's files hold.  `crls` is None where no CRL is configured, which is not "an empty folder"."""

    cert: File
    key: File
    ca: tuple[File, ...]
    trust: tuple[tuple[str, tuple[File, ...]], ...] = ()
    crls: tuple[File, ...] | None = None
    place: str = "tls"  # the section of the configuration that names them


@dataclass(frozen=True, slots=True)
class Caution:
    """Something that works and should be put right: a log message and the file it is about."""

    msg: str
    file: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Material:
    """One side's certificates, checked as one.  Replaced as a whole, never changed."""

    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]  # what is sent behind the leaf, in order; may be empty
    key: PrivateKey = field(repr=False)
    bundle: tuple[x509.Certificate, ...]  # tls.ca
    trust: tuple[tuple[str, tuple[x509.Certificate, ...]], ...]  # SPIFFE trust domain, its CAs
    crls: tuple[x509.CertificateRevocationList, ...] | None  # None: revocation is not looked at
    warnings: tuple[Caution, ...]
    digest: str  # SHA-256 over all that was parsed: equal means that nothing changed
    bundle_digest: str  # SHA-256 of the bytes of tls.ca, files joined: what sha256sum says of a single file
    cert_path: str
    key_path: str
    ca_paths: tuple[str, ...]

    @property
    def not_before(self) -> float:
        """Start of the leaf's validity, epoch seconds."""
        return self.leaf.not_valid_before_utc.timestamp()

    @property
    def not_after(self) -> float:
        """End of the leaf's validity, epoch seconds; the last second is still valid."""
        return self.leaf.not_valid_after_utc.timestamp()

    @property
    def crl_next_update(self) -> float | None:
        """When the first of the CRLs runs out, epoch seconds; None without CRLs or if none says."""
        ends = [crl.next_update_utc for crl in self.crls or ()]
        return min((end.timestamp() for end in ends if end is not None), default=None)

    def anchors(self) -> tuple[x509.Certificate, ...]:
        """Every CA that can vouch for some peer: tls.ca, then those of tls.trust, each once."""
        return tuple(dict.fromkeys((*self.bundle, *(one for _, cas in self.trust for one in cas))))

    def expired(self, now: float) -> bool:
        """Say whether the leaf has expired."""
        return now > self.not_after

    def not_yet_valid(self, now: float) -> bool:
        """Say whether the leaf's validity has not begun, often a clock that is wrong."""
        return now < self.not_before


def parse(files: TlsFiles, *, now: float, strict: bool = False, serves: bool = False) -> Material:
    """Check *files* as one and return what they hold.

    *now* is only used with *strict*, which turns each caution, and a leaf out of its dates, into a problem.  *serves*
    says that clients will verify this leaf, so that it needs names.  Not checked: whether the CAs of the bundle
    are within their dates, and whether CRLs are (an expired one refuses peers later; nothing is let in by it).

    Raises:
        MaterialError: with all problems; `place` is ``tls.cert``, ``tls.key``, ``tls.ca``, ``tls.trust`` or
            ``tls.crl``, and `file` is empty for the caller to fill with the configuration's name.
    """
    return _Reading(files, now, strict, serves).material()


class _Reading:
    """One pass over the files: collects problems and cautions until there is nothing more to find."""

    def __init__(self, files: TlsFiles, now: float, strict: bool, serves: bool) -> None:
        self._files = files
        self._now = now
        self._strict = strict
        self._serves = serves
        self._problems: list[Problem] = []
        self._cautions: list[Caution] = []

    def material(self) -> Material:
        files = self._files
        key = self._key()
        sent = self._sent(key)
        bundle = self._authorities("ca", files.ca)
        trust = self._domains(files.trust)
        if sent and bundle and not chains.leads_to(sent, bundle):
            self._caution("cert", Caution(FOREIGN_LEAF, files.cert.path, "peers that trust only tls.ca refuse it"))
        known = (*bundle, *(one for _, cas in trust for one in cas), *sent[1:])
        crls = None if files.crls is None else self._crls(files.crls, known)
        if self._problems or key is None:
            raise MaterialError(*self._problems)
        return Material(
            leaf=sent[0],
            chain=sent[1:],
            key=key,
            bundle=bundle,
            trust=trust,
            crls=crls,
            warnings=tuple(self._cautions),
            digest=_digest(sent, bundle, trust, crls),
            bundle_digest=hashlib.sha256(b"".join(file.content for file in files.ca)).hexdigest(),
            cert_path=files.cert.path,
            key_path=files.key.path,
            ca_paths=tuple(file.path for file in files.ca),
        )

    def _key(self) -> PrivateKey | None:
        file = self._files.key
        if file.readable_by_others:
            self._caution("key", Caution(KEY_READABLE, file.path, "chmod 600, or 640 with a group of its own"))
        return self._try(decode.private_key, "key", file)

    def _sent(self, key: PrivateKey | None) -> tuple[x509.Certificate, ...]:
        """The leaf and what is sent behind it; empty if there is a problem."""
        file = self._files.cert
        found = self._try(decode.certificates, "cert", file)
        if found is None or key is None:
            return ()
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        leaf = next((one for one in found if _public(one) == public), None)
        if leaf is None:
            text = f"no certificate of {file.path} fits the key {self._files.key.path}"
            self._problem("cert", text, "cert and key have to be of one pair; one of the two may be of an older one")
            return ()
        ordered = chains.order(leaf, found)
        for stranger in ordered.strangers:
            text = f"{file.path}: {stranger.subject.rfc4514_string()} did not issue anything in the leaf's chain"
            self._problem("cert", text, "keep the leaf and its intermediates; the CAs that sign the peers go to tls.ca")
        if ordered.chain != tuple(dict.fromkeys(found)):
            self._caution("cert", Caution(CHAIN_ORDERED, file.path, "leaf first, then each one's issuer"))
        self._judge_leaf(leaf, file)
        self._judge_signatures(ordered.chain, file)
        return ordered.chain

    def _judge_leaf(self, leaf: x509.Certificate, file: File) -> None:
        if self._serves and not _has_san(leaf):
            self._caution("cert", Caution(LEAF_WITHOUT_SAN, file.path, "issue it anew with its DNS names as SANs"))
        if not self._strict:
            return
        start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        if self._now > end.timestamp():
            self._problem("cert", f"{file.path}: the leaf expired on {end:%Y-%m-%d %H:%M} UTC", "renew it")
        elif self._now < start.timestamp():
            text = f"{file.path}: the leaf is not valid before {start:%Y-%m-%d %H:%M} UTC"
            self._problem("cert", text, "set the clock of this machine, or of the one that issued it")

    def _judge_signatures(self, chain: Sequence[x509.Certificate], file: File) -> None:
        for one in chain:
            algorithm = one.signature_hash_algorithm
            if algorithm is not None and algorithm.name in ("md5", "sha1") and one.issuer != one.subject:
                text = f"{file.path}: {one.subject.rfc4514_string()} is signed with {algorithm.name.upper()}"
                self._problem("cert", text, "no TLS library takes it any more: have it issued anew with SHA-256")

    def _authorities(self, key: str, files: Sequence[File]) -> tuple[x509.Certificate, ...]:
        if not files:
            self._problem(key, "no CA file is named", "name the CA bundle that signs the peers")
        parsed = [self._try(decode.authorities, key, file) or () for file in files]
        return tuple(dict.fromkeys(one for part in parsed for one in part))

    def _domains(
        self, named: Sequence[tuple[str, tuple[File, ...]]]
    ) -> tuple[tuple[str, tuple[x509.Certificate, ...]], ...]:
        seen: set[str] = set()
        trust = []
        for domain, files in named:
            if fault := spiffe.fault_in_trust_domain(domain) or ("it is listed twice" if domain in seen else ""):
                self._problem("trust", f"{domain}: {fault}")
            seen.add(domain)
            trust.append((domain, self._authorities("trust", files)))
        return tuple(trust)

    def _crls(
        self, files: Sequence[File], known: Sequence[x509.Certificate]
    ) -> tuple[x509.CertificateRevocationList, ...]:
        if not files:
            self._caution("crl", Caution(NO_CRL, "", "put the CRL of the CA that signs the peers there"))
        crls: list[x509.CertificateRevocationList] = []
        for file in files:
            for crl in self._try(decode.revocation_lists, "crl", file) or ():
                crls.append(crl)
                self._judge_crl(crl, known, file)
        return tuple(crls)

    def _judge_crl(self, crl: x509.CertificateRevocationList, known: Sequence[x509.Certificate], file: File) -> None:
        if revocation.is_delta(crl):
            self._caution("crl", Caution(DELTA_CRL, file.path, "give the full CRL of the CA"))
        # A CRL of a CA that only peers send (an intermediate) is judged when its certificate is known.
        issuers = [one for one in known if one.subject == crl.issuer]
        if issuers and not any(revocation.signed_by(crl, one) for one in issuers):
            text = f"{file.path}: the CRL is not signed by the CA whose name it bears ({crl.issuer.rfc4514_string()})"
            self._problem("crl", text, "fetch it again from the CA; a CA of the same name may have replaced it")

    def _try(self, read: Callable[[str, File], Parsed], key: str, file: File) -> Parsed | None:
        try:
            return read(f"{self._files.place}.{key}", file)
        except Unusable as error:
            self._problems.append(error.problem)
            return None

    def _problem(self, key: str, text: str, remedy: str = "") -> None:
        self._problems.append(Problem("", f"{self._files.place}.{key}", text, remedy))

    def _caution(self, key: str, caution: Caution) -> None:
        if self._strict:
            text = ": ".join(part for part in (caution.file, caution.msg.removeprefix("certstore: ")) if part)
            self._problem(key, text, caution.remedy)
        else:
            self._cautions.append(caution)


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _has_san(leaf: x509.Certificate) -> bool:
    try:
        return len(list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)) > 0
    except x509.ExtensionNotFound:
        return False


def _digest(
    sent: Sequence[x509.Certificate],
    bundle: Sequence[x509.Certificate],
    trust: Sequence[tuple[str, Sequence[x509.Certificate]]],
    crls: Sequence[x509.CertificateRevocationList] | None,
) -> str:
    """Hash what was understood, so that comments and the order of a file are no change.

    The key is left out on purpose: it fits the leaf, and a digest that people may log needs no part of it.
    """
    total = hashlib.sha256()
    lists = "none" if crls is None else f"{len(crls)}"
    total.update(f"{len(sent)} {len(bundle)} {lists}".encode())
    certificates = [*sent, *bundle]
    for domain, anchors in trust:
        total.update(f" {domain} {len(anchors)}".encode())
        certificates += anchors
    encoded = [one.public_bytes(Encoding.DER) for one in certificates]
    encoded += [crl.public_bytes(Encoding.DER) for crl in crls or ()]
    for der in encoded:
        total.update(hashlib.sha256(der).digest())
    return total.hexdigest()
