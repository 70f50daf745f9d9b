"""What `tunnel certs` does with its folder: init, issue, revoke, crl, quickstart.

Each action takes its arguments and the time, prints what it wrote, and returns the exit code; what goes wrong is
raised.  The index is written before the certificate, so that nothing exists that could not be revoked.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from cryptography import x509

from mtls_tunnel.app import certs_names
from mtls_tunnel.app.certs_folder import (
    KEY_MODE,
    Authorities,
    Entry,
    Folder,
    Index,
    Output,
    fingerprint,
    make_crls,
    opened,
)
from mtls_tunnel.errors import ConfigError, Problem
from mtls_tunnel.trust import pki
from mtls_tunnel.trust.pki import Credential, Names, Validity

CA_ORGANIZATION = "mtls-tunnel development"
QUICKSTART = (  # name, what it is called, whether it is the server
    ("server", Names("localhost", dns=("localhost",), ips=("127.0.0.1", "::1")), True),
    ("client", Names("frontend-service", orgs=("example",), dns=("frontend-service",)), False),
)


def init(args: argparse.Namespace, now: float) -> int:
    """A new CA, and with --intermediate a second one below it, which signs from now on."""
    with opened(args.dir, force=args.force, create=True) as folder:
        _new_authorities(folder, args, now)
    return 0


def issue(args: argparse.Namespace, now: float) -> int:
    """A new certificate with its key; for servers and clients alike, unless one of them is asked for."""
    names = certs_names.names_of(args)
    both = args.server == args.client
    with opened(args.dir, force=args.force) as folder:
        _issue(folder, args, now, args.name, names, server=both or args.server, client=both or args.client)
    if args.server and not (names.dns or names.ips or names.uris):
        _warn("it has no subject alternative name, so clients will refuse it", "give --dns, --ip or --uri")
    return 0


def revoke(args: argparse.Namespace, now: float) -> int:
    """Revoke every certificate issued so far under a name; crl.pem lists them from now on."""
    certs_names.check_name(args.name)
    with opened(args.dir) as folder:
        authorities, index = folder.authorities(), folder.index()
        named = [one for one in index.issued if one.name == args.name]
        if not named:
            remedy = "tunnel certs issue makes one; index.json lists what was issued"
            raise ConfigError(Problem(args.dir, "", f"no certificate was issued under the name {args.name}", remedy))
        fresh = [one for one in named if one.revoked_at is None]
        issued = tuple(replace(one, revoked_at=now) if one in fresh else one for one in index.issued)
        _write_crl(folder, authorities, replace(index, issued=issued), now, args.lifetime)
    print(f"revoked: {', '.join(one.serial for one in fresh)}" if fresh else f"{args.name} had been revoked before")
    return 0


def crl(args: argparse.Namespace, now: float) -> int:
    """The revocation list anew, with a later end."""
    with opened(args.dir) as folder:
        _write_crl(folder, folder.authorities(), folder.index(), now, args.lifetime)
    return 0


def quickstart(args: argparse.Namespace, now: float) -> int:
    """mtlsd's five files, and the key of the CA."""
    with opened(args.dir, force=args.force, create=True) as folder:
        folder.refuse_existing(_pairs(["ca", *(name for name, _, _ in QUICKSTART)]))
        _new_authorities(folder, args, now)
        for name, names, is_server in QUICKSTART:
            _issue(folder, args, now, name, names, server=is_server, client=not is_server)
    return 0


def _new_authorities(folder: Folder, args: argparse.Namespace, now: float) -> None:
    names = ["ca", "intermediate"] if args.intermediate else ["ca"]
    folder.refuse_existing(_pairs(names))
    validity = Validity.starting(now, args.lifetime)
    root = pki.make_root(_ca_names(args.cn), validity=validity, key=pki.new_key(args.key))
    made = {"ca": root}
    if args.intermediate:
        below = _ca_names(f"{args.cn} intermediate")
        made["intermediate"] = pki.make_intermediate(root, below, validity=validity, key=pki.new_key(args.key))
    # A new root makes everything below the old one worthless: an old intermediate must not go on signing.
    folder.remove("intermediate.pem", "intermediate-key.pem")
    # The CRL's number goes on counting, because the new CA may bear the name of the old one.
    index = Index(folder.index().crl_number) if folder.file("index.json").exists() else Index()
    folder.write_index(index)
    for name, credential in made.items():
        _write_pair(folder, name, credential)
    if folder.file("crl.pem").exists():
        _write_crl(folder, folder.authorities(), index, now, certs_names.CRL_SECONDS)


def _ca_names(cn: str) -> Names:
    return Names(certs_names.checked_cn(cn), orgs=(CA_ORGANIZATION,))


def _issue(
    folder: Folder, args: argparse.Namespace, now: float, name: str, names: Names, *, server: bool, client: bool
) -> None:
    authorities = folder.authorities()
    folder.refuse_existing(_pairs([name]))
    issuer = authorities.signer
    _refuse_expired(folder, authorities, now)
    wanted = Validity.starting(now, args.lifetime)
    validity = wanted.within(issuer.certificate)
    leaf = pki.make_leaf(issuer, names, validity=validity, key=pki.new_key(args.key), server=server, client=client)
    serial = f"{leaf.certificate.serial_number:x}"
    entry = Entry(name, serial, fingerprint(issuer.certificate), validity.not_after)
    index = folder.index()
    folder.write_index(replace(index, issued=(*index.issued, entry)))
    _write_pair(folder, name, leaf)
    if validity.not_after < wanted.not_after - 1:
        _warn(f"{name}.pem ends when its CA does, at {_utc(validity.not_after)}", "")


def _refuse_expired(folder: Folder, authorities: Authorities, now: float) -> None:
    for authority in authorities.all:
        end = authority.certificate.not_valid_after_utc.timestamp()
        if end <= now:
            remedy = f"make a new one: tunnel certs init {folder.path} --force"
            raise ConfigError(Problem(str(folder.path), "", f"the CA expired at {_utc(end)}", remedy))


def _pairs(names: Iterable[str]) -> list[str]:
    return [f"{name}{end}" for name in names for end in (".pem", "-key.pem")]


def _write_pair(folder: Folder, name: str, credential: Credential) -> None:
    key = Output(f"{name}-key.pem", credential.key_pem, KEY_MODE)
    folder.write(Output(f"{name}.pem", credential.cert_pem), key)
    until = _utc(credential.certificate.not_valid_after_utc.timestamp())
    print(f"{folder.file(name)}.pem, {name}-key.pem: {_subject(credential.certificate)}, until {until}")


def _write_crl(folder: Folder, authorities: Authorities, index: Index, now: float, seconds: float) -> None:
    """The index first: a revocation must not be forgotten because its list could not be written."""
    output, numbered = make_crls(authorities, index, now=now, seconds=seconds)
    folder.write_index(numbered)
    folder.write(output, replace_existing=True)
    revoked = sum(one.revoked_at is not None for one in index.issued)
    print(f"{folder.file('crl.pem')}: {revoked} revoked, until {_utc(now + seconds)}")


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "(empty subject)"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _warn(text: str, remedy: str) -> None:
    print(f"warning: {text} - {remedy}" if remedy else f"warning: {text}", file=sys.stderr)
