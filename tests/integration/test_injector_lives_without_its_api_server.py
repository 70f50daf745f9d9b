"""While the API server cannot be reached by the injector, pods go on being injected from what it knows."""

import threading
import time
from pathlib import Path
from typing import Any

from support.injectors import Injector
from support.kube_api import Trouble
from support.raw_pods import raw_pod
from support.tunnel_resources import tunnel_raw
from support.waiting import eventually


def test_the_last_good_state_serves_and_changes_are_followed_again_afterwards(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector:
        injector.put(tunnel_raw())
        eventually(lambda: "patch" in injector.review(raw_pod()), "it injects")

        injector.api.stop()
        injector.child.wait_for_line("watch of mtlstunnels")
        assert "patch" in injector.review(raw_pod())
        begun = time.monotonic()
        assert injector.review(raw_pod("web"))["allowed"], "a look that fails is no refusal"
        waited = time.monotonic() - begun
        assert injector.readiness()[0] == 200, "five minutes of silence are allowed"

        injector.api.start()
        web = {"workload": {"selector": {"matchLabels": {"app": "web"}}}}
        ports = [{"name": "pg", "targetPort": 80, "tlsPort": 10080}]
        injector.put(tunnel_raw("web", server={**web, "ports": ports}, clients=[]))
        eventually(lambda: "patch" in injector.review(raw_pod("web")), "the new tunnel is known")
        assert waited < 5, "the API server waits for no more"


def test_an_injector_that_starts_before_its_api_server_waits_for_it(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector:
        injector.put(tunnel_raw())
        injector.child.stop()
        injector.api.stop()
        injector.start(ready=False)
        status, text = injector.readiness()
        assert status == 503
        assert "the cache is not complete yet" in text

        injector.api.start()
        eventually(lambda: injector.readiness()[0] == 200, "ready")
        assert "patch" in injector.review(raw_pod())


def test_no_pod_passes_without_its_sidecar_before_the_tunnels_are_known(tmp_path: Path) -> None:
    """It has its certificate and is asked although it is not ready: the answer is none, not "no sidecar"."""
    with Injector(tmp_path) as injector:
        injector.put(tunnel_raw())
        injector.child.stop()
        injector.api.call(lambda: injector.api.server.trouble(Trouble(path=".*/mtlstunnels", times=1000)))
        injector.start(ready=False)
        injector.child.wait_for_line("serving certificate loaded")

        with injector.connect() as caller:
            status, body = caller.post(
                b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview",'
                b'"request":{"uid":"u","kind":{"group":"","version":"v1","kind":"Pod"},'
                b'"operation":"CREATE","namespace":"shop","object":{"metadata":{},"spec":{}}}}'
            )
        assert (status, body) == (503, b"the cache of MtlsTunnels is not complete yet\n")


def test_a_hundred_pods_at_once_are_all_injected(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector:
        injector.put(tunnel_raw())
        eventually(lambda: "patch" in injector.review(raw_pod()), "it injects")
        answers: list[Any] = []
        context = injector.context()

        def ask() -> None:
            with injector.connect(context) as caller:
                answers.append(caller.review(raw_pod()))

        threads = [threading.Thread(target=ask) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 100
        assert all("patch" in answer for answer in answers)
