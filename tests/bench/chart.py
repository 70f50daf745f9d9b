"""The picture of a run: one small panel of bars for each headline figure, as SVG.  Lower is better everywhere.

Drawn with plain text so that no plotting library is needed; colours follow the reader's light or dark scheme.
"""

from collections.abc import Iterator
from html import escape

from bench.cases import Case, Figure
from bench.report import Report
from bench.summary import TUNNEL

_PANELS = (
    ("up1", "cpu_s_per_gb"),
    ("down1", "cpu_s_per_gb"),
    ("up16", "cpu_s_per_gb"),
    ("down16", "cpu_s_per_gb"),
    ("echo1-together", "cpu_us"),
    ("echo1", "added_p50_us"),
    ("full-together", "cpu_ms"),
    ("resumed-together", "cpu_ms"),
    ("client-resumed-together", "cpu_ms"),
    ("idle1000", "rss_kb"),
    ("idle1000", "moved_rss_kb"),
    ("start", "rss_mb"),
)
_COLUMNS = 3
_WIDTH, _ROW, _TOP = 300, 22, 44
_GAP, _MARGIN = 24, 24
_NAME_WIDTH, _VALUE_WIDTH = 88, 48
_HEADER = 64

_STYLE = """
  .page { fill: #ffffff } .ink { fill: #1f2328 } .soft { fill: #59636e } .own { fill: #0b7285 } .peer { fill: #b6bec7 }
  text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
  .title, .panel, .own-name { font-weight: 600 } .title { font-size: 18px } .panel { font-size: 13px }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .ink { fill: #e6edf3 } .soft { fill: #9198a1 }
    .own { fill: #22b8cf } .peer { fill: #4d5661 }
  }
"""


def draw(report: Report) -> str:
    """Return the SVG document; figures that were not measured have no panel."""
    known = {(case.name, figure.key): (case, figure) for case, figure in report.summary.measured()}
    panels = [known[key] for key in _PANELS if key in known]
    rows = -(-len(panels) // _COLUMNS)
    panel_height = _TOP + _ROW * len(report.proxies)
    width = 2 * _MARGIN + _COLUMNS * _WIDTH + (_COLUMNS - 1) * _GAP
    height = _HEADER + rows * (panel_height + _GAP) + _MARGIN
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-label="Benchmark of mtls-tunnel beside its peers">',
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}" rx="8"/>',
        _text(_MARGIN, 34, "Mutual TLS on one core: CPU, latency and memory", "ink title"),
        _text(_MARGIN, 54, f"{report.machine.processor}; median of {report.rounds} rounds; lower is better", "soft"),
    ]
    for number, (case, figure) in enumerate(panels):
        x = _MARGIN + number % _COLUMNS * (_WIDTH + _GAP)
        y = _HEADER + number // _COLUMNS * (panel_height + _GAP)
        body += _panel(report, case, figure, x, y)
    return "\n".join([*body, "</svg>"]) + "\n"


def _panel(report: Report, case: Case, figure: Figure, x: int, y: int) -> Iterator[str]:
    cells = {proxy.name: report.summary.cell(case.name, proxy.name, figure.key) for proxy in report.proxies}
    longest = max(cell.median for cell in cells.values() if cell)
    room = _WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    mode = "" if case.mode == "server" else "client: "
    yield _text(x, y + 20, f"{mode}{case.title}", "ink panel")
    yield _text(x, y + 36, f"{figure.title}, {figure.unit}", "soft")
    for number, proxy in enumerate(report.proxies):
        top = y + _TOP + number * _ROW
        cell = cells[proxy.name]
        own = proxy.name == TUNNEL
        yield _text(x, top + 14, proxy.title, "ink own-name" if own else "ink")
        if cell is None:
            yield _text(x + _NAME_WIDTH, top + 14, "failed", "soft")
            continue
        length = max(1.0, room * max(0.0, cell.median) / longest) if longest > 0 else 1.0
        kind = "own" if own else "peer"
        yield f'<rect class="{kind}" x="{x + _NAME_WIDTH}" y="{top + 3}" width="{length:.1f}" height="15" rx="2"/>'
        yield _text(x + _NAME_WIDTH + length + 6, top + 14, f"{cell.median:,.{figure.digits}f}", "ink")


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'
