"""Texts of CTC frames: greedy, by a beam over prefixes, aligned to frames, and scored over all alignments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmcli.text import Hypothesis, prefixes, viterbi
from mmcli.text.prefixes import Floats, LanguageModel
from mmcli.text.viterbi import Span


def greedy(log_probs_BTV: Tensor, lengths: Tensor, blank: int = 0) -> list[list[int]]:
    """The likeliest unit of each frame, repeated ones as one, without blanks (Graves 2006, best path)."""
    texts = []
    for row, length in zip(log_probs_BTV.argmax(2).cpu(), lengths.tolist(), strict=True):
        ids = torch.unique_consecutive(row[:length])
        texts.append(ids[ids != blank].tolist())
    return texts


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
    states = [viterbi.states(ids, blank) for ids in texts]
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
    """The frames of each unit on the likeliest alignment: see `viterbi.align`, which needs no tensors."""
    return viterbi.align(_array(log_probs_TV), ids, blank)


def _array(values: Tensor) -> Floats:
    values = values.detach().cpu()
    return (values if values.dtype == torch.float64 else values.float()).numpy()
