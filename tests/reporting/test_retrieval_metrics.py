"""Ranks and pairs, against values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmcli.reporting import retrieval_metrics as own
from mmcli.reporting.retrieval_metrics import Verification

RANKS = np.array([1.0, 2.0, 6.0, np.nan, 1.0])
ONES = np.ones((1, 5))


def test_rank_k_leaves_rows_without_a_match_out() -> None:
    assert own.ranked(RANKS, ONES, 1)[0] == 0.5
    assert own.ranked(RANKS, ONES, 5)[0] == 0.75
    assert own.ranked(RANKS, np.array([[1.0, 0, 3, 9, 0]]), 1)[0] == 0.25
    assert math.isnan(own.ranked(RANKS, np.array([[0.0, 0, 0, 1, 0]]), 1)[0])


def test_the_mean_reciprocal_rank_and_the_discounted_gain() -> None:
    assert own.reciprocal(RANKS, ONES)[0] == pytest.approx((1 + 1 / 2 + 1 / 6 + 1) / 4)
    assert own.discounted(RANKS, ONES)[0] == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(7) + 1) / 4)


def test_cumulative_match_rises_to_one() -> None:
    assert own.cumulative_match(RANKS, 6).tolist() == [0.5, 0.75, 0.75, 0.75, 0.75, 1.0]


def _pairs(scores: list[float], same: list[bool]) -> Verification:
    """Each pair of two rows of its own."""
    count = len(scores)
    return Verification(np.array(scores), np.arange(count), np.arange(count) + count, np.array(same))


def test_the_equal_error_rate_by_hand() -> None:
    # Accepting from .5 on: two of three of one, one of four of two; from .4 on two of four. Nearest: refused 1/3, accepted 1/4.
    pairs = _pairs([0.9, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [True, False, True, False, True, False, False])
    assert own.equal_error_rate(pairs, np.ones((1, 14)))[0] == pytest.approx((1 / 3 + 1 / 4) / 2)


def test_no_error_where_scores_part_and_one_where_they_are_the_wrong_way_round() -> None:
    good, bad = _pairs([0.9, 0.8, 0.2], [True, True, False]), _pairs([0.9, 0.8, 0.2], [False, False, True])
    assert own.equal_error_rate(good, np.ones((1, 6)))[0] == 0.0
    assert own.equal_error_rate(bad, np.ones((1, 6)))[0] == 1.0


def test_equal_scores_are_accepted_together() -> None:
    pairs = _pairs([0.5, 0.5, 0.5, 0.5], [True, False, True, False])
    assert own.equal_error_rate(pairs, np.ones((1, 8)))[0] == 0.5
    assert pairs.thresholds.tolist() == [0.5]


def test_a_pair_weighs_as_the_product_of_its_rows() -> None:
    vectors = np.array([[1.0, 0], [0.96, 0.28], [0.8, 0.6], [0, 1.0]])
    identities = np.array([0, 0, 1, 1])
    pairs = Verification.of_vectors(vectors, identities)
    far, tar = pairs.rates(np.array([[1.0, 1, 1, 1], [2.0, 1, 1, 0]]))
    # By similarity: 1-2 of two (.936), 0-1 of one (.96), 0-2 of two (.8), 2-3 of one (.6), ...
    assert pairs.thresholds[:4] == pytest.approx([0.96, 0.936, 0.8, 0.6])
    assert tar[0, :4] == pytest.approx([0.5, 0.5, 0.5, 1.0])
    assert far[0, :4] == pytest.approx([0, 0.25, 0.5, 0.5])
    assert tar[1, :4] == pytest.approx([1, 1, 1, 1])
    assert far[1, :4] == pytest.approx([0, 1 / 3, 1, 1])


def test_true_accepts_are_told_where_impostors_allow_it() -> None:
    scores = np.linspace(1, 0, 311)
    same = np.zeros(311, dtype=bool)
    same[:10] = True
    same[45] = True  # 35 of 300 lie above it
    pairs = Verification(scores, np.arange(311), np.arange(311) + 311, same)
    assert own.true_accepts(pairs, np.ones((1, 622)), 0.1)[0] == pytest.approx(10 / 11)
    assert own.true_accepts(pairs, np.ones((1, 622)), 0.12)[0] == 1.0
    assert math.isnan(own.true_accepts(pairs, np.ones((1, 622)), 0.01)[0])


def test_all_pairs_of_few_rows_and_the_same_draw_of_many() -> None:
    first, second, same = own.pairs_of(np.array([0, 1, 0]))
    found = set(zip(first.tolist(), second.tolist(), same.tolist(), strict=True))
    assert found == {(0, 1, False), (0, 2, True), (1, 2, False)}
    many = np.arange(400) % 4
    one, other = own.pairs_of(many), own.pairs_of(many)
    assert int(one[2].sum()) == own.MOST_SAME
    assert int((~one[2]).sum()) == own.MOST_DIFFERENT
    assert all((a == b).all() for a, b in zip(one, other, strict=True))
