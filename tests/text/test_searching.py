"""The search that texts are found by: chosen on val against what all texts score, kept with what a model gives; confidence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from mmcli.reporting.metrics import Array
from mmcli.reporting.text_metrics import edits
from mmcli.signals import Column
from mmcli.text import ctc, lattice, likely, searching, viterbi
from mmcli.text.lattice import Lattice, Lattices, Search
from mmcli.text.likely import Likely
from mmcli.text.ngram import NGram, text_log_prob
from mmcli.text.spelled import dense, spelled
from mmcli.text.targets import Judge
from mmcli.text.units import Units

UNITS = 4
"""The blank, which ends a text, and three more."""


def drawn(rows: int, steps: int = 5, seed: int = 0, sharp: float = 1.5) -> Lattice:
    generator = torch.Generator().manual_seed(seed)
    values = (torch.randn(rows * steps, UNITS, generator=generator) * sharp).log_softmax(-1)
    return Lattice(values, torch.ones(rows, dtype=torch.bool), torch.arange(rows + 1) * steps)


def of_search(given: Column, search: Search) -> Lattice:
    return Lattice(given.values, given.present, given.offsets, search=search.tensor())


def row_of(given: Column, row: int) -> torch.Tensor:
    values, lengths = lattice.padded(given.select(torch.tensor([row])))
    return values[0, : int(lengths[0])]


def all_texts(steps: int) -> list[list[int]]:
    made = [list(ids) for length in range(steps + 1) for ids in itertools.product(range(1, UNITS), repeat=length)]
    return [ids for ids in made if viterbi.needed_steps(ids) <= steps]


ORDERED = NGram.fit([[1, 2], [1, 2, 3], [1, 2, 1, 2], [2, 3], [1, 2, 3]] * 5, 3, UNITS, 0)
"""After 1 comes 2."""
REVERSED = NGram.fit([[2, 1], [3, 2, 1], [3, 2], [3, 3, 2, 1]] * 5, 3, UNITS, 0)


def judged(right: Sequence[Sequence[int]]) -> Judge:
    def of(row: int, ids: list[int]) -> Array:
        return np.array([edits(list(map(str, ids)), list(map(str, right[row]))), len(right[row])], dtype=np.float64)

    return of


def errors(rows: Array) -> float:
    return float(rows[:, 0].sum() / rows[:, 1].sum())


def test_what_nothing_is_settled_by_is_read_greedily_and_so_is_a_beam_of_one() -> None:
    given = drawn(40)
    values, lengths = lattice.padded(given)
    greedy = ctc.greedy(values, lengths)
    assert searching.written(given, ORDERED) == greedy
    plain = Column(given.values, given.present, given.offsets)
    assert searching.written(plain, ORDERED) == greedy
    one = of_search(given, Search(1, lm_weight=0.7, length_bonus=2.0))
    assert searching.written(one, ORDERED) == greedy
    assert searching.tuned(given, greedy, ORDERED, 1, judged(greedy), errors).beam == 1


@pytest.mark.parametrize(("weight", "bonus"), [(0.0, 1.0), (0.5, 0.0), (0.8, 0.5)])
def test_a_wide_beam_finds_the_text_that_scores_best_of_all(weight: float, bonus: float) -> None:
    given = drawn(12, steps=4)
    texts = all_texts(4)
    model = [text_log_prob(ORDERED, ids) for ids in texts]
    best = []
    for row in range(12):
        likely = ctc.scores(row_of(given, row), texts)
        score = [a + weight * b + bonus * len(ids) for a, b, ids in zip(likely, model, texts, strict=True)]
        best.append(texts[int(np.argmax(score))])
    found = searching.written(of_search(given, Search(len(texts), weight, bonus)), ORDERED)
    assert found == best
    assert found != searching.written(given, ORDERED)


def test_the_language_model_is_used_where_val_is_better_for_it() -> None:
    given = drawn(60, sharp=1.2)
    right = searching.written(of_search(given, Search(64, 0.6)), ORDERED)  # texts that are as the model has them
    search = searching.tuned(given, right, ORDERED, 64, judged(right), errors)
    assert search.beam == 64
    assert search.lm_weight > 0

    def cost(of: Search) -> float:
        texts = searching.written(of_search(given, of), ORDERED)
        return errors(np.stack([judged(right)(row, ids) for row, ids in enumerate(texts)]))

    assert cost(search) < cost(Search(1))
    assert cost(search) < 0.1


def test_words_that_no_text_has_are_shunned_where_val_is_better_for_it() -> None:
    """The lattice prefers a letter that makes no word; no n-gram of one letter can tell, the words can."""
    texts = ["ab ab", "ab cb", "cb ab", "ab", "cb"]
    units = Units.fit(texts, "char")
    lm = Likely.of(likely.fit(texts, [], units), units, ["ab", "cb"])
    flat = NGram.fit([units.ids(text) for text in ("a", "b", "c", " ")], 1, len(units) + 1, 0)
    lm.model = flat
    right = [units.ids(text) for text in texts * 12]
    generator = torch.Generator().manual_seed(0)
    rows = []
    for ids in right:
        values = torch.rand(2 * len(ids), len(units) + 1, generator=generator) - 6
        for place, unit in enumerate(ids):
            values[2 * place, unit], values[2 * place + 1, 0] = 3.0, 6.0
            if units.names[unit - 1] in "ac":
                values[2 * place, units.ids("b")[0]] = 3.5
        rows.append(values.log_softmax(-1))
    offsets = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    given = Lattice(torch.cat(rows), torch.ones(len(rows), dtype=torch.bool), offsets)
    search = searching.tuned(given, right, lm, 16, judged(right), errors)
    assert search.stranger > 0
    found = searching.written(of_search(given, search), lm)
    assert all(lm.strange(ids) == 0 for ids in found)
    greedy = searching.written(given, lm)
    assert all(lm.strange(ids) for ids in greedy)
    share = np.mean([one == two for one, two in zip(found, right, strict=True)])
    assert share > 0.25  # ab and cb are alike to it


def test_a_gain_that_may_be_luck_is_none() -> None:
    before = np.zeros((60, 1))
    before[:9] = 1.0

    def gain(better: int, worse: int) -> float:
        after = before.copy()
        after[:better], after[len(after) - worse :] = 0.0, 1.0
        return searching._gain(before, after, lambda rows: float(rows.mean()))

    assert gain(9, 0) > 0
    assert gain(1, 0) <= 0  # one row: it is not among a third of the draws
    assert gain(9, 6) <= 0
    assert gain(0, 0) == 0


def test_a_model_that_misleads_is_left_out() -> None:
    given = drawn(60, sharp=2.0)
    right = searching.written(given, REVERSED)
    search = searching.tuned(given, right, REVERSED, 8, judged(right), errors)
    assert (search.beam, search.lm_weight, search.length_bonus) == (1, 0.0, 0.0)


def test_the_others_of_an_n_best_list_are_by_score_and_differ() -> None:
    given = drawn(10)
    most = len(all_texts(5))
    for search in (Search(1), Search(most, 0.4, 0.5)):
        own = of_search(given, search)
        lists = searching.nbest(own, ORDERED, most)
        for row, (texts, first) in enumerate(zip(lists, searching.written(own, ORDERED), strict=True)):
            assert texts[0] == first
            assert len({tuple(ids) for ids in texts}) == len(texts) >= 10
            likely = ctc.scores(row_of(given, row), texts)
            scores = [
                one + search.lm_weight * text_log_prob(ORDERED, ids) + search.length_bonus * len(ids)
                for one, ids in zip(likely, texts, strict=True)
            ]
            ranked = scores[1:] if search.greedy else scores
            assert np.diff(ranked).max() < 1e-4


def test_the_search_travels_with_what_a_model_gives() -> None:
    kind, search = Lattices(), Search(8, 0.35, -0.5, 2.5, 1.25, 1.5)
    given = of_search(drawn(6), search)
    kept = Search.of(given)
    assert kept.lm_weight == pytest.approx(0.35)
    index = torch.tensor([4, 1])
    for made in (
        kind.gather(given, index),
        kind.plain(given),
        kind.to(given, torch.device("cpu")),
        kind.join([given, given]),
        kind.tempered(given, torch.tensor(2.0)),
        kind.load(kind.save(given)),
        kind.mean([given, given], torch.tensor([0.5, 0.5])),
    ):
        assert Search.of(made) == kept
    other = of_search(drawn(6, seed=1), Search(8, 0.9))
    assert Search.of(kind.mean([given, other], torch.tensor([0.5, 0.5]))) == Search()
    assert Search.of(kind.glimpse(given)) == Search()


def test_confidence_is_the_share_that_is_right_on_val_and_grows_with_the_probability() -> None:
    given = drawn(200, sharp=2.5)
    generator = np.random.default_rng(0)
    right = []
    for row, ids in enumerate(searching.written(given, ORDERED)):
        sure = math.exp(float(row_of(given, row).amax(1).sum()) / 5)
        right.append([unit if generator.random() < sure else unit % 3 + 1 for unit in ids] or [1])
    search = searching.tuned(given, right, ORDERED, 8, judged(right), errors)
    own = of_search(given, search)
    texts = searching.written(own, ORDERED)
    shares = [
        1 - edits(list(map(str, a)), list(map(str, b))) / max(len(a), len(b), 1) for a, b in zip(texts, right, strict=True)
    ]
    sure = searching.confidence(own, texts)
    assert np.mean(sure) == pytest.approx(np.mean(shares), abs=1e-5)
    assert search.slope > 0
    order = np.argsort(searching.evidence(own, texts))
    assert (np.diff(sure[order]) >= 0).all()
    low, high = np.array(shares)[order[:66]].mean(), np.array(shares)[order[-66:]].mean()
    assert sure[order[:66]].mean() == pytest.approx(low, abs=0.1)
    assert sure[order[-66:]].mean() == pytest.approx(high, abs=0.1)


def test_the_curve_is_the_one_of_least_loss() -> None:
    evidence = np.array([-2.0, -1.0, -0.5, -0.1])
    sure = searching.logistic(searching.curve(evidence, np.ones(4)), evidence)
    assert sure.mean() == pytest.approx(0.9, abs=1e-6)  # 1 - .5 / 5
    assert (np.diff(sure) > 0.001).all()  # what is likelier is surer, also where all are right
    wrong = searching.curve(np.array([-9.0, -8.0, -7.0, -6.0]), np.zeros(4))
    assert searching.logistic(wrong, np.array([-9.0, -0.01])).tolist() == pytest.approx([0.1, 0.1], abs=1e-6)  # nothing is sure
    assert searching.curve(evidence[:0], np.zeros(0)) == (searching.UNTOLD, 0.0)
    slope, _ = searching.curve(evidence, np.array([0.9, 0.6, 0.3, 0.1]))
    assert slope == 0.0  # it may not fall
    wanted = 1 / (1 + np.exp(-(1.5 * evidence + 0.7)))
    slope, intercept = searching.curve(evidence, wanted)
    assert (slope, intercept) == (pytest.approx(1.5, abs=0.02), pytest.approx(0.7, abs=0.02))


def test_before_it_is_settled_confidence_is_the_probability_a_unit() -> None:
    given = drawn(5)
    texts = searching.written(given, ORDERED)
    wanted = [math.exp(ctc.score(row_of(given, row), ids) / (len(ids) + 1)) for row, ids in enumerate(texts)]
    assert searching.confidence(given, texts) == pytest.approx(wanted, rel=1e-4)


def test_loops_and_texts_that_take_every_step_are_told() -> None:
    given = dense(spelled([""] * 3, [[1, 2] * 6, [1, 2, 3], [1, 2] * 6], UNITS, 0))
    texts = searching.written(given, ORDERED)
    looping, cut = searching.doubtful(given, texts, [[1, 2], [1, 2, 3], [1, 2] * 6])
    assert (looping, cut) == ([0], [])  # the third is right so; `spelled` leaves a step
    assert given.offsets is not None
    tight = Column(given.values[:12], given.present[:1], torch.tensor([0, 12]))
    assert searching.doubtful(tight, texts[:1], [[1, 2]]) == ([0], [0])
