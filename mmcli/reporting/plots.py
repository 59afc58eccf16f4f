"""Plots that lie beside artifacts, as PNG: the leaderboard, the trade-off, the search. Axes have names and units and end where
the metric ends; labels in any script show, or are numbered where no font has them. The report draws its own: `charts`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from mmcli.reporting.dots import KINDS, Point
from mmcli.reporting.metrics import Interval
from mmcli.reporting.svg import Scale
from mmcli.reporting.words import Meaning, meaning

# A font without the exact weight is good enough, and not for the user to hear of.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

Array = np.ndarray[Any, np.dtype[Any]]
INK, MUTED, ACCENT, SOFT = "#1f2933", "#7b8794", "#0b7285", "#a5d8dd"
TEXT = 9
"""Points of every text."""
_CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Arial Unicode MS",
)


_CJK_FILES = ("notosanscjk", "notosanssc", "sourcehansans", "pingfang", "hiragino", "msyh", "simhei", "wqy", "arialuni")


def _fonts() -> list[str]:
    _add_new_fonts()
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _CJK_FONTS if name in installed)]


@cache
def _add_new_fonts() -> None:
    """Those for Chinese, Japanese and Korean that were installed after matplotlib wrote its list."""
    known = {Path(font.fname) for font in font_manager.fontManager.ttflist}
    for path in map(Path, font_manager.findSystemFonts()):
        if path not in known and path.name.lower().replace("-", "").startswith(_CJK_FILES):
            with contextlib.suppress(OSError, RuntimeError):  # damaged, or of a kind that matplotlib does not read
                font_manager.fontManager.addfont(path)


def readable(labels: Sequence[str]) -> list[str]:
    """The labels, or numbers in their place if no installed font can draw them all."""
    fonts = _fonts()
    drawable = len(fonts) > 1 or all(ord(char) < 0x0500 for label in labels for char in label)
    return (
        [label if len(label) <= 28 else label[:27] + "…" for label in labels]
        if drawable
        else [f"#{i + 1}" for i in range(len(labels))]
    )


def leaderboard(entries: Sequence[tuple[str, str, Interval]], metric: str, path: Path, split: str = "test") -> None:
    """Dots with 95% intervals: (label, kind, interval), top first."""
    figure, axes = _figure(7.2, 0.36 * len(entries) + 1.2)
    labels = readable([label for label, _, _ in entries])
    for place, (_, kind, interval) in enumerate(entries):
        colour = ACCENT if kind in {"fused", "folded", "refit", "optimized"} else MUTED
        axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot([interval.value], [place], "o", color=colour, markersize=7, clip_on=False)
        axes.annotate(
            str(interval), (1, place), (8, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(entries)), labels)
    axes.set_ylim(len(entries) - 0.5, -0.5)
    own = meaning(metric)
    _within([value for _, _, i in entries for value in (i.low, i.high)], own, axes.set_xlim)
    axes.set_xlabel(f"{split} {own.name}, with 95% bootstrap interval")
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    _save(figure, path)


def _within(values: Sequence[float], own: Meaning, limit: Callable[[float, float], object]) -> None:
    """Limits an axis to the values, and to what the metric can be."""
    scale = Scale.around(values, own.low, own.high)
    limit(scale.low, scale.high)


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    with mpl.rc_context({"font.family": _fonts(), "font.size": TEXT, "text.parse_math": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=TEXT)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"font.family": _fonts(), "font.size": TEXT, "text.parse_math": False, "axes.unicode_minus": False}):
        # No date or version in the file: the same plot has the same bytes.
        for text in figure.findobj(Text):
            text.set_fontsize(TEXT)
            text.set_parse_math(False)  # a dollar in a name is a dollar
        figure.savefig(path, dpi=150, bbox_inches="tight", metadata={"Software": None})


def tradeoff(points: Sequence[Point], metric: str, path: Path) -> None:
    """Score against latency, the size as the dot's."""
    figure, axes = _figure(7.2, 4.6)
    colours = {"picked": "#c92a2a", "front": ACCENT, "allowed": SOFT, "before": MUTED, "other": "#ced4da"}
    largest, own = max(point.megabytes for point in points), meaning(metric)
    for kind in (kind for kind in KINDS if any(point.kind == kind for point in points)):
        found = [point for point in points if point.kind == kind]
        x, y = [point.milliseconds for point in found], [point.score for point in found]
        areas = [40 + 320 * point.megabytes / largest for point in found]
        axes.scatter(x, y, s=areas, color=colours[kind], alpha=0.85, edgecolor="white", zorder=3)
        axes.scatter([], [], s=50, color=colours[kind], label=KINDS[kind])  # of one size in the legend
    front = sorted((point for point in points if point.kind in {"picked", "front"}), key=lambda point: point.milliseconds)
    for place, point in enumerate(front):  # one above the other: the fastest often lie together
        line = {"arrowstyle": "-", "color": "#adb5bd", "linewidth": 0.6}
        at, away = (point.milliseconds, point.score), (14, 12 + 12 * (len(front) - 1 - place))
        axes.annotate(readable([point.name])[0], at, away, textcoords="offset points", arrowprops=line)
    x, y = [point.milliseconds for point in front], [point.score for point in front]
    axes.plot(x, y, color=ACCENT, linewidth=1, alpha=0.5, zorder=2)
    axes.set_xscale("log")
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    axes.set_xlabel("median latency of one row, milliseconds (log scale); area: megabytes")
    axes.set_ylabel(f"val {own.name}")
    axes.grid(color="#e4e7eb", linewidth=0.8)
    axes.margins(x=0.18, y=0.3)
    low, high = axes.get_ylim()
    axes.set_ylim(low if own.low is None else max(low, own.low), high if own.high is None else min(high, own.high))
    _save(figure, path)


def history(scores: Sequence[float], metric: str, higher: bool, path: Path) -> None:
    """The trials of a search in order, and the best so far."""
    figure, axes = _figure(6.6, 3.4)
    best = np.maximum.accumulate(scores) if higher else np.minimum.accumulate(scores)
    axes.plot(range(1, len(scores) + 1), scores, "o", color=SOFT, markersize=5, label="trial")
    axes.plot(range(1, len(scores) + 1), best, color=ACCENT, linewidth=1.8, label="best so far", drawstyle="steps-post")
    axes.set_xlabel("trial, of those not stopped early")
    axes.set_ylabel(f"val {meaning(metric).name}")
    axes.legend(frameon=False)
    axes.grid(color="#e4e7eb", linewidth=0.8)
    _save(figure, path)


def importances(values: Mapping[str, float], path: Path) -> None:
    """How much of the trials' differences each option explains (fANOVA)."""
    names = sorted(values, key=lambda name: -values[name])
    figure, axes = _figure(6.6, 0.36 * len(names) + 1.1)
    axes.barh(range(len(names)), [values[name] for name in names], color=ACCENT, height=0.6)
    axes.set_yticks(range(len(names)), readable(names))
    axes.invert_yaxis()
    axes.set_xlabel("share of the trials' differences that the option explains")
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    _save(figure, path)
