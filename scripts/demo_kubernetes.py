"""`make demo-kubernetes`: the operator's story on a real cluster, told as it happens; exit 1 if a promise is not kept.

KUBECONFIG if it is given, else kind, else the cluster of scripts/cluster.py.  Everything that the demo made is
removed again, and a cluster that it started is ended.  With a cluster of your own the images must be where its
nodes find them: DEMO_TUNNEL_IMAGE and DEMO_OPERATOR_IMAGE name them, and nothing is built.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from string import Template

import cluster
from build_image import ROOT, Failed, Unavailable, open_image
from local_cluster.build import binary
from local_cluster.place import chosen_folder

EXAMPLES = ROOT / "operator" / "examples" / "demo"
CHART = ROOT / "charts" / "mtls-tunnel"
RELEASE, NAMESPACE = "mtls-tunnel", "mtls-tunnel-system"
TUNNEL, OPERATOR = "localhost/mtls-tunnel:demo", "localhost/mtls-tunnel-operator:demo"
SECONDS = 300.0
# A changed Secret reaches the pods of this cluster within seconds; the default of 180 s is for any cluster.
ROTATION = {"rotation": {"propagationSeconds": 15, "issuingSeconds": 0}}
CRDS = ("mtlstunnels.mtlstunnel.dev", "mtlstrustdomains.mtlstunnel.dev")
PHASES = ("Distributing", "Issuing", "Retiring", "Stable")


class Broken(Exception):
    """Something did not come as promised; the text says what."""


class Story:
    """kubectl and helm of one cluster, and what is told meanwhile."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubectl = [str(binary("kubectl")), f"--kubeconfig={kubeconfig}"]
        self._helm = [str(binary("helm")), f"--kubeconfig={kubeconfig}"]
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:5.1f} s] {text}", flush=True)

    def show(self, text: str) -> None:
        for line in text.splitlines():
            print(f"            {line}", flush=True)

    def kubectl(self, *words: str, text: str = "") -> str:
        return _run([*self._kubectl, *words], text)

    def helm(self, *words: str) -> str:
        return _run([*self._helm, *words])

    def refuse_what_is_not_ours(self) -> None:
        """Whatever the demo removes at its end it must have made itself."""
        for kind, names in (("crd", CRDS), ("namespace", (NAMESPACE, "shop", "elsewhere"))):
            found = self.kubectl("get", kind, *names, "--ignore-not-found", "--output=name").split()
            if found:
                raise Unavailable(f"this cluster has {', '.join(found)} already: the demo wants one without")

    def apply(self, name: str, image: str) -> None:
        """Apply a file of the examples; they name no image of their own."""
        text = Template((EXAMPLES / name).read_text(encoding="utf-8")).safe_substitute(IMAGE=image)
        self.kubectl("apply", "--server-side", "--field-manager=demo", "-f", "-", text=text)

    def until(self, what: str, condition: Callable[[], str]) -> str:
        """Wait for a condition; refusals of kubectl count as "not yet"."""
        deadline, last = time.monotonic() + SECONDS, ""
        while time.monotonic() < deadline:
            try:
                if found := condition():
                    return found
            except Broken as refused:
                last = str(refused)
            time.sleep(0.5)
        raise Broken(f"{what}: not within {SECONDS:.0f} s. {last}")

    def count(self) -> tuple[int, int]:
        """(served, failed) of the client's requests so far, by its own count."""
        lines = self.kubectl("logs", "--namespace=shop", "deployment/orders-api", "--container=app", "--tail=40")
        found = re.findall(r"served=(\d+) failed=(\d+)", lines)
        return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)

    def served_more(self) -> str:
        """Wait for another fifty answers."""
        before = self.count()[0]
        return self.until("traffic flows", lambda: "yes" if self.count()[0] >= before + 50 else "")


