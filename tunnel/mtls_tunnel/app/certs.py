"""`tunnel certs`: a development PKI in a folder, and a look at the certificates of files and live servers.

Here the words of the command line are declared; `certs_actions` and `certs_show` carry them out.  Keys lie in the
folder unencrypted, and who can read it can issue in its name: production certificates come from the company's CA,
from cert-manager, or from the operator.
"""

import argparse
import time
from typing import TYPE_CHECKING, Any, get_args

from mtls_tunnel.app import certs_actions as actions
from mtls_tunnel.app import certs_names as names
from mtls_tunnel.app import certs_show
from mtls_tunnel.trust.pki import DAY_SECONDS, KeyKind

if TYPE_CHECKING:
    from mtls_tunnel.app.cli import Commands

DESCRIPTION = """\
A development PKI in a folder, and a look at the certificates of files and live servers.
Keys lie there unencrypted (mode 0600): for development and tests, not for production.
Nothing is overwritten without --force, but for crl.pem, which is made to be renewed.
"""

EXAMPLES = """\
examples:
  tunnel certs quickstart certs                        a CA, a server and a client certificate
  tunnel certs init pki --intermediate                 a root, and a CA below it that signs
  tunnel certs issue pki db --dns db.internal --server
  tunnel certs issue pki web --uri spiffe://example.org/web --client --hours 24
  tunnel certs revoke pki web                          crl.pem lists it from now on
  tunnel certs show pki/db.pem
  tunnel certs show db.internal:8443
"""

CA_NAME = "mtls-tunnel development CA"
CA_DAYS = 3650
LEAF_DAYS = 365


