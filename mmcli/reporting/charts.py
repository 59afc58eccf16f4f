"""The report's drawings: what is drawn, of what. How a mark is made is in `svg`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from mmcli.reporting import svg
from mmcli.reporting.counts import counted
from mmcli.reporting.metrics import Interval, shown
from mmcli.reporting.svg import CHARACTER, LINE, Figure, Plot, Scale, percent
from mmcli.reporting.words import meaning, signed

Array = np.ndarray[Any, np.dtype[Any]]
MOST_CLASSES = 20
"""Classes of a confusion matrix: of more, those with the most errors."""
MOST_DOTS = 2000
"""Rows of a scatter plot."""
_ROW = 42


@dataclass(frozen=True)
class Bar:
    """A row of a chart of rows: a name, a value, and perhaps how far it may lie off."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    strong: bool = False
    said: str = ""
    """What stands at its end: by default the value."""


def _rows(bars: Sequence[Bar], scale: Scale, across: str, label: str, dots: bool, marked: tuple[str, float] | None) -> Figure:
    """Names above their marks, so that both have the whole width; texts last, so that no line crosses them."""
    start = LINE if marked else 0
    height = _ROW * len(bars) + start
    drawn = [svg.line(percent(scale.at(v)), 0, percent(scale.at(v)), height, "grid") for v, _ in scale.ticks()]
    for place, bar in enumerate(bars):
        drawn += _marks(bar, scale, start + _ROW * place + 28, dots)
    if marked:
        at = scale.at(marked[1])
        drawn.append(svg.line(percent(at), start - 4, percent(at), height, "reference"))
        side = "end" if at > 0.5 else "start"
        drawn.append(svg.text(percent(at), 10, f"{marked[0]} {shown(marked[1])}", side, "accent halo"))
    for place, bar in enumerate(bars):
        down, kind = start + _ROW * place + 16, "strong halo" if bar.strong else "halo"
        name, said = svg.cut(bar.name, 26), bar.said or shown(bar.value)
        drawn += [svg.behind("start", down, name), svg.behind("end", down, said)] if marked else []
        drawn.append(svg.text("0%", down, name, "start", kind, bar.name))
        drawn.append(svg.text("100%", down, said, "end", kind))
    drawn.append(svg.line("0%", height, "100%", height, "axis"))
    drawn += [svg.text(percent(scale.at(v)), height + LINE, said, "middle", "muted") for v, said in scale.ticks()]
    drawn.append(svg.text("50%", height + 2 * LINE, svg.cut(across, 42), "middle", "muted", across))
    return Figure("".join(drawn), height, label, 18, 18, 4, 2 * LINE + 8)


def _marks(bar: Bar, scale: Scale, down: float, dots: bool) -> list[str]:
    """A bar or a dot, and the line of its interval; what is not a number has none."""
    drawn = []
    at, zero = scale.at(bar.value), scale.at(min(max(0.0, scale.low), scale.high))
    if not dots and math.isfinite(at):
        kind, width = "fill-strong" if bar.strong else "fill", percent(abs(at - zero))
        drawn.append(f'<rect class="{kind}" x="{percent(min(at, zero))}" y="{down - 6:g}" width="{width}" height="12" rx="2"/>')
    if bar.low is not None and bar.high is not None and math.isfinite(bar.low) and math.isfinite(bar.high):
        kind = ("range strong" if bar.strong else "range") if dots else "thin"
        drawn.append(svg.line(percent(scale.at(bar.low)), down, percent(scale.at(bar.high)), down, kind))
    if dots and math.isfinite(at):
        kind = "dot-strong" if bar.strong else "dot"
        drawn.append(f'<circle class="{kind}" cx="{percent(at)}" cy="{down:g}" r="6"/>')
    return drawn


def leaderboard(entries: Sequence[tuple[str, str, Interval]], metric: str) -> Figure:
    """Dots with 95% intervals: (label, kind, interval), the first on top."""
    own = meaning(metric)
    bars = [
        Bar(name, score.value, score.low, score.high, kind in {"fused", "folded", "refit", "optimized"}, str(score))
        for name, kind, score in entries
    ]
    values = [value for bar in bars for value in (bar.value, bar.low, bar.high) if value is not None]
    across = f"test {own.name}, 95% interval"
    return _rows(bars, Scale.around(values, own.low, own.high), across, f"Test {own.name} of every model", True, None)


