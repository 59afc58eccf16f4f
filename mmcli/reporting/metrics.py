"""Metrics of every task and their bootstrap intervals.

Every metric takes weights [R, N], one row to a resample, and gives [R] values: the value itself is the row of ones, an interval
the quantiles over resamples. So a metric has one definition, and a thousand resamples cost a matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Metric = Callable[[Array, Array, Array], Array]
"""(predicted [N, K], targets [N] or [N, K], weights [R, N]) -> values [R]. Predicted are probabilities or numbers."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95% percentile bootstrap interval over `n` rows."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{shown(self.value)} [{shown(self.low)}, {shown(self.high)}]"


def shown(value: float) -> str:
    """A score for people: three decimals, or four figures where it is large; a dash where there is none, no minus nought."""
    if math.isnan(value):
        return "\u2013"
    if abs(value) < 0.0005:
        return "0.000"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def resample_weights(rows: int, resamples: int = 1000, seed: int = 0, groups: Array | None = None) -> Array:
    """How often each row is drawn in each bootstrap resample: [R, N]. With `groups` [N] whole groups are drawn, since rows of
    one are not independent."""
    generator = np.random.default_rng(seed)
    if groups is not None:
        names, place = np.unique(groups, return_inverse=True)
        drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
        found: Array = drawn[:, place].astype(np.float64)
        return found
    return generator.multinomial(rows, np.full(rows, 1 / rows), size=resamples).astype(np.float64)


def interval(metric: Metric, probabilities: Array, targets: Array, weights: Array, own: Array | None = None) -> Interval:
    """The metric with its interval over the resamples `weights`; not a number where it is undefined. Rows count alike, or as
    `own` [1, N] says, as they then do in `weights`."""
    rows = len(targets)
    with np.errstate(invalid="ignore", divide="ignore"):  # of a slice whose rows all weigh nothing
        value = metric(probabilities, targets, np.ones((1, rows)) if own is None else own)
        resampled = metric(probabilities, targets, weights)
    return interval_of(np.concatenate([value, resampled]), rows)


def interval_of(values: Array, rows: int) -> Interval:
    """The first value, with an interval that the others, of resamples, make."""
    defined = values[1:][~np.isnan(values[1:])]
    low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) else (float("nan"), float("nan"))
    return Interval(float(values[0]), float(low), float(high), rows)


def error_rate(wrong: Array, values: Array) -> dict[str, float]:
    """The share of cases [K] that are `wrong` and how many of how many, with the interval that its `values` [R] in resamples
    make; not a number where there are no cases."""
    value = wrong.mean() if len(wrong) else np.nan
    return {**interval_of(np.concatenate([[value], values]), len(wrong)).as_dict(), "wrong": int(wrong.sum())}


