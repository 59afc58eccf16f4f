"""Vectors in eight bits: off by half a step at most, half the bytes, the same again, searched as what they stand for."""

from __future__ import annotations

import pytest
import torch

from mmcli.vectors import eight, nearest
from mmcli.vectors.eight import Eight
from mmcli.vectors.nearest import Nearest, recall
from tests.vectors.test_nearest import drawn, same


def test_they_are_off_by_half_a_step_at_most() -> None:
    vectors = drawn(0, 300, 48).half()
    kept = Eight.of(vectors)
    assert (kept.values.dtype, kept.scales.dtype) == (torch.int8, torch.float16)
    assert kept.shape == (300, 48) and kept.scales.shape == (300,)
    off = (kept.float() - vectors.float()).abs()
    assert (off <= kept.scales.float()[:, None] / 2 + 1e-7).all()
    assert off.max() > 0.4 * kept.scales.float().max()  # and not by nothing
    assert (kept.values.abs().amax(1) == 127).all()
    torch.testing.assert_close(kept.scales.float(), vectors.float().abs().amax(1) / 127, rtol=1e-3, atol=0)


def test_by_hand_and_the_same_again() -> None:
    kept = Eight.of(torch.tensor([[1.27, -0.635, 0.0064, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    assert kept.values.tolist() == [[127, -63, 1, 0], [0, 0, 0, 0]]  # the scale is .010002
    assert not kept.float()[1].any()
    kept = Eight.of(drawn(1, 500, 20))
    again = Eight.of(kept.float())
    assert torch.equal(again.values, kept.values) and torch.equal(again.scales, kept.scales)


def test_they_are_cut_taken_and_joined_row_by_row() -> None:
    kept = Eight.of(drawn(2, 10, 6))
    parts = list(kept.split(4))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert torch.equal(torch.cat([part.float() for part in parts]), kept.float())
    rows = torch.tensor([[7, 0], [3, 3]])
    assert torch.equal(kept[rows].float(), kept.float()[rows])
    assert torch.equal(eight.joined(parts[0], parts[1]).float(), kept.float()[:8])


@pytest.mark.parametrize("held", [1 << 30, 0])
def test_the_search_is_exact_over_what_they_stand_for(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "HELD", held)
    monkeypatch.setattr(nearest, "BLOCK_ROWS", 256)
    kept, queries = Eight.of(drawn(3, 1000)), drawn(4, 9)
    same(Nearest(kept).search(queries, 7), kept.float(), queries, 7)


def test_recall_is_the_share_of_the_ten_that_is_found() -> None:
    vectors = drawn(5, 400, 32)
    assert recall(Nearest(vectors), Nearest(vectors).search, vectors) == 1.0
    by_eight = recall(Nearest(vectors), Nearest(Eight.of(vectors)).search, vectors)
    assert 0.95 < by_eight < 1.0
    coarse = (vectors * 3).round()  # two or three bits
    assert recall(Nearest(vectors), Nearest(coarse).search, vectors) < by_eight - 0.1
