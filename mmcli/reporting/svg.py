"""Drawings as SVG that fit their place: percent across, pixels down, so that text keeps the page's size at any width.

Owns scales, axes and marks. Colours are the page's variables, in light and dark; every text is escaped. Knows no metric.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from xml.sax.saxutils import escape, quoteattr

CHARACTER = 8
"""Pixels that a character of the small text takes at most; a wide one takes two of them."""
LINE = 20
"""Pixels from one line of text to the next."""
_ROOM = ".roomy{display:inline}.point .name.always-wide{visibility:visible}"
"""What a drawing by itself adds: there is room for all of its texts."""


@cache
def styles() -> str:
    """The style sheet of every drawing."""
    return files("mmcli.reporting").joinpath("templates", "chart.css").read_text(encoding="utf-8")


def width_of(text: str) -> int:
    """Characters of the common width that a text takes."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else not unicodedata.combining(char) for char in text)


def cut(text: str, most: int) -> str:
    """The text in one line, with an ellipsis where it is wider than `most` characters."""
    line = " ".join("".join(char if char.isprintable() or char.isspace() else "\ufffd" for char in text).split())
    if width_of(line) <= most:
        return line
    while width_of(line) > most - 1:
        line = line[:-1]
    return f"{line}…"


@dataclass(frozen=True)
class Scale:
    """From values to shares of an axis."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(
        cls, values: Iterable[float], low: float | None = None, high: float | None = None, log: bool = False, most: int = 5
    ) -> Scale:
        """A scale that holds all the values, ends on round ones, and never beyond where they can lie."""
        known = [value for value in values if math.isfinite(value) and (value > 0 or not log)] or [1.0 if log else 0.0]
        least, largest = min(known), max(known)
        if log:
            return cls(least / 1.25, largest * 1.25, True)
        if largest - least < 1e-9 * max(abs(largest), 1e-9):
            pad = abs(largest) * 0.05 or 0.5
            least, largest = least - pad, largest + pad
        for _ in range(2):  # what is rounded outwards may take wider steps
            step = _step(largest - least, most)
            least, largest = math.floor(least / step + 1e-9) * step, math.ceil(largest / step - 1e-9) * step
        return cls(least if low is None else max(least, low), largest if high is None else min(largest, high))

    def at(self, value: float) -> float:
        """Where it lies, from 0 to 1."""
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / ((self.high - self.low) or 1.0)

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Round values on it, as they are written; never more than `most` and one."""
        if self.log:
            return self._log_ticks(most)
        step = _step(self.high - self.low, most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(n * step, _figure(n * step, digits)) for n in range(first, last + 1)]

    def _log_ticks(self, most: int) -> list[tuple[float, str]]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found: list[float] = []
        for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
            inside = [f * 10.0**d for d in decades for f in factors if self.low <= f * 10.0**d <= self.high]
            if len(inside) <= most + 1 and len(inside) > len(found):
                found = inside
        if not found:  # more decades than ticks
            inside = [10.0**d for d in decades if self.low <= 10.0**d <= self.high]
            found = inside[:: -(-len(inside) // (most + 1)) or 1]
        return [(value, f"{value:g}") for value in found]


def _step(span: float, most: int) -> float:
    """The least of 1, 2, 5 times a power of ten that parts a span into at most so many."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= most + 1e-9)


def _figure(value: float, digits: int) -> str:
    """A tick in few characters; never minus nothing."""
    return f"{value + 0.0:.4g}" if abs(value) >= 1e6 or digits > 4 else f"{value + 0.0:,.{digits}f}"


@dataclass(frozen=True)
class Figure:
    """A drawing: its marks, the room that its texts take beside them, and what it shows in words."""

    body: str
    height: float
    label: str
    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0
    legend: tuple[tuple[str, str], ...] = ()
    """(class of its mark, name), where marks of several kinds stand in it."""
    role: str = "img"
    """`group` where its marks have names of their own."""

    def inline(self) -> str:
        """For a page that has `styles()`."""
        place = (
            f"margin:{self.top}px {self.right}px {self.bottom}px {self.left}px;width:calc(100% - {self.left + self.right}px)"
        )
        drawn = (
            f'<svg class="chart" role="{self.role}" aria-label={quoteattr(_printable(self.label))} height="{self.height:g}" '
            f'style="{place}">{self.body}</svg>'
        )
        items = "".join(f"<li>{swatch(kind)}{escape(cut(name, 60))}</li>" for kind, name in self.legend)
        return f'{drawn}<ul class="legend">{items}</ul>' if items else drawn

    def standalone(self, width: int = 640) -> str:
        """A file by itself."""
        below = self.top + self.height + self.bottom
        legend = "".join(
            f'<svg x="{self.left}" y="{below + LINE * n + 4}" overflow="visible">{swatch(kind)}'
            f"{text('36', 10, cut(name, 60), 'start')}</svg>"
            for n, (kind, name) in enumerate(self.legend)
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{below + LINE * len(self.legend) + 8:g}" '
            f'role="{self.role}" aria-label={quoteattr(_printable(self.label))}><style>{escape(styles())}{_ROOM}</style>'
            f'<rect class="page" width="100%" height="100%"/>'
            f'<svg class="chart" x="{self.left}" y="{self.top}" width="{width - self.left - self.right}" '
            f'height="{self.height:g}" overflow="visible">{self.body}</svg>{legend}</svg>\n'
        )


def swatch(kind: str) -> str:
    """A mark of a legend."""
    mark = f'<rect class="{kind}" x="7" width="14" height="10"/>' if kind.startswith("fill") else ""
    mark = mark or (f'<circle class="{kind}" cx="14" cy="5" r="5"/>' if kind.startswith("dot") else "")
    mark = mark or f'<line class="line {kind}" x1="0" x2="28" y1="5" y2="5"/>'
    return f'<svg class="swatch" width="28" height="10" aria-hidden="true">{mark}</svg>'


def text(x: str, y: float, said: str, anchor: str = "middle", kind: str = "", more: str = "") -> str:
    """A text at a place; `more` is what a pointer on it shows."""
    title = f"<title>{escape(_printable(more))}</title>" if more else ""
    classed = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y:g}" text-anchor="{anchor}"{classed}>{title}{escape(_printable(said))}</text>'


def behind(side: str, y: float, said: str) -> str:
    """A ground for a text at the `start` or `end` of the whole width, so that a line stops at it instead of crossing it."""
    wide = CHARACTER * width_of(said) + 8
    place = f'x="100%" transform="translate({4 - wide:g} 0)"' if side == "end" else 'x="-4"'
    return f'<rect class="page" {place} y="{y - 14:g}" width="{wide:g}" height="18"/>'


def line(x1: str, y1: float, x2: str, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1}" y1="{y1:g}" x2="{x2}" y2="{y2:g}"/>'


def percent(share: float) -> str:
    """A share of the width."""
    return f"{100 * share:.2f}%"


def _printable(said: str) -> str:
    """Without what XML cannot hold."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in said)


@dataclass
class Plot:
    """Marks over two axes."""

    x: Scale
    y: Scale
    x_label: str
    y_label: str
    height: int = 240
    marks: list[str] = field(default_factory=list)

    def across(self, value: float) -> str:
        return percent(self.x.at(value))

    def down(self, value: float) -> float:
        return round(self.height * (1 - self.y.at(value)), 1)

    def path(self, points: Sequence[tuple[float, float]], kind: str, name: str = "") -> None:
        """A line through points."""
        known = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        drawn = " ".join(f"{1000 * self.x.at(x):.1f},{self.down(y):g}" for x, y in known)
        title = f"<title>{escape(_printable(name))}</title>" if name else ""
        self.marks.append(
            f'<svg width="100%" height="{self.height}" viewBox="0 0 1000 {self.height}" preserveAspectRatio="none" '
            f'overflow="visible"><polyline class="line {kind}" points="{drawn}">{title}</polyline></svg>'
        )

    def dot(self, x: float, y: float, kind: str, radius: float = 3.5, more: str = "") -> None:
        """A point; none where there is no number."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return
        title = f"<title>{escape(_printable(more))}</title>" if more else ""
        place = f'cx="{self.across(x)}" cy="{self.down(y):g}" r="{radius:g}"'
        self.marks.append(f'<circle class="{kind}" {place}>{title}</circle>')

    def bar(self, start: float, end: float, top: float, kind: str, more: str = "") -> None:
        """From the bottom up to `top`."""
        width, high = self.x.at(end) - self.x.at(start), self.down(top)
        self.marks.append(
            f'<rect class="{kind}" x="{self.across(start)}" y="{high:g}" width="{percent(width)}" '
            f'height="{max(self.height - high, 0):g}"><title>{escape(_printable(more))}</title></rect>'
        )

    def figure(self, label: str, legend: Sequence[tuple[str, str]] = (), role: str = "img", most: int = 5) -> Figure:
        """All of it with axes."""
        rows, columns = self.y.ticks(), self.x.ticks(most)
        left = 10 + CHARACTER * max((width_of(said) for _, said in rows), default=1)
        drawn = [line("0%", self.down(value), "100%", self.down(value), "grid") for value, _ in rows]
        drawn += [text("-8", self.down(value) + 5, said, "end", "muted") for value, said in rows]
        drawn += [line(self.across(value), self.height, self.across(value), self.height + 5, "axis") for value, _ in columns]
        drawn += [text(self.across(value), self.height + LINE, said, "middle", "muted") for value, said in columns]
        drawn.append(line("0%", self.height, "100%", self.height, "axis"))
        drawn.append(text("50%", self.height + 2 * LINE, cut(self.x_label, 42), "middle", "muted", self.x_label))
        drawn.append(text(f"{-left}", -14, cut(self.y_label, 42), "start", "muted", self.y_label))
        body = "".join([*drawn, *self.marks])
        return Figure(body, self.height, label, left, 22, 2 * LINE - 8, 2 * LINE + 8, tuple(legend), role)
