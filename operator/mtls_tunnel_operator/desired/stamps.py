"""The state of a change, as annotations of the ConfigMaps: written as JSON, read back with suspicion.

An annotation that cannot be read counts as absent: then nothing is known to be open, and opening waits.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from mtls_tunnel_operator.desired.staging import Dial, Served


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
        return {int(number): _served(int(number), raw) for number, raw in json.loads(text)["ports"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def leaving_of(text: str) -> dict[str, float]:
    """Hosts of Services that nobody has needed since then."""
    try:
        return {str(host): float(since) for host, since in json.loads(text).get("leaving", {}).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def dialed_text(dials: tuple[Dial, ...]) -> str:
    """What a client's ConfigMap says of its listeners."""
    return _text([[dial.port, dial.local_port, dial.host, dial.tls_port] for dial in dials])


def dialed_of(text: str) -> tuple[Dial, ...]:
    """The listeners of a client's ConfigMap."""
    try:
        return tuple(
            Dial(str(port), int(local), str(host), int(number)) for port, local, host, number in json.loads(text)
        )
    except (ValueError, TypeError):
        return ()


def _served(number: int, raw: Mapping[str, Any]) -> Served:
    closing = raw.get("closing")
    return Served(
        number,
        int(raw["target"]),
        str(raw["port"]),
        float(raw["since"]),
        tuple((str(name), float(since)) for name, since in raw["clients"].items()),
        None if closing is None else float(closing),
    )


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
