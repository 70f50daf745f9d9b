"""What must hold for any body that is posted to the injector; for the fuzzer and for its seeds."""

import base64
import json
from typing import Any

from mtls_tunnel_operator.errors import SpecError
from mtls_tunnel_operator.injection import review
from mtls_tunnel_operator.injection.patch import inject
from mtls_tunnel_operator.injection.review import BadReview
from mtls_tunnel_operator.model.parts import parts_of
from mtls_tunnel_operator.model.reading import pod_of
from support.raw_pods import DEFAULTS, patched
from support.tunnel_resources import space, tunnel

ANY = {"matchExpressions": [{"key": "nobody", "operator": "DoesNotExist"}]}
PORTS = [{"name": "pg", "targetPort": 5432, "tlsPort": 15432}]
LISTENERS = [{"port": "pg", "localPort": 5433}]
# They select every pod, so that every pod gets as far as the patch; one per way of making the sidecar.
TUNNELS = [
    tunnel(server={"workload": {"selector": ANY}, "ports": PORTS}, proxy={"injection": mode}, **more)
    for mode, more in (
        ("NativeSidecar", {"clients": [{"name": "c", "selector": ANY, "listeners": LISTENERS}]}),
        ("Container", {"clients": []}),
    )
]


def check_body(body: bytes) -> None:
    """An answer that an API server can take, or one sentence."""
    try:
        request = review.read(body)
    except BadReview:
        return
    if request.ignored:
        _check_answer(review.allow(request.uid, request.ignored), request.pod)
        return
    for one in TUNNELS:
        try:
            check_pod(request.pod, one, request.uid)
        except SpecError as error:
            if error.reason != "MalformedPod":
                raise
            _check_answer(review.refuse(request.uid, review.MALFORMED, str(error)), None)


def check_pod(pod: Any, one: Any, uid: str = "u") -> None:
    """Whatever the pod: what others make of the patch is what we say, and again is no change."""
    seen = pod_of(pod)
    parts = parts_of(space(), seen.labels, seen.account, [one])
    result = inject(pod, parts, space(), DEFAULTS)
    _check_answer(review.answer(uid, result), pod)
    assert patched(pod, result.ops) == result.pod
    again = inject(result.pod, parts, space(), DEFAULTS)
    assert (again.ops, again.skipped) == ((), result.skipped)
    assert result.skipped or pod_of(result.pod).injected


def _check_answer(answer: bytes, pod: Any) -> None:
    response = json.loads(answer)["response"]
    assert all(text.isprintable() and len(text) <= review.LONGEST_WARNING for text in response.get("warnings", ()))
    if "patch" in response:
        assert isinstance(json.loads(base64.b64decode(response["patch"])), list)
        assert pod
