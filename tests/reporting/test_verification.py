"""Rates of pairs against scikit-learn's, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from mmcli.reporting import verification as v


def drawn(rows: int = 200, ties: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, rows)
    scores = generator.normal(targets * 1.2, 1.0)
    weights = generator.multinomial(rows, np.full(rows, 1 / rows), 5) + 0.5
    return (scores.round(1) if ties else scores)[:, None], targets, weights


@pytest.mark.parametrize("ties", [True, False])
def test_area_and_rates_of_weighted_rows_are_those_of_scikit_learn(ties: bool) -> None:
    scores, targets, weights = drawn(ties=ties)
    for own in (*weights, np.ones(len(targets))):
        area = v.auroc(scores, targets, own[None])[0]
        assert area == pytest.approx(roc_auc_score(targets, scores[:, 0], sample_weight=own))
        far, tar, cuts = roc_curve(targets, scores[:, 0], sample_weight=own, drop_intermediate=False)
        found = v.roc(scores, targets, own[None])
        assert np.allclose(found[0], cuts[1:]) and np.allclose(found[1][0], far[1:]) and np.allclose(found[2][0], tar[1:])
        rate = v.tar_at_far(scores, targets, own[None], 0.4)[0]
        assert rate == pytest.approx(tar[far <= 0.4 + 1e-12].max())


def test_the_equal_error_rate_by_hand() -> None:
    # Impostors 1, 2, 3, 6; true pairs 4, 5, 7, 8. Accepting from 5 on: one of four impostors, and one of four refused.
    scores, targets = np.array([[1.0], [2], [3], [6], [4], [5], [7], [8]]), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert v.eer(scores, targets, np.ones((1, 8)))[0] == pytest.approx(0.25)
    # Impostors 1, 3; true pairs 2, 4, 5. From 3 on: FAR 1/2, FRR 1/3; from 4 on: FAR 0, FRR 1/3, which the line meets at 1/3.
    scores, targets = np.array([[1.0], [3], [2], [4], [5]]), np.array([0, 0, 1, 1, 1])
    assert v.eer(scores, targets, np.ones((1, 5)))[0] == pytest.approx(1 / 3)
    assert v.eer(-scores, targets, np.ones((1, 5)))[0] == pytest.approx(2 / 3)
    perfect = np.array([[1.0], [2], [3]]), np.array([0, 1, 1])
    assert v.eer(*perfect, np.ones((1, 3)))[0] == 0 and v.auroc(*perfect, np.ones((1, 3)))[0] == 1
    same = np.zeros((4, 1)), np.array([0, 1, 0, 1])
    assert v.eer(*same, np.ones((1, 4)))[0] == 0.5 and v.auroc(*same, np.ones((1, 4)))[0] == 0.5


def test_a_weight_of_two_is_the_row_twice() -> None:
    scores, targets, _ = drawn(60)
    weights = np.random.default_rng(1).integers(0, 3, 60).astype(float)
    index = np.repeat(np.arange(60), weights.astype(int))
    for metric in (v.auroc, v.eer, v.accuracy, v.log_loss):
        ones = np.ones((1, len(index)))
        assert metric(scores, targets, weights[None])[0] == pytest.approx(metric(scores[index], targets[index], ones)[0])


def test_rates_are_told_only_where_there_are_impostors_enough() -> None:
    scores, targets = np.arange(700.0)[:, None], np.r_[np.zeros(300), np.ones(400)]
    ones = np.ones((1, 700))
    assert v.tar_at_far(scores, targets, ones, 0.1)[0] == 1.0
    assert np.isnan(v.tar_at_far(scores, targets, ones, 0.01)[0])
    assert np.isnan(v.tar_at_far(scores[1:], targets[1:], ones[:, 1:], 0.1)[0])
    assert [row["far"] for row in v.rates(scores, targets, ones)] == [0.1]


def test_a_resample_of_one_kind_has_no_rates() -> None:
    scores, targets = np.array([[0.0], [1.0], [2.0]]), np.array([0, 1, 1])
    weights = np.array([[0.0, 1, 2], [1, 1, 1]])
    for metric in (v.auroc, v.eer):
        found = metric(scores, targets, weights)
        assert np.isnan(found[0]) and not np.isnan(found[1])


def test_thresholds() -> None:
    scores, targets = np.arange(100.0), (np.arange(100) >= 60).astype(int)
    assert v.threshold(scores, targets, None) == pytest.approx(59.5)
    assert 53 < v.threshold(scores, targets, 0.1) < 54.0, "six of sixty impostors are accepted"
    assert v.threshold(scores, targets, 0.001) == pytest.approx(59.5), "none of sixty may be"
    tied = np.array([1.0, 1, 1, 2, 2]), np.array([0, 0, 1, 0, 1])
    assert v.threshold(*tied, 0.34) == pytest.approx(1.5), "equal scores are accepted together"
    assert v.threshold(*tied, 0.3) > 2
