"""Searches over CTC frames against all paths that there are."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor

from mmcli.text import ctc, lattice, viterbi
from mmcli.text.ngram import NGram

SIZES = [(1, 2), (3, 3), (4, 4), (5, 3), (5, 4)]


def frames(*shape: int, seed: int = 0, sharp: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * sharp).log_softmax(-1)


def written(path: tuple[int, ...], blank: int = 0) -> tuple[int, ...]:
    return tuple(unit for unit, _ in itertools.groupby(path) if unit != blank)


def paths(log_probs_TV: Tensor) -> dict[tuple[int, ...], float]:
    """Each path over all frames and its log-probability."""
    steps, units = log_probs_TV.shape
    rows = log_probs_TV.tolist()
    return {
        path: sum(rows[step][unit] for step, unit in enumerate(path)) for path in itertools.product(range(units), repeat=steps)
    }


def brute(log_probs_TV: Tensor, blank: int = 0) -> dict[tuple[int, ...], float]:
    """Each text, summed over its paths."""
    sums: dict[tuple[int, ...], float] = defaultdict(float)
    for path, log_prob in paths(log_probs_TV).items():
        sums[written(path, blank)] += math.exp(log_prob)
    return {ids: math.log(one) for ids, one in sums.items()}


def test_greedy_takes_repeats_as_one_and_blanks_away() -> None:
    best = torch.tensor([[0, 2, 2, 0, 2, 1], [1, 1, 0, 0, 1, 1]])
    log_probs = torch.nn.functional.one_hot(best, 3).float().log_softmax(2)
    assert ctc.greedy(log_probs, torch.tensor([6, 4])) == [[2, 2, 1], [1]]
    assert ctc.greedy(log_probs, torch.tensor([0, 6]), blank=1) == [[], [0]]


def test_needed_steps() -> None:
    assert [viterbi.needed_steps(ids) for ids in ([], [1], [1, 2, 1], [1, 1, 1], [2, 2, 1, 1])] == [0, 1, 3, 5, 6]


@pytest.mark.parametrize(("steps", "units"), SIZES)
@pytest.mark.parametrize("blank", [0, 1])
def test_a_beam_of_full_width_is_all_paths_summed(steps: int, units: int, blank: int) -> None:
    log_probs = frames(steps, units, seed=steps)
    expected = brute(log_probs, blank)
    (found,) = ctc.prefix_beam(log_probs[None], torch.tensor([steps]), beam=2000, blank=blank, prune=-math.inf)
    assert {tuple(one.ids): one.log_prob for one in found} == pytest.approx(expected, abs=1e-9)
    assert [tuple(one.ids) for one in found] == sorted(expected, key=lambda ids: -expected[ids])
    assert all(one.score == one.log_prob for one in found)


def test_paths_that_meet_beat_the_best_path() -> None:
    """Graves's example: two frames, blank .6 and a unit .4: the best path is empty (.36), the best text is not (.64)."""
    log_probs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()[None]
    assert ctc.greedy(log_probs, torch.tensor([2])) == [[]]
    found = ctc.prefix_beam(log_probs, torch.tensor([2]))[0]
    assert [one.ids for one in found] == [[1], []]
    assert [math.exp(one.log_prob) for one in found] == pytest.approx([0.64, 0.36])


def slow_beam(log_probs_TV: Tensor, beam: int) -> dict[tuple[int, ...], float]:
    """Prefixes by their own names, with what ends in a blank and in a unit, one by one."""
    held = {(): (1.0, 0.0)}
    for frame in log_probs_TV.exp().tolist():
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for prefix, (by_blank, by_unit) in held.items():
            grown[prefix][0] += (by_blank + by_unit) * frame[0]
            if prefix:
                grown[prefix][1] += by_unit * frame[prefix[-1]]
            for unit in range(1, len(frame)):
                before = by_blank if prefix[-1:] == (unit,) else by_blank + by_unit
                grown[*prefix, unit][1] += before * frame[unit]
        best = sorted(grown, key=lambda prefix: -sum(grown[prefix]))[:beam]
        held = {prefix: (grown[prefix][0], grown[prefix][1]) for prefix in best if sum(grown[prefix])}
    return {prefix: math.log(sum(both)) for prefix, both in held.items()}


