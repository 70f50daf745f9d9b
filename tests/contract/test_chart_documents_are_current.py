"""What is made from values.yaml is made from this values.yaml; the chart carries the repository's CRDs and version."""

import json
import re
from collections.abc import Iterator

import pytest
import yaml

import chart_docs
import mtls_tunnel
import mtls_tunnel_operator
from support import charts
from support.processes import REPOSITORY

VALUES = chart_docs.read((charts.CHART / "values.yaml").read_text(encoding="utf-8"))
CRDS = sorted((REPOSITORY / "crds").glob("*.yaml"))


def every(values: tuple[chart_docs.Value, ...]) -> Iterator[chart_docs.Value]:
    for value in values:
        yield value
        yield from every(value.children)


def test_schema_and_readme_are_what_the_script_makes() -> None:
    stale = [path.name for path, text in chart_docs.made().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run: python scripts/chart_docs.py"


def test_every_key_has_a_sentence() -> None:
    assert [value.path for value in every(VALUES) if not value.text.endswith(".")] == []


def test_the_schema_closes_every_section_but_those_that_kubernetes_reads() -> None:
    schema = json.loads((charts.CHART / "values.schema.json").read_text(encoding="utf-8"))
    open_ = {
        value.path
        for value in every(VALUES)
        if value.children and _at(schema, value.path).get("additionalProperties") is not False
    }
    allowed = re.compile(r"global|.*\.(podSecurityContext|securityContext|resources)(\..*)?")
    assert [path for path in sorted(open_) if not allowed.fullmatch(path)] == []
    assert schema["additionalProperties"] is False


def _at(schema: dict[str, dict[str, object]], path: str) -> dict[str, object]:
    node: object = schema
    for key in path.split("."):
        node = node["properties"][key]  # type: ignore[index]
    assert isinstance(node, dict)
    return node


def test_there_are_crds_to_carry() -> None:
    assert [file.name for file in CRDS] == ["mtlstrustdomains.yaml", "mtlstunnels.yaml"]


def test_the_charts_crds_are_the_repositorys_byte_for_byte() -> None:
    copies = charts.CHART / "files" / "crds"
    assert [path.name for path in sorted(copies.iterdir())] == [path.name for path in CRDS]
    stale = [path.name for path in CRDS if (copies / path.name).read_bytes() != path.read_bytes()]
    assert stale == [], "run: cp crds/*.yaml charts/mtls-tunnel/files/crds/"


@pytest.mark.parametrize("keep", [True, False])
def test_pain_28_crds_are_rendered_whole_and_kept_unless_told_otherwise(keep: bool) -> None:
    rendered = {
        one["metadata"]["name"]: one for one in charts.render({"crds": {"keep": keep}}) if "Custom" in one["kind"]
    }
    for path in CRDS:
        crd = yaml.safe_load(path.read_text(encoding="utf-8"))
        made = rendered.pop(crd["metadata"]["name"])
        assert made["spec"] == crd["spec"]
        kept = made["metadata"].get("annotations", {}).get("helm.sh/resource-policy")
        assert kept == ("keep" if keep else None)
    assert rendered == {}


def test_chart_images_and_programs_have_one_version() -> None:
    chart = yaml.safe_load((charts.CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == mtls_tunnel.__version__ == mtls_tunnel_operator.__version__
    images = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    assert [image["image"].rpartition(":")[2] for image in images] == [chart["appVersion"]] * 2
    listed = {entry["name"] for entry in yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])}
    assert listed == {yaml.safe_load(path.read_text(encoding="utf-8"))["metadata"]["name"] for path in CRDS}


def test_annotations_of_the_chart_are_yaml_where_they_must_be() -> None:
    annotations = yaml.safe_load((charts.CHART / "Chart.yaml").read_text(encoding="utf-8"))["annotations"]
    for name in ("changes", "links", "images", "crds", "crdsExamples"):
        assert isinstance(yaml.safe_load(annotations[f"artifacthub.io/{name}"]), list)
    (example,) = yaml.safe_load(annotations["artifacthub.io/crdsExamples"])
    assert (example["kind"], example["apiVersion"]) == ("MtlsTunnel", "mtlstunnel.dev/v1alpha1")
