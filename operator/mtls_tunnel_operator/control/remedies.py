"""What to type so that a tunnel gets well: sentences with the command in them, for conditions, events and `check`.

A message that only says what is wrong sends its reader to a search engine.  PURE.
"""

from collections.abc import Iterable, Sequence

from mtls_tunnel_operator import names
from mtls_tunnel_operator.model.pods import Owner, Pod
from mtls_tunnel_operator.model.resources import Key

_SHOWN = 3  # workloads or names listed in one sentence; the rest is a number


def several(items: Iterable[str], shown: int = _SHOWN) -> str:
    """The first few of *items* and how many more there are."""
    listed = list(items)
    more = len(listed) - shown
    return ", ".join(listed[:shown]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 pod`, `3 pods`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def enable(namespace: str) -> str:
    """How a namespace opts in to injection."""
    return f"`kubectl label namespace {namespace} {names.INJECTION_LABEL}={names.ENABLED}`"


def consent(namespace: str, tunnels_of: str) -> str:
    """How a namespace accepts the tunnels of another one."""
    return f"`kubectl annotate namespace {namespace} {names.ACCEPT_ANNOTATION}={tunnels_of} --overwrite`"


def workload_of(pod: Pod) -> str:
    """What to restart for *pod*, as kubectl writes it; "" for pods that nobody makes anew."""
    if pod.owner is None or pod.owner.kind in ("Job", "Node"):
        return ""
    if pod.owner.kind == "ReplicaSet":
        # A Deployment names its ReplicaSets after the hash that it labels their pods with.
        suffix = "-" + pod.labels.get("pod-template-hash", "")
        if suffix != "-" and pod.owner.name.endswith(suffix):
            return f"deployment/{pod.owner.name.removesuffix(suffix)}"
    return f"{pod.owner.kind.lower()}/{pod.owner.name}"


def is_restartable(owner: Owner | None) -> bool:
    """Whether something makes a new pod when this one goes; a Job's pods must run to their end."""
    return owner is not None and owner.kind not in ("Job", "Node")


def restart(pods: Sequence[Pod]) -> str:
    """How to get new pods in place of *pods*: a command for each workload, deletion for the rest."""
    commands: dict[str, None] = {}
    for pod in pods:
        workload = workload_of(pod)
        if workload.partition("/")[0] in ("deployment", "statefulset", "daemonset"):
            commands[f"`kubectl -n {pod.namespace} rollout restart {workload}`"] = None
        elif workload:
            commands[f"`kubectl -n {pod.namespace} delete pod {pod.name}`"] = None
        elif pod.owner is not None and pod.owner.kind == "Job":
            commands[f"let job {pod.namespace}/{pod.owner.name} run anew"] = None
        else:
            commands[f"delete and create pod {pod.namespace}/{pod.name} (nothing owns it)"] = None
    return several(commands)


def describe(key: Key, kind: str = "mtlstunnel") -> str:
    """Where to read more."""
    return f"`kubectl -n {key.namespace} describe {kind} {key.name}`"


def cut(message: str, longest: int = 4000) -> str:
    """A message that fits a condition and can be read."""
    return message if len(message) <= longest else message[: longest - 3] + "..."