def ablation(full: Interval, without: Mapping[str, Interval], metric: str) -> Figure:
    """The score with each input taken away, beside the full one."""
    own = meaning(metric)
    bars = [Bar(f"without {name}", i.value, i.low, i.high) for name, i in without.items()]
    values = [0.0, full.value, *(v for bar in bars for v in (bar.low or 0.0, bar.high or 0.0, bar.value))]
    scale = Scale.around(values, own.low, own.high)
    return _rows(bars, scale, f"test {own.name}", f"Test {own.name} without each input", False, ("all inputs", full.value))


def contributions(values: Mapping[str, float], metric: str, higher: bool) -> Figure:
    """Each input's share of the score, the largest first."""
    bars = [Bar(name, value, said=signed(value), strong=True) for name, value in _largest_first(values)]
    name = meaning(metric).name
    scale = Scale.around([0.0, *values.values()])
    across = f"how much it {'raises' if higher else 'lowers'} test {name}"
    return _rows(bars, scale, across, f"Shapley values of the inputs: {across}", False, None)


def importances(values: Mapping[str, float]) -> Figure:
    """How much of the trials' differences each option explains."""
    bars = [Bar(name, value, said=f"{value:.0%}", strong=True) for name, value in _largest_first(values)]
    scale = Scale.around([0.0, *values.values()], 0, 1)
    return _rows(bars, scale, "share of the differences explained", "Importance of what the search varied", False, None)


def labels(rows: Sequence[tuple[str, int, float]]) -> Figure:
    """F1 of each label: (label, rows that have it, F1)."""
    bars = [Bar(name, score, said=f"{score:.3f} · {counted(count, 'row')}", strong=True) for name, count, score in rows]
    return _rows(bars, Scale(0, 1), "test F1", "Test F1 of each label", False, None)


def _largest_first(values: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda pair: -pair[1])


def curves(
    values: Mapping[str, Sequence[tuple[float, float]]], across: str, metric: str, beside: Sequence[float] = ()
) -> Figure:
    """The score along something that gets worse, one line for each name; `beside` are scores that its axis holds too, those of
    drawings that stand beside it."""
    own = meaning(metric)
    points = [point for line in values.values() for point in line]
    x = Scale.around([place for place, _ in points])
    y = Scale.around([*(score for _, score in points), *beside], own.low, own.high)
    plot = Plot(x, y, across, f"test {own.name}")
    legend = []
    for place, (name, line) in enumerate(values.items()):
        kind = f"s{place % 8} d{place // 2 % 4}"
        plot.path(line, kind, name)
        for at, score in line:
            plot.dot(at, score, f"s{place % 8}", 3, f"{name}: {shown(score)} at {at:g}")
        legend.append((kind, name))
    return plot.figure(f"Test {own.name} by {across}", legend)


def training(rows: Sequence[Mapping[str, float]], name: str) -> Figure:
    """Loss on train and on val by epoch."""
    lines = {kind: [(row["epoch"], row[kind]) for row in rows if row.get(kind) is not None] for kind in LOSSES}
    known = [value for line in lines.values() for _, value in line]
    epochs = [row["epoch"] for row in rows]
    x = Scale(min(epochs), max(max(epochs), min(epochs) + 1))
    plot = Plot(x, Scale.around(known, most=4), "epoch", "loss", 150)
    legend = []
    for (kind, line), style in zip(lines.items(), ("s7 d1", "s0"), strict=True):
        if line:
            said = LOSSES[kind]
            plot.path(line, style, said)
            legend.append((style, said))
    return plot.figure(f"Loss of {name} on train and val by epoch", legend, most=4)


LOSSES = {"train_loss": "train", "val_loss": "val"}


