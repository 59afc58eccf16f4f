"""What recites known texts gives what its formula says, unit by unit and at once; half precision keeps its memory."""

from __future__ import annotations

import math

import pytest
import torch

from mmcli.text.beam import beam
from mmcli.text.reciter import MOST, Reciter, remembered, sizes
from mmcli.text.writer import EDGE

V = 7


def texts(seed: int, rows: int = 3, each: int = 3, longest: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Of few letters, so that much fits."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randint(1, 4, (rows, each, longest), generator=generator)
    lengths = torch.randint(0, longest + 1, (rows, each, 1), generator=generator)
    found = found.masked_fill(torch.arange(longest) >= lengths, -1)
    return found, torch.randn(rows, each, generator=generator)


def by_hand(known: list[tuple[list[int], float]], written: list[int]) -> list[float]:
    """p of each unit after `written`, by the formula, text by text."""
    mass, total = [1.0 / V] * V, 1.0
    before = [EDGE, *written]
    for ids, weight in known:
        whole = [EDGE, *ids, EDGE]
        for place in range(1, len(whole)):
            fits = 0
            while fits < min(MOST, place, len(before)) and whole[place - 1 - fits] == before[-1 - fits]:
                fits += 1
            if fits:
                mass[whole[place]] += math.exp(weight + fits)
                total += math.exp(weight + fits)
    return [own / total for own in mass]


@pytest.mark.parametrize("seed", range(4))
def test_probabilities_are_those_of_the_formula(seed: int) -> None:
    known, weights = texts(seed)
    memory, mask = remembered(known, weights)
    generator = torch.Generator().manual_seed(100 + seed)
    written = torch.randint(1, 4, (3, 11), generator=generator)
    written[0] = known[0, 0].clamp(min=1)[:11]  # a text that is known
    given = torch.cat([torch.zeros(3, 1, dtype=torch.int64), written], 1)
    found = Reciter(sizes(V))(memory, mask, given).exp()
    assert found.sum(2) == pytest.approx(1.0, abs=1e-5)
    for row in range(3):
        own = [([u for u in ids if u >= 0], float(w)) for ids, w in zip(known[row].tolist(), weights[row], strict=True)]
        for length in range(12):
            wanted = by_hand(own, written[row, :length].tolist())
            assert found[row, length].tolist() == pytest.approx(wanted, abs=1e-5)


def test_units_beyond_what_half_precision_counts_are_kept() -> None:
    known = torch.tensor([[[4095, 2049, 1, 50_001]]])
    memory, mask = remembered(known, torch.tensor([[9.0]]))
    units = Reciter(sizes(60_000)).begin(memory.half(), mask).pairs[0][0].flatten()
    assert units.tolist() == [4095, 2049, 1, 50_001, EDGE]


def test_a_beam_writes_the_text_that_weighs_most() -> None:
    known = torch.tensor([[[1, 2, 3, -1], [1, 4, -1, -1]], [[5, 5, 6, 1], [2, -1, -1, -1]]])
    memory, mask = remembered(known, torch.tensor([[1.0, 4.0], [3.0, -3.0]]))
    begun = Reciter(sizes(V)).begin(memory, mask)
    found = beam(begun, torch.arange(2), EDGE, EDGE, torch.tensor([6, 6]), 3)
    assert [own[0].ids for own in found] == [[1, 4], [5, 5, 6, 1]]


def test_other_rows_and_padding_change_nothing() -> None:
    known, weights = texts(9)
    memory, mask = remembered(known, weights)
    given = torch.tensor([[0, 1, 2, 3, 1]]).expand(3, -1)
    whole = Reciter(sizes(V))(memory, mask, given)
    for row in range(3):
        alone = memory[row][mask[row]][None]
        own = Reciter(sizes(V))(alone, torch.ones(alone.shape[:2], dtype=torch.bool), given[:1])
        assert torch.allclose(own[0], whole[row], atol=1e-6)
