"""Finding the texts of many rows in lattices, as a `Search` says; choosing the search on val, and how sure its texts are.

Confidence is the share of units that is expected to be right: a logistic curve over the log-probability of the text (over all
alignments) a unit, its end counted, fitted to the shares on val (a fractional logit: Papke and Wooldridge 1996). At its optimum
the mean over val is the mean share, whatever the slope. Before a model is settled it is that probability a unit itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mmcli.reporting.metrics import Array
from mmcli.reporting.text_metrics import edits
from mmcli.signals import Column
from mmcli.text import Hypothesis, ctc, lattice, ngram, viterbi, words
from mmcli.text.beam import loops
from mmcli.text.lattice import Lattice, Search
from mmcli.text.likely import Likely
from mmcli.text.prefixes import LanguageModel
from mmcli.text.targets import Judge, padded
from mmcli.text.units import Units
from mmcli.text.words import Timed

TOGETHER = 256
"""Rows that are searched at once."""
TUNED_ON = 500
"""Rows of val, at most, by which weights are chosen."""
ROUNDS = 4
"""Of choosing weights, at most, each from all that searches by those of before have found."""
RESAMPLED = 1000
"""How often rows of val are drawn anew, to see what luck there is in a gain."""
BONUSES = (0.0, -0.5, 0.5, 1.0, 2.0)
"""A unit, in nats."""
STRANGERS = (0.0, 1.0, 2.0, 3.0)
"""A word that no known text has, in the language model's nats."""
UNTOLD = 1.0
"""The slope of the curve where all texts are right, or all wrong: a nat a unit is one of log-odds. So rows keep an order."""
STEEPEST, EASE = 50.0, 1e-4
"""The steepest curve of confidence, and what keeps it from being so where rows are few."""


def written(lattices: Column, lm: LanguageModel) -> list[list[int]]:
    """The text of each row, by the search that the lattices come with."""
    return [ids[0] for ids in _searched(lattices, lm, "written")]


def nbest(lattices: Column, lm: LanguageModel, width: int) -> list[list[list[int]]]:
    """Texts of each row that differ, best first: what is `written`, then the others that the search kept. Where it is greedy,
    and keeps none, the others are those of a beam of that width by the lattice alone."""
    if not Search.of(lattices).greedy:
        return _searched(lattices, lm, "written")
    first, others = written(lattices, lm), _searched(lattices, lm, "others", Search(width))
    return [[ids, *(own for own in more if own != ids)] for ids, more in zip(first, others, strict=True)]


def _searched(lattices: Column, lm: LanguageModel, name: str, search: Search | None = None) -> list[list[list[int]]]:
    """What a search keeps of each row, in the order of its scores: of a greedy one the one text. Looked for once."""
    kept = lattices.found if isinstance(lattices, Lattice) else {}
    if name not in kept:
        own = Search.of(lattices) if search is None else search
        kept[name] = [
            [found.ids for found in row] for index in _parts(lattices) for row in _hypotheses(lattices.select(index), lm, own)
        ]
    result: list[list[list[int]]] = kept[name]
    return result


def _parts(lattices: Column) -> Sequence[Tensor]:
    return torch.arange(len(lattices), device=lattices.present.device).split(TOGETHER) if len(lattices) else ()


def _hypotheses(lattices: Column, lm: LanguageModel, search: Search) -> list[list[Hypothesis]]:
    values, lengths = lattice.padded(lattices)
    if search.greedy:
        return [[Hypothesis(ids, 0.0, 0.0)] for ids in ctc.greedy(values, lengths)]
    wary = lm.wary(search.stranger) if isinstance(lm, Likely) else lm
    return ctc.prefix_beam(values, lengths, search.beam, wary, search.lm_weight, search.length_bonus)


def evidence(lattices: Column, texts: Sequence[Sequence[int]]) -> Array:
    """[N]: the log-probability of each row's text over all alignments, a unit, its end counted; at most 0."""
    ids = padded(texts, device=lattices.present.device)
    parts = [lattice.losses(lattices.select(index), ids[index]).double().cpu() for index in _parts(lattices)]
    lost = torch.cat(parts).numpy() if parts else np.zeros(0)
    found: Array = np.minimum(-lost / (np.array([len(own) for own in texts]) + 1), 0.0)
    return found


def confidence(lattices: Column, texts: Sequence[Sequence[int]]) -> Array:
    """[N]: the share of units that is expected to be right; of lattices that nothing is settled by, the probability a unit."""
    search, found = Search.of(lattices), evidence(lattices, texts)
    return logistic((search.slope, search.intercept) if search.beam else None, found)


def timed(lattices: Column, texts: Sequence[Sequence[int]], units: Units, each_letter: bool) -> list[list[Timed]]:
    """The words of each row's text in steps: see `words.timed`."""
    rows = []
    for row, ids in enumerate(texts):
        values, lengths = lattice.padded(lattices.select(torch.tensor([row], device=lattices.present.device)))
        frames = values[0, : int(lengths[0])].detach().cpu().float().numpy()
        rows.append(words.timed(frames, ids, units.text, each_letter))
    return rows


