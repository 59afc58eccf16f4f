"""Texts that graphs write unit by unit, by a beam over all rows of a batch at once, in numpy. Knows no session of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[Mapping[str, Array]], dict[str, Array]]
"""A graph: tensors by name in and out."""
Found = list[tuple[list[int], float]]
"""Texts of a row, as units without start and end, each with its log-probability."""
Written = tuple[Found, list[float]]
"""Texts of a row, and what the length of each is to divide."""
EDGE = 0
"""The unit before the first and after the last."""


class Stepper(Protocol):
    """What writes, before the memory of some rows."""

    def begin(self, rows: int) -> list[Array]:
        """What so many rows have read, [layers, A, W, ...] each, before the first unit."""

    def step(self, last_AW: Array, rows_A: Array, caches: list[Array]) -> tuple[Array, list[Array]]:
        """Log-probabilities [A, W, V] of what follows the last units of W texts of those rows; and what they have read now."""


class Steps:
    """The graph `step`, before what `encode` gave for some rows: see `models.writers`, which makes both."""

    def __init__(self, run: Run, encoded: Mapping[str, Array]) -> None:
        self._run = run
        self._memory = {name: own for name, own in encoded.items() if name.partition(".")[0] in {"keys", "values", "mask"}}
        self._members = sum(name.startswith("mask.") for name in encoded)
        self._rows, self._chosen = np.arange(len(encoded["limits"])), self._memory

    def begin(self, rows: int) -> list[Array]:
        found = []
        for place in range(self._members):
            layers, _, heads, _, dim = self._memory[f"keys.{place}"].shape
            found += [np.zeros((layers, rows, 1, heads, 0, dim), dtype=np.float32)] * 2
        return found

    def step(self, last_AW: Array, rows_A: Array, caches: list[Array]) -> tuple[Array, list[Array]]:
        if not np.array_equal(rows_A, self._rows):
            self._rows = rows_A
            chosen = self._memory.items()
            self._chosen = {name: own[rows_A] if name.startswith("mask.") else own[:, rows_A] for name, own in chosen}
        fed = {"last": last_AW, **self._chosen}
        for place in range(self._members):
            fed |= {f"own_keys.{place}": caches[2 * place], f"own_values.{place}": caches[2 * place + 1]}
        made = self._run(fed)
        grown = [made[f"new_{kind}.{place}"] for place in range(self._members) for kind in ("keys", "values")]
        return made["log_probs"], grown


def write(run: Run, encoded: Mapping[str, Array], width: int, ctc: float, reader: int | None) -> list[Written]:
    """What a beam of that width ends with, row by row; `reader` is the writer whose tokens are read by CTC, with the weight
    `ctc`, if any."""
    found = search(Steps(run, encoded), encoded["limits"].tolist(), width)
    if not ctc or reader is None:
        return [(own, [total for _, total in own]) for own in found]
    frames, mask = encoded[f"frames.{reader}"].astype(np.float64), encoded[f"mask.{reader}"]
    return [(own, scored(own, ctc, frames[row][mask[row]])) for row, own in enumerate(found)]


def search(stepper: Stepper, limits: Sequence[int], width: int) -> list[Found]:
    """What a beam ends with, row by row: at most `width` texts, in the order in which they ended.

    A text that ends, or comes to its row's limit and is cut there, takes its place of the beam with it, so that a beam of 1
    takes the likeliest unit at each step.
    """
    found: list[Found] = [[] if most > 0 else [([], 0.0)] for most in limits]
    live = [row for row, most in enumerate(limits) if most > 0]
    free = [width] * len(live)
    written = np.full((len(live), 1, 1), EDGE, dtype=np.int64)
    totals = np.zeros((len(live), 1))
    kept = stepper.begin(len(live))
    while live:
        log_probs, kept = stepper.step(written[:, :, -1], np.array(live, dtype=np.int64), kept)
        joint = (totals[:, :, None] + log_probs).reshape(len(live), -1)
        best = _largest(joint, max(free))
        totals, origin, unit = np.take_along_axis(joint, best, 1), best // log_probs.shape[2], best % log_probs.shape[2]
        written = np.concatenate([np.take_along_axis(written, origin[:, :, None], 1), unit[:, :, None]], 2)
        going = [_going_on(row, totals[place], written[place], free, place, limits, found) for place, row in enumerate(live)]
        stay = [place for place, own in enumerate(going) if own]
        if not stay:
            break
        most = max(len(going[place]) for place in stay)
        chosen = np.array([going[place] + going[place][:1] * (most - len(going[place])) for place in stay])
        empty = np.arange(most)[None] >= np.array([len(going[place]) for place in stay])[:, None]
        rows = np.array(stay)[:, None]
        totals, written = np.where(empty, -np.inf, totals[rows, chosen]), written[rows, chosen]
        if joint.shape[1] > log_probs.shape[2] or most > 1 or len(stay) < len(live):
            kept = [own[:, rows, origin[rows, chosen]] for own in kept]
        live, free = [live[place] for place in stay], [free[place] for place in stay]
    return found


def _largest(joint: Array, count: int) -> Array:
    """[A, K]: where each row's K largest numbers are, the largest first."""
    count = min(count, joint.shape[1])
    if count == 1:
        likeliest: Array = joint.argmax(1)[:, None]
        return likeliest
    some = np.argpartition(-joint, count - 1, 1)[:, :count]
    order = np.argsort(-np.take_along_axis(joint, some, 1), 1, kind="stable")
    return np.take_along_axis(some, order, 1)