def sign_test(one: int, other: int) -> float:
    """The exact two-sided p-value of as unequal a split of so many cases, each as likely to fall to the one as to the other."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(one, other), one + other, 0.5))) if one + other else 1.0


def difference(
    metric: Metric,
    one: Array,
    other: Array,
    targets: Array,
    weights: Array,
    unseen: tuple[Array, Array, Array] | None = None,
    seed: int = 0,
    own: Array | None = None,
) -> Interval:
    """How much more the metric is for `one` than for `other`, resampled in pairs: the same rows for both. Rows count alike, or
    as `own` [1, N] says, as they then do in `weights`.

    With a row `unseen` (what reads it rightly, what wrongly, its targets), the resamples hold on average half a row that the
    first alone has right, and half a row that the other alone has: two models that never differed may still do so (a
    bootstrap's form of the correction of Agresti and Min 2005).
    """
    rows = len(targets)
    each = np.ones((1, rows)) if own is None else own
    value = float(metric(one, targets, each)[0] - metric(other, targets, each)[0])
    if unseen is not None:
        right, wrong, target = unseen
        one, other = np.concatenate([one, right, wrong]), np.concatenate([other, wrong, right])
        targets = np.concatenate([targets, target, target])
        drawn = np.random.default_rng([seed, 1]).poisson(0.5, (len(weights), 2))
        weights = np.concatenate([weights, drawn], axis=1)
    low, high = np.nanquantile(metric(one, targets, weights) - metric(other, targets, weights), [0.025, 0.975])
    return Interval(value, float(low), float(high), rows)


def accuracy(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Share of rows whose most probable class is right."""
    correct = (probabilities.argmax(1) == targets).astype(np.float64)
    return _weighted_mean(weights, correct)


def balanced_accuracy(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Mean over the classes that occur of the share found of each."""
    hits, actual, _ = _counts(probabilities, targets, weights)
    return _mean_where(hits / np.maximum(actual, 1e-12), actual > 0)


def macro_f1(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Mean over the classes that occur or are predicted of 2 TP / (2 TP + FP + FN)."""
    hits, actual, predicted = _counts(probabilities, targets, weights)
    return _mean_where(2 * hits / np.maximum(actual + predicted, 1e-12), actual + predicted > 0)


def log_loss(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Mean negative log probability of the right class, in nats."""
    right = probabilities[np.arange(len(targets)), targets]
    return _weighted_mean(weights, -np.log(np.clip(right, 1e-15, None)))


def auroc(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Area under the ROC curve of each class against the rest, averaged over the classes where it is defined."""
    areas, defined = [], []
    for c in range(probabilities.shape[1]):
        area, positive, negative = _area(probabilities[:, c], targets == c, weights)
        areas.append(area / np.maximum(positive * negative, 1e-12))
        defined.append((positive > 0) & (negative > 0))
    return _mean_where(np.stack(areas, 1), np.stack(defined, 1))


def ece(probabilities: Array, targets: Array, weights: Array, bins: int = 15) -> Array:
    """Expected calibration error (Guo 2017): mean gap of confidence and accuracy over equal-width bins."""
    confidence = probabilities.max(1)
    correct = (probabilities.argmax(1) == targets).astype(np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.stack([np.where(place == b, correct - confidence, 0.0) for b in range(bins)], 1)
    result: Array = np.abs(weights @ gaps).sum(1) / weights.sum(1)
    return result


def weighted_f1(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Mean F1 over the classes, each as often as it occurs."""
    hits, actual, predicted = _counts(probabilities, targets, weights)
    each = 2 * hits / np.maximum(actual + predicted, 1e-12)
    result: Array = (each * actual).sum(1) / actual.sum(1)
    return result


def top_3(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Share of rows whose class is among the three most probable."""
    right = probabilities[np.arange(len(targets)), targets][:, None]
    return _weighted_mean(weights, ((probabilities > right).sum(1) < 3).astype(np.float64))


def mcc(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Matthews' correlation coefficient of right and predicted classes (Gorodkin 2004, of many classes)."""
    hits, actual, predicted = _counts(probabilities, targets, weights)
    total = weights.sum(1)
    covariance = hits.sum(1) * total - (actual * predicted).sum(1)
    spread = np.sqrt((total**2 - (predicted**2).sum(1)) * (total**2 - (actual**2).sum(1)))
    return np.where(spread > 0, covariance / np.maximum(spread, 1e-12), 0.0)


def auprc(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Area under the precision-recall steps of the second of two classes."""
    return _average_precision(probabilities[:, 1], targets == 1, weights)


def f1(probabilities: Array, targets: Array, weights: Array) -> Array:
    """F1 of the second of two classes."""
    hits, actual, predicted = (counts[:, 1] for counts in _counts(probabilities, targets, weights))
    result: Array = 2 * hits / np.maximum(actual + predicted, 1e-12)
    return result


def brier(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Mean squared error of the second class's probability."""
    return _weighted_mean(weights, np.square(probabilities[:, 1] - targets))


MORE_OF_TWO: dict[str, tuple[Metric, bool]] = {
    "auprc": (auprc, True),
    "f1": (f1, True),
    "mcc": (mcc, True),
    "brier": (brier, False),
}
"""What `evaluate` adds for two classes; the positive one is the second in order."""
MORE_OF_MANY: dict[str, tuple[Metric, bool]] = {"weighted_f1": (weighted_f1, True), "mcc": (mcc, True), "top_3": (top_3, True)}
"""What it adds for more."""

CLASSIFICATION: dict[str, tuple[Metric, bool]] = {
    "accuracy": (accuracy, True),
    "balanced_accuracy": (balanced_accuracy, True),
    "macro_f1": (macro_f1, True),
    "log_loss": (log_loss, False),
    "auroc": (auroc, True),
    "ece": (ece, False),
}
"""Name -> (metric, whether higher is better)."""


def mae(predicted: Array, targets: Array, weights: Array) -> Array:
    """Mean absolute error, averaged over the target columns."""
    result: Array = _weighted_mean(weights, np.abs(predicted - targets)).mean(1)
    return result


def rmse(predicted: Array, targets: Array, weights: Array) -> Array:
    """Root of the mean squared error, averaged over the target columns."""
    result: Array = np.sqrt(_weighted_mean(weights, np.square(predicted - targets))).mean(1)
    return result


def r2(predicted: Array, targets: Array, weights: Array) -> Array:
    """Share of the variance explained, averaged over the target columns; undefined where a target does not vary."""
    centred = targets - targets.mean(0)
    error = _weighted_mean(weights, np.square(predicted - targets))
    variance = _weighted_mean(weights, np.square(centred)) - np.square(_weighted_mean(weights, centred))
    values = 1 - error / np.where(variance > 1e-12, variance, np.nan)
    return _mean_where(values, ~np.isnan(values))


def spearman(predicted: Array, targets: Array, weights: Array) -> Array:
    """Correlation of the ranks, averaged over the target columns; undefined where either does not vary."""
    found = []
    for place in range(targets.shape[1]):
        one, other = (_ranks(own[:, place], weights) for own in (predicted, targets))
        total = weights.sum(1, keepdims=True)
        one = one - (weights * one).sum(1, keepdims=True) / total
        other = other - (weights * other).sum(1, keepdims=True) / total
        spread = np.sqrt((weights * one**2).sum(1) * (weights * other**2).sum(1))
        found.append(np.where(spread > 1e-12, (weights * one * other).sum(1) / np.maximum(spread, 1e-12), np.nan))
    stacked = np.stack(found, 1)
    return _mean_where(stacked, ~np.isnan(stacked))


def mape(predicted: Array, targets: Array, weights: Array) -> Array:
    """Mean absolute error as a share of the right value, averaged over the target columns; zeros count as scikit-learn's."""
    shares = np.abs(predicted - targets) / np.maximum(np.abs(targets), np.finfo(np.float64).eps)
    result: Array = _weighted_mean(weights, shares).mean(1)
    return result


def _ranks(values: Array, weights: Array) -> Array:
    """[R, N]: the rank of each value among the resample's rows, that of equal ones being their mean."""
    order = np.argsort(values, kind="stable")
    group = np.unique(values[order], return_inverse=True)[1]
    starts = np.flatnonzero(np.r_[True, np.diff(group) > 0])
    sizes = np.add.reduceat(weights[:, order], starts, axis=1)
    middle = np.cumsum(sizes, axis=1) - sizes + (sizes + 1) / 2
    ranks = np.empty_like(weights)
    ranks[:, order] = middle[:, group]
    return ranks


MORE_OF_NUMBERS: dict[str, tuple[Metric, bool]] = {"spearman": (spearman, True), "mape": (mape, False)}
"""What `evaluate` adds for numbers."""

REGRESSION: dict[str, tuple[Metric, bool]] = {"mae": (mae, False), "rmse": (rmse, False), "r2": (r2, True)}
"""Name -> (metric, whether higher is better). Predicted and targets are numbers [N, K], in the user's units."""


def micro_f1(predicted: Array, targets: Array, weights: Array) -> Array:
    """2 TP / (2 TP + FP + FN) over all labels together; a label is predicted where its margin is positive."""
    hits, actual, chosen = (counts.sum(1) for counts in _label_counts(predicted, targets, weights))
    return np.where(actual + chosen > 0, 2 * hits / np.maximum(actual + chosen, 1e-12), np.nan)


def label_macro_f1(predicted: Array, targets: Array, weights: Array) -> Array:
    """Mean F1 over the labels that occur or are predicted."""
    hits, actual, chosen = _label_counts(predicted, targets, weights)
    return _mean_where(2 * hits / np.maximum(actual + chosen, 1e-12), actual + chosen > 0)


def mean_average_precision(predicted: Array, targets: Array, weights: Array) -> Array:
    """Mean over the labels that occur of the area under the precision-recall steps."""
    logits = predicted[:, targets.shape[1] :]
    values = [_average_precision(logits[:, k], targets[:, k] > 0, weights) for k in range(targets.shape[1])]
    stacked = np.stack(values, 1)
    return _mean_where(stacked, ~np.isnan(stacked))


def label_log_loss(predicted: Array, targets: Array, weights: Array) -> Array:
    """Mean over labels of the binary log loss, in nats."""
    return _weighted_mean(weights, label_losses(predicted, targets).mean(1))


def label_losses(predicted: Array, targets: Array) -> Array:
    """[N, K]: the binary log loss of each label of each row."""
    logits = predicted[:, targets.shape[1] :]
    losses: Array = np.logaddexp(0, logits) - logits * targets
    return losses


def samples_f1(predicted: Array, targets: Array, weights: Array) -> Array:
    """Mean over the rows of F1 over their labels; nothing where a row has neither right nor predicted ones."""
    chosen = predicted[:, : targets.shape[1]] > 0
    hits, sizes = (chosen * targets).sum(1), chosen.sum(1) + targets.sum(1)
    return _weighted_mean(weights, np.where(sizes > 0, 2 * hits / np.maximum(sizes, 1), 0.0))


MORE_OF_LABELS: dict[str, tuple[Metric, bool]] = {"samples_f1": (samples_f1, True)}
"""What `evaluate` adds for labels."""

MULTILABEL: dict[str, tuple[Metric, bool]] = {
    "micro_f1": (micro_f1, True),
    "macro_f1": (label_macro_f1, True),
    "map": (mean_average_precision, True),
    "log_loss": (label_log_loss, False),
}
"""Name -> (metric, whether higher is better). Predicted are margins over the thresholds [N, K] beside logits [N, K]; targets
are 0 or 1 [N, K]."""


def confusion(probabilities: Array, targets: Array) -> Array:
    """int [C, C]: rows are the right classes, columns the predicted ones."""
    classes = probabilities.shape[1]
    pairs = targets * classes + probabilities.argmax(1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _counts(probabilities: Array, targets: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Weighted true positives, actual and predicted counts of each class: [R, C] each."""
    classes = np.arange(probabilities.shape[1])
    actual = (targets[:, None] == classes).astype(np.float64)
    predicted = (probabilities.argmax(1)[:, None] == classes).astype(np.float64)
    return weights @ (actual * predicted), weights @ actual, weights @ predicted


def _label_counts(predicted: Array, targets: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Weighted true positives, actual and predicted counts of each label: [R, K] each."""
    chosen = (predicted[:, : targets.shape[1]] > 0).astype(np.float64)
    return weights @ (targets * chosen), weights @ targets, weights @ chosen


def _average_precision(logits: Array, positive: Array, weights: Array) -> Array:
    """Sum over the thresholds of (recall gained) x precision, equal scores together: [R]; undefined without positives."""
    order = np.argsort(-logits, kind="stable")
    group = np.unique(-logits[order], return_inverse=True)[1]
    starts = np.flatnonzero(np.r_[True, np.diff(group) > 0])
    hits = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    seen = np.cumsum(np.add.reduceat(weights[:, order], starts, axis=1), axis=1)
    precision = np.cumsum(hits, axis=1) / np.maximum(seen, 1e-12)
    total = hits.sum(1)
    return np.where(total > 0, (hits * precision).sum(1) / np.maximum(total, 1e-12), np.nan)


def _weighted_mean(weights: Array, values: Array) -> Array:
    total = weights.sum(1)
    mean: Array = weights @ values / (total if values.ndim == 1 else total[:, None])
    return mean


def _mean_where(values: Array, mask: Array) -> Array:
    count = mask.sum(1)
    total = np.where(mask, values, 0.0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _area(scores: Array, positive: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Weighted count of ordered (negative, positive) pairs, ties a half; and the weights of both sides: [R] each."""
    order = np.argsort(scores, kind="stable")
    group = np.unique(scores[order], return_inverse=True)[1]
    starts = np.flatnonzero(np.r_[True, np.diff(group) > 0])
    pos = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    neg = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(neg, axis=1) - neg
    return (pos * (below + neg / 2)).sum(1), pos.sum(1), neg.sum(1)
