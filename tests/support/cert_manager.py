"""cert-manager for tests: Certificates in a store become Secrets, signed by a CA of the test's, as the real one does.

A Certificate without its Secret, or whose names changed, is issued; `broken` makes it complain instead.  Checked
against cert-manager's documented behaviour: the Secret has tls.crt, tls.key, ca.crt and the labels of secretTemplate.
"""

from dataclasses import dataclass, field
from typing import Any

from mtls_tunnel.trust import pki
from mtls_tunnel_operator.model.kinds import Ref
from mtls_tunnel_operator.model.moments import rfc3339
from support.kube_store import Store

Raw = dict[str, Any]


@dataclass
class CertManager:
    """Works off a store when `work` is called."""

    store: Store
    now: float
    broken: str = ""
    hands_out_ca: bool = True
    root: pki.Credential = field(init=False)

    def __post_init__(self) -> None:
        validity = pki.Validity.starting(self.now, 10 * 365 * pki.DAY_SECONDS)
        self.root = pki.make_root(pki.Names(cn="corp issuer"), validity=validity, key=pki.new_key())

    def work(self) -> int:
        """Issue what is wanted and not there; how many."""
        wanted = [one for one in self.store.of("certificates") if not self._is_served(one)]
        for certificate in wanted:
            if self.broken:
                self._say(certificate, "False", self.broken)
            else:
                self._issue(certificate)
        return len(wanted)

    def _is_served(self, certificate: Raw) -> bool:
        metadata = certificate["metadata"]
        return Ref("secrets", metadata["namespace"], certificate["spec"]["secretName"]) in self.store.objects

    def _issue(self, certificate: Raw) -> None:
        spec, metadata = certificate["spec"], certificate["metadata"]
        validity = pki.Validity.starting(self.now, 86400)
        names = pki.Names(uris=tuple(spec["uris"]), dns=tuple(spec.get("dnsNames", ())))
        is_server = "server auth" in spec["usages"]
        leaf = pki.make_leaf(
            self.root, names, validity=validity, key=pki.new_key(), server=is_server, client=not is_server
        )
        content = {"tls.crt": leaf.cert_pem.decode(), "tls.key": leaf.key_pem.decode()}
        if self.hands_out_ca:
            content["ca.crt"] = self.root.cert_pem.decode()
        labels = (spec.get("secretTemplate") or {}).get("labels") or {}
        where = {"name": spec["secretName"], "namespace": metadata["namespace"], "labels": dict(labels)}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": where, "type": "kubernetes.io/tls"}
        self.store.put({**secret, "stringData": content})
        self._say(certificate, "True", "Certificate is up to date and has not expired")

    def _say(self, certificate: Raw, status: str, message: str) -> None:
        condition = {"type": "Ready", "status": status, "reason": "Ready", "message": message}
        said = {"conditions": [condition], "renewalTime": rfc3339(self.now + 57600)}
        self.store.put({**certificate, "status": said})
