"""Alerts and dashboard ask only for series and labels that the programs tell."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from support import charts
from support.metrics_told import told

ALERTS = charts.CHART / "files" / "alerts.yaml"
BOARDS = sorted((charts.CHART / "files" / "dashboards").glob("*.json"))
# What Prometheus adds to a series of a pod.
TARGET = {"namespace", "pod", "le"}
SERIES = re.compile(r"\b(mtls_tunnel_\w+|mtlsd_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]:
        yield from group["rules"]


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def questions() -> dict[str, str]:
    found = {rule["alert"]: rule["expr"] for rule in rules()}
    for path in BOARDS:
        for panel in panels(json.loads(path.read_text(encoding="utf-8"))):
            for target in panel.get("targets", []):
                found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


def faults(expression: str) -> list[str]:
    """What *expression* asks for in vain."""
    found, labels = [], set(TARGET)
    for name, matchers in SERIES.findall(expression):
        if name not in told():
            found.append(f"no series {name}")
            continue
        known = told()[name]
        labels |= known.keys()
        for label, operator, value in MATCHER.findall(matchers):
            if label not in known.keys() | TARGET:
                found.append(f"{name} has no label {label}")
            elif label in known and "$" not in value and operator in {"=", "!=", "=~"}:
                missing = [word for word in value.split("|") if word not in known[label]]
                found += [f"{name} has no {label}={word}" for word in missing]
    for group in re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", expression):
        found += [f"nothing has the label {each}" for each in re.split(r",\s*", group) if each and each not in labels]
    return found


@pytest.mark.parametrize("title", questions())
def test_a_question_can_be_answered(title: str) -> None:
    assert faults(questions()[title]) == []


def test_the_judge_can_refuse() -> None:
    expression = 'sum by (x) (mtlsd_nothing) + mtlsd_reloads_total{result="bad"} + mtlsd_reloads_total{y="1"}'
    assert len(faults(expression)) == 4


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
        used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        known = {label for name, _ in SERIES.findall(rule["expr"]) for label in told()[name]} | TARGET
        assert used <= known, rule["alert"]


def test_the_rule_of_the_chart_holds_every_alert_but_the_disabled_ones() -> None:
    values = {"monitoring": {"prometheusRule": {"enabled": True, "disabled": ["MtlsTunnelPodsOutdated"]}}}
    made = charts.named(charts.render(values), "PrometheusRule")["spec"]["groups"]
    names = [rule["alert"] for group in made for rule in group["rules"]]
    assert names == [rule["alert"] for rule in rules() if rule["alert"] != "MtlsTunnelPodsOutdated"]


def test_labels_of_alerts_are_added_to_each() -> None:
    values = {"monitoring": {"prometheusRule": {"enabled": True, "alertLabels": {"team": "a", "severity": "page"}}}}
    made = charts.named(charts.render(values), "PrometheusRule")["spec"]["groups"]
    assert {(rule["labels"]["team"], rule["labels"]["severity"]) for group in made for rule in group["rules"]} == {
        ("a", "page")
    }


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_can_place(path: Any) -> None:
    board = json.loads(path.read_text(encoding="utf-8"))
    every = list(panels(board))
    assert len({panel["id"] for panel in every}) == len(every)
    cells: set[tuple[int, int]] = set()
    for panel in every:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        cells |= taken
    assert {variable["name"] for variable in board["templating"]["list"]} == {"datasource", "namespace"}


def test_the_dashboards_config_map_carries_the_files_as_they_are() -> None:
    made = charts.named(
        charts.render({"monitoring": {"dashboards": {"enabled": True}}}), "ConfigMap", "mtls-tunnel-dashboards"
    )
    assert made["data"] == {path.name: path.read_text(encoding="utf-8") for path in BOARDS}
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
