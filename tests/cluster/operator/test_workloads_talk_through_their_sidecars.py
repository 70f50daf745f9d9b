"""A Deployment and a Job in a `restricted` namespace: traffic flows, the Job ends, nobody saw a refused connection."""

from collections.abc import Callable
from typing import Any

from support.kube import Kube
from support.shop import Shop

# The first thing that the application does is to connect: a listener that is not there yet would be seen.
ASK_AT_ONCE = """
import socket
with socket.create_connection(("127.0.0.1", 5432), timeout=60) as connection:
    connection.sendall(b"order 1\\n")
    print(connection.makefile().readline().strip(), flush=True)
"""


def job(image: str) -> dict[str, Any]:
    container = {
        "name": "report",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python3", "-u", "-c", ASK_AT_ONCE],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsUser": 1000},
    }
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "report"},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": {"app": "orders-api"}}, "spec": pod}},
    }


def test_pain_01_and_02_a_job_with_a_sidecar_starts_after_it_and_ends(
    cluster: Kube, new_shop: Callable[[], Shop], tunnel_image: str
) -> None:
    shop = new_shop()
    shop.open()

    cluster.apply(job(tunnel_image), namespace=shop.name)

    cluster.wait_condition("job", "report", "Complete", shop.name)
    # backoffLimit 0: it ended well at its first try, so it met no refused connection.
    assert cluster.logs("job/report", shop.name) == "orders-db: order 1\n"
    assert shop.count()[1] == 0, shop.complaints()


def test_pain_03_logs_and_exec_go_to_the_application(cluster: Kube, new_shop: Callable[[], Shop]) -> None:
    shop = new_shop()
    shop.open()
    (pod,) = shop.pods("orders-api")

    assert [one["name"] for one in pod["spec"]["containers"]] == ["app"]
    assert "served=" in cluster.logs(pod["metadata"]["name"], shop.name)
    assert cluster.exec(pod["metadata"]["name"], shop.name, "id", "-u") == "1000\n"


def test_pain_04_and_05_the_sidecar_outlives_the_application_that_still_talks(
    cluster: Kube, new_shop: Callable[[], Shop], tunnel_image: str
) -> None:
    """A pod that is deleted lets its application finish: a request begun after SIGTERM is still served."""
    shop = new_shop()
    shop.open()
    last_word = (
        "import signal, socket, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(3)\n"
        "    with socket.create_connection(('127.0.0.1', 5432), timeout=20) as connection:\n"
        "        connection.sendall(b'last\\n')\n"
        "        print(connection.makefile().readline().strip(), flush=True)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('waiting', flush=True)\n"
        "while True: time.sleep(1)\n"
    )
    spec = job(tunnel_image)["spec"]["template"]
    spec["spec"]["containers"][0]["command"][-1] = last_word
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late", "labels": {"app": "orders-api"}},
                   "spec": spec["spec"]}, namespace=shop.name)  # fmt: skip
    cluster.wait_phase("late", "Running", shop.name)
    cluster.wait(lambda: "waiting" in cluster.logs("late", shop.name), "the application runs", shop.name)

    said: list[str] = []
    cluster("delete", "pod", "late", "--namespace", shop.name, "--wait=false")
    cluster.wait(lambda: _heard(cluster, shop.name, said), "its last words", shop.name)

    assert "orders-db: last" in said[-1]


def _heard(cluster: Kube, namespace: str, said: list[str]) -> bool:
    """The log goes with the pod, so it is read until the words are there."""
    said.append(cluster.logs("late", namespace))
    return "orders-db: last" in said[-1] or "Traceback" in said[-1]
