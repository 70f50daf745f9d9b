"""Links between documents, and to files, lead to something; commands and make targets that documents name exist."""

import re
from pathlib import Path

import pytest

from mtls_tunnel_operator import names
from mtls_tunnel_operator.app.cli import COMMANDS
from support.processes import REPOSITORY

DOCUMENTS = sorted(
    [
        REPOSITORY / "README.md",
        REPOSITORY / "operator" / "README.md",
        REPOSITORY / "charts" / "mtls-tunnel" / "README.md",
        REPOSITORY / "tunnel" / "examples" / "README.md",
        *(REPOSITORY / "docs").glob("*.md"),
    ]
)
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings get, as GitHub makes them."""
    found: dict[str, int] = {}
    made = set()
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        word = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        made.add(f"{word}-{found[word]}" if word in found else word)
        found[word] = found.get(word, 0) + 1
    return made


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for first, second in LINK.findall(document.read_text(encoding="utf-8")):
        target, _, anchor = (first or second).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = (document.parent / target).resolve() if target else document
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(first or second)
    assert broken == []


def test_every_make_target_of_the_readme_exists_and_the_two_set_up_commands_come_first() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)\b", text)) - targets <= {"sure"}
    first_screen = text.splitlines()[:24]
    assert [line.split()[1] for line in first_screen if line.startswith("make ")] == ["demo", "test"]


def test_every_command_of_the_operator_is_documented() -> None:
    page = (REPOSITORY / "docs" / "operator.md").read_text(encoding="utf-8")
    section = page.partition("\n## Commands\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)", section, re.MULTILINE)) - {"tunnel-operator", "tunnel"} == set(COMMANDS)


def test_every_label_and_annotation_is_documented() -> None:
    """What stands on objects of users, and on ours, by the fixed names of the program."""
    page = (REPOSITORY / "docs" / "operator.md").read_text(encoding="utf-8")
    section = page.partition("\n## Names\n")[2].partition("\n## ")[0]
    ours = {
        value
        for name, value in vars(names).items()
        if name.endswith(("_LABEL", "_ANNOTATION", "_PREFIX")) and isinstance(value, str) and names.GROUP in value
    }
    assert len(ours) > 20
    assert {value for value in ours if f"`{value}" not in section} == set()
    known = ours | {"mtlstunnel.dev/cas", "server.mtlstunnel.dev/"}
    assert set(re.findall(r"`((?:server\.)?mtlstunnel\.dev/[a-z-]*)", section)) - known == set()
