"""The injector as a process: a pod that is sent over TLS comes back as the pure function would make it."""

import json
from pathlib import Path

from mtls_tunnel_operator import names
from mtls_tunnel_operator.injection.patch import inject
from mtls_tunnel_operator.model.parts import parts_of
from support.injectors import Injector
from support.raw_pods import DEFAULTS, container, labelled, patched_by, raw_pod
from support.tunnel_resources import space, tunnel, tunnel_raw
from support.waiting import eventually


def test_a_selected_pod_is_patched_and_others_are_let_through(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector:
        injector.put(tunnel_raw())
        pod = raw_pod()
        parts = parts_of(space("shop"), {"app": "postgres"}, "default", [tunnel()])

        response = injector.review(pod)
        other = injector.review(raw_pod("web"))

        assert patched_by(response, pod) == inject(pod, parts, space("shop"), DEFAULTS).pod
        assert "warnings" not in response
        assert other == {"uid": "u-1", "allowed": True}
        assert 'mtls_tunnel_injector_injection_total{result="injected"} 1.0' in injector.scrape()
        assert 'mtls_tunnel_injector_injection_total{result="not_selected"} 1.0' in injector.scrape()
        line = injector.child.wait_for_line("admission: injected")
        assert "namespace=shop pod=postgres- tunnels=shop/orders-db" in line
        assert not injector.change(lambda store: store.writes()), "the injector writes nothing"


def test_changes_of_tunnels_defaults_and_namespaces_are_followed(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector:
        injector.put(tunnel_raw())
        assert "patch" in injector.review(raw_pod())

        narrowed = tunnel_raw(proxy={"image": "registry.example/mtls-tunnel:2"})
        injector.put(narrowed)
        defaults = {"sidecarImage": "registry.example/mtls-tunnel:3", "allowedImages": '["registry.example/*"]'}
        config_map = {**injector.store.of("configmaps")[0], "data": defaults}
        injector.put(config_map)
        eventually(lambda: _image(injector) == "registry.example/mtls-tunnel:2", "the allowed image is used")

        injector.put(tunnel_raw())
        eventually(lambda: _image(injector) == "registry.example/mtls-tunnel:3", "the new default is used")

        injector.remove(names.TUNNELS, "shop", "orders-db")
        eventually(lambda: "patch" not in injector.review(raw_pod()), "a deleted tunnel selects nothing")


def test_pain_26_a_tunnel_that_came_with_its_pods_is_found_and_the_api_server_is_asked_once(tmp_path: Path) -> None:
    """The watch is cut off, as if it were slow: the one live list of the namespace finds the tunnel."""
    with Injector(tmp_path) as injector:
        injector.review(raw_pod())
        before = _lists(injector)
        injector.change(lambda store: setattr(store, "changed", lambda: None))  # no watch is told
        injector.put(tunnel_raw())
        eventually(lambda: "patch" in injector.review(raw_pod()), "the live look finds it", seconds=5)
        assert _lists(injector) - before <= 3, "one list for each second, not for each pod"


def test_a_pod_that_must_be_injected_is_refused_until_it_can_be(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector:
        pod = labelled(raw_pod(), inject="true")
        refused = injector.review(pod)
        injector.put(tunnel_raw())
        eventually(lambda: injector.review(pod)["allowed"], "it is let in with its sidecar")

        assert (refused["allowed"], refused["status"]["code"]) == (False, 403)
        assert "no MtlsTunnel selects this pod" in refused["status"]["message"]
        assert container(patched_by(injector.review(pod), pod))["name"] == "mtls-tunnel"


def _image(injector: Injector) -> str:
    pod = raw_pod()
    return str(container(patched_by(injector.review(pod), pod))["image"])


def _lists(injector: Injector) -> int:
    asked = injector.api.asked()
    return sum(one.verb == "list" and one.ref.plural == names.TUNNELS and one.ref.namespace == "shop" for one in asked)


def test_answers_are_admission_reviews_of_v1(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector, injector.connect() as caller:
        status, body = caller.post(b"{}")
        assert status == 400
        assert b"AdmissionReview" in body
        with injector.connect() as fresh:
            fresh.review(raw_pod())
        assert json.loads(injector.readiness()[1]) == {"status": "ready"}
