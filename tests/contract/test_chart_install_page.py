"""docs/install.md speaks of values, alerts and commands that exist."""

import re
import shlex

import pytest
import yaml

import chart_docs
from mtls_tunnel_operator import names
from support import charts
from support.processes import REPOSITORY

PAGE = (REPOSITORY / "docs" / "install.md").read_text(encoding="utf-8")
KNOWN = chart_docs.read((charts.CHART / "values.yaml").read_text(encoding="utf-8"))


def paths(values: tuple[chart_docs.Value, ...]) -> set[str]:
    return {value.path for value in values} | {path for value in values for path in paths(value.children)}


def test_every_value_on_the_page_is_one_of_the_chart() -> None:
    sections = "|".join(value.path for value in KNOWN if value.children)
    named = set(re.findall(rf"`((?:{sections})\.[A-Za-z.]+)(?:=[^`]*)?`", PAGE))
    assert len(named) > 20
    assert named - paths(KNOWN) == set()


def test_every_alert_is_on_the_page_and_no_other() -> None:
    groups = yaml.safe_load((charts.CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    assert set(re.findall(r"\bMtlsTunnel[A-Z]\w+", PAGE)) == {
        rule["alert"] for group in groups for rule in group["rules"]
    }


@pytest.mark.parametrize("words", re.findall(r"--set ([^\s\\]+)", PAGE))
def test_every_set_of_the_page_renders(words: str) -> None:
    values: charts.Values = {}
    for pair in shlex.split(words.replace(",", " ")):
        path, _, value = pair.partition("=")
        values = charts.merged(values, charts.values_at(path, yaml.safe_load(value)))
    assert charts.render(values)


def test_the_examples_of_the_page_and_of_the_notes_are_the_same() -> None:
    shown = [yaml.safe_load(text) for text in re.findall(r"<<'END'\n(.*?)\n\s*END", PAGE, re.DOTALL)]
    told = [yaml.safe_load(text) for text in re.findall(r"<<'END'\n(.*?)\n\s*END", charts.notes(), re.DOTALL)]
    assert [one["spec"] for one in shown] == [one["spec"] for one in told]


def test_the_field_managers_of_the_page_are_the_programs() -> None:

    managers = set(re.findall(r"`(mtlstunnel-operator[\w-]*)`", PAGE))
    assert managers == {names.WEBHOOK_MANAGER, names.ROLLOUT_MANAGER}
