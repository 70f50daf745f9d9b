"""A picture of a tunnel becomes its conditions: each says what is so, why, and what to type.

Ready sums up Accepted, CertificatesReady and PodsReady.  PlaintextBlocked, ProxySettingsApplied and
RotationInProgress inform.  PURE.
"""

from mtls_tunnel_operator.authority.leaf import is_early
from mtls_tunnel_operator.control import remedies
from mtls_tunnel_operator.control.remedies import counted, several
from mtls_tunnel_operator.control.telling import pod_verdict as pods
from mtls_tunnel_operator.control.telling.picture import Held, Picture, Problem
from mtls_tunnel_operator.model.conditions import Condition, Status


def conditions(picture: Picture, now: float) -> tuple[Condition, ...]:
    """All conditions but Ready."""
    return (
        accepted(picture),
        certificates(picture, now),
        pods.verdict(picture),
        plaintext(picture),
        proxy_settings(picture),
        rotation(picture),
    )


def accepted(picture: Picture) -> Condition:
    """Whether the resource can be carried out as it stands."""
    problems = list(picture.problems) + _consents(picture) + _clashes(picture)
    if problems:
        message = " ".join(problem.message for problem in problems)
        return Condition("Accepted", "False", problems[0].reason, remedies.cut(message))
    if picture.write_problem:
        return Condition("Accepted", "Unknown", picture.write_problem.reason, picture.write_problem.message)
    if picture.tunnel.suspend:
        key = picture.tunnel.key
        patch = """'{"spec":{"suspend":false}}'"""
        return Condition(
            "Accepted",
            "True",
            "Suspended",
            "Nothing but the renewal of certificates is done, running sidecars go on. To resume: "
            f"`kubectl -n {key.namespace} patch mtlstunnel {key.name} --type merge -p {patch}`.",
        )
    notes = " ".join((*filter(None, [_quiet_refusals(picture)]), *picture.notes))
    return Condition("Accepted", "True", "Accepted", notes or "The resource can be carried out.")


def _consents(picture: Picture) -> list[Problem]:
    """Namespaces that must opt in first.  A selector may meet any namespace, so it only counts those."""
    found, key = [], picture.tunnel.key
    if picture.excluded:
        found.append(
            Problem(
                "NamespaceNotEnabled",
                f"Pods of {key.namespace} never get a sidecar: the namespaces of the system and of the operator are "
                "left out. Move the workload and its MtlsTunnel to another namespace.",
            )
        )
    elif not picture.enabled:
        found.append(
            Problem(
                "NamespaceNotEnabled",
                f"Namespace {key.namespace} has not opted in to injection, so no pod there gets a sidecar: "
                f"{remedies.enable(key.namespace)}.",
            )
        )
    for client in picture.tunnel.clients:
        refused = picture.refused.get(client.name, ())
        if refused and client.namespaces.source == "Names":
            found.append(
                Problem(
                    "ReferenceNotPermitted",
                    f"Client {client.name}: {several(refused)} did not consent to tunnels of {key.namespace}. "
                    f"Whoever may write the namespace types {remedies.enable(refused[0])} and "
                    f"{remedies.consent(refused[0], key.namespace)}.",
                )
            )
    return found


def _quiet_refusals(picture: Picture) -> str:
    refused = sorted({name for places in picture.refused.values() for name in places})
    if not refused:
        return ""
    return (
        f"{counted(len(refused), 'namespace')} met by a client's selector did not consent and stay out "
        f"({several(refused)}): {remedies.enable(refused[0])} and "
        f"{remedies.consent(refused[0], picture.tunnel.key.namespace)}."
    )


def _clashes(picture: Picture) -> list[Problem]:
    clashing = picture.census.standing("Clash")
    if not clashing:
        return []
    first = clashing[0]
    return [
        Problem(
            "PortConflict",
            f"{counted(len(clashing), 'pod')} cannot take the sidecar ({several(m.pod.name for m in clashing)}): "
            f"{first.why}. Choose another port in one of the resources, or narrow a selector; then "
            f"{remedies.restart([first.pod])}.",
        )
    ]


def certificates(picture: Picture, now: float) -> Condition:
    """Whether every Secret holds a certificate that is valid now, and whether its renewal works."""
    held = picture.held
    failing = [one for one in held if one.problem is not None]
    missing = [one for one in held if not one.not_after and one.problem is None]
    where = remedies.describe(picture.tunnel.key)
    if refused := _out_of_date(picture, failing, now):
        return refused
    if failing:
        status: Status = "False" if any(not one.not_after for one in failing) else "True"
        return Condition(
            "CertificatesReady", status, "RenewalFailing", f"{_secrets(failing)}: {_why(failing, failing)}"
        )
    if picture.problems and (missing or not held):
        return Condition("CertificatesReady", "Unknown", "NotAccepted", "Nothing is issued before Accepted is True.")
    if missing or not held:
        what = _secrets(missing) if missing else "No certificate"
        return Condition("CertificatesReady", "False", "Pending", f"{what} not issued yet; {where} shows the events.")
    if picture.too_late:
        return Condition("CertificatesReady", "True", "RenewalTooLate", picture.too_late)
    return Condition("CertificatesReady", "True", "Issued", f"{counted(len(held), 'certificate')} valid.")


