"""Texts that a network writes unit by unit: greedy, and by a beam over all rows of a batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from mmcli.text import Cost, Hypothesis
from mmcli.text.ctc import scores

State = TypeVar("State")
EXPONENTS = tuple(tenth / 10 for tenth in range(21))
DEFAULT_EXPONENT = 1.0


class Stepper(Protocol[State]):
    """A network that writes, started by the caller on the memory of some rows.

    A step is asked of A rows with N / A hypotheses each, those of a row side by side, as many for each row. The memory, which
    hypotheses of a row share, is the stepper's to keep, once a row; the state is what each of the N has of its own.
    """

    def step(self, last_N: Tensor, rows_A: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Log-probabilities of the next units [N, V] after the last ones; no state is that of the beginning."""

    def reorder(self, state: State, index_M: Tensor) -> State:
        """The state of M hypotheses that go on from those at `index_M`; one may go on as several, or not at all."""


class Frames(NamedTuple):
    """Frames of the same rows, by which finished texts are weighed once more."""

    log_probs: Tensor
    """[B, T, V]"""
    lengths: Tensor
    weight: float
    blank: int = 0


@torch.no_grad()
def greedy(stepper: Stepper[State], rows: Tensor, bos: int, eos: int, limit: Tensor) -> list[Hypothesis]:
    """The likeliest unit at each step, for the memory's `rows` [B], to the end or at most `limit` [B] units. A row that is
    cut at its limit is not asked for its end."""
    limits = limit.tolist()
    written: list[list[int]] = [[] for _ in limits]
    totals = [0.0] * len(limits)
    live = [row for row, most in enumerate(limits) if most > 0]
    last, state = torch.full((len(live),), bos, device=rows.device), None
    own = rows[torch.tensor(live, dtype=torch.long, device=rows.device)]
    while live:
        log_probs, state = stepper.step(last, own, state)
        best, last = log_probs.float().max(1)
        keep = []
        for place, (row, value, unit) in enumerate(zip(live, best.tolist(), last.tolist(), strict=True)):
            totals[row] += value
            if unit != eos:
                written[row].append(unit)
                if len(written[row]) < limits[row]:
                    keep.append(place)
        if len(keep) < len(live):
            live = [live[place] for place in keep]
            index = torch.tensor(keep, dtype=torch.long, device=rows.device)
            last, own = last[index], own[index]
            if live:
                state = stepper.reorder(state, index)
    return [Hypothesis(ids, total, normalised(total, ids)) for ids, total in zip(written, totals, strict=True)]


@torch.no_grad()
def beam(
    stepper: Stepper[State],
    rows: Tensor,
    bos: int,
    eos: int,
    limit: Tensor,
    width: int,
    exponent: float = DEFAULT_EXPONENT,
    ctc: Frames | None = None,
) -> list[list[Hypothesis]]:
    """Row by row the texts that a beam ends with, best first by `normalised` scores, for the memory's `rows` [B].

    A hypothesis that ends, or comes to its row's `limit` [B] and is cut there, takes its place of the beam with it, so that a
    beam of 1 is greedy; a row without live ones leaves.
    """
    search = _Search(rows, bos, eos, limit.tolist(), width)
    state = None
    while search.live:
        log_probs, state = stepper.step(search.written[:, :, -1].flatten(), search.own_rows(), state)
        index = search.advance(log_probs)
        if search.live and (index is not None):
            state = stepper.reorder(state, index)
    nbests = [[Hypothesis(ids, total, normalised(total, ids, exponent)) for ids, total in found] for found in search.found]
    nbests = [sorted(nbest, key=lambda hypothesis: -hypothesis.score) for nbest in nbests]
    if ctc is None:
        return nbests
    frames = zip(ctc.log_probs, ctc.lengths.tolist(), strict=True)
    return [
        rescore(nbest, log_probs_TV[:length], ctc.weight, exponent, ctc.blank)
        for nbest, (log_probs_TV, length) in zip(nbests, frames, strict=True)
    ]


