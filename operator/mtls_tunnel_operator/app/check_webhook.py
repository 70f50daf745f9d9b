"""`check`, the webhook: its configuration, its certificate, and whether the API server reaches the injector.

Reaching is tried, not guessed: a pod is created as a dry run in a namespace that has opted in, which makes the
API server call the injector as it would for any pod.
"""

import base64
from typing import Any

from mtls_tunnel.trust import chain, decode
from mtls_tunnel.trust.decode import File, Unusable
from mtls_tunnel_operator import names
from mtls_tunnel_operator.app.check_cluster import guarded
from mtls_tunnel_operator.app.check_finding import Finding
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control.webhook import trust
from mtls_tunnel_operator.control.webhook.reconcile import WEBHOOK
from mtls_tunnel_operator.errors import ApiError, NotFound
from mtls_tunnel_operator.model.kinds import Ref, path

SUBJECT = "webhook"
SOON_SECONDS = 86400.0


async def webhook(api: Api, namespace: str, name: str, only: str, now: float) -> list[Finding]:
    """Everything about the webhook."""

    async def look() -> list[Finding]:
        try:
            configuration = await api.get(Ref("mutatingwebhookconfigurations", "", name))
        except NotFound:
            text = f"no MutatingWebhookConfiguration {name}: pods get no sidecar; install or upgrade the chart"
            return [Finding("fail", SUBJECT, text)]
        found = configuration_finding(configuration, namespace, name)
        if found.level == "fail":
            return [found]
        return [found, *await guarded(SUBJECT, lambda: _served(api, configuration, namespace, name, now))]

    findings = await guarded(SUBJECT, look)
    return [*findings, *await guarded(SUBJECT, lambda: _tried(api, only, namespace, name))]


def configuration_finding(configuration: dict[str, Any], namespace: str, name: str) -> Finding:
    """Whether the configuration has our webhook with a caBundle that parses."""
    ours = [item for item in configuration.get("webhooks") or () if item.get("name") == WEBHOOK]
    if not ours:
        return Finding("fail", SUBJECT, f"configuration {name} has no webhook {WEBHOOK}: upgrade the chart")
    if not _bundle(configuration):
        text = (
            f"configuration {name} has no usable caBundle, so every pod of opted-in namespaces is refused: see "
            f"`kubectl -n {namespace} logs deployment/{name}-operator`"
        )
        return Finding("fail", SUBJECT, text)
    if ours[0].get("failurePolicy") == "Ignore":
        text = "failurePolicy is Ignore: while the injector is away, pods start without sidecar and nobody is told"
        return Finding("warn", SUBJECT, text)
    return Finding("ok", SUBJECT, f"configuration {name} is complete")


async def _served(api: Api, configuration: dict[str, Any], namespace: str, name: str, now: float) -> list[Finding]:
    ref = Ref("secrets", namespace, f"{name}-webhook-tls")
    try:
        serving = trust.read_serving(await api.get(ref))
    except NotFound:
        serving = None
    restart = f"delete it and the operator makes it anew: `kubectl -n {namespace} delete secret {ref.name}`"
    if serving is None:
        return [Finding("fail", SUBJECT, f"{ref} has no usable certificate: {restart}")]
    if serving.not_after <= now:
        return [Finding("fail", SUBJECT, f"the certificate in {ref} has expired: {restart}")]
    if not any(chain.issued(one, serving.certificate) for one in _bundle(configuration)):
        text = f"caBundle does not verify the certificate in {ref}: the operator puts that right, is it running?"
        return [Finding("fail", SUBJECT, text)]
    days = (serving.not_after - now) / 86400
    if serving.not_after - now < SOON_SECONDS:
        return [
            Finding("warn", SUBJECT, f"the certificate in {ref} ends in {days * 24:.0f} h: is the operator running?")
        ]
    return [Finding("ok", SUBJECT, f"the serving certificate fits caBundle and lasts {days:.0f} days")]


async def _tried(api: Api, only: str, namespace: str, name: str) -> list[Finding]:
    space = only or await _opted_in(api)
    if not space:
        return [Finding("warn", SUBJECT, "not tried: no namespace has opted in yet")]
    try:
        await api.request(
            "POST",
            path("pods", space),
            query={"dryRun": "All"},
            body=_pod(space),
            plural="pods",
            verb="create",
            seconds=30.0,
            tries=1,
        )
    except ApiError as error:
        return [_refusal(error, space, namespace, name)]
    return [Finding("ok", SUBJECT, f"a pod in {space} passes (dry run)")]


def _refusal(error: ApiError, space: str, namespace: str, name: str) -> Finding:
    if "failed calling webhook" in error.message:
        text = (
            f"the API server does not reach the injector, so no pod starts in {space} ({error.message}): see "
            f"`kubectl -n {namespace} get pods,endpointslices` and whether a NetworkPolicy or firewall closes 9443"
        )
        return Finding("fail", SUBJECT, text)
    if error.status == 403:
        return Finding("warn", SUBJECT, f"not tried, a pod in {space} was refused for another reason: {error.message}")
    return Finding("warn", SUBJECT, f"not tried: {error}")


async def _opted_in(api: Api) -> str:
    """A namespace whose pods go through the webhook."""
    async for page in api.list("namespaces", label_selector=f"{names.INJECTION_LABEL}={names.ENABLED}"):
        for raw in page.items:
            if not raw["metadata"].get("deletionTimestamp"):
                return str(raw["metadata"]["name"])
    return ""


def _pod(space: str) -> dict[str, Any]:
    """A pod that the strictest pod security standard lets pass, and that no tunnel selects."""
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    few = {"cpu": "1m", "memory": "1Mi"}
    container = {"name": "check", "image": "check", "securityContext": restricted}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "mtls-tunnel-check-", "namespace": space},
        "spec": {"containers": [{**container, "resources": {"requests": few, "limits": few}}]},
    }


def _bundle(configuration: dict[str, Any]) -> tuple[Any, ...]:
    ours = [item for item in configuration.get("webhooks") or () if item.get("name") == WEBHOOK]
    text = (ours[0].get("clientConfig") or {}).get("caBundle") or "" if ours else ""
    try:
        return decode.certificates("caBundle", File("caBundle", base64.b64decode(text, validate=True)))
    except (Unusable, ValueError):
        return ()
