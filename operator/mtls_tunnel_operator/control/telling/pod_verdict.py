"""The condition PodsReady: do all selected pods carry the current sidecar, and what to do about those that do not.

PURE.
"""

from mtls_tunnel_operator import names
from mtls_tunnel_operator.control import remedies
from mtls_tunnel_operator.control.pods.census import Census, Standing
from mtls_tunnel_operator.control.pods.turns import is_moved
from mtls_tunnel_operator.control.remedies import counted, several
from mtls_tunnel_operator.control.telling.picture import Picture
from mtls_tunnel_operator.model.conditions import Condition
from mtls_tunnel_operator.model.pods import Pod

_REMEDIES: tuple[tuple[Standing, str], ...] = (
    ("CannotBeInjected", "or narrow the selector."),
    ("OtherAccount", "add it to serviceAccounts, or narrow the selector."),
    ("Clash", "see Accepted."),
)


def verdict(picture: Picture) -> Condition:
    """Whether all selected pods carry the current revision."""
    census, moving = picture.census, picture.moving
    stray = census.standing("NotInjected", "CannotBeInjected", "Clash", "OtherAccount")
    outdated = census.standing("Outdated")
    notes = _opted_out(census)
    if moving.stuck:
        return Condition(
            "PodsReady",
            "False",
            "RolloutStuck",
            f"{several(moving.stuck)}: new pods did not come up with the current sidecar, so nothing more is "
            f"restarted. Look at the newest pod's events (`kubectl -n {picture.tunnel.key.namespace} get events`) "
            f"and at the injector, then restart it by hand.{notes}",
        )
    if stray:
        return Condition("PodsReady", "False", "PodsNotInjected", _stray_message(picture) + notes)
    if outdated:
        return Condition("PodsReady", "False", "PodsOutdated", _outdated_message(picture) + notes)
    if not census.members or (census.server is not None and not census.server.selected):
        side = "server " if census.members else ""
        return Condition(
            "PodsReady",
            "Unknown",
            "NoPodsSelected",
            f"No {side}pod matches the selector yet: compare it with `kubectl -n {picture.tunnel.key.namespace} "
            f"get pods --show-labels`.{notes}",
        )
    return Condition("PodsReady", "True", "UpToDate", f"{counted(len(census.members), 'pod')} up to date.{notes}")


def _opted_out(census: Census) -> str:
    number = sum(side.opted_out for side in census.sides)
    if not number:
        return ""
    return f' {counted(number, "pod")} opted out with the label {names.INJECT_LABEL}: "false".'


def _stray_message(picture: Picture) -> str:
    census = picture.census
    sentences = []
    waiting = census.standing("NotInjected")
    if waiting:
        sentences.append(
            f"{counted(len(waiting), 'pod')} without sidecar "
            f"({several(f'{m.pod.namespace}/{m.pod.name}' for m in waiting)}), made before this resource or while the "
            f"injector was away: {_restart_or_wait(picture, [m.pod for m in waiting])}"
        )
    for standing, remedy in _REMEDIES:
        others = census.standing(standing)
        if others:
            sentences.append(
                f"{counted(len(others), 'pod')} cannot be injected "
                f"({several(f'{m.pod.namespace}/{m.pod.name}' for m in others)}): {others[0].why}; {remedy}"
            )
    return " ".join(sentences)


def _outdated_message(picture: Picture) -> str:
    outdated = picture.census.standing("Outdated")
    return (
        f"{counted(len(outdated), 'pod')} with an older sidecar "
        f"({several(f'{m.pod.namespace}/{m.pod.name}' for m in outdated)}): "
        f"{_restart_or_wait(picture, [m.pod for m in outdated])}"
    )


def _restart_or_wait(picture: Picture, stray: list[Pod]) -> str:
    """How the rollout stands for those that it moves, and what to type for the rest."""
    home = picture.tunnel.key.namespace
    moved = [pod for pod in stray if is_moved(pod, picture.tunnel)]
    if picture.tunnel.rollout.strategy == "OnPodStart":
        return f"{remedies.restart(stray)}."
    by_hand = [pod for pod in stray if pod.namespace == home and pod not in moved]
    abroad = [pod for pod in stray if pod.namespace != home]
    sentences = [_progress(picture)] if moved else []
    if by_hand:
        sentences.append(f"{remedies.restart(by_hand)}.")
    if abroad:
        sentences.append(f"In other namespaces nothing is moved, their owners type {remedies.restart(abroad)}.")
    return " ".join(sentences)


def _progress(picture: Picture) -> str:
    moving = picture.moving
    if moving.blocked:
        return moving.blocked
    if moving.under_way:
        return f"{several(moving.under_way)} under way."
    if picture.tunnel.suspend:
        return "the rollout is suspended."
    return "the rollout waits for its turn."
