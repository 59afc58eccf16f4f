"""Metrics of ordered classes: predicted are probabilities [N, C] in their order, targets class numbers [N]. See `metrics`.

The answer is the median class, which is off by the fewest ranks where probabilities are right.
"""

from __future__ import annotations

import numpy as np

from mmcli.reporting.metrics import Array, Metric, log_loss


def median(probabilities: Array) -> Array:
    """The first class, [N], up to which at least half of the probability lies; half but for rounding is half."""
    below: Array = (probabilities.cumsum(1) < 0.5 - 1e-9).sum(1)
    found: Array = np.minimum(below, probabilities.shape[1] - 1)
    return found


def rank_mae(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Mean number of ranks that the answer is off."""
    return _mean(weights, np.abs(median(probabilities) - targets).astype(np.float64))


def qwk(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Quadratic weighted kappa (Cohen 1968): 1 - the squared ranks off, over what they would be were answers dealt out anew
    among the rows. From sums over rows: the mean squared difference of two independent draws is the sum of their variances and
    of the squared difference of their means."""
    answers, right = median(probabilities).astype(np.float64), targets.astype(np.float64)
    off = _mean(weights, np.square(answers - right))
    means = [_mean(weights, own) for own in (answers, right)]
    spread = [_mean(weights, np.square(own)) - np.square(mean) for own, mean in zip((answers, right), means, strict=True)]
    by_chance = spread[0] + spread[1] + np.square(means[0] - means[1])
    return np.where(by_chance > 1e-12, 1 - off / np.maximum(by_chance, 1e-12), np.nan)


def accuracy(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Share of rows whose answer is right."""
    return _mean(weights, (median(probabilities) == targets).astype(np.float64))


def within_one(probabilities: Array, targets: Array, weights: Array) -> Array:
    """Share of rows whose answer is right or next to it."""
    return _mean(weights, (np.abs(median(probabilities) - targets) <= 1).astype(np.float64))


ORDINAL: dict[str, tuple[Metric, bool]] = {
    "rank_mae": (rank_mae, False),
    "qwk": (qwk, True),
    "accuracy": (accuracy, True),
    "log_loss": (log_loss, False),
}
"""Name -> (metric, whether higher is better)."""
MORE_OF_RANKS: dict[str, tuple[Metric, bool]] = {"within_one": (within_one, True)}
"""What `evaluate` adds."""


def _mean(weights: Array, values: Array) -> Array:
    result: Array = weights @ values / weights.sum(1)
    return result
