"""Columns that alone tell what only columns together could: then the table gives its answer away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmcli.artifacts.store import Artifact
from mmcli.reporting.metrics import Interval
from mmcli.reporting.words import meaning
from mmcli.tasks import Task

CHANCE = 0.5
"""AUROC of a column that tells nothing."""
CLEARLY = 2.0
"""How many times as far above chance a score must lie as its interval reaches below it: columns are many, and chosen on val."""


def cannot_know(task: Task, encoder: Artifact) -> bool:
    """Whether an input by itself should know nothing: another reads its encoder, and both are compared."""
    return task.compares_columns and "readers" in encoder.config


def tells(score: Interval) -> bool:
    """Whether it lies above chance, clearly beyond noise."""
    return score.value - CHANCE > CLEARLY * max(score.value - score.low, 0.0)


def note(score: Interval) -> str:
    """What its row on a leaderboard says."""
    return "alone it tells, so the table may give its answer away" if tells(score) else "alone it cannot know"


def warning(found: Mapping[str, tuple[str, Interval]], metric: str, rows: str) -> str:
    """Of inputs that tell alone, each with its encoder and its score on those rows; empty where there are none."""
    if not found:
        return ""
    scores = "; ".join(f"{name} ({encoder}) {score}" for name, (encoder, score) in found.items())
    return (
        f"one column alone tells whether columns belong together, which it cannot know: {meaning(metric).name} on {rows}: "
        f"{scores}. The table may give its answer away, by how one side of its pairs was made: look at that before you trust "
        f"any score on it"
    )


def best_of(found: Mapping[str, tuple[str, Interval]], name: str, encoder: str, score: Interval) -> dict[str, Any]:
    """The same with another, if that tells, and more than what is there of its input."""
    if not tells(score) or (name in found and found[name][1].value >= score.value):
        return dict(found)
    return {**found, name: (encoder, score)}