def _going_on(
    row: int, totals: Array, written: Array, free: list[int], place: int, limits: Sequence[int], found: list[Found]
) -> list[int]:
    """Which of a row's candidates stay live; those that end are noted."""
    keep, cut, candidates = [], written.shape[1] - 1 >= limits[row], free[place]
    for number, total in enumerate(totals[:candidates].tolist()):
        if total == -np.inf:
            break
        ids = written[number, 1:].tolist()
        if ids[-1] != EDGE and not cut:
            keep.append(number)
            continue
        found[row].append((ids[:-1] if ids[-1] == EDGE else ids, total))
        free[place] -= 1
    if not keep and not found[row]:  # nothing that it might have written was possible
        found[row].append((written[0, 1:-1].tolist(), -np.inf))
    return keep


def scored(found: Found, weight: float, frames: Array) -> list[float]:
    """Of each text its log-probability, and `weight` times what CTC gives it by frames [T, V] (Watanabe 2017)."""
    return [total + weight * ctc_log_probability(frames, ids) for ids, total in found]


def ranked(written: Written, exponent: float) -> Found:
    """The texts of a row, with their log-probabilities, the best first: by score over length, its end counted, to a power."""
    found, scores = written
    places = sorted(range(len(found)), key=lambda place: -scores[place] / (len(found[place][0]) + 1) ** exponent)
    return [found[place] for place in places]


def best(written: Written, exponent: float) -> tuple[list[int], float]:
    """The text that is written, with its log-probability."""
    return ranked(written, exponent)[0]


def ctc_log_probability(frames: Array, numbers: Sequence[int]) -> float:
    """What frames [T, V] give a text, over all its alignments (Graves 2006)."""
    states = np.zeros(2 * len(numbers) + 1, dtype=np.int64)  # a blank before, between and after
    states[1::2] = numbers
    skips = np.zeros(len(states), dtype=bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    skips[1:2] = True
    alpha = np.full(len(states) + 2, -np.inf)
    alpha[1] = 0.0
    for frame in frames:
        before = np.logaddexp(alpha[2:], alpha[1:-1])
        alpha[2:] = np.logaddexp(before, np.where(skips, alpha[:-2], -np.inf)) + frame[states]
        alpha[1] = -np.inf
    return float(np.logaddexp(alpha[-1], alpha[-2])) if len(frames) else 0.0
