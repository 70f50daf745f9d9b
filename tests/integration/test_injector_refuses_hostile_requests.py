"""Whatever is sent to the injector: an answer with a reason, and the next pod is injected as if nothing had been."""

import contextlib
import gzip
import json
import socket
import ssl
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from support.injectors import Injector
from support.kube_api import cluster
from support.procfs import descriptors, rss_bytes
from support.raw_pods import admission_review, raw_pod
from support.tunnel_resources import tunnel_raw
from support.waiting import eventually, settled


@pytest.fixture(scope="module")
def injector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Injector]:
    store = cluster("shop")
    store.put(tunnel_raw())
    with Injector(tmp_path_factory.mktemp("injector"), store) as running:
        yield running


@pytest.fixture(autouse=True)
def _it_lives_on(injector: Injector) -> Iterator[None]:
    """The oracle of every test here."""
    eventually(lambda: "patch" in injector.review(raw_pod()), "it injects")
    before = descriptors(injector.child.pid)
    yield
    assert "patch" in injector.review(raw_pod())
    settled(lambda: descriptors(injector.child.pid), before, "open descriptors")
    assert not injector.child.matching("Traceback|ended by an error|where="), injector.child.lines


def changed(**request: Any) -> bytes:
    return json.dumps(admission_review(raw_pod(), **request)).encode()


WHOLE = changed()
NO_REVIEWS = [
    pytest.param(b"", id="nothing"),
    pytest.param(WHOLE[:-7], id="truncated"),
    pytest.param(b"kind: AdmissionReview", id="YAML"),
    pytest.param(b"\xff\xfe\x00", id="no UTF-8"),
    pytest.param(b"[" * 200_000, id="open brackets"),
    pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="nested 100,000 deep"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b"9" * 100_000, id="a number of 100,000 digits"),
    pytest.param(WHOLE.replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1"), id="v1beta1"),
    pytest.param(WHOLE.replace(b'"AdmissionReview"', b'"ConversionReview"'), id="another review"),
    pytest.param(b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}', id="no request"),
    pytest.param(WHOLE.replace(b'"u-1"', b"null"), id="no uid"),
    pytest.param(WHOLE.replace(b'"shop"', b'""'), id="no namespace"),
    pytest.param(WHOLE.replace(b'"object"', b'"subject"'), id="no pod"),
]


@pytest.mark.parametrize("body", NO_REVIEWS)
def test_what_is_no_review_is_a_400_with_a_sentence(injector: Injector, body: bytes) -> None:
    with injector.connect() as caller:
        status, text = caller.post(body)
    assert status == 400
    assert 10 < len(text) < 300
    injector.child.wait_for_line("admission: request refused.*status=400")


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param({"kind": {"group": "apps", "version": "v1", "kind": "Deployment"}}, id="a Deployment"),
        pytest.param({"kind": "Pod"}, id="kind is a word"),
        pytest.param({"operation": "UPDATE"}, id="an update"),
        pytest.param({"subResource": "ephemeralcontainers"}, id="a subresource"),
        pytest.param({"operation": "DELETE", "object": None}, id="a deletion"),
    ],
)
def test_what_is_no_new_pod_is_let_through_with_a_warning(injector: Injector, request_: Any) -> None:
    with injector.connect() as caller:
        status, body = caller.post(changed(**request_))
    response = json.loads(body)["response"]
    assert (status, response["allowed"], "patch" in response) == (200, True, False)
    assert "narrow the rules of the webhook" in response["warnings"][0]


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param({}, id="empty"),
        pytest.param({"metadata": {"labels": {"app": "postgres"}}, "spec": {"containers": "x"}}, id="containers"),
        pytest.param({"metadata": {"labels": {"app": ["postgres"]}}, "spec": {}}, id="a list as label"),
    ],
)
def test_a_pod_of_no_shape_is_refused_in_a_review(injector: Injector, pod: Any) -> None:
    response = injector.review(pod)
    assert (response["allowed"], response["status"]["code"]) == (False, 400)
    assert "this is no pod" in response["status"]["message"]