def _out_of_date(picture: Picture, failing: list[Held], now: float) -> Condition | None:
    """What is said of certificates that peers refuse by their dates."""
    where = remedies.describe(picture.tunnel.key)
    if expired := [one for one in picture.held if 0 < one.not_after <= now]:
        return Condition(
            "CertificatesReady",
            "False",
            "Expired",
            f"{_secrets(expired)} expired. {_why(expired, failing)} New connections are refused until it is renewed; "
            f"{where} shows the events.",
        )
    if early := [one for one in picture.held if is_early(one.not_before, now)]:
        # cert-manager does not look at when a certificate begins.
        by_others = picture.tunnel.certificate.issuer.group == "cert-manager.io"
        remedy = "Delete it, and cert-manager makes it anew." if by_others else _why(early, failing)
        return Condition(
            "CertificatesReady",
            "False",
            "NotYetValid",
            f"{_secrets(early)} not valid yet: a clock was ahead, or the operator's is behind. {remedy} New "
            f"connections are refused until then; {where} shows the events.",
        )
    return None


def _secrets(held: list[Held]) -> str:
    noun = "Secret" if len(held) == 1 else "Secrets"
    return f"{noun} {several(f'{one.namespace}/{one.secret}' for one in held)}"


def _why(held: list[Held], failing: list[Held]) -> str:
    for one in [*held, *failing]:
        if one.problem is not None:
            return one.problem.message
    return "It is being renewed."


def plaintext(picture: Picture) -> Condition:
    """Whether the application's plaintext port is closed to other pods, as far as can be seen from here."""
    tunnel = picture.tunnel
    if tunnel.plaintext == "Permit":
        return Condition(
            "PlaintextBlocked",
            "False",
            "PolicyPermit",
            "Other pods may still reach the application without TLS. Once every client goes through the tunnel, set "
            "spec.server.plaintextPolicy to Block, or let the application listen on 127.0.0.1 only.",
        )
    if picture.policy in ("Missing", "Open"):
        return _not_closed(picture)
    if picture.foreign_policies:
        ours = (
            "ours allows only the TLS ports there"
            if picture.policy == "Current"
            else "ours is one of before, and may open what theirs close (see Accepted for what keeps it)"
        )
        return Condition(
            "PlaintextBlocked",
            "Unknown",
            "ForeignPolicy",
            f"NetworkPolicy {several(picture.foreign_policies)} may select the same pods, and policies add up: {ours}. "
            "See that those policies do not open the plaintext ports: "
            f"`kubectl -n {tunnel.key.namespace} describe networkpolicy`.",
        )
    ports = several(str(port.target_port) for port in tunnel.ports)
    return Condition(
        "PlaintextBlocked",
        "True",
        "NetworkPolicyApplied",
        f"A NetworkPolicy closes port {ports} to other pods. Whether the network plugin enforces policies cannot be "
        f"seen from here: try the port from a pod without sidecar, it must time out.",
    )


def _not_closed(picture: Picture) -> Condition:
    """Nothing of ours closes the port; with where to look for the reason."""
    if picture.policy == "Missing" and (picture.excluded or not picture.enabled):
        others = f" Only those of others count there: {several(picture.foreign_policies)}."
        return Condition(
            "PlaintextBlocked",
            "False",
            "NamespaceNotEnabled",
            f"No NetworkPolicy is made where pods get no sidecar; see Accepted for what to type."
            f"{others if picture.foreign_policies else ''}",
        )
    what = "is not in the cluster yet" if picture.policy == "Missing" else "that is there does not close every port yet"
    return Condition(
        "PlaintextBlocked", "Unknown", "Unverified", f"The NetworkPolicy {what}; see Accepted for what keeps it."
    )


def proxy_settings(picture: Picture) -> Condition:
    """Whether spec.proxy and adminPort hold in all pods: where tunnels share a pod, the leading one decides."""
    leaders = sorted({leader for side in picture.census.sides for leader in side.leaders})
    if leaders:
        return Condition(
            "ProxySettingsApplied",
            "False",
            "ProxySettingsIgnored",
            f"Some pods also belong to {several(str(leader) for leader in leaders)}, whose spec.proxy and "
            "observability.adminPort lead there. Make the settings equal, or narrow a selector.",
        )
    if picture.refused_image:
        image = picture.tunnel.proxy.image
        return Condition(
            "ProxySettingsApplied",
            "False",
            "ImageNotAllowed",
            f"Pods of other namespaces have the installation's sidecar image: {image} counts in this namespace only."
            if picture.refused_image == "abroad"
            else f"spec.proxy.image {image} is not used: let the installation allow it (chart value "
            "sidecar.allowedImages), or leave the field out.",
        )
    return Condition("ProxySettingsApplied", "True", "Applied", "spec.proxy holds in all selected pods.")


def rotation(picture: Picture) -> Condition:
    """Whether the CA is being replaced; connections go on meanwhile."""
    rotating = picture.rotating
    if rotating.phase == "Stable":
        return Condition("RotationInProgress", "False", "Stable", "No CA is being replaced.")
    return Condition(
        "RotationInProgress",
        "True",
        rotating.phase,
        f"The CA is being replaced, connections go on: `kubectl get mtlstrustdomain {rotating.domain}` shows how far.",
    )
