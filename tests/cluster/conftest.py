"""The clusters of this folder: KUBECONFIG if it is given, else one that scripts/cluster.py starts here.

`cluster` runs pods.  `api_server` is only etcd and an API server, started in seconds: enough for CRDs, CEL
rules, admission policies and RBAC.  A cluster that runs already is used and left as it is.
"""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

import cluster as machine
from build_image import Unavailable, open_image
from local_cluster import kind
from local_cluster.build import binary
from local_cluster.place import chosen_folder
from support.kube import RESTRICTED, Kube

NamespaceMaker = Callable[..., str]


@pytest.fixture(scope="session")
def running() -> Iterator[machine.Cluster]:
    """The cluster that this session may use, whoever started it."""
    if given := os.environ.get("KUBECONFIG"):
        file = Path(given)
        yield machine.Cluster(file, _beside(file), file.parent, kind=kind.usable())
        return
    folder = chosen_folder(None, alone=False)
    with machine.in_use(folder) as nobody_else:
        try:
            made = machine.up(folder)
        except Unavailable as lacking:
            pytest.skip(str(lacking))
        yield made
        if made.started and nobody_else():
            machine.down(folder)


@pytest.fixture(scope="session")
def cluster(running: machine.Cluster) -> Kube:
    """A cluster whose pods run."""
    return Kube(running.kubeconfig, binary("kubectl"), running.audit)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """An API server of this session alone: nothing runs, nothing is collected, namespaces never go away."""
    folder = tmp_path_factory.mktemp("apiserver") / "own"
    try:
        made = machine.up(folder, alone=True)
    except Unavailable as lacking:
        pytest.skip(str(lacking))
    yield Kube(made.kubeconfig, binary("kubectl"), made.audit)
    machine.down(folder)


@pytest.fixture
def new_namespace(cluster: Kube, request: pytest.FixtureRequest) -> Iterator[NamespaceMaker]:
    """Makes namespaces that go away with the test: new_namespace({"label": "value"}); `restricted` unless told."""
    with ExitStack() as stack:
        made: list[str] = []
        request.node.stash[_MADE] = (cluster, made)

        def new(labels: Mapping[str, str] | None = None, *, restricted: bool = True) -> str:
            chosen = {**(RESTRICTED if restricted else {}), **(labels or {})}
            made.append(stack.enter_context(cluster.namespace(chosen)))
            return made[-1]

        yield new


@pytest.fixture
def namespace(new_namespace: NamespaceMaker) -> str:
    """One namespace that enforces the Pod Security Standard `restricted`."""
    return new_namespace()


@pytest.fixture(scope="session")
def tunnel_image(running: machine.Cluster) -> str:
    """The tunnel's image, built from these sources and loaded; pods say imagePullPolicy: Never."""
    return _loaded(running, "localhost/mtls-tunnel:cluster", "tunnel")


@pytest.fixture(scope="session")
def operator_image(running: machine.Cluster) -> str:
    """The image of operator and injector."""
    return _loaded(running, "localhost/mtls-tunnel-operator:cluster", "operator")


_MADE = pytest.StashKey[tuple[Kube, list[str]]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test tells what its namespaces looked like, while they are there."""
    report = yield
    if report.when == "call" and report.failed and (known := item.stash.get(_MADE, None)):
        kube, names = known
        for name in names:
            report.sections.append((f"namespace {name}", kube.story(name)))
    return report


def _loaded(running: machine.Cluster, tag: str, target: str) -> str:
    try:
        open_image(tag, target)
        running.load(tag)
    except Unavailable as lacking:
        pytest.skip(str(lacking))
    return tag


def _beside(kubeconfig: Path) -> Path | None:
    """The audit log of a cluster of ours."""
    audit = kubeconfig.with_name("audit.log")
    return audit if audit.exists() else None