def test_odd_text_ends_in_no_header_and_no_log_line_of_its_own(injector: Injector) -> None:
    pod = raw_pod(hostNetwork=True)
    pod["metadata"]["generateName"] = 'a\r\nlevel=ERROR msg="forged"\u2028\ud800-'
    pod["metadata"]["labels"]["mtlstunnel.dev/inject"] = "x\n" * 300

    (warning, *_) = injector.review(pod)["warnings"]

    assert warning.isprintable()
    assert len(warning) <= 256
    line = injector.child.wait_for_line("admission: skipped.*forged")
    assert line.startswith("time=")
    assert "\\r\\nlevel=ERROR" in line


def test_a_body_of_three_mebibytes_is_read_and_one_byte_more_is_not(injector: Injector) -> None:
    most = 3 * 2**20
    pod = raw_pod()
    pod["metadata"]["annotations"] = {"fill": ""}
    room = most - len(json.dumps(admission_review(pod)).encode())
    for more, wanted in ((0, 200), (1, 413)):
        pod["metadata"]["annotations"]["fill"] = "x" * (room + more)
        with injector.connect() as caller:
            status, _ = caller.post(json.dumps(admission_review(pod)).encode())
        assert status == wanted


def test_a_compressed_body_is_not_unpacked(injector: Injector) -> None:
    before = rss_bytes(injector.child.pid)
    with injector.connect() as caller:
        status, _ = caller.post(gzip.compress(b" " * 100 * 2**20), headers={"Content-Encoding": "gzip"})
    assert status == 400
    assert rss_bytes(injector.child.pid) - before < 30e6


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        pytest.param(b"GET /mutate HTTP/1.1", 405, id="GET"),
        pytest.param(b"POST /../etc/passwd HTTP/1.1", 404, id="another path"),
        pytest.param(b"POST /mutate HTTP/1.1\r\nX: " + b"x" * 100_000, 400, id="a header of 100,000 bytes"),
        pytest.param(b"\x16\x03\x01 garbage", 400, id="garbage"),
        pytest.param(b"POST /mutate HTTP/1.1\r\nContent-Length: -1", 400, id="a negative length"),
        pytest.param(b"POST /mutate HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6", 400, id="two lengths"),
        pytest.param(b"POST /mutate HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 6", 400, id="smuggling"),
    ],
)
def test_what_is_no_request_for_it_is_a_4xx(injector: Injector, head: bytes, wanted: int) -> None:
    with injector.connect() as caller:
        caller.connect()
        caller.sock.sendall(head + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = caller.sock.recv(65536)
    assert answer.split(b" ")[1] == str(wanted).encode(), answer[:200]


def test_old_tls_weak_ciphers_and_plain_http_do_not_get_in(injector: Injector) -> None:
    tls11 = injector.context()
    with warnings.catch_warnings(action="ignore"):  # that nobody should want it
        tls11.minimum_version = tls11.maximum_version = ssl.TLSVersion.TLSv1_1
    tls11.set_ciphers("ALL:@SECLEVEL=0")
    cbc = injector.context()
    cbc.maximum_version = ssl.TLSVersion.TLSv1_2
    cbc.set_ciphers("ECDHE-ECDSA-AES256-SHA384:AES256-SHA:@SECLEVEL=0")
    for context in (tls11, cbc):
        with pytest.raises((ssl.SSLError, ConnectionError)), injector.connect(context) as caller:
            caller.post(b"{}")
    with socket.create_connection(("127.0.0.1", injector.port)) as plain:
        plain.sendall(b"POST /mutate HTTP/1.1\r\nHost: x\r\n\r\n")
        plain.settimeout(30)
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in plain.recv(1000)
    tls12 = injector.context()
    tls12.maximum_version = ssl.TLSVersion.TLSv1_2
    with injector.connect(tls12) as caller:
        caller.review(raw_pod())
        cipher = caller.sock.cipher()
        assert cipher
        assert "GCM" in cipher[0]


def test_hundreds_of_idle_connections_hinder_nobody(injector: Injector) -> None:
    context = injector.context()
    callers = [injector.connect(context) for _ in range(300)]
    try:
        for caller in callers:
            caller.connect()
        assert "patch" in injector.review(raw_pod())
        assert "mtls_tunnel_injector_connections 300.0" in injector.scrape()
    finally:
        for caller in callers:
            caller.close()
