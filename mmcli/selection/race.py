"""A race of architectures: each trains for a while, those clearly behind on val are stopped, the others go on from there.

Owns how losers are told; the stage does the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mmcli.tasks import Task

DEFAULT_SHARE = 0.2
"""Of its epochs, what each entrant trains by default before they are compared."""


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
