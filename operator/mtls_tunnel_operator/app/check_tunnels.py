"""`check`, the tunnels: what each one's status says, whether its Secrets hold, and how its pods stand.

The pods are counted anew, by the same rules as the operator's: a status that nobody has written for a while is no
proof.
"""

import base64
from collections.abc import Iterable
from typing import Any

from mtls_tunnel_operator import names
from mtls_tunnel_operator.app.check_cluster import guarded
from mtls_tunnel_operator.app.check_finding import Finding
from mtls_tunnel_operator.authority import leaf
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control import remedies
from mtls_tunnel_operator.control.pods.census import census
from mtls_tunnel_operator.control.pods.expectations import Expectations
from mtls_tunnel_operator.control.telling import pod_verdict
from mtls_tunnel_operator.control.telling.picture import Picture
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.errors import ApiError, AuthorityError, NotFound, SpecError
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.moments import epoch
from mtls_tunnel_operator.model.parts import client_spaces
from mtls_tunnel_operator.model.resources import Tunnel
from mtls_tunnel_operator.settings import Defaults, defaults_of

LATE_SECONDS = 900.0  # a renewal that is due may take a few attempts


async def tunnels(api: Api, namespace: str, name: str, only: str, now: float) -> list[Finding]:
    """A line for each tunnel, and one more for each thing that is wrong with it."""

    async def look() -> list[Finding]:
        view = await _seen(api, only)
        defaults = await _defaults(api, namespace, name)
        found = _namespaces(view, only)
        found += [
            Finding("fail", f"tunnel {key}", f"{broken.error.reason}: {broken.error.message}")
            for key, broken in sorted(view.broken.items())
            if only in ("", key.namespace)
        ]
        expectations = Expectations(view, lambda: defaults) if defaults else None
        for _, tunnel in sorted(view.tunnels.items()):
            if only in ("", tunnel.key.namespace):
                found += _tunnel(tunnel, view, expectations)
                found += await _secrets(api, tunnel, now) if _is_accepted(tunnel) else []
        if defaults is None:
            found.append(Finding("warn", "pods", f"not counted: ConfigMap {namespace}/{name}-defaults is not there"))
        return found

    return await guarded("tunnels", look)


async def _seen(api: Api, only: str) -> View:
    """Namespaces, tunnels and pods as they are now."""
    view = View()
    for plural, where in (("namespaces", ""), (names.TUNNELS, ""), ("pods", only)):
        async for page in api.list(plural, where):
            for raw in page.items:
                view.put(plural, raw)
    return view


async def _defaults(api: Api, namespace: str, name: str) -> Defaults | None:
    try:
        raw = await api.get(Ref("configmaps", namespace, f"{name}-defaults"))
        return defaults_of(raw.get("data") or {}, operator_namespace=namespace, last=None)[0]
    except (NotFound, SpecError):
        return None


def _namespaces(view: View, only: str) -> list[Finding]:
    enabled = sorted(name for name, space in view.spaces.items() if space.enabled)
    homes = sorted({key.namespace for key in view.tunnels if only in ("", key.namespace)})
    found = [
        Finding("fail", f"namespace {name}", f"has tunnels and has not opted in: {remedies.enable(name)}")
        for name in homes
        if name not in enabled
    ]
    if not enabled:
        text = f"none has opted in, so nothing is injected: {remedies.enable('NAME')}"
        return [*found, Finding("warn", "namespaces", text)]
    return [*found, Finding("ok", "namespaces", f"{remedies.counted(len(enabled), 'namespace')} opted in")]


