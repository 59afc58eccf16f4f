"""Beams over a network that writes against all that it could write."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from mmcli.text import Hypothesis, beam
from mmcli.text.ctc import score

BOS, EOS = 0, 1


class Writer:
    """A small GRU whose state is the order of all that was written; the memory of a row is its beginning, and is heard again
    at every step, from where it is held once."""

    def __init__(self, rows: int, units: int = 4, seed: int = 0, heavy: float = 3.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.units = units
        self.cell = nn.GRUCell(units, 8).double()
        self.out = nn.Linear(8, units).double()
        self.memory = torch.randn(rows, 8, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            for weight in (*self.cell.parameters(), *self.out.parameters()):
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * heavy / 2)
        self.asked: list[tuple[list[int], int]] = []

    def step(self, last_N: Tensor, rows_A: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        each = len(last_N) // len(rows_A)
        self.asked.append((rows_A.tolist(), each))
        memory = self.memory[rows_A].repeat_interleave(each, 0)
        state = memory if state is None else state
        assert len(state) == len(last_N)
        state = self.cell(nn.functional.one_hot(last_N, self.units).double(), state)
        return self.log_probs(state, memory), state

    def log_probs(self, state: Tensor, memory: Tensor) -> Tensor:
        logits = self.out(state + memory)
        logits[:, BOS] = -math.inf  # never written
        return logits.log_softmax(1)

    def reorder(self, state: Tensor, index_M: Tensor) -> Tensor:
        return state[index_M]

    @torch.no_grad()
    def forced(self, row: int, ids: list[int], limit: int) -> float:
        """The log-probability of a text, and of its end if it is shorter than the limit: from the start, by itself."""
        state, total, memory = self.memory[row : row + 1], 0.0, self.memory[row : row + 1]
        for before, unit in itertools.pairwise([BOS, *ids, *([EOS] if len(ids) < limit else [])]):
            state = self.cell(nn.functional.one_hot(torch.tensor([before]), self.units).double(), state)
            total += self.log_probs(state, memory)[0, unit].item()
        return total

    def all(self, row: int, limit: int) -> dict[tuple[int, ...], float]:
        own = [unit for unit in range(self.units) if unit not in (BOS, EOS)]
        texts = [ids for length in range(limit + 1) for ids in itertools.product(own, repeat=length)]
        return {ids: self.forced(row, list(ids), limit) for ids in texts}


LIMIT = torch.tensor([4, 2, 0, 5, 3])
ROWS = torch.tensor([3, 0, 1, 4, 2])


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_is_all_texts(seed: int) -> None:
    writer = Writer(5, seed=seed)
    for row, limit, found in zip(ROWS.tolist(), LIMIT.tolist(), beam.beam(writer, ROWS, BOS, EOS, LIMIT, 200), strict=True):
        expected = writer.all(row, limit)
        assert {tuple(one.ids): one.log_prob for one in found} == pytest.approx(expected, abs=1e-4)
        assert len(found) == len(expected)
        assert sum(math.exp(one.log_prob) for one in found) == pytest.approx(1, abs=1e-4)
        assert [one.score for one in found] == sorted((one.log_prob / (len(one.ids) + 1) for one in found), reverse=True)


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_what_was_written_has_the_score_that_it_has_when_forced(seed: int, width: int) -> None:
    """A state that stays where it was, or goes on from another hypothesis, gives other scores."""
    writer = Writer(5, units=7, seed=seed)
    limit = torch.tensor([9, 6, 1, 12, 4])
    nbests = beam.beam(writer, ROWS, BOS, EOS, limit, width, exponent=0.5)
    for row, most, found in zip(ROWS.tolist(), limit.tolist(), nbests, strict=True):
        assert 1 <= len(found) <= width
        assert len({tuple(one.ids) for one in found}) == len(found)
        for one in found:
            assert len(one.ids) <= most and EOS not in one.ids
            assert one.log_prob == pytest.approx(writer.forced(row, one.ids, most), abs=1e-4)
            assert one.score == pytest.approx(one.log_prob / (len(one.ids) + 1) ** 0.5)


class Stuck(Writer):
    """Forgets to reorder."""

    def reorder(self, state: Tensor, index_M: Tensor) -> Tensor:
        return state[index_M.sort().values]


def test_the_state_of_these_tests_matters() -> None:
    stuck = Stuck(5, units=7, seed=0)
    nbests = beam.beam(stuck, ROWS, BOS, EOS, torch.full((5,), 8), 4)
    wrong = [
        abs(one.log_prob - stuck.forced(row, one.ids, 8))
        for row, found in zip(ROWS.tolist(), nbests, strict=True)
        for one in found
    ]
    assert max(wrong) > 0.1


@pytest.mark.parametrize("seed", range(8))
def test_a_beam_of_one_is_greedy(seed: int) -> None:
    writer, limit = Writer(5, units=9, seed=seed, heavy=1.5), torch.tensor([12, 5, 0, 20, 1])
    greedy = beam.greedy(writer, ROWS, BOS, EOS, limit)
    single = beam.beam(writer, ROWS, BOS, EOS, limit, 1)
    assert [one.ids for one in greedy] == [found[0].ids for found in single]
    assert all(len(found) == 1 for found in single)
    for row, most, one, (other,) in zip(ROWS.tolist(), limit.tolist(), greedy, single, strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-4)
        assert one.log_prob == pytest.approx(writer.forced(row, one.ids, most), abs=1e-4)
        assert one.score == pytest.approx(other.score, abs=1e-4)


def test_a_beam_finds_what_greedy_misses() -> None:
    better = 0
    for seed in range(20):
        writer, limit = Writer(1, units=6, seed=seed), torch.tensor([6])
        row = torch.tensor([0])
        alone = beam.greedy(writer, row, BOS, EOS, limit)[0].log_prob
        wide = max(one.log_prob for one in beam.beam(writer, row, BOS, EOS, limit, 6)[0])
        better += wide > alone + 1e-3
    assert better >= 3


def test_rows_of_a_batch_are_as_if_alone() -> None:
    writer, limit = Writer(5, units=7, seed=2), torch.tensor([9, 6, 3, 12, 4])
    together = beam.beam(writer, ROWS, BOS, EOS, limit, 3)
    for place in range(5):
        (alone,) = beam.beam(writer, ROWS[place : place + 1], BOS, EOS, limit[place : place + 1], 3)
        assert [one.ids for one in alone] == [one.ids for one in together[place]]
        assert [one.log_prob for one in alone] == pytest.approx([one.log_prob for one in together[place]], abs=1e-4)


def test_finished_rows_leave_and_beams_shrink() -> None:
    limit = torch.tensor([2, 7, 0, 4, 1])
    most = dict(zip(ROWS.tolist(), limit.tolist(), strict=True))
    for width in (0, 4):
        writer = Writer(5, units=7, seed=1)
        if width:
            beam.beam(writer, ROWS, BOS, EOS, limit, width)
        else:
            beam.greedy(writer, ROWS, BOS, EOS, limit)
        assert writer.asked[0] == ([3, 0, 4, 2], 1)  # the row of limit 0 was never asked for
        assert len(writer.asked) <= 7
        before = [3, 0, 4, 2]
        for step, (rows, each) in enumerate(writer.asked):
            assert rows == [row for row in before if row in rows] and each <= max(width, 1)
            assert all(most[row] > step for row in rows)
            before = rows

    class Ending(Writer):
        """Ends one hypothesis a step, whatever was written."""

        def log_probs(self, state: Tensor, memory: Tensor) -> Tensor:
            return torch.tensor([-math.inf, 0.4, 0.35, 0.25]).expand(len(state), 4).log_softmax(1)

    ending = Ending(2)
    beam.beam(ending, torch.tensor([0, 1]), BOS, EOS, torch.tensor([9, 9]), 3)
    assert [each for _, each in ending.asked] == [1, 2, 1]


def test_a_row_that_can_write_nothing_still_has_a_text() -> None:
    class Mute(Writer):
        def log_probs(self, state: Tensor, memory: Tensor) -> Tensor:
            return torch.full((len(state), self.units), -math.inf)

    (found,) = beam.beam(Mute(1), torch.tensor([0]), BOS, EOS, torch.tensor([3]), 2)
    assert found == [Hypothesis([], -math.inf, -math.inf)]


NBESTS = [
    [Hypothesis([2], -2.0, 0.0), Hypothesis([2, 3, 2], -3.0, 0.0)],
    [Hypothesis([3], -1.0, 0.0), Hypothesis([3, 3, 3], -3.9, 0.0)],
]


def errors(texts: list[list[int]], references: object) -> float:
    assert isinstance(references, list)
    return sum(text != reference for text, reference in zip(texts, references, strict=True)) / len(texts)


def test_tune_exponent_ranks_by_the_least_cost() -> None:
    # The long text wins the first list where 2 ** (exponent) > 1.5, from 0.585 on; the second where it is > 3.9, from 1.96.
    assert beam.tune_exponent(NBESTS, [[2, 3, 2], [3]], errors) == 1.0
    assert beam.tune_exponent(NBESTS, [[2], [3]], errors) == 0.5
    assert beam.tune_exponent(NBESTS, [[2, 3, 2], [3, 3, 3]], errors) == 2.0
    assert beam.tune_exponent(NBESTS, [[2, 3, 2], [3]], errors, exponents=(0.0, 0.7)) == 0.7


def test_rescore_adds_the_weighed_sum_over_alignments() -> None:
    log_probs = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).log_softmax(1)
    nbest = [Hypothesis([2], -1.0, -0.5), Hypothesis([2, 3], -1.2, -0.4), Hypothesis([4] * 4, -0.1, -0.02)]
    found = beam.rescore(nbest, log_probs, 0.3, exponent=0.8)
    expected = {tuple(one.ids): (one.log_prob + 0.3 * score(log_probs, one.ids)) / (len(one.ids) + 1) ** 0.8 for one in nbest}
    assert {tuple(one.ids): one.score for one in found} == pytest.approx(expected)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert found[-1] == Hypothesis([4] * 4, -0.1, -math.inf)
    assert {one.log_prob for one in found} == {-1.0, -1.2, -0.1}
    assert beam.rescore(nbest, log_probs, 0.0) == nbest


def test_a_beam_with_frames_is_a_beam_rescored_by_each_row() -> None:
    writer, lengths = Writer(5, units=7, seed=4), torch.tensor([8, 3, 5, 8, 2])
    frames = torch.randn(5, 8, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64).log_softmax(2)
    limit = torch.full((5,), 3)
    plain = beam.beam(writer, ROWS, BOS, EOS, limit, 4)
    joint = beam.beam(writer, ROWS, BOS, EOS, limit, 4, ctc=beam.Frames(frames, lengths, 0.5))
    for place, (before, after) in enumerate(zip(plain, joint, strict=True)):
        assert after == beam.rescore(before, frames[place, : lengths[place]], 0.5)
    assert [found[0].ids for found in plain] != [found[0].ids for found in joint]


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ([], False),
        ([5] * 7, False),
        ([5] * 8, True),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], False),
        ([9, 9, 9, *[1, 2, 3] * 4], True),
        ([9, 9, 9, *[1, 2, 3] * 4, 1, 2], True),  # cut in the middle of a piece
        ([*[1, 2, 3] * 3, 1, 2], False),
        ([*[1, 2, 3] * 6, 4], False),  # it got out of it
        ([7, 1, 2, 1, 2, 1, 2, 1, 2], True),
    ],
)
def test_loops(ids: list[int], found: bool) -> None:
    assert beam.loops(ids) is found
