"""The metrics that evaluate adds, against scikit-learn and scipy; their resamples against rows drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics as sklearn_metrics

from mmcli.reporting import metrics

GENERATOR = np.random.default_rng(0)
ONES = np.ones((1, 120))


def classes(count: int) -> tuple[np.ndarray, np.ndarray]:
    targets = GENERATOR.integers(0, count, 120)
    logits = GENERATOR.normal(size=(120, count)) + 1.2 * np.eye(count)[targets]
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), targets


def test_of_two_classes() -> None:
    shares, right = classes(2)
    chosen = shares.argmax(1)
    for own, wanted in (
        (metrics.auprc, sklearn_metrics.average_precision_score(right, shares[:, 1])),
        (metrics.f1, sklearn_metrics.f1_score(right, chosen)),
        (metrics.mcc, sklearn_metrics.matthews_corrcoef(right, chosen)),
        (metrics.brier, sklearn_metrics.brier_score_loss(right, shares[:, 1])),
    ):
        assert own(shares, right, ONES)[0] == pytest.approx(wanted), own.__name__


def test_of_many_classes() -> None:
    shares, right = classes(6)
    chosen = shares.argmax(1)
    for own, wanted in (
        (metrics.weighted_f1, sklearn_metrics.f1_score(right, chosen, average="weighted")),
        (metrics.mcc, sklearn_metrics.matthews_corrcoef(right, chosen)),
        (metrics.top_3, sklearn_metrics.top_k_accuracy_score(right, shares, k=3, labels=range(6))),
    ):
        assert own(shares, right, ONES)[0] == pytest.approx(wanted), own.__name__


def test_of_numbers() -> None:
    right = np.round(GENERATOR.normal(size=(120, 2)), 1) + 3  # with ties
    predicted = right + GENERATOR.normal(size=right.shape).round(1)
    wanted = np.mean([spearmanr(predicted[:, k], right[:, k]).statistic for k in range(2)])
    assert metrics.spearman(predicted, right, ONES)[0] == pytest.approx(wanted)
    wanted = sklearn_metrics.mean_absolute_percentage_error(right, predicted)
    assert metrics.mape(predicted, right, ONES)[0] == pytest.approx(wanted)


def test_of_labels() -> None:
    right = (GENERATOR.random((120, 5)) < 0.4).astype(float)
    margins = GENERATOR.normal(size=right.shape) + right
    wanted = sklearn_metrics.f1_score(right, margins > 0, average="samples", zero_division=0.0)
    assert metrics.samples_f1(np.hstack([margins, margins]), right, ONES)[0] == pytest.approx(wanted)


@pytest.mark.parametrize("own", [metrics.mcc, metrics.weighted_f1, metrics.spearman])
def test_weights_are_rows_drawn_again(own: metrics.Metric) -> None:
    if own is metrics.spearman:
        right: np.ndarray = GENERATOR.normal(size=(120, 1)).round(1)
        predicted = right + GENERATOR.normal(size=right.shape).round(1)
    else:
        predicted, right = classes(4)
    weights = metrics.resample_weights(120, resamples=3, seed=4)
    for drawn, value in zip(weights, own(predicted, right, weights), strict=True):
        rows = np.repeat(np.arange(120), drawn.astype(int))
        assert value == pytest.approx(own(predicted[rows], right[rows], np.ones((1, len(rows))))[0])


def test_groups_are_drawn_whole() -> None:
    groups = np.array([0, 0, 0, 1, 1, 2])
    weights = metrics.resample_weights(6, resamples=200, seed=0, groups=groups)
    for name in range(3):
        own = weights[:, groups == name]
        assert (own == own[:, :1]).all()
    assert set(weights[:, [0, 3, 5]].sum(1)) == {3.0}
