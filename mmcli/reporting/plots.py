"""The report's plots, as PNG. Axes have names and units; labels in any script show, or are numbered where no font has them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure

from mmcli.reporting.metrics import Interval, shown

# A font without the exact weight is good enough, and not for the user to hear of.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

Array = np.ndarray[Any, np.dtype[Any]]
INK, MUTED, ACCENT, SOFT = "#1f2933", "#7b8794", "#0b7285", "#a5d8dd"
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


def _fonts() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _CJK_FONTS if name in installed)]


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
    figure, axes = _figure(6.6, 0.42 * len(entries) + 1.2)
    labels = readable([label for label, _, _ in entries])
    for place, (_, kind, interval) in enumerate(entries):
        colour = ACCENT if kind in {"fused", "optimized"} else MUTED
        axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot([interval.value], [place], "o", color=colour, markersize=7)
        axes.annotate(
            shown(interval.value),
            (interval.value, place),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(entries)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(f"{split} {metric.replace('_', ' ')}, with 95% bootstrap interval")
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    _save(figure, path)


def confusion(matrix: Array, classes: Sequence[str], path: Path) -> None:
    """Shares of each right class, counts in the cells where there is room."""
    size = max(3.6, 0.45 * len(classes) + 2)
    figure, axes = _figure(size + 0.8, size)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="GnBu", vmin=0, vmax=1)
    labels = readable(classes)
    axes.set_xticks(range(len(classes)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), labels)
    if len(classes) <= 20:
        for row, column in np.ndindex(*matrix.shape):
            if matrix[row, column]:
                colour = "white" if shares[row, column] > 0.6 else INK
                axes.text(column, row, int(matrix[row, column]), ha="center", va="center", fontsize=8, color=colour)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("right class")
    bar = figure.colorbar(image, ax=axes, fraction=0.04)
    bar.set_label("share of the right class", fontsize=8)
    _save(figure, path)


def reliability(confidence: Array, correct: Array, path: Path, bins: int = 10) -> None:
    """Accuracy by confidence, beside what a calibrated model would have, over a histogram of confidence."""
    figure, axes = _figure(5, 4.2)
    place = np.clip((confidence * bins).astype(int), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    share = np.bincount(place, weights=correct, minlength=bins) / np.maximum(count, 1)
    mean = np.bincount(place, weights=confidence, minlength=bins) / np.maximum(count, 1)
    axes.bar(
        (np.arange(bins) + 0.5) / bins,
        count / count.sum(),
        1 / bins,
        color=SOFT,
        edgecolor="white",
        label="share of rows",
    )
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1, label="calibrated")
    axes.plot(mean[count > 0], share[count > 0], "o-", color=ACCENT, label="accuracy")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("confidence (probability of the predicted class)")
    axes.set_ylabel("share")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def scatter(predicted: Array, right: Array, name: str, path: Path) -> None:
    """Predicted against right numbers, with the line on which they are equal."""
    figure, axes = _figure(4.6, 4.4)
    axes.plot(right, predicted, "o", color=ACCENT, markersize=4, alpha=0.5, markeredgewidth=0)
    low, high = float(min(right.min(), predicted.min())), float(max(right.max(), predicted.max()))
    axes.plot([low, high], [low, high], "--", color=MUTED, linewidth=1, label="equal")
    label = readable([name])[0]
    axes.set_xlabel(f"right {label}")
    axes.set_ylabel(f"predicted {label}")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def errors(differences: Array, name: str, path: Path) -> None:
    """A histogram of predicted minus right numbers."""
    figure, axes = _figure(4.8, 4.2)
    axes.hist(differences, bins=min(40, max(10, len(differences) // 5)), color=SOFT, edgecolor="white")
    axes.axvline(0, color=MUTED, linewidth=1, linestyle="--")
    axes.axvline(float(differences.mean()), color=ACCENT, linewidth=1.6, label=f"mean {shown(float(differences.mean()))}")
    axes.set_xlabel(f"predicted minus right {readable([name])[0]}")
    axes.set_ylabel("test rows")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def labels(rows: Sequence[tuple[str, int, float]], path: Path) -> None:
    """F1 of each label as bars: (label, rows that have it, F1)."""
    figure, axes = _figure(6.6, 0.28 * len(rows) + 1.1)
    names = readable([name for name, _, _ in rows])
    for place, (_, count, score) in enumerate(rows):
        axes.barh(place, score, color=SOFT, height=0.7)
        axes.annotate(f"{score:.2f}", (0, place), (4, 0), textcoords="offset points", va="center", fontsize=7)
        axes.annotate(f"{count} rows", (1, place), (4, 0), textcoords="offset points", va="center", fontsize=7, color=MUTED)
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("test F1")
    _save(figure, path)


def ablation(full: Interval, without: Mapping[str, Interval], metric: str, path: Path) -> None:
    """The score with each input taken away, beside the full score."""
    figure, axes = _figure(6.6, 0.42 * len(without) + 1.3)
    labels = readable([f"without {name}" for name in without])
    for place, interval in enumerate(without.values()):
        axes.barh(place, interval.value, color=SOFT, height=0.6)
        axes.plot([interval.low, interval.high], [place, place], color=INK, linewidth=1.2)
        axes.annotate(shown(interval.value), (0, place), (5, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(full.value, color=ACCENT, linewidth=1.6)
    side, shift = ("right", -5) if full.value > 0.5 * axes.get_xlim()[1] else ("left", 5)
    text = f"all inputs {shown(full.value)}"
    axes.annotate(text, (full.value, -0.62), (shift, 0), textcoords="offset points", color=ACCENT, fontsize=8, ha=side)
    axes.set_yticks(range(len(without)), labels)
    axes.set_ylim(len(without) - 0.4, -0.9)
    axes.set_xlim(left=min(0.0, *(interval.low for interval in without.values())))
    axes.set_xlabel(f"test {metric.replace('_', ' ')}")
    _save(figure, path)


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    with mpl.rc_context({"font.family": _fonts()}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"font.family": _fonts(), "axes.unicode_minus": False}):
        # No date or version in the file: the same plot has the same bytes.
        figure.savefig(path, dpi=150, bbox_inches="tight", metadata={"Software": None})


def tradeoff(points: Sequence[tuple[str, float, float, float, str]], metric: str, path: Path) -> None:
    """(name, score, milliseconds, megabytes, kind) of each model: score against latency, the size as the dot's; kind is
    picked, front, allowed or other."""
    figure, axes = _figure(7.2, 4.6)
    colours = {"picked": "#c92a2a", "front": ACCENT, "allowed": SOFT, "other": "#ced4da"}
    largest = max(size for _, _, _, size, _ in points)
    for _, score, milliseconds, size, kind in points:
        area = 40 + 320 * size / largest
        axes.scatter([milliseconds], [score], s=area, color=colours[kind], alpha=0.85, edgecolor="white", zorder=3)
    named = sorted((ms, score, name) for name, score, ms, _, kind in points if kind in {"picked", "front"})
    for place, (milliseconds, score, name) in enumerate(named):  # one above the other: the fastest often lie together
        line = {"arrowstyle": "-", "color": "#adb5bd", "linewidth": 0.6}
        label, away = readable([name])[0], (14, 12 + 12 * (len(named) - 1 - place))
        axes.annotate(label, (milliseconds, score), away, textcoords="offset points", fontsize=8, arrowprops=line)
    front = sorted((ms, score) for _, score, ms, _, kind in points if kind in {"picked", "front"})
    axes.plot([ms for ms, _ in front], [score for _, score in front], color=ACCENT, linewidth=1, alpha=0.5, zorder=2)
    axes.set_xscale("log")
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("median latency of one row, milliseconds (log scale); area: megabytes")
    axes.set_ylabel(f"val {metric.replace('_', ' ')}")
    axes.grid(color="#e4e7eb", linewidth=0.8)
    axes.margins(x=0.18, y=0.3)
    _save(figure, path)


def history(scores: Sequence[float], metric: str, higher: bool, path: Path) -> None:
    """The trials of a search in order, and the best so far."""
    figure, axes = _figure(6.6, 3.4)
    best = np.maximum.accumulate(scores) if higher else np.minimum.accumulate(scores)
    axes.plot(range(1, len(scores) + 1), scores, "o", color=SOFT, markersize=5, label="trial")
    axes.plot(range(1, len(scores) + 1), best, color=ACCENT, linewidth=1.8, label="best so far", drawstyle="steps-post")
    axes.set_xlabel("trial, of those not stopped early")
    axes.set_ylabel(f"val {metric.replace('_', ' ')}")
    axes.legend(frameon=False, fontsize=8)
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


def contributions(values: Mapping[str, float], metric: str, path: Path) -> None:
    """Each input's share of the score (Shapley values), as bars."""
    names = sorted(values, key=lambda name: -values[name])
    figure, axes = _figure(6.6, 0.42 * len(names) + 1.1)
    axes.barh(range(len(names)), [values[name] for name in names], color=ACCENT, height=0.6)
    for place, name in enumerate(names):
        beyond, side = ((4, 0), "left") if values[name] >= 0 else ((-4, 0), "right")  # outside of the bar
        at, text = (values[name], place), f"{values[name]:+.3f}"
        axes.annotate(text, at, beyond, textcoords="offset points", va="center", ha=side, fontsize=8)
    axes.set_yticks(range(len(names)), readable(names))
    axes.invert_yaxis()
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.margins(x=0.15)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"share of test {metric.replace('_', ' ')} beyond that with no input (Shapley value)")
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    _save(figure, path)


def curves(values: Mapping[str, Sequence[tuple[float, float]]], across: str, metric: str, path: Path) -> None:
    """The score along something that gets worse, one line for each name."""
    figure, axes = _figure(6.6, 4.0)
    colours = mpl.colormaps["tab20" if len(values) > 10 else "tab10"]
    for place, (label, points) in enumerate(zip(readable(list(values)), values.values(), strict=True)):
        axes.plot([x for x, _ in points], [y for _, y in points], "o-", markersize=4, color=colours(place % 20), label=label)
    axes.set_xlabel(across)
    axes.set_ylabel(f"test {metric.replace('_', ' ')}")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid(color="#e4e7eb", linewidth=0.8)
    _save(figure, path)
