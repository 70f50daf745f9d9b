"""Whatever is posted to the injector: an AdmissionReview that an API server can take, or one sentence.

The input is a whole body, or pieces of a pod that are put together, so that what only a controller could send
is met too.
"""

import json
import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["mtls_tunnel_operator"]):
    from support.admission_oracles import check_body

from support.raw_pods import admission_review, raw_pod

RAW_SHARE = 0.3
WORDS = [
    *("mtls-tunnel", "mtls-tunnel-no-token", "mtls-tunnel-0123456789", "/etc/mtls-tunnel/x", "app", "a/b~c", ""),
    *("mtlstunnel.dev/inject", "mtlstunnel.dev/injected", "server.mtlstunnel.dev/x", "true", "false", "\ud800"),
    *("creationTimestamp", "ownerReferences", "controller", "generateName", "annotations", "labels", "volumeMounts"),
    *("hostNetwork", "os", "name", "windows", "fsGroup", "protocol", "TCP", "containerPort", "mountPath"),
]
PLACES = [
    *(("metadata",), ("metadata", "labels"), ("metadata", "annotations"), ("spec",), ("spec", "containers")),
    *(("spec", "initContainers"), ("spec", "volumes"), ("spec", "securityContext"), ("spec", "containers", 0)),
    *(("spec", "serviceAccountName"), ("spec", "restartPolicy"), ("spec", "terminationGracePeriodSeconds")),
    *(("spec", "containers", 0, "ports"), ("spec", "containers", 0, "volumeMounts"), ("spec", "hostNetwork")),
]


def value_of(given: atheris.FuzzedDataProvider, depth: int = 0) -> Any:
    kind = given.ConsumeIntInRange(0, 6 if depth < 4 else 4)
    if kind <= 2:
        return given.PickValueInList(WORDS)
    if kind == 3:
        return given.PickValueInList([None, True, False, -1, 0, 5432, 15432, 15971, 2**70, 1.5])
    if kind == 4:
        return given.ConsumeUnicode(8)
    if kind == 5:
        return [value_of(given, depth + 1) for _ in range(given.ConsumeIntInRange(0, 3))]
    return {given.PickValueInList(WORDS): value_of(given, depth + 1) for _ in range(given.ConsumeIntInRange(0, 4))}


def assembled(given: atheris.FuzzedDataProvider) -> bytes:
    pod = raw_pod()
    for _ in range(given.ConsumeIntInRange(1, 4)):
        *way, last = given.PickValueInList(PLACES)
        parent: Any = pod
        try:
            for step in way:
                parent = parent[step]
            parent[last] = value_of(given)
        except (LookupError, TypeError):  # an earlier piece took its place away
            continue
    return json.dumps(admission_review(pod)).encode()


def one_input(content: bytes) -> None:
    given = atheris.FuzzedDataProvider(content)
    raw = given.ConsumeProbability() < RAW_SHARE
    check_body(bytes(given.ConsumeBytes(65536)) if raw else assembled(given))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
