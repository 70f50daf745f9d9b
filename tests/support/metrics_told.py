"""Every series that the programs tell, asked from their own registries: sample name -> label -> values seen.

Alerts and dashboards are held against it, so that none waits for a number that does not exist.
"""

import functools
from collections.abc import Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from mtls_tunnel.observe.health import CertificateState
from mtls_tunnel.observe.metrics import Meters as TunnelMeters
from mtls_tunnel_operator.control.meters import PHASES
from mtls_tunnel_operator.control.meters import Meters as OperatorMeters
from mtls_tunnel_operator.injection.meters import Meters as InjectorMeters
from mtls_tunnel_operator.model.resources import Key

Told = Mapping[str, Mapping[str, frozenset[str]]]


@functools.cache
def told() -> Told:
    """The series of a sidecar, an operator and an injector that have seen a little of everything."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in (*_sidecar(), *_operator().registry.collect(), *_injector().registry.collect()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return {name: {label: frozenset(values) for label, values in labels.items()} for name, labels in found.items()}


def _sidecar() -> Iterable[Metric]:
    meters = TunnelMeters(labelled=True, build={"version": "0", "openssl": "3"})
    meters.tunnel("shop/db")
    meters.certificates([CertificateState("shop/db", "tls.crt", role, 1.0, 2.0) for role in ("leaf", "ca")])
    meters.bundle("aa")
    meters.crl_next_update(3.0)
    return text_string_to_metric_families(meters.render("")[1].decode())


def _operator() -> OperatorMeters:
    meters = OperatorMeters()
    for result in ("ok", "error"):
        meters.worked(Key("shop", "db"), result, 0.1)
    meters.answered("get", "secrets", 200)
    meters.corrected("pods")
    meters.certificate("shop", "db", "server", "", 1.0)
    meters.renewal_failures("shop", "db", 0)
    meters.pods("shop", "db", 1, 1, 1)
    meters.ready("shop", "db", "True")
    for phase in PHASES:
        meters.rotation("default", phase, 1.0)
    meters.authority("default", 1.0)
    return meters


def _injector() -> InjectorMeters:
    meters = InjectorMeters()
    meters.skips.labels("hostNetwork")
    meters.looks.labels("ok")
    meters.swaps.labels("ok")
    meters.cut.labels("idle")
    meters.objects.labels("tunnels")
    return meters