@pytest.mark.parametrize("beam", [1, 2, 3, 5, 9])
def test_narrow_beams_are_as_the_slow_one(beam: int) -> None:
    """They drop prefixes whose longer ones they hold: one that comes back must still meet its own."""
    log_probs = torch.cat([frames(20, 14, 4, seed=1, sharp=1.5), frames(20, 14, 4, seed=2, sharp=3.0)])
    nbests = ctc.prefix_beam(log_probs, torch.full((40,), 14), beam, prune=-math.inf)
    for row, found in zip(log_probs, nbests, strict=True):
        assert {tuple(one.ids): one.log_prob for one in found} == pytest.approx(slow_beam(row, beam), abs=1e-9)
        assert len({tuple(one.ids) for one in found}) == len(found)
        assert all(one.log_prob <= ctc.score(row, one.ids) + 1e-9 for one in found)


def test_rows_of_a_batch_are_as_if_alone() -> None:
    log_probs, lengths = frames(6, 12, 7, seed=3, sharp=3.0), torch.tensor([5, 12, 1, 9, 0, 12])
    model = NGram.fit([[1, 2, 3], [4, 4, 2], [6, 5]], 3, 7, 0)
    for lm, weight in ((None, 0.0), (model, 0.7)):
        together = ctc.prefix_beam(log_probs, lengths, 4, lm, weight, 0.1, prune=-1.5)
        for row, length in enumerate(lengths.tolist()):
            alone = ctc.prefix_beam(log_probs[row : row + 1, :length], lengths[row : row + 1], 4, lm, weight, 0.1, prune=-1.5)
            assert together[row] == alone[0]
    assert [one.ids for one in together[4]] == [[]]


def test_pruned_units_start_nothing_but_go_on() -> None:
    probabilities = torch.tensor([[0.01, 0.98, 0.01], [0.9, 0.001, 0.099]], dtype=torch.float64)
    (found,) = ctc.prefix_beam(probabilities.log()[None], torch.tensor([2]), prune=math.log(0.05))
    expected = brute(probabilities.log())
    assert {tuple(one.ids) for one in found} == {(), (1,), (2,), (1, 2)}
    by_text = {tuple(one.ids): one.log_prob for one in found}
    # "1" also by the path 1 1, though unit 1 is pruned at the second frame; not by 0 1, which would start there.
    assert math.exp(by_text[1,]) == pytest.approx(0.98 * 0.9 + 0.98 * 0.001 + 0.01 * 0.001)
    assert by_text[1, 2] == pytest.approx(expected[1, 2])
    (one,) = ctc.prefix_beam(probabilities.log()[None], torch.tensor([2]), most_symbols=1, beam=1)
    assert one[0].ids == [1]


@pytest.mark.parametrize("eos", [0, 3])
@pytest.mark.parametrize(("weight", "bonus"), [(0.5, 0.0), (1.5, 0.8), (0.0, 1.1)])
def test_with_a_language_model_a_beam_of_full_width_is_all_texts_weighed(eos: int, weight: float, bonus: float) -> None:
    log_probs = frames(4, 3, seed=7)
    model = NGram.fit([[1, 2, 1], [2, 2], [1, 2, 1, 2]], 3, 4, eos)
    expected = {
        ids: log_prob
        + weight * sum(model.score(ids[:place], unit) for place, unit in enumerate((*ids, eos)))
        + bonus * len(ids)
        for ids, log_prob in brute(log_probs).items()
    }
    (found,) = ctc.prefix_beam(log_probs[None], torch.tensor([4]), 500, model, weight, bonus)
    assert {tuple(one.ids): one.score for one in found} == pytest.approx(expected, abs=1e-9)
    assert {tuple(one.ids): one.log_prob for one in found} == pytest.approx(brute(log_probs), abs=1e-9)
    assert [tuple(one.ids) for one in found] == sorted(expected, key=lambda ids: -expected[ids])


