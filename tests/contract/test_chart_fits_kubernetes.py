"""The rendered manifests fit the schemas of seven Kubernetes releases, strictly: no unknown field, no wrong type.

The schemas lie in the repository (tests/support/kube_schemas.py says what they cover), so nothing is fetched.
Whether an API server accepts the same manifests is asked in tests/cluster/chart/test_chart_is_accepted.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import charts
from support.kube_schemas import RELEASES, write
from support.processes import run


def complaints(manifests: list[dict[str, Any]], release: str, folder: Path) -> list[str]:
    """What kubeconform has against *manifests*; a kind without a schema is a complaint too."""
    place = write(release, folder)
    words = [charts.kubeconform(), "-strict", "-output", "json", "-verbose", "-kubernetes-version", release]
    done = run([*words, "-schema-location", place, "-"], text=yaml.safe_dump_all(manifests))
    found = json.loads(done.stdout)["resources"]
    assert len(found) == len(manifests), done.stderr
    return [f"{one['kind']} {one['name']}: {one['msg']}" for one in found if one["status"] != "statusValid"]


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    """What the chart renders under every values file, the same object once."""
    every = [json.dumps(one, sort_keys=True) for case in charts.MATRIX.values() for one in charts.render(case)]
    return [json.loads(one) for one in dict.fromkeys(every)]


@pytest.mark.parametrize("release", RELEASES)
def test_the_chart_fits(manifests: list[dict[str, Any]], release: str, tmp_path: Path) -> None:
    assert complaints(manifests, release, tmp_path) == []


def test_the_oldest_release_is_the_one_that_the_chart_asks_for() -> None:
    chart = yaml.safe_load((charts.CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["kubeVersion"] == f">={'.'.join(RELEASES[0].split('.')[:2])}.0-0"


def test_an_unknown_field_and_a_wrong_type_are_found(tmp_path: Path) -> None:
    service = charts.named(charts.defaults(), "Service", "mtls-tunnel-operator")
    metadata = {**service["metadata"], "label": {}}
    ports = [{**service["spec"]["ports"][0], "port": "eighty"}]
    bad = [{**service, "metadata": metadata}, {**service, "spec": {**service["spec"], "ports": ports}}]
    assert len(complaints(bad, RELEASES[-1], tmp_path)) == 2


def test_a_field_is_refused_by_a_release_that_does_not_know_it(tmp_path: Path) -> None:
    """`hostnameOverride` of pods came after 1.33."""
    pod = charts.named(charts.defaults(), "Pod")
    newer = {**pod, "spec": {**pod["spec"], "hostnameOverride": "a"}}
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    assert complaints([newer], "1.33.13", tmp_path / "old") != []
    assert complaints([newer], "1.35.4", tmp_path / "new") == []