def confusion(matrix: Array, classes: Sequence[str]) -> Figure:
    """Shares of each right class, with the counts where there is room."""
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    total, cell = len(classes), 28
    left = 14 + CHARACTER * (min(12, max(svg.width_of(name) for name in classes)) + 2 + len(str(total)))
    drawn = []
    for row, column in zip(*np.nonzero(matrix), strict=True):
        found, share = int(matrix[row, column]), shares[row, column]
        said = f"{classes[row]}, predicted {classes[column]}: {counted(found, 'row')} ({share:.0%})"
        x, width = percent(column / total), percent(1 / total)
        drawn.append(
            f'<svg x="{x}" y="{cell * row}" width="{width}" height="{cell}"><title>{escape(svg.cut(said, 200))}</title>'
            f'<rect class="heat" width="100%" height="100%" fill-opacity="{0.08 + 0.92 * share:.2f}"/></svg>'
        )
        kind = "roomy" if total > 7 or found > 999 else ""
        drawn.append(svg.text(percent((column + 0.5) / total), cell * row + 19, str(found), "middle", kind))
    for place, name in enumerate(classes):
        drawn.append(svg.text("-8", cell * place + 19, f"{svg.cut(name, 12)} {place + 1}", "end", "muted", name))
        kind = "muted roomy" if total > 12 and place % 2 else "muted"
        drawn.append(svg.text(percent((place + 0.5) / total), cell * total + 18, str(place + 1), "middle", kind))
    for place in range(total + 1):
        drawn.append(svg.line("0%", cell * place, "100%", cell * place, "grid"))
        drawn.append(svg.line(percent(place / total), 0, percent(place / total), cell * total, "grid"))
    drawn.append(svg.text("50%", cell * total + 2 * LINE, "predicted class, by its number", "middle", "muted"))
    drawn.append(svg.text(f"{-left}", -12, "right class", "start", "muted"))
    return Figure("".join(drawn), cell * total, "Right classes against predicted ones", left, 8, 30, 2 * LINE + 8)


def reliability(confidence: Array, correct: Array, bins: int = 10) -> Figure:
    """Accuracy by confidence beside what a calibrated model would have, over how many rows have it."""
    place = np.clip((confidence * bins).astype(int), 0, bins - 1)
    rows = np.bincount(place, minlength=bins)
    share = np.bincount(place, weights=correct, minlength=bins) / np.maximum(rows, 1)
    mean = np.bincount(place, weights=confidence, minlength=bins) / np.maximum(rows, 1)
    plot = Plot(Scale(0, 1), Scale(0, 1), "probability of the predicted class", "share")
    for number, found in enumerate(rows):
        if found:
            said = f"{counted(found, 'row')} between {number / bins:.1f} and {(number + 1) / bins:.1f}"
            plot.bar(number / bins, (number + 1) / bins, found / rows.sum(), "fill", said)
    plot.path([(0, 0), (1, 1)], "s7 d1")
    known = [(mean[n], share[n]) for n in range(bins) if rows[n]]
    plot.path(known, "s1")
    for x, y in known:
        plot.dot(x, y, "s1", 4, f"probability {x:.2f}, right in {y:.0%}")
    legend = (("s1", "share that is right"), ("s7 d1", "as it should be"), ("fill", "share of the rows"))
    return plot.figure("Whether stated probabilities come true", legend)


def scatter(predicted: Array, right: Array, name: str) -> Figure:
    """Predicted against right numbers, with the line on which they are equal."""
    if len(right) > MOST_DOTS:
        keep = np.linspace(0, len(right) - 1, MOST_DOTS).astype(int)
        predicted, right = predicted[keep], right[keep]
    both = Scale.around([float(value) for value in (*predicted, *right)])
    plot = Plot(both, both, f"right {name}", f"predicted {name}", 280)
    plot.path([(both.low, both.low), (both.high, both.high)], "s7 d1")
    for x, y in zip(right.tolist(), predicted.tolist(), strict=True):
        plot.dot(x, y, "dot-faint", 3.5)
    legend = (("dot-faint", "a test row"), ("s7 d1", "equal"))
    return plot.figure(f"Predicted against right {name}", legend, most=4)


