"""The n-gram model against numbers worked by hand, and against a slow one that counts in dictionaries."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from mmcli.text import Hypothesis, ngram
from mmcli.text.ngram import NGram

SMALL = [[0, 1], [0, 1], [0, 2]]
"""Ends are 3. Discounts are .5, 1 and 1.5: there are too few n-grams to tell."""


def corpus(texts: int, units: int, seed: int = 0) -> list[list[int]]:
    """Texts in which a unit tells much of the next, some much oftener than others."""
    generator = np.random.default_rng(seed)
    table = generator.dirichlet(np.full(units, 0.3), units)
    found = []
    for _ in range(texts):
        ids = [int(generator.integers(units))]
        while generator.random() > 0.15:
            ids.append(int(generator.choice(units, p=table[ids[-1]])))
        found.append(ids)
    return found


class Slow:
    """The same by the book (Chen and Goodman 1998), one n-gram at a time."""

    def __init__(self, sequences: list[list[int]], order: int, vocab: int, eos: int) -> None:
        self.order, self.vocab = order, vocab
        grams: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order + 1)]
        for ids in sequences:
            text = (-1, *ids, eos)
            for n in range(1, order + 1):
                grams[n].update(text[at - n + 1 : at + 1] for at in range(max(n - 1, 1), len(text)))
        self.counts: list[dict[tuple[int, ...], int]] = [{}]
        for n in range(1, order + 1):
            lefts: dict[tuple[int, ...], set[int]] = defaultdict(set)
            for gram in grams[n + 1] if n < order else ():
                lefts[gram[1:]].add(gram[0])
            self.counts.append(
                {gram: raw if n == order or gram[0] == -1 else len(lefts[gram]) for gram, raw in grams[n].items()}
            )

    def discount(self, n: int, count: int) -> float:
        of = Counter(self.counts[n].values())
        if min(of[k] for k in (1, 2, 3, 4)) == 0:
            return min(count, 3) / 2
        share = of[1] / (of[1] + 2 * of[2])
        found = {k: k - (k + 1) * share * of[k + 1] / of[k] for k in (1, 2, 3)}
        return found[min(count, 3)] if min(found.values()) > 0 else min(count, 3) / 2

    def probability(self, context: tuple[int, ...], unit: int) -> float:
        n = len(context) + 1
        lower = self.probability(context[1:], unit) if context else 1 / self.vocab
        followers = {gram: count for gram, count in self.counts[n].items() if gram[:-1] == context}
        if not followers:
            return lower
        total, own = sum(followers.values()), followers.get((*context, unit), 0)
        rest = sum(self.discount(n, count) for count in followers.values()) / total
        return (own - self.discount(n, own) if own else 0) / total + rest * lower


def test_bigrams_by_hand() -> None:
    model = NGram.fit(SMALL, 2, 4, 3)
    # 0, 1 and 2 follow one unit each, an end follows two: counts 1 1 1 2 of 5, of which 0.5 0.5 0.5 1 goes round evenly.
    unigrams = [0.5 / 5 + 0.5 / 4] * 3 + [1 / 5 + 0.5 / 4]
    after_0 = [0.5 * unigrams[0], (2 - 1) / 3 + 0.5 * unigrams[1], (1 - 0.5) / 3 + 0.5 * unigrams[2], 0.5 * unigrams[3]]
    assert np.exp(model.next_log_probs((0,))) == pytest.approx(after_0)
    at_first = [(3 - 1.5) / 3 + 0.5 * unigrams[0], *(0.5 * one for one in unigrams[1:])]
    assert np.exp(model.next_log_probs(())) == pytest.approx(at_first)
    assert np.exp(model.next_log_probs((3,))) == pytest.approx(unigrams)  # nothing follows an end: what holds anywhere
    assert math.exp(model.log_prob([0, 1])) == pytest.approx(at_first[0] * after_0[1] * math.exp(model.score((0, 1), 3)))


def test_trigrams_by_hand() -> None:
    model = NGram.fit(SMALL, 3, 4, 3)
    # After 0, 1 and 2 are counted once each: 0 always comes first. At the start they are counted as they are, 2 and 1.
    after_any_0 = (1 - 0.5) / 2 + 0.5 * 0.225
    assert math.exp(model.score((0,), 1)) == pytest.approx((2 - 1) / 3 + 0.5 * after_any_0)
    assert math.exp(model.score((2, 0), 1)) == pytest.approx(after_any_0)
    assert math.exp(model.score((), 0)) == pytest.approx((3 - 1.5) / 3 + 0.5 * 0.225)


def test_discounts_by_how_many_n_grams_have_one_to_four() -> None:
    counts = np.array([1, 1, 1, 1, 2, 2, 3, 4, 9])
    # Y = 4 / (4 + 2 x 2) = 1/2: 1 - 2 Y 2/4, 2 - 3 Y 1/2, 3 - 4 Y 1/1
    assert ngram._discounts(counts).tolist() == [0.0, 0.5, 1.25, 1.0]
    assert ngram._discounts(np.array([1, 2, 3])).tolist() == [0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 8])
def test_as_the_slow_one_and_sums_to_one(order: int) -> None:
    sequences = [*corpus(120, 6), []]
    model, slow = NGram.fit(sequences, order, 8, 6), Slow(sequences, order, 8, 6)
    generator = np.random.default_rng(1)
    prefixes = [tuple(generator.integers(0, 8, length).tolist()) for length in range(7) for _ in range(3)]
    for prefix in prefixes + [tuple(ids[:4]) for ids in sequences[:10]]:
        found = np.exp(model.next_log_probs(prefix))
        assert found.shape == (8,) and (found > 0).all()
        assert found.sum() == pytest.approx(1, abs=1e-12)
        context = (-1, *prefix)[-(order - 1) :] if order > 1 else ()
        assert found == pytest.approx([slow.probability(context, unit) for unit in range(8)], abs=1e-12)
        assert [model.score(prefix, unit) for unit in range(8)] == pytest.approx(np.log(found).tolist(), abs=1e-12)


def test_formula_discounts_are_what_the_large_corpus_uses() -> None:
    level = NGram.fit(corpus(120, 6), 3, 8, 6).levels[2]
    assert ngram._discounts(level.counts).tolist() != [0.0, 0.5, 1.0, 1.5]


def test_more_order_fits_better_and_val_tells_perplexity() -> None:
    train, val = corpus(400, 6), corpus(520, 6)[400:]
    found = [NGram.fit(train, order, 7, 6).perplexity(val) for order in (1, 2)]
    assert found[1] < 0.8 * found[0]
    model = NGram.fit(SMALL, 2, 4, 3)
    steps = [model.score((), 0), model.score((0,), 2), model.score((0, 2), 3), model.score((), 3)]
    assert model.perplexity([[0, 2], []]) == pytest.approx(math.exp(-sum(steps) / 4))
    assert NGram.fit([], 3, 5, 0).perplexity([[1, 2], []]) == pytest.approx(5)


def test_state_comes_back_the_same() -> None:
    model = NGram.fit(corpus(50, 6), 4, 8, 6)
    state = model.state()
    assert all(array.dtype == np.int64 for array in state.values())
    again = NGram.from_state({name: array.copy() for name, array in state.items()})
    assert again.eos == 6 and again.vocab == 8
    for prefix in ((), (1,), (2, 3, 1, 0, 5)):
        assert (again.next_log_probs(prefix) == model.next_log_probs(prefix)).all()


def test_what_is_kept_is_bounded_and_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram, "MOST_CACHED", 24)
    model = NGram.fit(corpus(50, 6), 2, 8, 6)
    first = model.next_log_probs((0,))
    assert model.next_log_probs((3, 0)) is first  # the same context
    for unit in range(6):
        model.next_log_probs((unit,))
    assert len(model._cache) == 3
    with pytest.raises(ValueError):
        first[0] = 0


@pytest.mark.parametrize(("order", "sequences", "eos"), [(0, [], 0), (9, [], 0), (2, [[1, 4]], 0), (2, [[-1]], 0), (2, [], 4)])
def test_what_does_not_fit_is_refused(order: int, sequences: list[list[int]], eos: int) -> None:
    with pytest.raises(ValueError):
        NGram.fit(sequences, order, 4, eos)


def gap_of(model: NGram) -> float:
    """What makes [1, 2] as likely as [2, 1] by the model."""
    return ngram.text_log_prob(model, [2, 1]) - ngram.text_log_prob(model, [1, 2])


def test_tune_weight_takes_the_least_cost() -> None:
    model = NGram.fit([[0, 1, 2]] * 10 + [[2]], 2, 4, 3)
    nbests = [[Hypothesis([1, 0, 2], -1.0, -1.0), Hypothesis([0, 1, 2], -3.0, -3.0)], [Hypothesis([2], -1.0, -1.0)]]
    gap = ngram.text_log_prob(model, [0, 1, 2]) - ngram.text_log_prob(model, [1, 0, 2])

    def errors(texts: list[list[int]], references: object) -> float:
        assert isinstance(references, list)
        return sum(text != reference for text, reference in zip(texts, references, strict=True))

    found = ngram.tune_weight(nbests, [[0, 1, 2], [2]], model, errors)
    assert found == (math.ceil(2 / gap * 20) / 20, 0.0, 0.0)  # the least that makes up for 2
    assert ngram.tune_weight(nbests, [[1, 0, 2], [2]], model, errors) == (0.0, 0.0, 0.0)
    longer = [[Hypothesis([2], -1.0, -1.0), Hypothesis([2, 2], -1.5, -1.5)]]
    assert ngram.tune_weight(longer, [[2, 2]], model, errors, weights=(0.0,), bonuses=(0.0, 0.4, 0.6, 0.9)) == (0.0, 0.6, 0.0)
    # A text of two strange words is left for one of none that scores less by 3: weight times stranger is at least 1.5.
    shy = [[Hypothesis([2, 1], -1.0, -1.0), Hypothesis([1, 2], -4.0 + gap_of(model), -1.0)]]
    said = {"weights": (0.0, 1.0), "strangers": (0.0, 1.0, 1.4, 1.6, 3.0), "strange": lambda ids: 2 * (ids == [2, 1])}
    assert ngram.tune_weight(shy, [[1, 2]], model, errors, **said) == (1.0, 0.0, 1.6)
