"""`Config` -> YAML that `load` reads back into the same value.

What equals a default is left out, so that the text says what was decided and nothing else.  Every tunnel is
written whole: how a configuration was spread over shared sections or files is not kept.  Without a tunnel only
the sections of the process are written: what ``--process`` reads.
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import yaml

from mtls_tunnel.config import durations
from mtls_tunnel.config.routing import ROUTER, STORE
from mtls_tunnel.config.schema import Acl, Address, Config, Expiry, Health, Logging, Metrics, Proxy, Rules, Tls, Tunnel
from mtls_tunnel.config.sections import TLS

Document = dict[str, Any]

# The same text from both; libyaml's is several times as fast, and the operator writes thousands of files.
DUMPER = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper

_OUTBOUND = ("cert", "key", "ca", "server_name", "server_uri", "min_version")


def dump(config: Config) -> str:
    """YAML of *config* as one file; ``load([Source("", dump(config))]).config == config``."""
    document: Document = {}
    if len(config.tunnels) == 1 and not config.tunnels[0].name:
        document = _tunnel(config.tunnels[0])
    elif config.tunnels:
        document = {"tunnels": [{"name": tunnel.name, **_tunnel(tunnel)} for tunnel in config.tunnels]}
    for name, value, default in (
        ("health", config.health, Health()),
        ("metrics", config.metrics, Metrics()),
        ("logging", config.logging, Logging()),
        ("expiry", config.expiry, Expiry()),
    ):
        _put(document, name, _changed(value, default))
    _put(document, "strict", config.strict)
    return str(yaml.dump(document, Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=1000))


def _tunnel(tunnel: Tunnel) -> Document:
    document: Document = {"mode": tunnel.mode, "listen": str(tunnel.listen)}
    if tunnel.router is None:
        document["target"] = str(tunnel.target)
    document["tls"] = _tls(tunnel.tls)
    if tunnel.outbound is not None:
        _put(document, "outbound", _changed(tunnel.outbound, tunnel.tls, only=_OUTBOUND))
    _put(document, "acl", _acl(tunnel.acl))
    _put(document, "roles", {name: _rules(rules, "allow") for name, rules in tunnel.roles})
    _put(document, "proxy", _proxy(tunnel.proxy))
    if tunnel.router is not None:
        router = _changed(tunnel.router, ROUTER, omit=("store",))
        document["router"] = {**router, "store": _changed(tunnel.router.store, STORE)}
    return document


def _tls(tls: Tls) -> Document:
    document = {"cert": tls.cert, "key": tls.key, **_changed(tls, TLS)}
    if tls.trust:
        document["trust"] = [{"domain": trust.domain, "ca": _one_or_list(trust.ca)} for trust in tls.trust]
    document["ca"] = _one_or_list(tls.ca)
    return document


def _acl(acl: Acl) -> Document:
    document = _changed(acl, Acl(), omit=("allow", "deny"))
    return {**document, **_rules(acl.allow, "allow"), **_rules(acl.deny, "deny")}


def _rules(rules: Rules, verb: str) -> Document:
    named = ((field.name, getattr(rules, field.name)) for field in fields(rules))
    return {f"{verb}_{name}": list(patterns) for name, patterns in named if patterns}


def _proxy(proxy: Proxy) -> Document:
    """The handshake's timeout follows the dial's, so it is left out when it equals that one, not the default."""
    document = _changed(proxy, Proxy(), omit=("handshake_timeout_seconds",))
    if proxy.handshake_timeout_seconds != proxy.dial_timeout_seconds:
        document["handshake_timeout"] = durations.text(proxy.handshake_timeout_seconds)
    return document


def _changed(value: Any, default: Any, *, only: Iterable[str] = (), omit: Iterable[str] = ()) -> Document:
    """The fields in which *value* differs from *default*, under the names that they have in a file."""
    names = tuple(only) or tuple(field.name for field in fields(value) if field.name not in omit)
    return {
        name.removesuffix("_seconds"): _plain(name, getattr(value, name))
        for name in names
        if getattr(value, name) != getattr(default, name)
    }


def _plain(name: str, value: Any) -> Any:
    if name.endswith("_seconds"):
        return durations.text(value)
    if isinstance(value, Address):
        return str(value)
    return _one_or_list(value) if isinstance(value, tuple) else value


def _one_or_list(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _put(document: Document, name: str, value: Any) -> None:
    if value:
        document[name] = value