def add(commands: "Commands") -> None:
    """Register the command and its actions."""
    parser = _parser(commands, "certs", "make and show development certificates", DESCRIPTION, EXAMPLES)
    chosen = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_init(chosen)
    _add_issue(chosen)
    _add_revoke(chosen)
    _add_crl(chosen)
    _add_show(chosen)
    _add_quickstart(chosen)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out the action; the caller prints what is raised."""
    return int(args.perform(args, time.time()))


def _add_init(chosen: "Commands") -> None:
    examples = (
        "examples:\n"
        "  tunnel certs init pki\n"
        "  tunnel certs init pki --cn 'Team CA' --days 30 --key rsa --intermediate\n"
    )
    text = "Make DIR/ca.pem and DIR/ca-key.pem. With --intermediate, a CA below it signs what is issued."
    parser = _parser(chosen, "init", "make a CA", text, examples)
    _folder(parser)
    parser.add_argument("--cn", metavar="NAME", default=CA_NAME, help=f"the CA's common name (default: {CA_NAME})")
    _days(parser, CA_DAYS)
    _key(parser)
    parser.add_argument("--intermediate", action="store_true", help="make a second CA below the first; it signs")
    _force(parser)
    parser.set_defaults(perform=actions.init)


def _add_issue(chosen: "Commands") -> None:
    examples = (
        "examples:\n"
        "  tunnel certs issue pki db --dns db.internal --ip 10.0.0.5 --server\n"
        "  tunnel certs issue pki web --cn web-service --org Example --client\n"
        "  tunnel certs issue pki job --uri spiffe://example.org/job --hours 24\n"
    )
    text = (
        "Make DIR/NAME.pem (leaf first, then the intermediate if there is one) and DIR/NAME-key.pem.\n"
        "Without --server or --client it is good for both. Without any --dns, --ip, --uri or --email,\n"
        "a common name that is a DNS name becomes one: peers look for names there and nowhere else."
    )
    parser = _parser(chosen, "issue", "make a certificate", text, examples)
    _folder(parser)
    parser.add_argument("name", metavar="NAME", help="the files are NAME.pem and NAME-key.pem")
    parser.add_argument("--cn", metavar="CN", help="common name (default: NAME)")
    for flag, what in (
        ("--org", "organization"),
        ("--ou", "organizational unit"),
        ("--dns", "DNS name, also *.example.com"),
        ("--ip", "IP address"),
        ("--uri", "URI, such as a SPIFFE ID"),
        ("--email", "e-mail address"),
    ):
        metavar = flag.removeprefix("--").upper()
        parser.add_argument(flag, action="append", default=[], metavar=metavar, help=f"{what}; may be given again")
    parser.add_argument("--server", action="store_true", help="for TLS servers")
    parser.add_argument("--client", action="store_true", help="for TLS clients")
    lifetime = parser.add_mutually_exclusive_group()
    _days(lifetime, LEAF_DAYS)
    _hours(lifetime, None)
    _key(parser)
    _force(parser)
    parser.set_defaults(perform=actions.issue)


def _add_revoke(chosen: "Commands") -> None:
    text = (
        "Revoke every certificate issued so far under NAME and write DIR/crl.pem anew.\n"
        "What is issued under that name afterwards is good."
    )
    parser = _parser(chosen, "revoke", "revoke a certificate", text, "examples:\n  tunnel certs revoke pki web\n")
    _folder(parser)
    parser.add_argument("name", metavar="NAME", help="as it was issued")
    _hours(parser, names.CRL_HOURS)
    parser.set_defaults(perform=actions.revoke)


def _add_crl(chosen: "Commands") -> None:
    text = "Write DIR/crl.pem anew. A tunnel that has been given a CRL refuses every peer once it has expired."
    parser = _parser(chosen, "crl", "renew the revocation list", text, "examples:\n  tunnel certs crl pki --hours 24\n")
    _folder(parser)
    _hours(parser, names.CRL_HOURS)
    parser.set_defaults(perform=actions.crl)


def _add_show(chosen: "Commands") -> None:
    text = (
        "Show names, validity, order of the chain and fingerprints: of a file (certificates, a bundle,\n"
        "CRLs; PEM or DER), or of what a TLS server presents. A server is not verified, only looked at."
    )
    examples = (
        "examples:\n  tunnel certs show server.pem\n  tunnel certs show crl.pem\n  tunnel certs show 127.0.0.1:8443\n"
    )
    parser = _parser(chosen, "show", "show certificates", text, examples)
    parser.add_argument("what", metavar="FILE|HOST:PORT", help="what exists as a file is a file")
    parser.add_argument("--server-name", metavar="NAME", help="the name to ask a server for (default: HOST)")
    parser.set_defaults(perform=certs_show.show)


def _add_quickstart(chosen: "Commands") -> None:
    text = (
        "Make ca.pem, server.pem, server-key.pem (localhost, 127.0.0.1, ::1), client.pem and client-key.pem\n"
        "(CN frontend-service), beside ca-key.pem for issuing more."
    )
    examples = "examples:\n  tunnel certs quickstart certs\n"
    parser = _parser(chosen, "quickstart", "a CA, a server and a client certificate", text, examples)
    _folder(parser)
    _days(parser, CA_DAYS)
    _key(parser)
    _force(parser)
    parser.set_defaults(perform=actions.quickstart, cn=CA_NAME, intermediate=False)


def _parser(commands: "Commands", name: str, summary: str, text: str, examples: str) -> Any:
    return commands.add_parser(
        name,
        help=summary,
        description=text,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _folder(parser: Any) -> None:
    parser.add_argument("dir", metavar="DIR", help="the folder of the PKI")


def _days(parser: Any, default: int) -> None:
    seconds = default * DAY_SECONDS
    text = f"how long it is valid (default: {default})"
    parser.add_argument("--days", dest="lifetime", metavar="N", type=names.days, default=seconds, help=text)


def _hours(parser: Any, default: int | None) -> None:
    seconds = argparse.SUPPRESS if default is None else default * 3600.0
    text = "the same in hours" if default is None else f"how long the list is valid (default: {default})"
    parser.add_argument("--hours", dest="lifetime", metavar="N", type=names.hours, default=seconds, help=text)


def _key(parser: Any) -> None:
    kinds = get_args(KeyKind)
    parser.add_argument("--key", choices=kinds, default=kinds[0], help=f"kind of key (default: {kinds[0]}, P-256)")


def _force(parser: Any) -> None:
    parser.add_argument("--force", action="store_true", help="replace what is there")
