"""Accuracy against cost as one drawing: every model a dot that says its name, and does so aloud where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from mmcli.reporting import svg
from mmcli.reporting.metrics import shown
from mmcli.reporting.svg import CHARACTER, LINE, Figure, Plot, Scale
from mmcli.reporting.words import meaning

KINDS = {
    "picked": "picked",
    "front": "best trade",
    "allowed": "allowed",
    "before": "before it was tuned",
    "other": "drops, or may drop, too much",
}
"""Kinds of dots, those that are named first first."""
_WIDE, _NARROW = 560, 250
"""Pixels across for which names are laid out."""


@dataclass(frozen=True)
class Point:
    """A model that was tried."""

    name: str
    score: float
    milliseconds: float
    megabytes: float
    kind: str


@dataclass(frozen=True)
class _Place:
    """Where a name stands, from the dot's centre."""

    anchor: str
    across: float
    down: float


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def tradeoff(points: Sequence[Point], metric: str) -> Figure:
    """Score against latency of one row, the size in megabytes as the dot's."""
    own = meaning(metric)
    x = Scale.around([point.milliseconds for point in points], log=True)
    y = Scale.around([point.score for point in points], own.low, own.high)
    plot = Plot(x, y, "ms for one row, median (log scale)", f"val {own.name}", 320)
    front = sorted((p.milliseconds, p.score) for p in points if p.kind in {"picked", "front"})
    plot.path(front, "s0 d2")
    largest = max(point.megabytes for point in points) or 1.0
    radius = {point: 5 + 9 * (point.megabytes / largest) ** 0.5 for point in points}
    order = sorted(points, key=lambda point: list(KINDS).index(point.kind))
    wide = _placed(order, radius, plot, _WIDE)
    narrow = _placed(order, radius, plot, _NARROW)
    for point in reversed(order):  # what is named first lies on top
        plot.marks.append(_dot(point, radius[point], plot, wide.get(point), narrow.get(point), own.name))
    legend = [(f"dot-{kind}" if kind != "allowed" else "dot-soft", said) for kind, said in KINDS.items() if _any(kind, points)]
    said = f"Val {own.name} against latency of the models tried; the picked one is among them"
    return plot.figure(said, legend, "group")


def _any(kind: str, points: Sequence[Point]) -> bool:
    return any(point.kind == kind for point in points)


def _placed(points: Sequence[Point], radius: dict[Point, float], plot: Plot, width: int) -> dict[Point, _Place]:
    """Where the names go that meet neither a dot, nor one another, nor an edge."""
    taken = []
    for point in points:
        x, y, r = plot.x.at(point.milliseconds) * width, plot.down(point.score), radius[point]
        taken.append(_Box(x - r, y - r, x + r, y + r))
    found: dict[Point, _Place] = {}
    for point in points:
        x, y = plot.x.at(point.milliseconds) * width, plot.down(point.score)
        long = CHARACTER * svg.width_of(svg.cut(point.name, 30))
        for place in _places(radius[point]):
            start = x + place.across - {"start": 0, "middle": long / 2, "end": long}[place.anchor]
            box = _Box(start, y + place.down - LINE / 2, start + long, y + place.down + LINE / 2)
            inside = box.left > -10 and box.right < width + 15 and box.top > -16 and box.bottom < plot.height
            if inside and not any(box.meets(other) for other in taken):
                taken.append(box)
                found[point] = place
                break
    return found


def _places(radius: float) -> list[_Place]:
    """Above, below, beside, and further above and below: what is tried in turn."""
    near, far = radius + 12, radius + 32
    rows = [
        [_Place("middle", 0, down), _Place("start", -radius, down), _Place("end", radius, down)]
        for down in (-near, near, -far, far)
    ]
    beside = [_Place("start", radius + 4, 0), _Place("end", -radius - 4, 0)]
    return [*rows[0], *rows[1], *beside, *rows[2], *rows[3]]


def _dot(point: Point, radius: float, plot: Plot, wide: _Place | None, narrow: _Place | None, metric: str) -> str:
    """A dot with its name: aloud where there is room, at a pointer or the tab key anywhere."""
    figures = f"{metric} {shown(point.score)}, {point.milliseconds:.2f} ms, {point.megabytes:.1f} MB"
    said = svg.cut(f"{point.name} ({KINDS[point.kind]}): {figures}", 200)
    x, y = plot.across(point.milliseconds), plot.down(point.score)
    kind = "dot-soft" if point.kind == "allowed" else f"dot-{point.kind}"
    away = plot.x.at(point.milliseconds)
    hidden = _Place("start" if away < 0.3 else "end" if away > 0.7 else "middle", 0, -radius - 12)
    place = wide or hidden
    visible = "name" if wide is None else "name always" if narrow == wide else "name always-wide"
    name = (
        f'<text class="{visible}" x="{x}" dx="{place.across:g}" y="{y + place.down + 5:g}" text-anchor="{place.anchor}">'
        f"{escape(svg.cut(point.name, 30))}</text>"
    )
    return (
        f'<g class="point" tabindex="0" role="img" aria-label={quoteattr(said)}><title>{escape(said)}</title>'
        f'<circle class="{kind}" cx="{x}" cy="{y:g}" r="{radius:.1f}"/>{name}</g>'
    )