def _tunnel(tunnel: Tunnel, view: View, expectations: Expectations | None) -> list[Finding]:
    subject = f"tunnel {tunnel.key}"
    conditions = {item.get("type"): item for item in tunnel.status.get("conditions") or ()}
    if "Ready" not in conditions:
        return [Finding("fail", subject, "no status yet: is the operator running?")]
    found = []
    if tunnel.status.get("observedGeneration") != tunnel.generation:
        found.append(Finding("warn", subject, "its status is of an older version: is the operator running?"))
    for name in ("Accepted", "CertificatesReady"):
        item = conditions.get(name, {})
        if item.get("status") == "False" or item.get("reason") in ("RenewalFailing", "RenewalTooLate"):
            level = "fail" if item.get("status") == "False" else "warn"
            found.append(Finding(level, subject, f"{item.get('reason')}: {item.get('message')}"))  # type: ignore[arg-type]
    pods = _pods(tunnel, view, expectations)
    return [*found, *pods] if found or pods else [Finding("ok", subject, _well(tunnel, conditions["Ready"]))]


def _is_accepted(tunnel: Tunnel) -> bool:
    """Whether there should be Secrets at all."""
    conditions = tunnel.status.get("conditions") or ()
    return any(item.get("type") == "Accepted" and item.get("status") == "True" for item in conditions)


def _well(tunnel: Tunnel, ready: dict[str, Any]) -> str:
    counts = [f"servers {(tunnel.status.get('server') or {}).get('summary', '-')}"]
    counts.append(f"clients {tunnel.status.get('clientsSummary', '-')}")
    return f"{ready.get('reason')}, {', '.join(counts)}, renews {tunnel.status.get('nextRenewalTime', '-')}"


def _pods(tunnel: Tunnel, view: View, expectations: Expectations | None) -> list[Finding]:
    """Pods without sidecar, outdated ones and port clashes, counted now."""
    if expectations is None:
        return []
    expectations.refresh()
    places = {client.name: client_spaces(tunnel, client, view.spaces)[0] for client in tunnel.clients}
    found = census(tunnel, places, view.tunnel_pods, expectations.of)
    verdict = pod_verdict.verdict(Picture(tunnel, found))
    if verdict.status != "False":
        return []
    clashing = found.standing("Clash")
    text = f" {clashing[0].why}." if clashing else ""
    return [Finding("fail", f"tunnel {tunnel.key}", f"{verdict.reason}: {verdict.message}{text}")]


async def _secrets(api: Api, tunnel: Tunnel, now: float) -> list[Finding]:
    """Whether the Secrets in the tunnel's namespace hold what its status says."""
    found: list[Finding] = []
    try:
        for entry in _entries(tunnel):
            found += _secret(
                tunnel, entry, await api.get(Ref("secrets", tunnel.key.namespace, entry["secretName"])), now
            )
    except NotFound as error:
        text = f"a Secret is missing ({error.message}): the operator makes it anew; is it running?"
        found.append(Finding("fail", f"tunnel {tunnel.key}", text))
    except ApiError as error:
        if error.status != 403:
            raise
        found.append(Finding("warn", f"tunnel {tunnel.key}", "your rights do not allow to look into its Secrets"))
    return found


def _entries(tunnel: Tunnel) -> Iterable[dict[str, Any]]:
    """The certificates of the status whose Secret lies in the tunnel's own namespace."""
    homes = {client.name: client.namespaces.source == "Same" for client in tunnel.clients}
    for entry in tunnel.status.get("certificates") or ():
        if entry.get("secretName") and homes.get(entry.get("name"), True):
            yield entry


def _secret(tunnel: Tunnel, entry: dict[str, Any], raw: dict[str, Any], now: float) -> list[Finding]:
    subject, name = f"tunnel {tunnel.key}", f"Secret {entry['secretName']}"
    try:
        facts = leaf.read(base64.b64decode((raw.get("data") or {}).get("tls.crt") or ""))
    except (AuthorityError, ValueError) as error:
        return [Finding("fail", subject, f"{name}: {error}; the operator makes it anew, is it running?")]
    if facts.not_after <= now:
        return [Finding("fail", subject, f"{name} expired: {remedies.describe(tunnel.key)}")]
    due = epoch(entry.get("renewalTime"))
    if due and due + LATE_SECONDS < now:
        late = (now - due) / 60
        return [
            Finding("fail", subject, f"{name} should have been renewed {late:.0f} min ago: is the operator running?")
        ]
    return []
