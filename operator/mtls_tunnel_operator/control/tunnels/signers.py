"""Who signs for a tunnel: a trust domain, or a CA in a Secret beside the tunnel; or why nobody does.

A trust domain signs only for the namespaces that it allows, and only under its own name.  A CA Secret belongs to
the tunnel's owner: it holds tls.crt and tls.key, and in ca.crt, if it is there, the CAs before it that pods still
trust.  Secrets of others are read by name when they are needed, and never kept.
"""

from collections.abc import Callable
from typing import Protocol

from mtls_tunnel_operator.authority import ca
from mtls_tunnel_operator.authority.signer import Signer
from mtls_tunnel_operator.authority.state import entry
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.control import remedies
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.errors import AuthorityError, NotFound, SpecError
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.resources import TrustDomain, Tunnel
from mtls_tunnel_operator.settings import Defaults

OWN_BUNDLE = 2  # CAs of a tunnel's own bundle: now and next, or now and before


class DomainSigners(Protocol):
    """What is asked of `control.domains.reconcile.Domains`."""

    def signer(self, name: str) -> Signer: ...


class Signers:
    """`of(tunnel)` for issuers that hand out a key; cert-manager's are in `requests`."""

    def __init__(
        self,
        api: Api,
        view: View,
        domains: DomainSigners,
        *,
        defaults: Callable[[], Defaults],
        now: Callable[[], float],
    ) -> None:
        self._api = api
        self._view = view
        self._domains = domains
        self._defaults = defaults
        self._now = now

    async def of(self, tunnel: Tunnel) -> Signer:
        """The signer of *tunnel* now.

        Raises:
            SpecError: IssuerNotFound, ReferenceNotPermitted, TrustDomainMismatch.
            AuthorityError: what is wrong with the CA.
        """
        if tunnel.certificate.issuer.kind == "Secret":
            return await self._of_secret(tunnel)
        return self._of_domain(tunnel)

    def domain_name(self, tunnel: Tunnel) -> str:
        """The MtlsTrustDomain that *tunnel* names or means; "" for other issuers."""
        issuer = tunnel.certificate.issuer
        return (issuer.name or self._defaults().trust_domain_name) if issuer.kind == "MtlsTrustDomain" else ""

    def permits(self, tunnel: Tunnel, namespace: str) -> bool:
        """Whether the tunnel's trust domain gives identities to pods of *namespace*."""
        domain = self._view.domains.get(self.domain_name(tunnel))
        if domain is None or domain.allowed_namespaces is None:
            return True
        space = self._view.spaces.get(namespace)
        return space is not None and domain.allowed_namespaces.matches(space.labels)

    def _of_domain(self, tunnel: Tunnel) -> Signer:
        name = self.domain_name(tunnel)
        broken = self._view.broken_domains.get(name)
        if broken is not None:
            raise SpecError(broken.error.reason, f"MtlsTrustDomain {name}: {broken.error.message}")
        domain = self._view.domains.get(name)
        if domain is None:
            raise SpecError(
                "IssuerNotFound",
                f"MtlsTrustDomain {name} does not exist: create it, or name one of `kubectl get mtlstrustdomains` in "
                "spec.certificate.issuerRef.",
            )
        self._judge_domain(tunnel, domain)
        return self._domains.signer(name)

    def _judge_domain(self, tunnel: Tunnel, domain: TrustDomain) -> None:
        home, asked = tunnel.key.namespace, tunnel.certificate.trust_domain
        if not self.permits(tunnel, home):
            raise SpecError(
                "ReferenceNotPermitted",
                f"MtlsTrustDomain {domain.name} does not sign for namespace {home}: label the namespace as its "
                f"spec.allowedNamespaces asks (`kubectl get mtlstrustdomain {domain.name} -o yaml`), or name another.",
            )
        if asked and asked != domain.trust_domain:
            raise SpecError(
                "TrustDomainMismatch",
                f"spec.certificate.trustDomain is {asked}, but MtlsTrustDomain {domain.name} signs for "
                f"{domain.trust_domain} only: make a new MtlsTunnel without the field, or with that value.",
            )

    async def _of_secret(self, tunnel: Tunnel) -> Signer:
        ref = Ref("secrets", tunnel.key.namespace, tunnel.certificate.issuer.name)
        try:
            raw = await self._api.get(ref)
        except NotFound:
            raise SpecError(
                "IssuerNotFound",
                f"{ref} does not exist: put the CA there, `kubectl -n {ref.namespace} create secret tls {ref.name} "
                "--cert=ca.crt --key=ca.key`.",
            ) from None
        trust_domain = tunnel.certificate.trust_domain or self._defaults().trust_domain
        pair = ca.load(
            entry(raw, "tls.crt"), entry(raw, "tls.key"), now=self._now(), trust_domain=trust_domain, source=str(ref)
        )
        others = ca.bundle_of(entry(raw, "ca.crt"), f"{ref}, ca.crt") if entry(raw, "ca.crt").strip() else ()
        older = tuple(one for one in others if one != pair.certificate and one not in pair.chain)
        return Signer(
            name=str(ref),
            trust_domain=trust_domain,
            pair=pair,
            bundle=(pair.certificate, *older)[:OWN_BUNDLE],
            max_leaf_seconds=tunnel.certificate.duration_seconds,
        )


async def external_ca(api: Api, tunnel: Tunnel) -> str:
    """The CAs of the external server that caBundleRef names, as PEM text; "" where none is named.

    Raises:
        SpecError: CABundleNotFound, BadBundle.
    """
    if tunnel.external is None or not tunnel.external.ca_bundle:
        return ""
    ref = Ref("configmaps", tunnel.key.namespace, tunnel.external.ca_bundle)
    try:
        text = ((await api.get(ref)).get("data") or {}).get("ca.crt") or ""
    except NotFound:
        text = ""
    if not text.strip():
        raise SpecError(
            "CABundleNotFound",
            f"{ref} with key ca.crt does not exist: `kubectl -n {ref.namespace} create configmap {ref.name} "
            "--from-file=ca.crt=FILE`.",
        )
    try:
        ca.bundle_of(text.encode(), f"{ref}, ca.crt")
    except AuthorityError as error:
        raise SpecError(error.reason, remedies.cut(error.message)) from error
    return str(text)
