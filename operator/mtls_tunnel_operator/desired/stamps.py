"""The state of a change, as annotations of the ConfigMaps: written as JSON, read back with suspicion.

An annotation that cannot be read, or that somebody has filled with what cannot be, counts as empty: then
nothing is known to be open, and opening waits.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from mtls_tunnel.config import addresses
from mtls_tunnel_operator.desired.staging import Dial, Served

LAST_PORT = 65535
MOST_DIALED = 16_384  # characters; sixteen listeners with the longest of names are a third of it
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
LAST_MOMENT = 2.0**53  # whole seconds are exact below


def served_text(served: tuple[Served, ...], leaving: Mapping[str, float]) -> str:
    """What a server's ConfigMap says of its ports, and of Services that are about to go."""
    ports = {
        str(one.tls_port): {
            "port": one.port,
            "target": one.target_port,
            "since": math.ceil(one.since),
            "clients": {name: math.ceil(since) for name, since in one.clients},
            **({} if one.closing is None else {"closing": math.ceil(one.closing)}),
        }
        for one in served
    }
    going = {"leaving": {host: math.ceil(since) for host, since in sorted(leaving.items())}} if leaving else {}
    return _text({"ports": ports, **going})


def served_of(text: str) -> dict[int, Served]:
    """The ports that a server's ConfigMap opens."""
    try:
        return {_port(int(number)): _served(int(number), raw) for number, raw in json.loads(text)["ports"].items()}
    except _UNREADABLE:
        return {}


def leaving_of(text: str) -> dict[str, float]:
    """Hosts of Services that nobody has needed since then."""
    try:
        return {host: _moment(since) for host, since in json.loads(text).get("leaving", {}).items()}
    except _UNREADABLE:
        return {}


def dialed_text(dials: tuple[Dial, ...]) -> str:
    """What a client's ConfigMap says of its listeners."""
    return _text([[dial.port, dial.local_port, dial.host, dial.tls_port] for dial in dials])


def dialed_of(text: str) -> tuple[Dial, ...]:
    """The listeners of a client's ConfigMap."""
    if len(text) > MOST_DIALED:
        return ()
    try:
        return tuple(
            Dial(_word(port), _port(local), addresses.name_or_ip(_word(host)), _port(number))
            for port, local, host, number in json.loads(text)
        )
    except _UNREADABLE:
        return ()


def _served(number: int, raw: Mapping[str, Any]) -> Served:
    closing = raw.get("closing")
    return Served(
        number,
        _port(raw["target"]),
        _word(raw["port"]),
        _moment(raw["since"]),
        tuple((name, _moment(since)) for name, since in raw["clients"].items()),
        None if closing is None else _moment(closing),
    )


def _port(value: object) -> int:
    if type(value) is not int or not 1 <= value <= LAST_PORT:
        raise ValueError(f"{value!r} is no port")
    return value


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _moment(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value <= LAST_MOMENT:  # type: ignore[operator]
        raise ValueError(f"{value!r} is no time")
    return float(value)  # type: ignore[arg-type]


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
