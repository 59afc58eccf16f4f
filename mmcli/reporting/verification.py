"""Metrics of whether things belong together, from a score for each row: above zero says that they do.

Like those of `metrics`, each takes predicted [N, 1], targets [N] (1: they do; 0: they do not, an impostor) and weights [R, N],
and gives [R] values. FAR is the share of impostors that are accepted, TAR that of the others, FRR what is left of these.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from mmcli.reporting.metrics import Array, Metric, error_rate

IMPOSTORS = 30
"""How many accepted impostors a rate must stand for to be told: 30 / FAR of them are needed (the rule of 30)."""


def accuracy(predicted: Array, targets: Array, weights: Array) -> Array:
    """Share of rows on whose side of the threshold the score is."""
    correct = ((predicted[:, 0] > 0) == (targets == 1)).astype(np.float64)
    found: Array = weights @ correct / weights.sum(1)
    return found


def log_loss(predicted: Array, targets: Array, weights: Array) -> Array:
    """Mean negative log probability of what is right, in nats, of log-odds."""
    found: Array = weights @ np.logaddexp(0, np.where(targets == 1, -1.0, 1.0) * predicted[:, 0]) / weights.sum(1)
    return found


def roc(predicted: Array, targets: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Thresholds [K], highest first, and FAR and TAR [R, K] where scores of the threshold and above are accepted; not a number
    in resamples without a row of one kind."""
    scores = predicted[:, 0]
    order = np.argsort(-scores, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(scores[order])), len(order) - 1]
    own = weights[:, order]
    with np.errstate(invalid="ignore", divide="ignore"):
        far, tar = (
            (found := np.cumsum(own * (targets[order] == kind), 1)[:, ends])
            / np.where(found[:, -1:] > 0, found[:, -1:], np.nan)
            for kind in (0, 1)
        )
    return scores[order][ends], far, tar


def auroc(predicted: Array, targets: Array, weights: Array) -> Array:
    """Area under the ROC curve: how often a pair that belongs together has the higher score, ties a half."""
    _, far, tar = roc(predicted, targets, weights)
    far, tar = _from_nothing(far), _from_nothing(tar)
    area: Array = (np.diff(far, axis=1) * (tar[:, 1:] + tar[:, :-1]) / 2).sum(1)
    return area


def eer(predicted: Array, targets: Array, weights: Array) -> Array:
    """Equal error rate: FAR where it is FRR, between two thresholds on the straight line."""
    _, far, tar = roc(predicted, targets, weights)
    far, gap = _from_nothing(far), _from_nothing(far) - (1 - _from_nothing(tar))
    after = np.argmax(gap >= 0, axis=1)
    row = np.arange(len(gap))
    before = np.maximum(after - 1, 0)
    step = gap[row, after] - gap[row, before]
    share = np.where(step > 0, -gap[row, before] / np.where(step > 0, step, 1), 0.0)
    found: Array = far[row, before] + share * (far[row, after] - far[row, before])
    return np.where(np.isnan(gap).any(1), np.nan, found)


def tar_at_far(predicted: Array, targets: Array, weights: Array, rate: float) -> Array:
    """The most of the true pairs that a threshold accepts which accepts no more than `rate` of the impostors; not a number
    where there are fewer impostors than 30 / rate."""
    if (targets == 0).sum() < IMPOSTORS / rate:
        return np.full(len(weights), np.nan)
    _, far, tar = roc(predicted, targets, weights)
    found: Array = np.where(_from_nothing(far) <= rate + 1e-12, _from_nothing(tar), 0.0).max(1)
    return np.where(np.isnan(far).any(1), np.nan, found)


def _from_nothing(rates: Array) -> Array:
    return np.concatenate([np.where(np.isnan(rates[:, :1]), np.nan, 0.0), rates], 1)


RATES = (0.1, 0.01, 0.001)
MATCH: dict[str, tuple[Metric, bool]] = {
    "auroc": (auroc, True),
    "accuracy": (accuracy, True),
    "eer": (eer, False),
    "log_loss": (log_loss, False),
}
"""Name -> (metric, whether higher is better)."""
MORE_OF_MATCH: dict[str, tuple[Metric, bool]] = {
    f"tar_at_far_{rate:g}": (partial(tar_at_far, rate=rate), True) for rate in RATES
}
"""What `evaluate` adds, where there are impostors enough."""


def threshold(scores: Array, targets: Array, rate: float | None) -> float:
    """The threshold that accepts no more than `rate` of the impostors: above all of them where they are too few for it; without
    a rate, that of the best accuracy, averaged over the thresholds nearby, since the best one of few rows is luck."""
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], targets[order] == 1
    middles = np.r_[ranked[0] + 1e-6, (ranked[1:] + ranked[:-1]) / 2, ranked[-1] - 1e-6]
    accepted, wrong = np.r_[0, np.cumsum(right)], np.r_[0, np.cumsum(~right)]
    distinct = np.r_[True, ranked[1:] < ranked[:-1], True]
    if rate is not None:
        allowed = distinct & (wrong <= rate * max(wrong[-1], 1))
        return float(middles[np.flatnonzero(allowed)[-1]])
    hits = (accepted + wrong[-1] - wrong).astype(np.float64)
    width = len(ranked) // 20
    kernel = np.ones(2 * width + 1)
    smooth = np.convolve(hits, kernel, "same") / np.convolve(np.ones(len(hits)), kernel, "same")
    best = np.flatnonzero(distinct & (smooth >= np.where(distinct, smooth, -1).max() - 1e-9))
    return float(middles[best[len(best) // 2]])


def errors(predicted: Array, targets: Array, resampled: Array, index: Array) -> dict[str, dict[str, float]]:
    """FAR and FRR at the threshold of the rows `index`, see `metrics.error_rate`; resamples [R, N] are of all rows."""
    accepted, own = predicted[index, 0] > 0, resampled[:, index]
    found = {}
    for name, wrong, kind in (("far", accepted, 0), ("frr", ~accepted, 1)):
        here = targets[index] == kind
        total = own[:, here].sum(1)
        values = np.where(total > 0, own[:, here] @ wrong[here] / np.maximum(total, 1e-12), np.nan)
        found[name] = error_rate(wrong[here], values)
    return found


def rates(predicted: Array, targets: Array, resampled: Array) -> list[dict[str, float]]:
    """FAR, the threshold on the score that keeps it, TAR there and its interval over resamples [R, N]: a row for each rate."""
    found = []
    ones = np.ones((1, len(targets)))
    for rate in RATES:
        value = tar_at_far(predicted, targets, ones, rate)[0]
        if np.isnan(value):
            continue
        values = tar_at_far(predicted, targets, resampled, rate)
        low, high = np.nanquantile(values, [0.025, 0.975])
        cut = threshold(predicted[:, 0], targets, rate)
        found.append({"far": rate, "threshold": cut, "tar": float(value), "low": float(low), "high": float(high)})
    return found
