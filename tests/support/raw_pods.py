"""Pods as the API server sends them to a webhook, AdmissionReviews around them, and a patch applied by others.

`pods()` is a hypothesis strategy: what users, controllers and other webhooks might send, with fields that no
model of ours knows.
"""

import base64
import copy
import json
from typing import Any

import jsonpatch  # what kopf applies patches with
from hypothesis import strategies as st

from mtls_tunnel_operator import names
from mtls_tunnel_operator.settings import Defaults

Raw = dict[str, Any]

DEFAULTS = Defaults(sidecar_image="registry.example/mtls-tunnel:1", allowed_images=("registry.example/*",))


def raw_pod(app: str = "postgres", **spec: Any) -> Raw:
    """A pod of a controller at admission: no name, no uid, defaults of the API server filled in."""
    container = {"name": "db", "image": "postgres:17", "ports": [{"containerPort": 5432, "protocol": "TCP"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": f"{app}-", "labels": {"app": app}},
        "spec": {"containers": [container], "serviceAccountName": "default", "restartPolicy": "Always", **spec},
    }


def labelled(pod: Raw, **labels: str) -> Raw:
    """The pod with *labels* of ours: `inject="false"`."""
    changed = copy.deepcopy(pod)
    changed["metadata"].setdefault("labels", {}).update({f"{names.GROUP}/{key}": text for key, text in labels.items()})
    return changed


def admission_review(pod: Any, namespace: str = "shop", uid: str = "u-1", **request: Any) -> Raw:
    """What the API server posts."""
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": namespace,
            "object": pod,
            **request,
        },
    }


def patched(pod: Any, ops: Any) -> Any:
    """*pod* after *ops*, by an implementation of RFC 6902 that is not ours."""
    return jsonpatch.apply_patch(copy.deepcopy(pod), json.loads(json.dumps(list(ops))))


def patched_by(response: Raw, pod: Any) -> Any:
    """*pod* after the answer of an injector."""
    assert response["allowed"], response
    if "patch" not in response:
        return pod
    assert response["patchType"] == "JSONPatch"
    return patched(pod, json.loads(base64.b64decode(response["patch"])))


def container(pod: Any, name: str = names.CONTAINER) -> Raw:
    """The container of that name, wherever it stands."""
    spec = pod["spec"]
    found = [one for key in ("initContainers", "containers") for one in spec.get(key) or [] if one["name"] == name]
    assert len(found) == 1, f"{len(found)} containers {name}"
    return dict(found[0])


# Choices among ready-made pieces: what matters is which pieces meet, and drawing letters one by one is slow.
_UNKNOWN = [{}, {"futureField": [1, None, "x"]}, {"x~y/z": {"deep": True}}, {"resizePolicy": None}]
_MOUNT = {"name": "volume0", "mountPath": "/v"}
_PIECES: list[Raw] = [
    {},
    {"ports": None},
    {"ports": [{"containerPort": 80}], "restartPolicy": "Always"},
    {"volumeMounts": [_MOUNT], "env": [{"name": "A", "value": "~/b"}]},
    {"futureField": {"a": []}, "image": "i"},
]
_OURS = [names.INJECTED_LABEL, f"{names.SERVER_LABEL_PREFIX}gone", names.REVISION_ANNOTATION]
_texts = st.dictionaries(st.sampled_from(["team", "a/b~c", *_OURS]), st.sampled_from(["", "true", "x"]), max_size=4)


def _named(prefix: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(_PIECES), max_size=3).map(
        lambda pieces: [{"name": f"{prefix}{index}", **piece} for index, piece in enumerate(pieces)]
    )


_pods = st.fixed_dictionaries(
    {
        "labels": _texts,
        "metadata": st.fixed_dictionaries({}, optional={"annotations": st.none() | _texts}),
        "containers": _named("app"),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "initContainers": st.none() | _named("init"),
                "volumes": st.none() | _named("volume"),
                "securityContext": st.sampled_from([None, {"fsGroup": 2000}, {"runAsUser": 7}]),
                "serviceAccountName": st.sampled_from(["", "db", "default"]),
                "resources": st.sampled_from([None, {}, {"requests": {"cpu": "1"}}, {"limits": {"memory": "1Gi"}}]),
            },
        ),
        "unknown": st.tuples(*[st.sampled_from(_UNKNOWN)] * 3),
    }
)


def _assembled(drawn: Raw, app: str) -> Raw:
    above, in_metadata, in_spec = drawn["unknown"]
    metadata = {**in_metadata, **drawn["metadata"], "labels": {**drawn["labels"], "app": app}}
    spec = {**in_spec, **drawn["spec"], "containers": drawn["containers"] or [{"name": "app", "image": "a"}]}
    return copy.deepcopy({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, **above})


def pods(app: str = "postgres") -> st.SearchStrategy[Raw]:
    """A pod that can be injected, in every state that it may come in."""
    return _pods.map(lambda drawn: _assembled(drawn, app))
