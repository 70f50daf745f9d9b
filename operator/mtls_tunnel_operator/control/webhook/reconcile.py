"""The injector's webhook is kept callable: its CA, its serving certificate and the caBundle, in the order of
`trust`.

The chart renders the MutatingWebhookConfiguration without a caBundle; only that field is ours (server-side apply,
a manager of its own).  With certificates of cert-manager or of somebody else (`mode`) nothing is touched.  An
object that is edited or deleted by hand is put right at the next look, which every change of it brings about.
"""

import base64
import logging
from collections.abc import Callable
from typing import Any, Literal

from mtls_tunnel_operator import names
from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control.webhook import trust
from mtls_tunnel_operator.errors import NotFound
from mtls_tunnel_operator.model.kinds import Ref

LOG = logging.getLogger(__name__)

WEBHOOK = "inject.mtlstunnel.dev"
Mode = Literal["Operator", "CertManager", "Existing"]
_MISSING_SECONDS = 60.0  # the chart's hook deletes the configuration before an uninstall


class Webhook:
    """One webhook configuration with its two Secrets in the operator's namespace."""

    def __init__(
        self,
        api: Api,
        *,
        namespace: str,
        name: str,
        service: str,
        cluster_domain: Callable[[], str],
        mode: Mode = "Operator",
        now: Callable[[], float],
        expires: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._service = service
        self._cluster_domain = cluster_domain
        self._mode = mode
        self._now = now
        self._expires = expires  # told when the serving certificate ends, for metrics
        self._confirmed: tuple[bytes, float] = (b"", 0.0)

    @property
    def ca_secret(self) -> Ref:
        """Where the CA lives; nobody but the operator reads it."""
        return Ref("secrets", self._namespace, f"{self._name}-webhook-ca")

    @property
    def serving_secret(self) -> Ref:
        """Where the injector finds its certificate."""
        return Ref("secrets", self._namespace, f"{self._name}-webhook-tls")

    @property
    def names(self) -> tuple[str, ...]:
        """What the API server calls the injector by, shortest first."""
        short = f"{self._service}.{self._namespace}.svc"
        return short, f"{short}.{self._cluster_domain()}"

    async def reconcile(self) -> float | None:
        """Put right what is not; when to look again, None if nothing of this is ours."""
        if self._mode != "Operator":
            return None
        now = self._now()
        stored = trust.read_authority(await self._read(self.ca_secret))
        serving = trust.read_serving(await self._read(self.serving_secret))
        configuration = await self._read(Ref("mutatingwebhookconfigurations", "", self._name))
        bundle = self._bundle(configuration)
        decision = trust.decide(stored, serving, bundle, self.names, now, self._since(bundle, stored, now))
        authority = decision.authority
        if decision.store_authority:
            await self._store_authority(authority)
        if decision.store_bundle and configuration is not None:
            await self._store_bundle(configuration, authority)
            self._confirmed = (authority.bundle, now)
        if decision.new_serving:
            serving = trust.make_serving(authority, self.names, now)
            await self._store_serving(authority, serving)
        if serving is not None:
            self._expires(serving.not_after)
        return now + _MISSING_SECONDS if configuration is None else decision.again

    def _since(self, bundle: bytes, stored: trust.Authority | None, now: float) -> float:
        """Since when, as far as this process knows, the API server has had the bundle that we want."""
        if stored is None or bundle != stored.bundle:
            return now
        if self._confirmed[0] != bundle:
            self._confirmed = (bundle, now)
        return self._confirmed[1]

    async def _read(self, ref: Ref) -> dict[str, Any] | None:
        try:
            return await self._api.get(ref)
        except NotFound:
            return None

    def _bundle(self, configuration: dict[str, Any] | None) -> bytes:
        """The caBundle of our webhook; of no use (empty) where several disagree."""
        found = {item.get("clientConfig", {}).get("caBundle") or "" for item in _webhooks(configuration)}
        try:
            return base64.b64decode(found.pop(), validate=True) if len(found) == 1 else b""
        except ValueError:
            return b""

    async def _store_authority(self, authority: trust.Authority) -> None:
        entries = {"tls.crt": ca.pem_of((authority.certificate,)), "tls.key": ca.key_pem(authority.key)}
        if authority.previous is not None:
            entries["previous.crt"] = ca.pem_of((authority.previous,))
        LOG.info("webhook: CA %s is written to %s", ca.fingerprint(authority.certificate)[:16], self.ca_secret)
        await self._api.apply(_secret(self.ca_secret, entries))

    async def _store_serving(self, authority: trust.Authority, serving: trust.Serving) -> None:
        entries = {"tls.crt": serving.cert_pem, "tls.key": serving.key_pem, "ca.crt": authority.bundle}
        LOG.info("webhook: a new serving certificate is written to %s", self.serving_secret)
        await self._api.apply(_secret(self.serving_secret, entries))

    async def _store_bundle(self, configuration: dict[str, Any], authority: trust.Authority) -> None:
        bundle = base64.b64encode(authority.bundle).decode()
        webhooks = [{"name": item["name"], "clientConfig": {"caBundle": bundle}} for item in _webhooks(configuration)]
        if not webhooks:
            LOG.warning("webhook: %s has no webhook %s: install the chart anew", self._name, WEBHOOK)
            return
        LOG.info("webhook: caBundle of %s is written", self._name)
        await self._api.apply(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": self._name},
                "webhooks": webhooks,
            },
            manager=names.WEBHOOK_MANAGER,
        )


def _webhooks(configuration: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [item for item in (configuration or {}).get("webhooks") or () if item.get("name") == WEBHOOK]


def _secret(ref: Ref, entries: dict[str, bytes]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY},
        },
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value).decode() for key, value in entries.items()},
    }