def tuned(
    lattices: Column,
    right: Sequence[Sequence[int]],
    lm: LanguageModel,
    beam: int,
    judge: Judge,
    cost: Callable[[Array], float],
) -> Search:
    """The search of least cost on these rows, and the confidence of what it writes.

    Weights are chosen from an n-best list of each row that is searched without a language model, then again with what a search
    by these finds besides (Och 2003); the best search has to cost less than greedy itself beyond noise, else greedy is kept:
    the best of many weights on few rows is so by luck.

    Args:
        right: the units of each row's right text.
        beam: prefixes kept; 1: greedy without more ado.
        judge: the sums of a row with a text; `cost` is what is minimised, of the sums of all rows [N, ...].
    """
    search = Search(1)
    if beam > 1 and len(lattices):
        some = np.linspace(0, len(lattices) - 1, min(len(lattices), TUNED_ON)).round().astype(int).tolist()
        index = torch.tensor(some, device=lattices.present.device)
        search = _weighed(lattices.select(index), some, lm, beam, judge, cost)
    texts = written(_with(lattices, search), lm)
    shares = np.array([right_share(*pair) for pair in zip(texts, right, strict=True)])
    slope, intercept = curve(evidence(lattices, texts), shares)
    return search._replace(slope=slope, intercept=intercept)


def _weighed(
    lattices: Column, rows: list[int], lm: LanguageModel, beam: int, judge: Judge, cost: Callable[[Array], float]
) -> Search:
    known: dict[tuple[int, tuple[int, ...]], Array] = {}

    def judged(texts: Sequence[list[int]]) -> Array:
        for row, ids in zip(rows, texts, strict=True):
            if (row, tuple(ids)) not in known:
                known[row, tuple(ids)] = judge(row, ids)
        return np.stack([known[row, tuple(ids)] for row, ids in zip(rows, texts, strict=True)])

    def chosen(nbests: Sequence[Sequence[Hypothesis]]) -> Search:
        def costs(texts: Sequence[list[int]], _: object) -> float:
            return cost(judged(texts))

        if isinstance(lm, Likely) and lm.words:
            found = ngram.tune_weight(nbests, rows, lm, costs, bonuses=BONUSES, strangers=STRANGERS, strange=lm.strange)
        else:
            found = ngram.tune_weight(nbests, rows, lm, costs, bonuses=BONUSES)
        weight, bonus, stranger = found
        search = Search(beam, weight, bonus, stranger=stranger) if weight or bonus else Search(1)
        return Search.of(_with(lattices, search))  # as it is kept: in float32

    def found(search: Search) -> list[list[Hypothesis]]:
        return [row for index in _parts(lattices) for row in _hypotheses(lattices.select(index), lm, search)]

    lists: list[dict[tuple[int, ...], Hypothesis]] = [{} for _ in rows]
    nbests, tried = found(Search(beam)), dict[Search, Array]()
    for _ in range(ROUNDS):
        for own, more in zip(lists, nbests, strict=True):
            own.update((tuple(one.ids), one) for one in more)
        search = chosen([list(own.values()) for own in lists])
        if search in tried:
            break
        nbests = found(search)
        tried[search] = judged([row[0].ids for row in nbests])
    search, greedily = min(tried, key=lambda own: cost(tried[own])), judged([row[0].ids for row in found(Search(1))])
    return search if _gain(greedily, tried[search], cost) > 0 else Search(1)


def _gain(before: Array, after: Array, cost: Callable[[Array], float]) -> float:
    """How much less the rows cost after than before, at the low end of its 95% interval (bootstrap of pairs, Koehn 2004)."""
    luck, count = np.random.default_rng(0), len(before)
    drawn = [luck.integers(0, count, count) for _ in range(RESAMPLED)]
    return float(np.quantile([cost(before[index]) - cost(after[index]) for index in drawn], 0.025))


def _with(lattices: Column, search: Search) -> Lattice:
    return Lattice(lattices.values, lattices.present, lattices.offsets, search=search.tensor())


def right_share(ids: Sequence[int], right: Sequence[int]) -> float:
    """1 less the edits between two texts, as a share of the longer one's units."""
    return 1 - edits(list(map(str, ids)), list(map(str, right))) / max(len(ids), len(right), 1)


def curve(evidence_N: Array, shares_N: Array) -> tuple[float, float]:
    """Slope (not below 0) and intercept of the logistic curve of least log loss to shares from 0 to 1."""
    count = len(shares_N)
    if not count:
        return UNTOLD, 0.0
    mean = float(shares_N.mean())
    least = 0.5 / (count + 1)
    alike = not least < mean < 1 - least  # all right, or all wrong: nothing says how much the evidence tells
    mean = min(max(mean, least), 1 - least)

    def intercept(slope: float) -> float:
        low, high = -40.0, 40.0 + slope * float(-evidence_N.min())
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if _logistic(slope * evidence_N + middle).mean() < mean else (low, middle)
        return (low + high) / 2

    if alike:
        # By evidence alone what val never had, a letter where it had empty texts, would be sure.
        slope = UNTOLD if mean > 0.5 else 0.0
        return slope, intercept(slope)

    def loss(slope: float) -> float:
        logits = slope * evidence_N + intercept(slope)
        return float((np.logaddexp(0, logits) - shares_N * logits).mean()) + EASE * slope**2

    low, high = 0.0, STEEPEST
    for _ in range(60):  # it is convex
        one, two = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, two) if loss(one) <= loss(two) else (one, high)
    slope = low if low > 1e-6 else 0.0
    return slope, intercept(slope)


def logistic(certainty: tuple[float, float] | None, evidence_N: Array) -> Array:
    """[N]: the curve of that slope and intercept; without one the probability a unit."""
    return np.exp(evidence_N) if certainty is None else _logistic(certainty[0] * evidence_N + certainty[1])


def _logistic(logits: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    return found


def doubtful(lattices: Column, texts: Sequence[Sequence[int]], right: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Rows whose text goes round in a loop at its end, though the right one does not; rows whose text takes every step that
    there is, and may have been cut."""
    assert lattices.lengths is not None
    looping = [row for row, ids in enumerate(texts) if loops(ids) and not loops(right[row])]
    steps = lattices.lengths.tolist()
    return looping, [row for row, ids in enumerate(texts) if ids and viterbi.needed_steps(ids) >= steps[row]]
