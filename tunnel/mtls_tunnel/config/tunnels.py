"""One file's top-level mapping -> its tunnels, with the shared sections laid under each entry of ``tunnels:``.

Overlay: mappings merge deeply, lists and scalars replace.  Each node keeps the place where it was written, so a
fault in a shared section is told at that section, and once.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mtls_tunnel.config import routing, sections
from mtls_tunnel.config.clashes import Placed
from mtls_tunnel.config.fields import Section, nearest_of
from mtls_tunnel.config.findings import quoted
from mtls_tunnel.config.schema import Address, Mode, Router, Tls, Tunnel
from mtls_tunnel.config.yaml_source import Scalar

MAX_TUNNELS = 1000
SHARED = ("tls", "outbound", "acl", "roles", "proxy")
_ONE_LEGGED = ("server", "client", "router")
_NO_TARGET = Address("", 0)
PROCESS_WIDE = ("health", "metrics", "logging", "expiry", "strict")
_OWN = ("mode", "listen", "target")
_MODES: tuple[Mode, ...] = ("server", "client", "bridge", "router")
_NAME = re.compile(r"[a-z0-9._-]{1,63}")
_NAME_RULE = "up to 63 lower-case letters, digits, . - and _"
_MODE_REMEDY = (
    "server (mTLS in, TCP out), client (TCP in, mTLS out), bridge (mTLS in, mTLS out) "
    "or router (mTLS in, TCP out to the host that the server name names)"
)
_LISTEN_REMEDY = 'the address to accept on, such as "0.0.0.0:8443"'
_TARGET_REMEDY = 'the address to forward to, such as "127.0.0.1:8080"'


@dataclass(frozen=True, slots=True)
class File:
    """One file while it is read: its top level, the folder of its paths, and the name of its only tunnel."""

    root: Section
    base: str
    default_name: str


def tunnels_of(file: File) -> Iterator[Placed]:
    """The tunnels of ``tunnels:``, or the file itself as the only one."""
    root = file.root
    entries = tuple(root.sections("tunnels"))
    root.ask(*_OWN, *SHARED, "router")
    if not entries and not root.is_blank("tunnels"):
        return  # what stands there is no list of tunnels, and that has been told
    if not entries:
        if file.default_name and not _NAME.fullmatch(file.default_name):
            text = f"its tunnel cannot be named {quoted(file.default_name)} after it"
            root.error("", text, f"rename the file: {_NAME_RULE}")
        yield _tunnel(root, file.default_name, file.base, own_outbound=True)
    elif len(entries) > MAX_TUNNELS:
        root.error("tunnels", f"has {len(entries)} entries, more than {MAX_TUNNELS}", "use several processes")
    else:
        yield from _several(root, entries, file.base)


def _several(root: Section, entries: tuple[Section, ...], base: str) -> Iterator[Placed]:
    for key in _OWN:
        if root.node(key) is not None:
            root.error(key, "stands beside tunnels:", "write it into each entry of tunnels:")
    if root.has("router"):
        root.error("router", "stands beside tunnels:", "write it into the entry with mode: router")
    needs_outbound = False
    for entry in entries:
        laid = entry.over(root, SHARED)
        name = laid.required("name", f"each tunnel has one: {_NAME_RULE}", check=_name)
        yield _tunnel(laid, name, base, own_outbound=entry.node("outbound") is not None)
        needs_outbound = needs_outbound or _mode_text(laid) not in _ONE_LEGGED
        laid.close(_home_in_entry)
    if not needs_outbound and not root.section("outbound").is_empty:
        _refuse_outbound(root)


def _tunnel(section: Section, name: str, base: str, *, own_outbound: bool) -> Placed:
    mode = _mode(section)
    listen = section.address("listen", None, listening=True, remedy=_LISTEN_REMEDY)
    target = _target(section, mode)
    tls = sections.tls(section.section("tls"), base)
    outbound = _outbound(section, mode, tls, base, own=own_outbound)
    roles = sections.roles(section.section("roles"))
    acl = sections.acl(section.section("acl"), [role for role, _ in roles])
    proxy = sections.proxy(section.section("proxy"))
    router = _router(section, mode, base)
    tunnel = Tunnel(name, mode or "bridge", listen, target, tls, outbound, acl, roles, proxy, router)
    named_at = section.spot_of("name") if "name" in section.names else section.spot
    return Placed(tunnel, named_at, section.spot_of("listen"), section.spot_of("target"))


def _mode_text(section: Section) -> str:
    node = section.node("mode")
    return node.text if isinstance(node, Scalar) else ""


def _mode(section: Section) -> Mode | None:
    if section.node("mode") is None:
        section.error("mode", "is missing", _MODE_REMEDY)
        return None
    text = _mode_text(section)
    for mode in _MODES:
        if text == mode:
            return mode
    nearest = nearest_of(text, _MODES)
    hint = f"did you mean {nearest}?" if nearest else f"write {_MODE_REMEDY}"
    section.error("mode", f"{quoted(text)} is not a mode", hint)
    return None


def _target(section: Section, mode: Mode | None) -> Address:
    if mode != "router":
        return section.address("target", None, listening=False, remedy=_TARGET_REMEDY)
    if section.has("target"):
        section.error("target", "has no meaning in mode router", "remove it: each host has its own in the store")
    return _NO_TARGET


def _router(section: Section, mode: Mode | None, base: str) -> Router | None:
    section.ask("router")
    if mode == "router":
        tls = section.section("tls")
        if tls.has("client_auth") and tls.text("client_auth") != "required":
            tls.error("client_auth", "must be required in mode router", "remove it: nobody is routed without a name")
        return routing.router(section.section("router"), base)
    if mode is not None and section.has("router"):
        section.error("router", "belongs to mode router", "remove it, or set mode: router")
    return None


def _outbound(section: Section, mode: Mode | None, tls: Tls, base: str, *, own: bool) -> Tls | None:
    """The outbound leg of a bridge.  A shared section may also serve other tunnels, so only an own one is refused."""
    given = section.section("outbound")
    if mode not in _ONE_LEGGED:
        return sections.outbound(given, tls, base)
    if own and not given.is_empty:
        _refuse_outbound(section)
    return None


def _refuse_outbound(section: Section) -> None:
    section.error("outbound", "belongs to mode bridge", "remove it, or set mode: bridge")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"is no tunnel name - {_NAME_RULE}")
    return text


def _home_in_entry(key: str) -> str:
    return f"{key} at the top of the file" if key in PROCESS_WIDE else sections.home_of(key)
