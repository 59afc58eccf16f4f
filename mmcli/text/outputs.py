"""Answers in words, of each kind: lattices that say them step by step, writings that networks are to write, and texts that are
known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcli.reporting.metrics import Array
from mmcli.signals import OUTPUTS, Column, Outputs
from mmcli.text import lattice, searching
from mmcli.text.beam import DEFAULT_EXPONENT, loops, tune_exponent
from mmcli.text.lattice import Lattices, Search
from mmcli.text.prefixes import LanguageModel
from mmcli.text.spelled import Spelled, Spellings, dense
from mmcli.text.targets import Judge, unpadded
from mmcli.text.writing import GLIMPSED, Writing, Writings

Answers = Column | Writing | Spelled
Judged = Callable[[Sequence[Sequence[int]]], tuple[Judge, Callable[[Array], float]]]
"""From right texts to what each row adds to the sums of a metric, and what is minimised of them."""


class Texts(Outputs):
    """Lattices, writings or what is spelled: each does as those of its kind do."""

    words = "texts"

    def rows(self, outputs: Any) -> int:
        return _kind(outputs).rows(outputs)

    def gather(self, outputs: Any, index: Tensor) -> Any:
        return _kind(outputs).gather(outputs, index)

    def join(self, parts: Sequence[Any]) -> Any:
        return _kind(parts[0]).join(parts)

    def mean(self, each: Sequence[Any], shares: Tensor) -> Any:
        """That of those whose kind has the larger share: steps and memories have no mean."""
        kinds = list(map(_kind, each))
        if len(set(kinds)) == 1:
            return kinds[0].mean(each, shares)
        total = {kind: sum(float(shares[k]) for k, own in enumerate(kinds) if own is kind) for kind in kinds}
        kind = max(total, key=lambda own: total[own])
        places = [k for k, own in enumerate(each) if _kind(own) is kind]
        return kind.mean([each[k] for k in places], shares[places] / total[kind])

    def plain(self, outputs: Any) -> Any:
        return _kind(outputs).plain(outputs)

    def to(self, outputs: Any, device: torch.device) -> Any:
        return _kind(outputs).to(outputs, device)

    def save(self, outputs: Any, name: str = OUTPUTS) -> dict[str, Tensor]:
        return _kind(outputs).save(outputs, name)

    def load(self, named: Mapping[str, Tensor], name: str = OUTPUTS) -> Any:
        kind = LATTICES if f"{name}.log_probs" in named else SPELLINGS if f"{name}.path" in named else WRITINGS
        return kind.load(named, name)

    def tempered(self, outputs: Any, temperature: Tensor) -> Any:
        return _kind(outputs).tempered(outputs, temperature)

    def glimpse(self, outputs: Any) -> Any:
        return _kind(outputs).glimpse(outputs)

    def answered(self, outputs: Any) -> Any:
        return _kind(outputs).answered(outputs)


LATTICES, WRITINGS, SPELLINGS = Lattices(), Writings(), Spellings()


def _kind(outputs: Any) -> Outputs:
    return WRITINGS if isinstance(outputs, Writing) else SPELLINGS if isinstance(outputs, Spelled) else LATTICES


def are_searched(outputs: Answers) -> bool:
    """Whether several texts of each row are followed for its answer."""
    if isinstance(outputs, Writing):
        return outputs.width > 1
    return not isinstance(outputs, Spelled) and not Search.of(outputs).greedy


def written(outputs: Answers, lm: LanguageModel) -> list[list[int]]:
    """The text of each row, by the search that the outputs come with; empty where a writing is only glimpsed over."""
    if isinstance(outputs, Writing):
        return [found[0].ids if found else [] for found in outputs.nbests()]
    return searching.written(lattices(outputs), lm)


def lattices(outputs: Column | Spelled) -> Column:
    """Log-probabilities of every unit."""
    return dense(outputs) if isinstance(outputs, Spelled) else outputs


def nbest(outputs: Answers, lm: LanguageModel, width: int) -> list[list[list[int]]]:
    """Texts of each row that differ, best first; of lattices that are read greedily those of a beam of that width."""
    if isinstance(outputs, Writing):
        return [[own.ids for own in found] for found in outputs.nbests()]
    return searching.nbest(lattices(outputs), lm, width)


def seen(outputs: Answers) -> Array:
    """bool [N]: which rows are written."""
    if isinstance(outputs, Writing):
        return np.array([bool(found) for found in outputs.nbests()], dtype=bool)
    return np.ones(len(outputs), dtype=bool)


def losses(outputs: Answers, targets: Tensor) -> Tensor:
    """[N]: minus the log-probability of each row's target, without a search and without a gradient."""
    if isinstance(outputs, Writing):
        return outputs.losses(targets)
    parts = torch.arange(len(outputs), device=outputs.present.device).split(searching.TOGETHER)
    own = [lattice.losses(outputs.select(index), targets[index.to(targets.device)]) for index in parts if len(index)]
    return torch.cat(own) if own else torch.zeros(0)


def fitting(outputs: Answers, targets: Tensor) -> Array:
    """bool [N]: which rows can have their target as their text."""
    if isinstance(outputs, Writing):
        return np.ones(len(targets), dtype=bool)
    return np.asarray(lattice.fitting(outputs, targets))


def confidence(outputs: Answers, texts: Sequence[Sequence[int]]) -> Array:
    """[N]: the share of each text's units that is expected to be right: see `text.searching`."""
    if not isinstance(outputs, Writing):
        return searching.confidence(lattices(outputs), texts)
    return searching.logistic(outputs.certainty, _evidence(outputs))


def curve(outputs: Writing, lm: LanguageModel, right: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Slope and intercept of the confidence of what is written, by rows whose right texts are known."""
    texts = written(outputs, lm)
    shares = np.array([searching.right_share(*pair) for pair in zip(texts, right, strict=True)])
    return searching.curve(_evidence(outputs), shares)


def _evidence(outputs: Writing) -> Array:
    """[N]: the log-probability of what is written a unit, its end counted; at most 0."""
    return np.array([min(found[0].log_prob / (len(found[0].ids) + 1), 0.0) if found else 0.0 for found in outputs.nbests()])


def doubtful(outputs: Answers, texts: Sequence[Sequence[int]], right: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Rows whose text goes round in a loop at its end, though the right one does not; rows whose text is as long as it could
    be, and may have been cut."""
    if not isinstance(outputs, Writing):
        return searching.doubtful(lattices(outputs), texts, right)
    limits = outputs.limits[outputs.rows].tolist()
    looping = [row for row, ids in enumerate(texts) if loops(ids) and not loops(right[row])]
    return looping, [row for row, ids in enumerate(texts) if ids and len(ids) >= limits[row]]


def length_exponent(outputs: Writing, targets: Tensor, judged: Judged) -> float:
    """By which power of its length a log-probability is best divided: by what rows are `judged` by, at most 500 of them."""
    index = torch.arange(0, len(outputs), max(-(-len(outputs) // GLIMPSED), 1))
    some, right = WRITINGS.gather(outputs, index), unpadded(targets[index.to(targets.device)])
    nbests = [[own._replace(log_prob=own.score) for own in nbest] for nbest in some.nbests()]
    judge, cost = judged(right)

    def of(texts: list[list[int]], rows: Sequence[int]) -> float:
        return cost(np.stack([judge(row, ids) for row, ids in zip(rows, texts, strict=True)]))

    return float(tune_exponent(nbests, range(len(nbests)), of)) if nbests else DEFAULT_EXPONENT
