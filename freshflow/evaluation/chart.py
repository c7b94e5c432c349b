"""SVG chart of HR@20 over a stream: two panels, one line per recommender, for light and dark backgrounds."""

from collections.abc import Mapping
from html import escape

from freshflow.evaluation.scores import Scores
from freshflow.metrics.ranking_metrics import MetricValues

CHART_WIDTH, PANEL_HEIGHT, MARGIN_TOP, MARGIN_BOTTOM, MARGIN_LEFT, MARGIN_RIGHT = 800, 230, 34, 30, 44, 190
MIN_LABEL_DISTANCE = 14  # vertical distance of two labels, in pixels
MAX_POINTS, MIN_EVENTS_PER_POINT = 40, 250  # means over fewer events are noise

# The first is the job's. All have enough contrast on white and on near-black.
COLOURS = ("#e8590c", "#4c8bf5", "#2b9a66", "#a970e8", "#c2850c", "#d6409f", "#12a0b5", "#7d8794")

STYLESHEET = """
svg { color-scheme: light dark; background: #ffffff; font: 12px system-ui, sans-serif }
.paper { fill: #ffffff } text { fill: #24292f } .faint { fill: #6e7781 } .grid { stroke: #d8dee4; stroke-width: 1 }
.line { fill: none; stroke-width: 1.3; stroke-linejoin: round } .job { stroke-width: 2.8 }
@media (prefers-color-scheme: dark) {
  svg { background: #16191d } .paper { fill: #16191d } text { fill: #e6e8ea } .faint { fill: #959da5 }
  .grid { stroke: #363c43 }
}
"""

PANEL_TITLES = {"all": "HR@20, all events", "new": "HR@20, new user-item pairs, seen items taken out"}


def render_svg(scores: Mapping[str, Scores], events: int) -> str:
    """Render the chart as SVG.

    Args:
        scores: Scores by recommender name, the job first.
        events: The number of events in the stream.
    """
    height = len(PANEL_TITLES) * PANEL_HEIGHT
    panels = "".join(
        f'<g transform="translate(0 {n * PANEL_HEIGHT})">{_panel(title, kind, scores, events)}</g>\n'
        for n, (kind, title) in enumerate(PANEL_TITLES.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {CHART_WIDTH} {height}" role="img">\n'
        f"<title>HR@20 over the stream</title>\n<style>{STYLESHEET}</style>\n"
        f'<rect class="paper" width="{CHART_WIDTH}" height="{height}"/>\n{panels}</svg>\n'
    )


def _panel(title: str, kind: str, scores: Mapping[str, Scores], events: int) -> str:
    n_points = max(1, min(MAX_POINTS, max(map(len, scores.values())) // MIN_EVENTS_PER_POINT))
    curves = {
        name: recommender_scores.metric_values_by_part(kind, n_points) for name, recommender_scores in scores.items()
    }
    y_max = max(0.1, *(part.hr20 for curve in curves.values() for part in curve))
    lines = {name: _points(curve, y_max) for name, curve in curves.items()}
    line_ends = {name: points[-1][1] if points else _y(0, y_max) for name, points in lines.items()}
    label_ys = _spread_labels(line_ends)
    elements = [f'<text x="{MARGIN_LEFT}" y="18" font-weight="600">{escape(title)}</text>', _grid(y_max, events)]
    for n, (name, points) in reversed(list(enumerate(lines.items()))):  # the job on top
        style = f'class="{"line" if n else "line job"}" stroke="{COLOURS[n % len(COLOURS)]}"'
        polyline_points = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        x, y = CHART_WIDTH - MARGIN_RIGHT + 6, label_ys[name]
        elements.append(f'<polyline {style} points="{polyline_points}"/>')
        elements.append(f'<line {style} x1="{x}" x2="{x + 12}" y1="{y:.1f}" y2="{y:.1f}"/>')
        elements.append(f'<text x="{x + 18}" y="{y + 4:.1f}">{escape(name)}</text>')
    return "\n".join(elements)


def _points(curve: list[MetricValues], y_max: float) -> list[tuple[float, float]]:
    width = (CHART_WIDTH - MARGIN_RIGHT - MARGIN_LEFT) / len(curve)
    return [(MARGIN_LEFT + (n + 0.5) * width, _y(part.hr20, y_max)) for n, part in enumerate(curve) if part.events]


def _y(value: float, y_max: float) -> float:
    return PANEL_HEIGHT - MARGIN_BOTTOM - (PANEL_HEIGHT - MARGIN_BOTTOM - MARGIN_TOP) * value / y_max


def _grid(y_max: float, events: int) -> str:
    """Return grid lines at round shares, and event numbers at the start, middle and end."""
    step = next(step for step in (0.02, 0.05, 0.1, 0.2) if step >= 0.2 or y_max / step <= 5)
    lines = []
    for n in range(int(y_max / step) + 1):
        y = _y(n * step, y_max)
        lines.append(
            f'<line class="grid" x1="{MARGIN_LEFT}" x2="{CHART_WIDTH - MARGIN_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        lines.append(
            f'<text class="faint" x="{MARGIN_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{_format_share(n * step)}</text>"
        )
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x = MARGIN_LEFT + share * (CHART_WIDTH - MARGIN_RIGHT - MARGIN_LEFT)
        unit = " events" if share == 1 else ""
        text = f"{round(share * events):,}{unit}"
        lines.append(f'<text class="faint" x="{x:.0f}" y="{PANEL_HEIGHT - 10}" text-anchor="{anchor}">{text}</text>')
    return "\n".join(lines)


def _spread_labels(line_ends: Mapping[str, float]) -> dict[str, float]:
    """Return the y of each label, as near to the end of its line as the minimum distance allows."""
    label_ys: dict[str, float] = {}
    floor = float(PANEL_HEIGHT - MARGIN_BOTTOM)
    for name in sorted(line_ends, key=lambda name: (-line_ends[name], name)):
        label_ys[name] = min(line_ends[name], floor)
        floor = label_ys[name] - MIN_LABEL_DISTANCE
    return label_ys


def _format_share(value: float) -> str:
    return f"{value:.2f}".lstrip("0") if value < 1 else "1.00"
