"""Against scikit-learn where it has the metric, by hand where it has not."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from mmcli.reporting import metrics

GENERATOR = np.random.default_rng(0)
TARGETS = GENERATOR.integers(0, 4, 200)
RAW = GENERATOR.random((200, 4)) + 0.8 * np.eye(4)[TARGETS]
RAW[::7] = RAW[0]  # ties
PROBABILITIES = RAW / RAW.sum(1, keepdims=True)
ONES = np.ones((1, 200))
PREDICTED = PROBABILITIES.argmax(1)

REFERENCE = {
    "accuracy": sk.accuracy_score(TARGETS, PREDICTED),
    "balanced_accuracy": sk.balanced_accuracy_score(TARGETS, PREDICTED),
    "macro_f1": sk.f1_score(TARGETS, PREDICTED, average="macro"),
    "log_loss": sk.log_loss(TARGETS, PROBABILITIES),
    "auroc": sk.roc_auc_score(TARGETS, PROBABILITIES, multi_class="ovr"),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_agrees_with_scikit_learn(name: str) -> None:
    value = metrics.CLASSIFICATION[name][0](PROBABILITIES, TARGETS, ONES)[0]
    assert value == pytest.approx(REFERENCE[name], abs=1e-9)


@pytest.mark.parametrize("name", metrics.CLASSIFICATION)
def test_weights_are_as_good_as_repeated_rows(name: str) -> None:
    weights = GENERATOR.integers(0, 4, (2, 200)).astype(float)
    metric = metrics.CLASSIFICATION[name][0]
    for row in weights:
        index = np.repeat(np.arange(200), row.astype(int))
        repeated = metric(PROBABILITIES[index], TARGETS[index], np.ones((1, len(index))))[0]
        assert metric(PROBABILITIES, TARGETS, row[None])[0] == pytest.approx(repeated, abs=1e-9)


def test_ece_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.35, 0.65]])
    targets = np.array([0, 1, 1, 1])
    # bin of 0.9: accuracy 0.5, gap 0.4, half the rows; 0.6 and 0.65 lie in bins of their own: gaps 0.4 and 0.35
    expected = 0.5 * 0.4 + 0.25 * 0.4 + 0.25 * 0.35
    assert metrics.ece(probabilities, targets, np.ones((1, 4)))[0] == pytest.approx(expected)


def test_auroc_of_an_absent_class_is_left_out() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    assert metrics.auroc(probabilities, np.array([0, 1, 0]), np.ones((1, 3)))[0] == 1.0
    assert np.isnan(metrics.auroc(probabilities, np.array([0, 0, 0]), np.ones((1, 3)))[0])


def test_the_interval_covers_as_the_normal_approximation_does() -> None:
    targets = np.zeros(400, dtype=int)
    probabilities = np.tile([[0.9, 0.1]], (400, 1))
    probabilities[:100] = [0.1, 0.9]  # accuracy 0.75, standard error 0.02165
    interval = metrics.interval(metrics.accuracy, probabilities, targets, metrics.resample_weights(400, 4000))
    assert interval.value == 0.75
    assert interval.low == pytest.approx(0.75 - 1.96 * 0.02165, abs=0.005)
    assert interval.high == pytest.approx(0.75 + 1.96 * 0.02165, abs=0.005)
    assert interval.n == 400


def test_differences_are_paired() -> None:
    one, other = PROBABILITIES.copy(), PROBABILITIES.copy()
    wrong = np.flatnonzero(PREDICTED != TARGETS)[:10]
    one[wrong] = np.eye(4)[TARGETS[wrong]]
    gain = metrics.difference(metrics.accuracy, one, other, TARGETS, metrics.resample_weights(200))
    assert gain.value == pytest.approx(0.05)
    assert 0 < gain.low < 0.05 < gain.high < 0.1  # unpaired, the interval would reach below zero


def test_confusion_counts_rows_by_right_and_columns_by_predicted_class() -> None:
    expected = sk.confusion_matrix(TARGETS, PREDICTED)
    assert np.array_equal(metrics.confusion(PROBABILITIES, TARGETS), expected)


def test_numbers_for_people() -> None:
    assert [metrics.shown(value) for value in (0.12345, -3.0, 123.46, 54321.0, float("nan"))] == [
        "0.123",
        "-3.000",
        "123.5",
        "54,321",
        "–",
    ]


@pytest.mark.parametrize("split", [(0, 0), (1, 0), (3, 3), (3, 4), (2, 9), (40, 17), (300, 301)])
def test_the_sign_test_is_that_of_scipy(split: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    wanted = binomtest(split[0], sum(split), 0.5).pvalue if sum(split) else 1.0
    assert metrics.sign_test(*split) == pytest.approx(wanted, rel=1e-9)
    assert metrics.sign_test(*reversed(split)) == pytest.approx(wanted, rel=1e-9)
