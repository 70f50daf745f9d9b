"""The JSON of /statusz becomes the lines that `tunnel status` prints.

Names in it come from the certificates of strangers: what does not print becomes ``?``, so that a common
name cannot move the cursor of whoever looks.  Absent fields are blank, since the tunnel that answers may
be of another version.  Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_UNITS = ("B", "KB", "MB", "GB", "TB")

Cell = Callable[[Mapping[str, Any]], object]

_TUNNELS: tuple[tuple[str, Cell], ...] = (
    ("TUNNEL", lambda one: one.get("name")),
    ("MODE", lambda one: one.get("mode")),
    ("LISTEN", lambda one: one.get("listen")),
    ("TARGET", lambda one: one.get("target")),
    ("CONNECTIONS", lambda one: f"{one.get('active', 0)} of {one.get('max_connections', '?')}"),
    ("ACCEPTED", lambda one: one.get("accepted")),
)
_CERTIFICATES: tuple[tuple[str, Cell], ...] = (
    ("CERTIFICATE", lambda one: one.get("name")),
    ("TUNNEL", lambda one: one.get("tunnel")),
    ("ROLE", lambda one: one.get("role")),
    ("NOT AFTER", lambda one: one.get("not_after")),
    ("DAYS LEFT", lambda one: one.get("days_left")),
)
_CONNECTIONS: tuple[tuple[str, Cell], ...] = (
    ("REMOTE", lambda one: one.get("remote")),
    ("TUNNEL", lambda one: one.get("tunnel")),
    ("PEER", lambda one: one.get("peer")),
    ("URI", lambda one: one.get("uri")),
    ("ROLES", lambda one: ",".join(map(str, one.get("roles") or ()))),
    ("TLS", lambda one: one.get("tls")),
    ("PHASE", lambda one: one.get("phase")),
    ("AGE", lambda one: span(one.get("age_seconds") or 0)),
    ("IN", lambda one: octets(one.get("bytes_in") or 0)),
    ("OUT", lambda one: octets(one.get("bytes_out") or 0)),
)
_RIGHT = frozenset({"CONNECTIONS", "ACCEPTED", "DAYS LEFT", "AGE", "IN", "OUT"})
_ALWAYS = frozenset({"MODE", "LISTEN", "TARGET", "CERTIFICATE", "REMOTE"})


def draw(page: Mapping[str, Any]) -> list[str]:
    """The whole page, without line ends."""
    listed = page.get("connections") or []
    total = page.get("connections_total", len(listed))
    lines = [
        *_summary(page),
        "",
        *_table(_TUNNELS, page.get("tunnels") or []),
        "",
        *_table(_CERTIFICATES, page.get("certificates") or []),
        "",
        *(_table(_CONNECTIONS, listed) if listed else ["no connections"]),
    ]
    if total > len(listed):
        lines.append(f"... and {total - len(listed)} more")
    return lines


def printable(value: object) -> str:
    """*value* as text that cannot steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))


def span(seconds: float) -> str:
    """Seconds in the two largest units: ``3d4h``, ``2h5m``, ``1m30s``, ``7s``."""
    whole = int(seconds)
    parts = (("d", whole // 86_400), ("h", whole // 3600 % 24), ("m", whole // 60 % 60), ("s", whole % 60))
    first = next((place for place, (_, count) in enumerate(parts) if count), len(parts) - 1)
    shown = [f"{count}{unit}" for unit, count in parts[first : first + 2] if count]
    return "".join(shown) or "0s"


def octets(count: int) -> str:
    """A number of bytes with three digits or so: ``512B``, ``1.5KB``, ``20MB`` (1 KB = 1,024 bytes)."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}{_UNITS[unit]}" if unit and value < 10 else f"{value:.0f}{_UNITS[unit]}"


def _summary(page: Mapping[str, Any]) -> list[str]:
    state = "ready" if page.get("ready") else f"NOT READY: {page.get('reason') or 'no reason given'}"
    lines = [f"mtls-tunnel {page.get('version', '?')}, up {span(page.get('uptime_seconds') or 0)}, {state}"]
    reloads = page.get("reloads") or {}
    line = f"reloads: {reloads.get('ok', 0)} ok, {reloads.get('failed', 0)} failed"
    if reloads.get("last_at"):
        line += f", last at {reloads['last_at']}"
    if reloads.get("last_error"):
        line += f", last error: {reloads['last_error']}"
    return [printable(text) for text in (*lines, line)]


def _table(columns: Sequence[tuple[str, Cell]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Aligned columns under a heading; a column that is empty in every row is left out."""
    drawn: list[list[str]] = []
    for title, cell in columns:
        cells = [printable("" if (value := cell(row)) is None else value) for row in rows]
        if title in _ALWAYS or any(cells):
            width = max(map(len, [title, *cells]))
            align = str.rjust if title in _RIGHT else str.ljust
            drawn.append([align(text, width) for text in (title, *cells)])
    return ["  ".join(line).rstrip() for line in zip(*drawn, strict=True)]