def test_a_language_model_steers_a_narrow_beam() -> None:
    """Frames that hear 1 or 2 alike, and a model of texts in which only 2 follows 3."""
    probabilities = torch.tensor([[0.05, 0.05, 0.05, 0.85], [0.9, 0.02, 0.02, 0.06], [0.04, 0.5, 0.44, 0.02]])
    model = NGram.fit([[3, 2]] * 20 + [[1]] * 3, 2, 4, 0)
    assert ctc.prefix_beam(probabilities.log()[None], torch.tensor([3]), 2)[0][0].ids == [3, 1]
    assert ctc.prefix_beam(probabilities.log()[None], torch.tensor([3]), 2, model, 0.5)[0][0].ids == [3, 2]


@pytest.mark.parametrize(("steps", "units"), [*SIZES, (40, 12)])
def test_scores_are_those_of_the_loss(steps: int, units: int) -> None:
    log_probs = frames(steps, units, seed=11)
    generator = np.random.default_rng(0)
    texts = [generator.integers(1, units, length).tolist() for length in range(steps + 1) for _ in range(3)]
    for ids, found in zip(texts, ctc.scores(log_probs, texts), strict=True):
        loss = torch.nn.functional.ctc_loss(
            log_probs[:, None],
            torch.tensor([ids], dtype=torch.long),
            torch.tensor([steps]),
            torch.tensor([len(ids)]),
            reduction="sum",
        )
        assert found == ctc.score(log_probs, ids) == pytest.approx(-loss.item(), abs=1e-9)
        assert math.isfinite(found) == (viterbi.needed_steps(ids) <= steps)
    if units <= 4:
        assert sum(map(math.exp, ctc.scores(log_probs, list(brute(log_probs))))) == pytest.approx(1)
    assert ctc.scores(log_probs[:0], [[], [1]]) == [0.0, -math.inf]
    assert ctc.scores(log_probs, []) == []


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ids", [[1], [2, 1], [1, 1], [2, 1, 1], [1, 2, 1, 2, 1]])
def test_align_is_the_best_path(seed: int, ids: list[int]) -> None:
    log_probs = frames(5, 3, seed=seed)
    best = max((log_prob, path) for path, log_prob in paths(log_probs).items() if written(path) == tuple(ids))[1]
    runs, at = [], 0
    for unit, group in itertools.groupby(best):
        length = len(list(group))
        if unit:
            runs.append((at, at + length, log_probs[at : at + length, unit].exp().mean().item()))
        at += length
    found = ctc.align(log_probs, ids)
    assert [(span.start, span.end) for span in found] == [run[:2] for run in runs]
    assert [span.confidence for span in found] == pytest.approx([run[2] for run in runs])


def test_align_of_nothing_and_of_too_much() -> None:
    assert ctc.align(frames(3, 3), []) == []
    with pytest.raises(ValueError, match="2 units need 3 frames, there are 2"):
        ctc.align(frames(2, 3), [1, 1])
    never = frames(4, 3)
    never[:, 2] = -math.inf  # a unit that cannot be: it still lies somewhere
    assert [span.confidence for span in ctc.align(never, [1, 2, 1])][1] == 0


def test_how_far_two_readings_of_the_same_rows_lie_apart() -> None:
    """Two rows, of two steps and of one, each said twice: by hand; each is drawn to the other, which stays where it is."""
    one, other = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]]), torch.tensor([[0.25, 0.75], [0.9, 0.1], [0.2, 0.8]])
    values = torch.cat([one, other]).log().requires_grad_()
    offsets = torch.tensor([0, 2, 3, 5, 6])
    made = lattice.Lattice(values, torch.ones(4, dtype=torch.bool), offsets)
    there = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    back = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    found = lattice.divergences(made)
    assert found.tolist() == pytest.approx([(there + back) / 2, 0.0], abs=1e-6)
    found.sum().backward()
    assert values.grad is not None  # of KL(p || q) by log q, p a constant: -p
    torch.testing.assert_close(values.grad, -torch.cat([other, one]) / 2)