def errors(differences: Array, name: str) -> Figure:
    """How many rows are how far off."""
    counts, edges = np.histogram(differences, bins=min(30, max(8, len(differences) // 5)))
    x = Scale.around([0.0, *edges.tolist()])
    plot = Plot(x, Scale.around([0.0, *counts.tolist()], low=0), f"predicted minus right {name}", "test rows", 280)
    for number, start, end in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if number:
            plot.bar(start, end, number, "fill", f"{counted(number, 'row')} between {shown(start)} and {shown(end)}")
    top, mean = plot.y.high, float(differences.mean())
    plot.path([(0, 0), (0, top)], "s7 d1")
    plot.path([(mean, 0), (mean, top)], "s1")
    return plot.figure(f"Errors of {name}", (("s1", f"mean {shown(mean)}"), ("s7 d1", "no error")), most=4)


def roc(far: Array, tar: Array) -> Figure:
    """True pairs accepted by impostors accepted, at every threshold."""
    plot = Plot(Scale(0.0, 1.0), Scale(0.0, 1.0), "impostors accepted (FAR)", "true pairs accepted (TAR)")
    plot.path([(0, 0), (1, 1)], "s7 d1", "chance")
    plot.path([(0.0, 0.0), *zip(far.tolist(), tar.tolist(), strict=True)], "s0", "model")
    return plot.figure("True pairs accepted by impostors accepted", (("s0", "model"), ("s7 d1", "chance")))


def det(far: Array, frr: Array, equal: float) -> Figure:
    """True pairs refused by impostors accepted, both on logarithmic axes that end at all of them; none is on the other edge."""
    x, y = (Scale(min((rate for rate in rates.tolist() if rate > 0), default=1.0) / 2, 1.0, log=True) for rates in (far, frr))
    plot = Plot(x, y, "impostors accepted (FAR)", "true pairs refused (FRR)")
    across, down = np.clip(np.r_[0.0, far], x.low, x.high), np.clip(np.r_[1.0, frr], y.low, y.high)
    plot.path(list(zip(across.tolist(), down.tolist(), strict=True)), "s0", "model")
    plot.dot(max(equal, x.low), max(equal, y.low), "s1", 4, f"equal error rate {shown(equal)}")
    return plot.figure("True pairs refused by impostors accepted", (("s0", "model"), ("s1", f"EER {shown(equal)}")))


def two_kinds(scores: Array, right: Array, names: Sequence[str]) -> Figure:
    """How often pairs of either kind have which score, as shares of their kind."""
    edges = np.histogram_bin_edges(np.clip(scores, *np.quantile(scores, [0.005, 0.995])), bins=30)
    lines = {}
    for name, own in zip(names, (scores[~right], scores[right]), strict=True):
        counts, _ = np.histogram(np.clip(own, edges[0], edges[-1]), bins=edges)
        lines[name] = list(zip(((edges[1:] + edges[:-1]) / 2).tolist(), (counts / max(len(own), 1)).tolist(), strict=True))
    top = max(share for line in lines.values() for _, share in line)
    plot = Plot(
        Scale.around([0.0, *edges.tolist()]), Scale.around([0.0, top], low=0), "score over the threshold", "share of pairs"
    )
    plot.path([(0, 0), (0, plot.y.high)], "s7 d1", "threshold")
    for place, (name, line) in enumerate(lines.items()):
        plot.path(line, f"s{place}", name)
    legend = [(f"s{place}", name) for place, name in enumerate(lines)]
    return plot.figure("Scores of both kinds of pairs", [*legend, ("s7 d1", "threshold")], most=4)


def history(scores: Sequence[float], metric: str, higher: bool) -> Figure:
    """The trials of a search in order, and the best so far."""
    own = meaning(metric)
    best = (np.maximum if higher else np.minimum).accumulate(np.asarray(scores)).tolist()
    x = Scale(1, max(2, len(scores)))
    plot = Plot(x, Scale.around(scores, own.low, own.high), "trial, of those not stopped early", f"val {own.name}")
    steps = [point for n, own in zip(count(1), best, strict=False) for point in ((n, own), (n + 1, own))][:-1]
    plot.path(steps, "s0", "best so far")
    for number, score in enumerate(scores, 1):
        plot.dot(number, score, "dot-soft", 4, f"trial {number}: {shown(score)}")
    return plot.figure(f"Val {own.name} of the search's trials", (("dot-soft", "trial"), ("s0", "best so far")))
