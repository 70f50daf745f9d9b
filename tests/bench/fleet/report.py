"""The figures as text: the table on the terminal, the JSON file, the measured part of docs/benchmarks-operator.md."""

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.fleet.figures import measured
from bench.fleet.story import Sizes
from bench.machine import Machine

BEGIN = "<!-- measured: begin (written by `make bench-operator`) -->"
END = "<!-- measured: end -->"
PACKAGES = ("kopf", "aiohttp", "cryptography", "prometheus-client")


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run found out.  `load` is the machine's load average before it began and after it ended."""

    machine: Machine
    kubernetes: str
    sizes: Sizes
    found: Mapping[str, float]
    day: str
    load: tuple[float, float]


def to_json(report: Report) -> str:
    whole = {**asdict(report), "versions": _versions(), "found": {k: round(v, 4) for k, v in report.found.items()}}
    return json.dumps(whole, indent=1) + "\n"


def to_text(report: Report) -> str:
    """The table for a terminal."""
    lines = [_head(report)]
    for group, rows in measured(report.found):
        lines += ["", group]
        for figure, value in rows:
            met = {None: "", True: "met", False: "MISSED"}[figure.met(value)]
            lines.append(f"  {figure.title:<72} {figure.told(value):>12}  {figure.goal:>10}  {met}".rstrip())
    return "\n".join(lines) + "\n"


def to_markdown(report: Report) -> str:
    """What stands between the marks of the document."""
    lines = [BEGIN, _head(report), ""]
    for group, rows in measured(report.found):
        lines += [f"## {group}", "", "| figure | measured | goal | met |", "| --- | ---: | ---: | --- |"]
        for figure, value in rows:
            met = {None: "", True: "yes", False: "**no**"}[figure.met(value)]
            lines.append(f"| {figure.title} | {figure.told(value)} | {figure.goal} | {met} |")
        lines.append("")
    return "\n".join([*lines, END])


def update(document: Path, report: Report) -> None:
    """Replace the measured part of *document*; what people wrote around it stays."""
    block = to_markdown(report)
    if document.exists() and BEGIN in (text := document.read_text()):
        before, _, rest = text.partition(BEGIN)
        block = before + block + rest.partition(END)[2]
    else:
        block = f"# Benchmarks of the operator\n\n{block}\n"
    document.write_text(block)


def _head(report: Report) -> str:
    machine, sizes = report.machine, report.sizes
    virtual = "a virtual machine" if machine.virtual == "yes" else "no virtual machine"
    versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
    return (
        f"Measured on {report.day}: {machine.processor}, {machine.cores} cores ({virtual}), {machine.kernel}; "
        f"load average {report.load[0]:.1f} before and {report.load[1]:.1f} at the end. "
        f"Kubernetes {report.kubernetes}; Python {machine.python}, {versions}. "
        f"{sizes.all_tunnels:,} MtlsTunnels ({sizes.late:,} of them in a trust domain that rotates), "
        f"{sizes.pods:,} pods, at {sizes.rate:g} a second at most."
    )


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}
