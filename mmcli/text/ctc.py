"""Texts of CTC frames: greedy, by a beam over prefixes, aligned to frames, and scored over all alignments."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mmcli.text import Hypothesis, prefixes
from mmcli.text.prefixes import Floats, Ints, LanguageModel


class Span(NamedTuple):
    """The frames of one unit, from `start` to before `end`, and the mean probability that they give it."""

    start: int
    end: int
    confidence: float


def greedy(log_probs_BTV: Tensor, lengths: Tensor, blank: int = 0) -> list[list[int]]:
    """The likeliest unit of each frame, repeated ones as one, without blanks (Graves 2006, best path)."""
    texts = []
    for row, length in zip(log_probs_BTV.argmax(2).cpu(), lengths.tolist(), strict=True):
        ids = torch.unique_consecutive(row[:length])
        texts.append(ids[ids != blank].tolist())
    return texts


def needed_steps(ids: Sequence[int]) -> int:
    """How many frames a text needs at least: one a unit, and a blank between equal neighbours."""
    return len(ids) + sum(before == after for before, after in pairwise(ids))


def prefix_beam(
    log_probs_BTV: Tensor,
    lengths: Tensor,
    beam: int = 8,
    lm: LanguageModel | None = None,
    lm_weight: float = 0.0,
    length_bonus: float = 0.0,
    *,
    blank: int = 0,
    prune: float = -10.0,
    most_symbols: int = 64,
) -> list[list[Hypothesis]]:
    """Row by row the best texts of the beam: see `prefixes.prefix_beam`, which needs no tensors."""
    values, ends = _array(log_probs_BTV), lengths.tolist()
    return prefixes.prefix_beam(
        values, ends, beam, lm, lm_weight, length_bonus, blank=blank, prune=prune, most_symbols=most_symbols
    )


def score(log_probs_TV: Tensor, ids: Sequence[int], blank: int = 0) -> float:
    """The log-probability of a text, over all its alignments (Graves 2006): -inf if it does not fit."""
    return scores(log_probs_TV, [ids], blank)[0]


def scores(log_probs_TV: Tensor, texts: Sequence[Sequence[int]], blank: int = 0) -> list[float]:
    """The same of several texts of one row, side by side."""
    if not texts:
        return []
    states = [_states(ids, blank) for ids in texts]
    width = max(len(labels) for labels, _ in states)
    labels = np.array([np.pad(own, (0, width - len(own)), constant_values=blank) for own, _ in states])
    skips = np.array([np.pad(own, (0, width - len(own))) for _, own in states])
    alpha = np.full((len(texts), width + 2), -np.inf)  # two more in front, from which nothing comes
    alpha[:, 1] = 0.0  # before the first frame: one step from the first blank, and by a skip from the first unit
    skips[:, 1:2] = True
    for frame in _array(log_probs_TV):
        before = np.logaddexp(alpha[:, 2:], alpha[:, 1:-1])
        alpha[:, 2:] = np.logaddexp(before, np.where(skips, alpha[:, :-2], -np.inf)) + frame[labels]
        alpha[:, 1] = -np.inf
    ends = np.array([len(own) + 1 for own, _ in states])
    rows = np.arange(len(texts))
    found = np.logaddexp(alpha[rows, ends], np.where(ends > 2, alpha[rows, ends - 1], -np.inf))
    if not len(log_probs_TV):
        found = np.where(ends == 2, 0.0, -np.inf)
    return [float(one) for one in found]


def align(log_probs_TV: Tensor, ids: Sequence[int], blank: int = 0) -> list[Span]:
    """The frames of each unit on the likeliest alignment (Viterbi over CTC's states)."""
    steps = len(log_probs_TV)
    if needed_steps(ids) > steps:
        raise ValueError(f"{len(ids)} units need {needed_steps(ids)} frames, there are {steps}")
    if not ids:
        return []
    labels, skips = _states(ids, blank)
    skips[1] = True
    frames = np.maximum(_array(log_probs_TV), -1e9)  # the impossible is dear: there always is a path
    delta = np.full(len(labels) + 2, -np.inf)
    delta[1] = 0.0
    back = np.zeros((steps, len(labels)), np.int64)
    for step, frame in enumerate(frames):
        ways = np.stack([delta[2:], delta[1:-1], np.where(skips, delta[:-2], -np.inf)])
        back[step] = ways.argmax(0)
        delta[2:] = ways.max(0) + frame[labels]
        delta[1] = -np.inf
    state = len(labels) - 1 if delta[-1] >= delta[-2] else len(labels) - 2
    path = np.zeros(steps, np.int64)
    for step in range(steps - 1, -1, -1):
        path[step] = state
        state -= back[step, state]
    spans = []
    for place, unit in enumerate(ids):
        own = np.nonzero(path == 2 * place + 1)[0]
        spans.append(Span(int(own[0]), int(own[-1]) + 1, float(np.exp(frames[own, unit]).mean())))
    return spans


def _states(ids: Sequence[int], blank: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Blanks around and between the units, and which states may be reached past the one before: units that differ."""
    labels = np.full(2 * len(ids) + 1, blank)
    labels[1::2] = ids
    skips = np.zeros(len(labels), np.bool_)
    skips[3::2] = labels[3::2] != labels[1:-2:2]
    return labels, skips


def _array(values: Tensor) -> Floats:
    values = values.detach().cpu()
    return (values if values.dtype == torch.float64 else values.float()).numpy()
