"""A race of architectures: each trains for a while, those clearly behind on val are stopped, the others go on from there.

Owns how losers are told; the stage does the training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mmcli.errors import ConfigError
from mmcli.tasks import Task

DEFAULT_SHARE = 0.2
"""Of its epochs, what each entrant trains by default before they are compared."""


@dataclass(frozen=True)
class Budget:
    """How long each input's entrants may train before they are compared; without either, a fifth of their epochs."""

    seconds: float | None = None
    """All entrants of an input together."""
    epochs: int | None = None
    """Each entrant."""

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`30s`, `2m`, or `5` epochs.

        Raises:
            ConfigError: it is none of these.
        """
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|)", text.strip())
        if not match or not float(match[1]) or (not match[2] and "." in match[1]):
            raise ConfigError(
                f"--budget {text!r} is neither a time nor a number of epochs", "E.g. 60s, 2m, or 5 for five epochs."
            )
        if not match[2]:
            return cls(epochs=int(match[1]))
        return cls(seconds=float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]])


@dataclass(frozen=True)
class Standing:
    """How an entrant stands when the race is judged."""

    score: float
    """The primary metric on val."""
    kept: bool
    reason: str


def judge(outputs: Mapping[str, Tensor], targets: Tensor, task: Task, seed: int) -> dict[str, Standing]:
    """Who goes on, by val outputs at the end of the race: all but those worse than the best beyond the noise of these rows (95%
    paired bootstrap of the primary metric)."""
    sign = 1 if task.primary_higher_is_better else -1
    scores = {name: task.score(found, targets) for name, found in outputs.items()}
    primary = task.primary_metric
    best = max(scores, key=lambda name: (sign * scores[name][primary], -scores[name]["loss"]))
    standings = {}
    for name, score in scores.items():
        if name == best:
            standings[name] = Standing(score[primary], True, "best of the race")
            continue
        gain = task.gain(outputs[best], outputs[name], targets, seed)
        kept = gain.low <= 0
        reason = (
            f"within noise of {best}" if kept else f"worse than {best} by {gain.value:.3g} [{gain.low:.3g}, {gain.high:.3g}]"
        )
        standings[name] = Standing(score[primary], kept, reason)
    return standings