class _Search:
    """The live hypotheses of A rows, W a row: what they wrote [A, W, 1 + steps], from `bos` on, and their totals [A, W], -inf
    where a row has fewer. `found` has what ended, of all rows."""

    def __init__(self, rows: Tensor, bos: int, eos: int, limits: list[int], width: int) -> None:
        self.rows, self.eos, self.limits = rows, eos, limits
        self.found: list[list[tuple[list[int], float]]] = [[] if most > 0 else [([], 0.0)] for most in limits]
        self.live = [row for row, most in enumerate(limits) if most > 0]
        self.free = [width] * len(self.live)  # places of the beam that nothing finished holds
        self.written = torch.full((len(self.live), 1, 1), bos, device=rows.device)
        self.totals = torch.zeros(len(self.live), 1, device=rows.device)

    def own_rows(self) -> Tensor:
        return self.rows[torch.tensor(self.live, dtype=torch.long, device=self.rows.device)]

    def advance(self, log_probs: Tensor) -> Tensor | None:
        """Takes the best continuations and puts aside those that end: which hypotheses go on, None if all do, one a row."""
        (rows, before), device = self.totals.shape, self.rows.device
        joint = self.totals[:, :, None] + log_probs.float().reshape(rows, before, -1)
        units = joint.shape[2]
        totals, flat = joint.flatten(1).topk(min(max(self.free), before * units), 1)
        origin, unit = flat // units, flat % units
        written = torch.cat([self.written.take_along_dim(origin[:, :, None], 1), unit[:, :, None]], 2)
        keep = [
            self._going_on(row, *found, written) for row, found in enumerate(zip(totals.tolist(), unit.tolist(), strict=True))
        ]
        live = [row for row, places in enumerate(keep) if places]
        self.live, self.free = [self.live[row] for row in live], [self.free[row] for row in live]
        if not live:
            return None
        width = max(len(keep[row]) for row in live)
        places = torch.tensor([keep[row] + keep[row][:1] * (width - len(keep[row])) for row in live], device=device)
        empty = torch.tensor([[place >= len(keep[row]) for place in range(width)] for row in live], device=device)
        kept = torch.tensor(live, device=device)[:, None]
        self.totals = totals[kept, places].masked_fill(empty, -torch.inf)
        self.written = written[kept, places]
        index = (kept * before + origin[kept, places]).flatten()
        return None if before == width == 1 and len(live) == rows else index

    def _going_on(self, row: int, totals: list[float], units: list[int], written: Tensor) -> list[int]:
        """Which of a row's candidates stay live; those that end are noted."""
        number, keep, free = self.live[row], [], self.free[row]
        cut = written.shape[2] - 1 >= self.limits[number]
        for place, (total, unit) in enumerate(zip(totals[:free], units, strict=False)):
            if total == -torch.inf:
                break
            if unit != self.eos and not cut:
                keep.append(place)
                continue
            ids = written[row, place, 1:].tolist()
            self.found[number].append((ids[:-1] if unit == self.eos else ids, total))
            self.free[row] -= 1
        if not keep and not self.found[number]:  # nothing that it might have written was possible
            self.found[number].append((written[row, 0, 1:-1].tolist(), -torch.inf))
        return keep


def normalised(log_prob: float, ids: Sequence[int], exponent: float = DEFAULT_EXPONENT) -> float:
    """A log-probability by its length, the end counted, to a power: 0 leaves it, 1 is the mean of a step."""
    return log_prob / float((len(ids) + 1) ** exponent)


def rescore(
    nbest: Sequence[Hypothesis],
    ctc_log_probs_TV: Tensor,
    weight: float,
    exponent: float = DEFAULT_EXPONENT,
    blank: int = 0,
) -> list[Hypothesis]:
    """Adds `weight` times what CTC gives each text, over all alignments, before lengths are divided by (Watanabe 2017), and
    ranks anew. `log_prob` stays what it was; texts that fit no frames come last, as they were."""
    if not weight:
        return list(nbest)
    second = scores(ctc_log_probs_TV, [found.ids for found in nbest], blank)
    scored = [
        found._replace(score=normalised(found.log_prob + weight * other, found.ids, exponent))
        for found, other in zip(nbest, second, strict=True)
    ]
    return sorted(scored, key=lambda found: -found.score)


def tune_exponent(
    nbests: Sequence[Sequence[Hypothesis]],
    references: Sequence[Any],
    cost: Cost,
    exponents: Sequence[float] = EXPONENTS,
) -> float:
    """By which power of the length n-best lists are to be ranked: the one of least cost, of equal ones the nearest to 1."""

    def of(exponent: float) -> tuple[float, float]:
        texts = [max(nbest, key=lambda one: normalised(one.log_prob, one.ids, exponent)).ids for nbest in nbests]
        return cost(texts, references), abs(exponent - DEFAULT_EXPONENT)

    return min(exponents, key=of)


def loops(ids: Sequence[int], times: int = 4, least: int = 8) -> bool:
    """Whether a text ends in one piece over and over: `times` or more, over `least` units or more."""
    for period in range(1, len(ids) // times + 1):
        need = max(times * period, least)
        if need <= len(ids) and all(ids[-place] == ids[-place - period] for place in range(1, need - period + 1)):
            return True
    return False
