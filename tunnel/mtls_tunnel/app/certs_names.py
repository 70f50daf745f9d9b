"""Names and lifetimes for new certificates: the words of a command line, checked, or all that is wrong with them.

Stricter than X.509: what no verifier would match (a DNS name with a space, a network where an address belongs) is
refused when it is written and not when the first handshake fails.  Pure.

Sources: RFC 5280 §4.2.1.6 and appendix A (64 characters for a common name and the like); RFC 9525 §2.
"""

import argparse
import ipaddress
import re
from collections.abc import Callable, Sequence

from mtls_tunnel.app.certs_folder import RESERVED
from mtls_tunnel.config import patterns
from mtls_tunnel.errors import ConfigError, Problem
from mtls_tunnel.trust.pki import DAY_SECONDS, Names

MAX_SUBJECT_CHARACTERS = 64  # ub-common-name, ub-organization-name
MAX_DAYS = 36500
CRL_HOURS = 168
CRL_SECONDS = CRL_HOURS * 3600.0
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def names_of(args: argparse.Namespace) -> Names:
    """The names that `issue` asks for.  Without any SAN, a CN that is a DNS name becomes one.

    Raises:
        ConfigError: with a problem for each name.
    """
    problems: list[Problem] = []
    _collect(problems, "NAME", [args.name], file_name)
    cn = args.name if args.cn is None else args.cn
    for flag, values in (("--cn", [cn] if cn else []), ("--org", args.org), ("--ou", args.ou)):
        _collect(problems, flag, values, subject_part)
    dns = _collect(problems, "--dns", args.dns, patterns.dns)
    ips = _collect(problems, "--ip", args.ip, _address)
    uris = _collect(problems, "--uri", args.uri, patterns.exact_uri)
    emails = _collect(problems, "--email", args.email, patterns.email)
    if problems:
        raise ConfigError(*problems)
    if not (dns or ips or uris or emails):
        dns = _dns_name_in(cn)
    if not (cn or args.org or args.ou or dns or ips or uris or emails):
        raise ConfigError(Problem("", "", "the certificate would bear no name at all", "give --cn, --dns or --uri"))
    return Names(cn, tuple(args.org), tuple(args.ou), dns, ips, uris, emails)


def check_name(name: str) -> None:
    """Raise ConfigError if no certificate can lie in NAME.pem."""
    problems: list[Problem] = []
    _collect(problems, "NAME", [name], file_name)
    if problems:
        raise ConfigError(*problems)


def checked_cn(cn: str) -> str:
    """The common name of a CA.  Raises ConfigError."""
    problems: list[Problem] = []
    _collect(problems, "--cn", [cn], subject_part)
    if problems:
        raise ConfigError(*problems)
    return cn


def file_name(text: str) -> str:
    """The NAME of NAME.pem and NAME-key.pem.  Raises ValueError."""
    if not _FILE_NAME.fullmatch(text):
        raise ValueError("cannot be a file's name here - letters, digits, . _ and -, beginning with letter or digit")
    if text in RESERVED:
        raise ValueError(f"is taken: {text}.* belongs to the CA itself - choose another")
    if text.endswith("-key"):
        raise ValueError(f"ends in -key: {text}.pem would be the key of {text.removesuffix('-key')} - choose another")
    return text


def subject_part(text: str) -> str:
    """A common name, organization or unit.  Raises ValueError."""
    patterns.name(text)
    if len(text) > MAX_SUBJECT_CHARACTERS:
        raise ValueError(f"is longer than {MAX_SUBJECT_CHARACTERS} characters - X.509 ends there; use a SAN")
    if not text.isprintable():
        raise ValueError("has control characters - write plain text")
    return text


def days(text: str) -> float:
    """A lifetime in days, as seconds; for argparse."""
    return _span(text, DAY_SECONDS, "days")


def hours(text: str) -> float:
    """A lifetime in hours, as seconds; for argparse."""
    return _span(text, 3600.0, "hours")


def _span(text: str, unit: float, word: str) -> float:
    try:
        seconds = float(text) * unit
    except ValueError:
        seconds = -1.0
    if not 1 <= seconds <= MAX_DAYS * DAY_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of {word} (above 0, at most {MAX_DAYS} days)")
    return seconds


def _collect(problems: list[Problem], flag: str, values: Sequence[str], check: Callable[[str], str]) -> tuple[str, ...]:
    """The checked values; what is wrong with the others goes to `problems`."""
    good = []
    for value in values:
        try:
            good.append(check(value))
        except ValueError as error:
            text, _, remedy = str(error).partition(" - ")
            problems.append(Problem("", flag, f"{value!r} {text}", remedy))
    return tuple(good)


def _address(text: str) -> str:
    try:
        if "%" in text:
            raise ValueError(text)
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("is no IP address - write 10.1.2.3 or 2001:db8::1") from None


def _dns_name_in(cn: str) -> tuple[str, ...]:
    try:
        return (patterns.dns(cn),)
    except ValueError:
        return ()
