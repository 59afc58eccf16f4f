"""Metrics of quantiles: predicted are [N, K] in the user's units, rising; targets numbers [N, 1]. See `metrics`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmcli.reporting.metrics import Array, Metric


def pinball(levels: Sequence[float]) -> Metric:
    """The mean over rows and levels of max(t (y - q), (t - 1) (y - q)) (Koenker and Bassett 1978)."""
    each = np.asarray(levels)

    def metric(predicted: Array, targets: Array, weights: Array) -> Array:
        above = targets - predicted
        return _mean(weights, np.maximum(each * above, (each - 1) * above).mean(1))

    return metric


def coverage(predicted: Array, targets: Array, weights: Array) -> Array:
    """Share of rows that lie between the outermost quantiles, or on one of them."""
    right = targets[:, 0]
    return _mean(weights, ((predicted[:, 0] <= right) & (right <= predicted[:, -1])).astype(np.float64))


def width(predicted: Array, targets: Array, weights: Array) -> Array:  # noqa: ARG001 - a metric's form
    """Mean distance of the outermost quantiles."""
    return _mean(weights, predicted[:, -1] - predicted[:, 0])


def of_one(metric: Metric, place: int) -> Metric:
    """A metric of numbers, of the quantile at that place."""
    return lambda predicted, targets, weights: metric(predicted[:, [place]], targets, weights)


def _mean(weights: Array, values: Array) -> Array:
    result: Array = weights @ values / weights.sum(1)
    return result
