"""An AdmissionReview comes in, an AdmissionReview goes out.

The API server asks about pods that are being made; whatever else arrives under this name is let through
unchanged, because a webhook that was registered too widely must not stop a cluster.  What is no
AdmissionReview at all is a `BadReview`: the API server then does what its failurePolicy says.

Sources: Kubernetes, admission.k8s.io/v1; warnings: "individual warnings over 256 characters may be truncated".
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mtls_tunnel_operator.errors import OperatorError
from mtls_tunnel_operator.injection.patch import Injection

API_VERSION = "admission.k8s.io/v1"
LONGEST_WARNING = 256
MOST_WARNINGS = 12
DENIED, MALFORMED = 403, 400


class BadReview(OperatorError):
    """The body is not an AdmissionReview request; the text says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """`ignored` says why this is none of the injector's business, "" if it is."""

    uid: str
    namespace: str
    pod: Mapping[str, Any]
    ignored: str = ""


def read(body: bytes) -> Request:
    """Read a request body.

    Raises:
        BadReview: not JSON, nested without end, not an AdmissionReview of v1, no request or no uid in it.
    """
    try:
        raw = json.loads(body)
    except RecursionError:
        raise BadReview("the body is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, not UTF-8, an integer of thousands of digits
        raise BadReview(f"the body is not JSON: {error}") from None
    if not isinstance(raw, dict) or (raw.get("apiVersion"), raw.get("kind")) != (API_VERSION, "AdmissionReview"):
        raise BadReview(f"the body is not an AdmissionReview of {API_VERSION}")
    request = raw.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str):
        raise BadReview("the AdmissionReview has no request with a uid")
    return _request(request)


def _request(request: Mapping[str, Any]) -> Request:
    uid, pod, namespace = request["uid"], request.get("object"), request.get("namespace")
    kind = request.get("kind")
    named = (kind.get("group"), kind.get("kind")) if isinstance(kind, dict) else (None, None)
    if named not in (("", "Pod"), (None, "Pod")) or request.get("operation") != "CREATE" or request.get("subResource"):
        return Request(uid, "", {}, "only the creation of pods is reviewed here: narrow the rules of the webhook")
    if not isinstance(pod, dict) or not isinstance(namespace, str) or not namespace:
        raise BadReview("the request has no pod or no namespace")
    return Request(uid, namespace, pod)


def answer(uid: str, injection: Injection) -> bytes:
    """The answer for a pod that was decided on."""
    if injection.denied:
        return refuse(uid, DENIED, injection.denied)
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if injection.ops:
        patch = json.dumps(injection.ops, separators=(",", ":")).encode()
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch).decode("ascii")}
    return _answer(response, injection.warnings)


def allow(uid: str, *warnings: str) -> bytes:
    """The answer that changes nothing."""
    return _answer({"uid": uid, "allowed": True}, warnings)


def refuse(uid: str, code: int, message: str) -> bytes:
    """The answer that refuses; *message* ends with the remedy."""
    status = {"code": code, "message": f"mtls-tunnel: {message}"}
    return _answer({"uid": uid, "allowed": False, "status": status}, ())


def _answer(response: dict[str, Any], warnings: tuple[str, ...]) -> bytes:
    if warnings:
        response["warnings"] = [warning(text) for text in warnings[:MOST_WARNINGS]]
    return json.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}).encode()


def warning(text: str) -> str:
    """A warning as it may stand in an HTTP header: one printable line, not too long.

    The API server drops one with control characters whole.
    """
    line = "".join(letter if letter.isprintable() else "?" for letter in f"mtls-tunnel: {text}")
    return line if len(line) <= LONGEST_WARNING else f"{line[: LONGEST_WARNING - 3]}..."