def main() -> int:
    try:
        with ExitStack() as stack:
            kubeconfig, images = stack.enter_context(_stage())
            story = Story(kubeconfig)
            story.refuse_what_is_not_ours()
            stack.callback(_leave, story)
            _tell(story, *images)
    except (Unavailable, Failed, Broken) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _stage() -> Iterator[tuple[Path, tuple[str, str]]]:
    """A cluster with both images on it."""
    given = os.environ.get("KUBECONFIG")
    named = os.environ.get("DEMO_TUNNEL_IMAGE"), os.environ.get("DEMO_OPERATOR_IMAGE")
    if given and named[0] and named[1]:
        yield Path(given), (named[0], named[1])
        return
    if given:
        raise Unavailable("with KUBECONFIG give DEMO_TUNNEL_IMAGE and DEMO_OPERATOR_IMAGE, which its nodes can pull")
    folder = chosen_folder(None, alone=False)
    print("a cluster: kind, or one built here from Go modules (minutes the first time, seconds after that)", flush=True)
    with cluster.in_use(folder) as nobody_else:
        made = cluster.up(folder)
        try:
            for tag, target in ((TUNNEL, "tunnel"), (OPERATOR, "operator")):
                print(f"image {tag}", flush=True)
                open_image(tag, target)
                made.load(tag)
            yield made.kubeconfig, (TUNNEL, OPERATOR)
        finally:
            if made.started and nobody_else():
                cluster.down(folder)


def _tell(story: Story, tunnel: str, operator: str) -> None:
    _install(story, tunnel, operator)
    _first_tunnel(story, tunnel)
    _strangers(story, tunnel)
    _rotate(story)
    _withdraw(story)
    story.tell("everything was as promised")


def _install(story: Story, tunnel: str, operator: str) -> None:
    story.tell(f"helm install {RELEASE} charts/mtls-tunnel   (a namespace that enforces the `restricted` standard)")
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    story.kubectl("apply", "--server-side", "-f", "-", text=json.dumps(manifest))
    story.helm(
        *("upgrade", "--install", RELEASE, str(CHART), f"--namespace={NAMESPACE}"),
        *("--wait", f"--timeout={SECONDS:.0f}s", f"--set-json=image={json.dumps(_image(operator))}"),
        f"--set-json=sidecar.image={json.dumps(_image(tunnel))}",
        f"--set-json=trustDomain.spec={json.dumps(ROTATION)}",
    )
    story.show(story.kubectl("get", "pods", f"--namespace={NAMESPACE}"))


def _image(name: str) -> dict[str, str]:
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}


def _first_tunnel(story: Story, image: str) -> None:
    story.tell(
        "kubectl apply -f shop.yaml -f workloads.yaml   (one MtlsTunnel; two applications that know nothing of it)"
    )
    story.apply("shop.yaml", image)
    story.apply("workloads.yaml", image)
    for name in ("orders-db", "orders-api"):
        story.kubectl("rollout", "status", f"deployment/{name}", "--namespace=shop", f"--timeout={SECONDS:.0f}s")
    story.until("the tunnel is ready", lambda: _condition(story, "Ready"))
    story.until("the first answer", lambda: "yes" if story.count()[0] else "")
    story.served_more()
    story.show(story.kubectl("get", "mtlstunnels", "--namespace=shop"))
    story.show(story.kubectl("get", "pods", "--namespace=shop"))
    story.tell("the client has its answers, over mutual TLS; kubectl logs goes to the application:")
    story.show(story.kubectl("logs", "--namespace=shop", "deployment/orders-api", "--tail=1"))
    names = story.kubectl(
        *("get", "secret", "--namespace=shop", "orders-db-mtls-server", "--output=jsonpath={.metadata.annotations}")
    )
    story.tell("the server's certificate, as the Secret tells of it:")
    story.show("\n".join(f"{key}: {value}" for key, value in sorted(json.loads(names).items()) if "content" not in key))


def _condition(story: Story, kind: str) -> str:
    path = f'jsonpath={{.status.conditions[?(@.type=="{kind}")].status}}'
    return "yes" if story.kubectl("get", "mtt", "orders-db", "--namespace=shop", f"--output={path}") == "True" else ""


