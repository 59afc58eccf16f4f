"""The plain search against the one in torch: the same texts, with the same log-probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmcli.exports.writing import EDGE, Array, best, ctc_log_probability, scored, search
from mmcli.text import beam
from mmcli.text.ctc import score
from mmcli.text.writer import Begun, Cache, Sizes, Writer

SIZES = Sizes(units=6, memory=5, dim=8, layers=2, heads=2)
LIMITS = [9, 0, 1, 14, 5]


def begun() -> Begun:
    torch.manual_seed(3)
    writer = Writer(SIZES).eval()
    with torch.no_grad():
        writer.embed.weight[EDGE].mul_(0.1)  # tied, it would say itself
        mask = torch.arange(4)[None] < torch.tensor([4, 2, 1, 3, 4])[:, None]
        return writer.begin(torch.randn(5, 4, 5), mask)


class Plain:
    """The same writer as the plain search wants it."""

    def __init__(self, own: Begun) -> None:
        self.own = own

    def begin(self, rows: int) -> list[Array]:
        return [np.zeros((SIZES.layers, rows, 1, SIZES.heads, 0, SIZES.dim // SIZES.heads), np.float32)] * 2

    @torch.no_grad()
    def step(self, last_AW: Array, rows_A: Array, caches: list[Array]) -> tuple[Array, list[Array]]:
        shape = last_AW.shape
        keys, values = (torch.from_numpy(own.copy()).flatten(1, 2) for own in caches)
        state: Cache | None = tuple(zip(keys, values, strict=True)) if keys.shape[3] else None
        log_probs, grown = self.own.step(torch.from_numpy(last_AW.copy()).flatten(), torch.from_numpy(rows_A), state)
        made = [torch.stack(kept).unflatten(1, shape).numpy() for kept in zip(*grown, strict=True)]
        return log_probs.unflatten(0, shape).numpy(), made


@pytest.mark.parametrize("width", [1, 2, 4, 9])
def test_the_texts_are_those_of_the_search_in_torch(width: int) -> None:
    own = begun()
    wanted = beam.beam(own, torch.arange(5), EDGE, EDGE, torch.tensor(LIMITS), width, 0.0)
    found = search(Plain(own), LIMITS, width)
    assert any(len(text) > 1 for row in found for text, _ in row)
    for row, right in zip(found, wanted, strict=True):
        assert sorted(text for text, _ in row) == sorted(one.ids for one in right)
        known = {tuple(one.ids): one.log_prob for one in right}
        for text, total in row:
            assert total == pytest.approx(known[tuple(text)], abs=1e-4)


def test_a_beam_of_one_is_greedy() -> None:
    own = begun()
    greedy = beam.greedy(own, torch.arange(5), EDGE, EDGE, torch.tensor(LIMITS))
    assert [row[0][0] for row in search(Plain(own), LIMITS, 1)] == [one.ids for one in greedy]


def test_length_and_a_second_reading_rank_the_texts() -> None:
    found = [([1, 2, 3], -3.0), ([1], -2.0)]
    assert best((found, [-3.0, -2.0]), 0.0) == ([1], -2.0)
    assert best((found, [-3.0, -2.0]), 1.0) == ([1, 2, 3], -3.0)  # -.75 a step against -1
    frames = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    wanted = [-3.0 + 0.3 * score(frames, [1, 2, 3]), -2.0 + 0.3 * score(frames, [1])]
    assert scored(found, 0.3, frames.numpy().astype(np.float64)) == pytest.approx(wanted, abs=1e-4)
    assert ctc_log_probability(frames.numpy(), [1] * 4) == -np.inf  # four alike take seven frames


class Hopeless(Plain):
    """After a first unit nothing can follow."""

    def step(self, last_AW: Array, rows_A: Array, caches: list[Array]) -> tuple[Array, list[Array]]:
        log_probs, made = super().step(last_AW, rows_A, caches)
        return (log_probs if (last_AW == EDGE).all() else np.full_like(log_probs, -np.inf)), made


def test_where_nothing_is_possible_what_was_written_stays() -> None:
    for row in search(Hopeless(begun()), [5, 5, 5, 5, 5], 2):
        assert row
        assert all(len(text) <= 1 for text, _ in row)
