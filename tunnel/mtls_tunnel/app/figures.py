"""What is in use becomes what observers see: certificate states, the log lines about them, gauges."""

import logging
from collections.abc import Iterable, Iterator
from typing import Literal

from cryptography import x509

from mtls_tunnel.app.generation import Generation, Prepared
from mtls_tunnel.app.routing import leads_to
from mtls_tunnel.errors import Problem
from mtls_tunnel.observe.health import CertificateState
from mtls_tunnel.observe.logs import emit
from mtls_tunnel.observe.metrics import Meters
from mtls_tunnel.trust.material import Material


def certificate_states(generation: Generation) -> tuple[CertificateState, ...]:
    """Every leaf and trusted CA in use, tunnel by tunnel; the same one twice in a tunnel counts once."""
    states = (
        state
        for prepared in generation.prepared.values()
        for material in prepared.materials()
        for state in _states(prepared.tunnel.name, material)
    )
    return tuple(dict.fromkeys(states))


def _states(tunnel: str, material: Material) -> Iterator[CertificateState]:
    yield _state(tunnel, material.cert_path, "leaf", material.leaf)
    for anchor in material.anchors():
        yield _state(tunnel, anchor.subject.rfc4514_string(), "ca", anchor)


def _state(tunnel: str, name: str, role: Literal["leaf", "ca"], certificate: x509.Certificate) -> CertificateState:
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return CertificateState(tunnel, name, role, begins, ends)


def publish(meters: Meters, generation: Generation) -> None:
    """Set the gauges that describe *generation*."""
    materials = [material for prepared in generation.prepared.values() for material in prepared.materials()]
    meters.certificates(certificate_states(generation))
    meters.bundle(*dict.fromkeys(material.bundle_digest for material in materials))
    updates = [material.crl_next_update for material in materials if material.crl_next_update is not None]
    meters.crl_next_update(min(updates, default=None))


def log_loaded(generation: Generation) -> None:
    """One line for each certificate set that was loaded."""
    for prepared in generation.prepared.values():
        for tls in prepared.sets():
            emit(
                logging.INFO,
                "certificates loaded",
                cert=tls.cert,
                key=tls.key,
                ca=",".join(tls.ca),
                tunnel=prepared.tunnel.name or None,
            )


def log_cautions(generation: Generation) -> None:
    """Warn of what works, but should not stay as it is, and of an own certificate that has run out."""
    for prepared in generation.prepared.values():
        for material in prepared.materials():
            for caution in material.warnings:
                emit(logging.WARNING, caution.msg, file=caution.file, tunnel=prepared.tunnel.name or None)


def log_serving(prepared: Prepared, address: object) -> None:
    """Say where a tunnel accepts, in mtlsd's words for its mode."""
    tunnel = prepared.tunnel
    name = tunnel.name or None
    if tunnel.mode == "client":
        emit(logging.INFO, "dialer: listening", listen=address, server=tunnel.target, tunnel=name)
    else:
        emit(logging.INFO, "listener: serving mTLS", listen=address, target=leads_to(tunnel), tunnel=name)


def log_config_warnings(problems: Iterable[Problem]) -> None:
    """What in the configuration was taken, but is probably not what was meant."""
    for problem in problems:
        meant = getattr(problem, "did_you_mean", "") or None
        emit(logging.WARNING, f"config: {problem.text}", key=problem.place, file=problem.file, did_you_mean=meant)
