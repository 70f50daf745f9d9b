"""`check`, the installation: the clock, the CRDs, the operator with its Lease, the injector, the trust domains."""

import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from mtls_tunnel_operator import names
from mtls_tunnel_operator.app.check_finding import Finding
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.errors import ApiError, NotFound
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.moments import epoch

CLOCK_WARNS, CLOCK_FAILS = 30.0, 240.0  # leaves are valid from five minutes before they are made
LEASE_SECONDS = 30.0  # the Lease lasts 15


async def installation(api: Api, namespace: str, name: str, now: float) -> list[Finding]:
    """What the chart installs."""
    findings = [await _clock(api), await _crds(api)]
    if findings[-1].level == "fail":
        return findings
    for subject, look in (
        ("operator", lambda: _operator(api, namespace, name, now)),
        ("injector", lambda: _injector(api, namespace, name)),
        ("trust domains", lambda: _domains(api)),
    ):
        findings += await guarded(subject, look)
    return findings


async def guarded(subject: str, look: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    """The findings of *look*; a refusal of the API server is one."""
    try:
        return await look()
    except ApiError as error:
        if error.status == 403:
            text = f"your rights do not allow to look ({error.message}): run this as somebody who may"
            return [Finding("warn", subject, text)]
        return [Finding("fail", subject, f"the API server did not answer as it should ({error}): try again")]


async def _clock(api: Api) -> Finding:
    """How far this machine's clock is from the API server's; HTTP tells seconds."""
    began = time.time()
    try:
        async with api.session.get(
            api.connection.server + "/version",
            headers=api.connection.headers(),
            timeout=aiohttp.ClientTimeout(total=10),
        ) as response:
            said = response.headers.get("Date", "")
            version = (await response.json()).get("gitVersion", "") if response.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ApiError(0, "Unreachable", f"{api.connection.server}: {error}") from error
    return clock_finding(said, (began + time.time()) / 2, version)


def clock_finding(said: str, now: float, version: str) -> Finding:
    """What the API server's Date header means at *now*."""
    try:
        offset = parsedate_to_datetime(said).timestamp() + 0.5 - now
    except ValueError:
        return Finding("warn", "clock", "the API server does not tell the time: compare the nodes' clocks yourself")
    text = f"the API server's is {abs(offset):.0f} s {'ahead' if offset > 0 else 'behind'}"
    if abs(offset) < CLOCK_WARNS:
        return Finding("ok", "clock", f"{text}; Kubernetes {version}".rstrip())
    remedy = "set this machine's clock, and compare the nodes' (chronyc tracking): certificates count on them"
    return Finding("warn" if abs(offset) < CLOCK_FAILS else "fail", "clock", f"{text}: {remedy}")


async def _crds(api: Api) -> Finding:
    missing = [plural for plural in (names.TUNNELS, names.DOMAINS) if not await api.serves(plural)]
    if missing:
        text = f"{', '.join(missing)} not served: install the chart with crds.enabled, or kubectl apply -f crds/"
        return Finding("fail", "CRDs", text)
    return Finding("ok", "CRDs", f"{names.TUNNELS} and {names.DOMAINS} are served")


async def _operator(api: Api, namespace: str, name: str, now: float) -> list[Finding]:
    found = await _deployment(api, namespace, f"{name}-operator", "operator")
    try:
        lease = await api.get(Ref("leases", namespace, f"{name}-operator"))
    except NotFound:
        text = f"no Lease {name}-operator in {namespace}: `kubectl -n {namespace} logs deployment/{name}-operator`"
        return [*found, Finding("fail", "operator", text)]
    spec = lease.get("spec") or {}
    age = now - epoch(spec.get("renewTime"))
    if not spec.get("holderIdentity") or age > LEASE_SECONDS:
        text = (
            f"nobody renews the Lease ({age:.0f} s old): no replica works; "
            f"`kubectl -n {namespace} logs deployment/{name}-operator --all-pods --tail=50`"
        )
        return [*found, Finding("fail", "operator", text)]
    return [*found, Finding("ok", "operator", f"{spec['holderIdentity']} holds the Lease")]


async def _injector(api: Api, namespace: str, name: str) -> list[Finding]:
    return await _deployment(api, namespace, f"{name}-injector", "injector")


async def _deployment(api: Api, namespace: str, name: str, subject: str) -> list[Finding]:
    try:
        raw = await api.get(Ref("deployments", namespace, name))
    except NotFound:
        text = f"no Deployment {name} in {namespace}: name the release with --namespace and --name, or install it"
        return [Finding("fail", subject, text)]
    return [replicas_finding(raw, namespace, name, subject)]


def replicas_finding(raw: dict[str, Any], namespace: str, name: str, subject: str) -> Finding:
    """How many replicas of a Deployment are available."""
    wanted = int((raw.get("spec") or {}).get("replicas", 1))
    available = int((raw.get("status") or {}).get("availableReplicas") or 0)
    count = f"{available} of {wanted} replicas available"
    look = f"`kubectl -n {namespace} describe deployment {name}`"
    if available == 0:
        return Finding("fail", subject, f"{count}: {look}")
    if available < wanted:
        return Finding("warn", subject, f"{count}: {look}")
    if wanted < 2:
        return Finding("warn", subject, f"{count}: give it two (chart value {subject}.replicaCount)")
    return Finding("ok", subject, count)


async def _domains(api: Api) -> list[Finding]:
    found = []
    async for page in api.list(names.DOMAINS):
        found += [_domain(raw) for raw in page.items]
    if not found:
        text = "there is none: the operator makes one at its start (chart value trustDomain.create), or make one"
        return [Finding("fail", "trust domains", text)]
    return found


def _domain(raw: dict[str, Any]) -> Finding:
    subject = f"trust domain {raw['metadata']['name']}"
    conditions = (raw.get("status") or {}).get("conditions") or []
    ready = next((item for item in conditions if item.get("type") == "Ready"), None)
    if ready is None:
        return Finding("fail", subject, "no status yet: is the operator running?")
    return Finding("ok" if ready["status"] == "True" else "fail", subject, f"{ready['reason']}: {ready['message']}")
