"""Rendering is a function of chart and values: no random bytes, no certificates, no questions to the cluster.

Pain 10 of other injectors: a CA from `genCA` is another one at each upgrade and each sync, and pods roll.
"""

import re

import pytest

from support import charts

FORBIDDEN = re.compile(
    r"\b(genCA\w*|genSelfSigned\w*|genSigned\w*|genPrivateKey|derivePassword|buildCustomCert|rand\w+|uuidv4|lookup"
    r"|now|htmlDate\w*|ago|date\w*|getHostByName|htpasswd|bcrypt|shuffle|env|expandenv)\b"
)


@pytest.mark.parametrize("case", charts.MATRIX)
def test_pain_10_rendering_twice_gives_the_same_bytes(case: str) -> None:
    assert charts.text(charts.MATRIX[case]) == charts.text(charts.MATRIX[case])


def test_pain_10_no_template_calls_what_may_answer_differently() -> None:
    used = {}
    for file in sorted((charts.CHART / "templates").rglob("*")):
        if file.is_file():
            actions = " ".join(re.findall(r"\{\{(.*?)\}\}", file.read_text(encoding="utf-8"), re.DOTALL))
            code = re.sub(r"/\*.*?\*/|\"(?:[^\"\\]|\\.)*\"", " ", actions, flags=re.DOTALL)
            if found := set(FORBIDDEN.findall(code)):
                used[file.name] = found
    assert used == {}


def test_an_upgrade_renders_what_an_install_renders() -> None:
    installed = charts.text(charts.MATRIX["corporate"])
    assert charts.text(charts.MATRIX["corporate"], upgrade=True) == installed
