"""AdmissionReviews: what is read of them, and answers that an API server can take."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.injection import review
from mtls_tunnel_operator.injection.patch import Injection
from mtls_tunnel_operator.injection.review import BadReview
from support.raw_pods import admission_review, raw_pod


def response(answer: bytes) -> Any:
    body = json.loads(answer)
    assert (body["apiVersion"], body["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    return body["response"]


def test_a_new_pod_is_read_with_its_namespace() -> None:
    request = review.read(json.dumps(admission_review(raw_pod())).encode())
    assert (request.uid, request.namespace, request.pod, request.ignored) == ("u-1", "shop", raw_pod(), "")


def test_operations_are_sent_as_a_json_patch() -> None:
    op = {"op": "add", "path": "/metadata/labels/a~1b", "value": "ü"}
    answer = response(review.answer("u", Injection((op,), {}, ("careful",))))
    assert json.loads(base64.b64decode(answer.pop("patch"))) == [op]
    assert answer == {"uid": "u", "allowed": True, "patchType": "JSONPatch", "warnings": ["mtls-tunnel: careful"]}


def test_a_refusal_says_who_refuses_and_the_remedy() -> None:
    answer = response(review.answer("u", Injection((), {}, (), "HostNetwork", "set hostNetwork: false")))
    status = {"code": 403, "message": "mtls-tunnel: set hostNetwork: false"}
    assert answer == {"uid": "u", "allowed": False, "status": status}


@given(st.lists(st.text(max_size=400), max_size=40))
def test_warnings_always_fit_into_headers(texts: list[str]) -> None:
    """The API server drops a warning with control characters, and all above 4,096 bytes."""
    answer = response(review.allow("u", *texts))
    warnings = answer.get("warnings", [])
    assert all(text.isprintable() and len(text) <= 256 for text in warnings)
    assert sum(map(len, warnings)) <= 4096


VALUES = st.recursive(
    st.none() | st.text(max_size=3),
    lambda some: st.lists(some) | st.dictionaries(st.text(max_size=3), some),
    max_leaves=8,
)


@given(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_else_comes_is_a_bad_review(body: bytes) -> None:
    with pytest.raises(BadReview):
        review.read(body)


JUNK: st.SearchStrategy[Any] = (
    st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2) | st.just({})
)
PLACES = ["uid", "kind", "operation", "namespace", "object", "subResource", "resource", "dryRun"]


@given(st.dictionaries(st.sampled_from(PLACES), JUNK, min_size=1, max_size=3))
def test_a_request_with_wrong_fields_is_read_or_refused_and_never_crashes(changes: dict[str, Any]) -> None:
    body = json.dumps(admission_review(raw_pod(), **changes)).encode()
    try:
        request = review.read(body)
    except BadReview:
        return
    assert isinstance(request.uid, str)
    assert request.ignored or (request.namespace and isinstance(request.pod, dict))
