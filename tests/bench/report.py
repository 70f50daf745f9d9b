"""A run's summary as text: the table on the terminal, the JSON file, the measured part of docs/benchmarks.md."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.cases import Case, Figure
from bench.goals import Verdict, judge
from bench.machine import Machine
from bench.summary import TUNNEL, Cell, Summary

BEGIN = "<!-- measured: begin (written by `make bench`) -->"
END = "<!-- measured: end -->"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A column: who it was, in which version, and what it was seen to do."""

    name: str
    title: str
    versions: list[str]
    negotiated: str
    buffers: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run found out."""

    machine: Machine
    proxies: list[Proxy]
    summary: Summary
    rounds: int
    day: str

    def titles(self) -> dict[str, str]:
        return {proxy.name: proxy.title for proxy in self.proxies}


def to_json(report: Report) -> str:
    """Return every round of every figure, with the machine and the versions."""
    whole = {
        "day": report.day,
        "rounds": report.rounds,
        "machine": asdict(report.machine),
        "proxies": [asdict(proxy) for proxy in report.proxies],
        "cases": [asdict(case) for case in report.summary.cases],
        "results": report.summary.results,
    }
    return json.dumps(whole, indent=1) + "\n"


def to_text(report: Report) -> str:
    """Return the table for a terminal."""
    rows = [_head(report)]
    for mode, group in _groups(report):
        rows += [[f"{mode}: {row[0]}", *row[1:]] for row in group]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(word.ljust(width) if column < 2 else word.rjust(width) for column, (word, width) in enumerate(cells))
        for cells in ([*zip(row, widths, strict=True)] for row in rows)
    ]
    verdicts = [_sentence(verdict, report) for verdict in judge(report.summary)]
    return "\n".join([*lines, "", *verdicts]) + "\n"


def to_markdown(report: Report) -> str:
    """Return what stands between the marks of docs/benchmarks.md."""
    parts = [BEGIN, *_machine_section(report), "## Goals", "", *_goal_table(report), ""]
    for mode, rows in _groups(report):
        parts += [f"## {mode.capitalize()} mode", "", *_table([_head(report), *rows]), ""]
    return "\n".join([*parts, END])


def update(document: Path, report: Report) -> None:
    """Replace the measured part of *document*; what people wrote around it stays."""
    block = to_markdown(report)
    if document.exists() and BEGIN in (text := document.read_text()):
        before, _, rest = text.partition(BEGIN)
        block = before + block + rest.partition(END)[2]
    else:
        block = f"# Benchmarks\n\n{block}\n"
    document.write_text(block)


def _head(report: Report) -> list[str]:
    peers = [proxy.title for proxy in report.proxies]
    return ["case", "figure", *peers, *([f"x {name}" for name in _compared(report).values()])]


def _compared(report: Report) -> dict[str, str]:
    """The peers whose ratio has a column: all, if the tunnel took part."""
    titles = report.titles()
    return {name: title for name, title in titles.items() if name != TUNNEL} if TUNNEL in titles else {}


def _groups(report: Report) -> Iterator[tuple[str, list[list[str]]]]:
    """The rows of each mode."""
    for mode in ("server", "client"):
        rows = [_row(report, case, figure) for case, figure in report.summary.measured() if case.mode == mode]
        if rows:
            yield mode, rows


def _row(report: Report, case: Case, figure: Figure) -> list[str]:
    cells = [report.summary.cell(case.name, proxy.name, figure.key) for proxy in report.proxies]
    ratios = [report.summary.ratio(case.name, figure.key, name) for name in _compared(report)]
    unit = f", {figure.unit}" if figure.unit else ""
    return [
        case.title,
        figure.title + unit,
        *(_number(cell, figure) for cell in cells),
        *(f"{ratio.median:.2f}" if ratio else "-" for ratio in ratios),
    ]


def _number(cell: Cell | None, figure: Figure) -> str:
    """Median and, in brackets, the best round."""
    if cell is None:
        return "failed"
    best = cell.most if figure.more else cell.least
    return f"{cell.median:,.{figure.digits}f} ({best:,.{figure.digits}f})"


def _table(rows: list[list[str]]) -> list[str]:
    head, *body = rows
    rule = ["---", "---", *["---:"] * (len(head) - 2)]
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *body)]


def _machine_section(report: Report) -> list[str]:
    machine = report.machine
    virtual = "a virtual machine" if machine.virtual == "yes" else "no virtual machine"
    return [
        f"Measured on {report.day}: {machine.processor}, {machine.cores} cores ({virtual}), {machine.kernel}, "
        f"at most {machine.descriptors:,} descriptors; {_rounds(report)}. "
        f"Generator and backend: Python {machine.python}, {machine.openssl_of_ends}.",
        "",
        "| proxy | versions | negotiated with the generator (full handshake) | buffers |",
        "| --- | --- | --- | --- |",
        *(f"| {one.title} | {', '.join(one.versions)} | {one.negotiated} | {one.buffers} |" for one in report.proxies),
        "",
    ]


def _rounds(report: Report) -> str:
    return f"{report.rounds} rounds after a warm-up" if report.rounds > 1 else "one round"


def _goal_table(report: Report) -> list[str]:
    rows = [["case", "figure", "goal", "measured", "met"]]
    for verdict in judge(report.summary):
        case, figure = _names(verdict, report)
        rows.append([case, figure, _demand(verdict, report), _value(verdict), "yes" if verdict.met else "**no**"])
    return _table(rows)


def _names(verdict: Verdict, report: Report) -> tuple[str, str]:
    case = next(case for case in report.summary.cases if case.name == verdict.goal.case)
    figure = next(figure for figure in case.figures if figure.key == verdict.goal.figure)
    unit = f" ({figure.unit})" if figure.unit and not verdict.goal.against else ""
    return f"{case.mode}: {case.title}", figure.title + unit


def _demand(verdict: Verdict, report: Report) -> str:
    if not verdict.goal.against:
        return f"at {'least' if verdict.goal.least else 'most'} {verdict.goal.limit:,g}"
    peer = report.titles()[verdict.peer]
    best = "the best peer, " if verdict.goal.against != verdict.peer else ""
    return f"at most {verdict.goal.limit:.2f} times {best}{peer}"


def _value(verdict: Verdict) -> str:
    if verdict.goal.least:
        return f"{verdict.value:,.0f}"
    return f"{verdict.value:.2f}" + (" times" if verdict.goal.against else "")


def _sentence(verdict: Verdict, report: Report) -> str:
    case, figure = _names(verdict, report)
    return f"{'met   ' if verdict.met else 'MISSED'}  {case}, {figure}: {_value(verdict)}; {_demand(verdict, report)}"
