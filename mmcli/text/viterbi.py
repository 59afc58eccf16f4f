"""Which frames of CTC each unit of a text lies in, on the likeliest alignment, in numpy. Needs no torch: it goes with exported
models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmcli.text.prefixes import Floats, Ints


class Span(NamedTuple):
    """The frames of one unit, from `start` to before `end`, and the mean probability that they give it."""

    start: int
    end: int
    confidence: float


def needed_steps(ids: Sequence[int]) -> int:
    """How many frames a text needs at least: one a unit, and a blank between equal neighbours."""
    return len(ids) + sum(before == after for before, after in pairwise(ids))


def align(log_probs_TV: Floats, ids: Sequence[int], blank: int = 0) -> list[Span]:
    """The frames of each unit on the likeliest alignment (Viterbi over CTC's states)."""
    steps = len(log_probs_TV)
    if needed_steps(ids) > steps:
        raise ValueError(f"{len(ids)} units need {needed_steps(ids)} frames, there are {steps}")
    if not ids:
        return []
    labels, skips = states(ids, blank)
    skips[1] = True
    frames = np.maximum(log_probs_TV, -1e9)  # the impossible is dear: there always is a path
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


def states(ids: Sequence[int], blank: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Blanks around and between the units, and which states may be reached past the one before: units that differ."""
    labels = np.full(2 * len(ids) + 1, blank)
    labels[1::2] = ids
    skips = np.zeros(len(labels), np.bool_)
    skips[3::2] = labels[3::2] != labels[1:-2:2]
    return labels, skips
