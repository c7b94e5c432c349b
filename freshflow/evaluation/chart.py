"""HR@20 over a stream as a small SVG: two panels, one line a recommender, readable on light and dark."""

from collections.abc import Mapping
from html import escape

from freshflow.evaluation.scores import Scores
from freshflow.metrics.ranking_metrics import Figures

__all__ = ["chart"]

WIDTH, PANEL, TOP, BOTTOM, LEFT, RIGHT = 800, 230, 34, 30, 44, 190
LABEL = 14  # the least distance of two labels
MOST_PARTS, LEAST_EVENTS = 40, 250  # a point is the mean of so many events at least, or it is noise

# The first is the job's. All have enough contrast on white and on near black.
COLOURS = ("#e8590c", "#4c8bf5", "#2b9a66", "#a970e8", "#c2850c", "#d6409f", "#12a0b5", "#7d8794")

STYLE = """
svg { color-scheme: light dark; background: #ffffff; font: 12px system-ui, sans-serif }
.paper { fill: #ffffff } text { fill: #24292f } .faint { fill: #6e7781 } .grid { stroke: #d8dee4; stroke-width: 1 }
.line { fill: none; stroke-width: 1.3; stroke-linejoin: round } .job { stroke-width: 2.8 }
@media (prefers-color-scheme: dark) {
  svg { background: #16191d } .paper { fill: #16191d } text { fill: #e6e8ea } .faint { fill: #959da5 }
  .grid { stroke: #363c43 }
}
"""

PANELS = {"all": "HR@20, all events", "new": "HR@20, new user-item pairs, seen items taken out"}


def chart(scores: Mapping[str, Scores], events: int) -> str:
    """The chart of recommenders by name, the job first, over a stream of `events` events."""
    height = len(PANELS) * PANEL
    panels = "".join(
        f'<g transform="translate(0 {n * PANEL})">{_panel(title, kind, scores, events)}</g>\n'
        for n, (kind, title) in enumerate(PANELS.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        f"<title>HR@20 over the stream</title>\n<style>{STYLE}</style>\n"
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>\n{panels}</svg>\n'
    )


def _panel(title: str, kind: str, scores: Mapping[str, Scores], events: int) -> str:
    count = max(1, min(MOST_PARTS, max(map(len, scores.values())) // LEAST_EVENTS))
    curves = {name: one.parts(kind, count) for name, one in scores.items()}
    top = max(0.1, *(part.hr20 for curve in curves.values() for part in curve))
    lines = {name: _points(curve, top) for name, curve in curves.items()}
    ends = {name: points[-1][1] if points else _y(0, top) for name, points in lines.items()}
    heights = _apart(ends)
    parts = [f'<text x="{LEFT}" y="18" font-weight="600">{escape(title)}</text>', _grid(top, events)]
    for n, (name, points) in reversed(list(enumerate(lines.items()))):  # the job on top
        style = f'class="{"line" if n else "line job"}" stroke="{COLOURS[n % len(COLOURS)]}"'
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        x, y = WIDTH - RIGHT + 6, heights[name]
        parts.append(f'<polyline {style} points="{joined}"/>')
        parts.append(f'<line {style} x1="{x}" x2="{x + 12}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{x + 18}" y="{y + 4:.1f}">{escape(name)}</text>')
    return "\n".join(parts)


def _points(curve: list[Figures], top: float) -> list[tuple[float, float]]:
    width = (WIDTH - RIGHT - LEFT) / len(curve)
    return [(LEFT + (n + 0.5) * width, _y(part.hr20, top)) for n, part in enumerate(curve) if part.events]


def _y(value: float, top: float) -> float:
    return PANEL - BOTTOM - (PANEL - BOTTOM - TOP) * value / top


def _grid(top: float, events: int) -> str:
    """Lines at round shares, and the number of events at three places."""
    step = next(step for step in (0.02, 0.05, 0.1, 0.2) if step >= 0.2 or top / step <= 5)
    lines = []
    for n in range(int(top / step) + 1):
        y = _y(n * step, top)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="faint" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_share(n * step)}</text>')
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x = LEFT + share * (WIDTH - RIGHT - LEFT)
        unit = " events" if share == 1 else ""
        text = f"{round(share * events):,}{unit}"
        lines.append(f'<text class="faint" x="{x:.0f}" y="{PANEL - 10}" text-anchor="{anchor}">{text}</text>')
    return "\n".join(lines)


def _apart(ends: Mapping[str, float]) -> dict[str, float]:
    """Places of labels as near to the ends of their lines as they fit, from bottom to top."""
    places: dict[str, float] = {}
    floor = float(PANEL - BOTTOM)
    for name in sorted(ends, key=lambda name: (-ends[name], name)):
        places[name] = min(ends[name], floor)
        floor = places[name] - LABEL
    return places


def _share(value: float) -> str:
    return f"{value:.2f}".lstrip("0") if value < 1 else "1.00"
