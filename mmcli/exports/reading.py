"""Texts that graphs read step by step (CTC): of each step the likeliest unit, or by a beam over prefixes with the language
model of the train texts, as val had it. Knows no session of the graphs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcli.exports.damage import reading
from mmcli.text.likely import Likely
from mmcli.text.prefixes import prefix_beam

Array = np.ndarray[Any, np.dtype[Any]]
Texts = list[list[int]]
"""Texts of a row, as units, the best first."""


class Reader:
    """The search of a task: see `model.json`, whose `task.search` says how wide it is and what weighs in it."""

    def __init__(self, task: Mapping[str, Any], folder: Path) -> None:
        self.search: Mapping[str, Any] = task["search"]
        self.kept: int = task["state"]["config"]["beam"]
        """How many texts of a row there are at most where others are asked for beside a greedy one."""
        self._likely: Likely | None = None
        if self.search.get("language_model"):
            path = folder / self.search["language_model"]
            with reading(path), path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                likely = Likely.from_state(dict(arrays), task["units"]["units"])
            self._likely = likely.wary(self.search["stranger"])

    def texts(self, outputs: Array, steps: Array, width: int, count: int = 1) -> list[Texts]:
        """The text of each row of log-probabilities [B, T, V], of which `steps` [B] are its own, by a beam of that width, 1
        being greedy; where more than one is wanted, others that differ besides, as `mmcli predict --nbest` has them."""
        if width > 1:
            weights = self.search["lm_weight"], self.search["length_bonus"]
            return self._kept(outputs, steps, width, self._likely, *weights)
        first = [greedy(frames[:length]) for frames, length in zip(outputs, steps.tolist(), strict=True)]
        others = self._kept(outputs, steps, self.kept, None, 0.0, 0.0) if count > 1 else [[] for _ in first]
        return [[ids, *(own for own in more if own != ids)] for ids, more in zip(first, others, strict=True)]

    def _kept(
        self, outputs: Array, steps: Array, width: int, likely: Likely | None, lm_weight: float, length_bonus: float
    ) -> list[Texts]:
        found = prefix_beam(outputs, steps.tolist(), width, likely, lm_weight, length_bonus)
        return [[own.ids for own in row] for row in found]


def greedy(frames: Array) -> list[int]:
    """The likeliest unit of each step [T, V], repeated ones as one, without blanks (number 0)."""
    best = frames.argmax(1)
    kept: list[int] = best[np.append(True, best[1:] != best[:-1])[: len(best)] & (best != 0)].tolist()
    return kept