def _strangers(story: Story, image: str) -> None:
    story.tell("a stranger in another namespace knocks at the server's port:")
    story.apply("stranger.yaml", image)
    path = "--output=jsonpath={.status.succeeded}/{.status.failed}"
    done = story.until(
        "the stranger has tried", lambda: story.kubectl("get", "job/stranger", "--namespace=elsewhere", path).strip("/")
    )
    story.show(story.kubectl("logs", "--namespace=elsewhere", "job/stranger"))
    if not done.startswith("1"):
        raise Broken("a stranger was not refused")


def _rotate(story: Story) -> None:
    served, failed = story.count()
    before = _fingerprints(story)
    story.tell(f"the CA is rotated under traffic ({served} requests so far, {failed} failed):")
    story.kubectl("annotate", "--overwrite", "mtlstrustdomain", "default", f"mtlstunnel.dev/rotate={time.time():.0f}")
    for phase in PHASES:
        story.until(f"phase {phase}", lambda phase=phase: "yes" if _phase(story) == phase else "")  # type: ignore[misc]
        story.tell(f"  {phase}: CAs {', '.join(one[:12] for one in _fingerprints(story))}")
    story.served_more()
    served, failed = story.count()
    story.tell(f"the old CA is gone: {served} requests, {failed} failed")
    if failed:
        story.show(story.kubectl("logs", "--namespace=shop", "deployment/orders-api", "--container=app", "--tail=30"))
        raise Broken(f"{failed} requests failed")
    if set(before) & set(_fingerprints(story)):
        raise Broken("the old CA is still trusted")


def _phase(story: Story) -> str:
    return story.kubectl("get", "mtlstrustdomain", "default", "--output=jsonpath={.status.rotation.phase}")


def _fingerprints(story: Story) -> list[str]:
    path = "--output=jsonpath={.status.caFingerprints}"
    return list(json.loads(story.kubectl("get", "mtlstrustdomain", "default", path) or "[]"))


def _withdraw(story: Story) -> None:
    story.tell("the client is taken out of the MtlsTunnel: its live connection is cut, without a restart")
    story.kubectl(
        *("patch", "mtt", "orders-db", "--namespace=shop", "--type=json"),
        '--patch=[{"op": "remove", "path": "/spec/clients"}]',
    )
    failed = story.count()[1]
    story.until("the client is cut off", lambda: "yes" if story.count()[1] > failed else "")
    path = "--output=jsonpath={.items[*].status.initContainerStatuses[*].restartCount}"
    restarts = story.kubectl("get", "pods", "--namespace=shop", path)
    if set(restarts.split()) != {"0"}:
        raise Broken(f"a sidecar was restarted: {restarts}")


def _leave(story: Story) -> None:
    story.tell("cleaning up")
    # The resources go while somebody is there to see them go; the operator goes before its own kinds.
    kubectl, release = story.kubectl, f"--namespace={NAMESPACE}"
    _try(lambda: kubectl("delete", "namespace", "shop", "elsewhere", "--ignore-not-found", "--wait=false"))
    _try(lambda: kubectl("delete", "mtlstunnels", "--all", "--all-namespaces", "--ignore-not-found"))
    _try(lambda: story.helm("uninstall", RELEASE, release, "--wait", "--timeout=60s"))
    _try(lambda: kubectl("delete", "mtlstrustdomain", "default", "--ignore-not-found"))
    _try(lambda: kubectl("delete", "crd", *CRDS, "--ignore-not-found"))
    _try(lambda: kubectl("delete", "namespace", NAMESPACE, "shop", "elsewhere", "--ignore-not-found"))


def _try(step: Callable[[], object]) -> None:
    try:
        step()
    except Broken as error:
        print(f"demo: {error}", file=sys.stderr)


def _run(words: list[str], text: str = "") -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        shown = " ".join(word for word in words[1:] if not word.startswith("--kubeconfig"))
        raise Broken(f"{Path(words[0]).name} {shown[:120]}: {done.stderr.strip()[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
