"""Classes and labels of which so few test rows are there that a mean over them says less than its interval does."""

from __future__ import annotations

from collections.abc import Sequence

from mmcli.data.warnings import FEW
from mmcli.reporting.classes import ClassScore
from mmcli.reporting.words import meaning

OVER_CLASSES = frozenset({"balanced_accuracy", "macro_f1", "map"})
"""Metrics to which each class or label counts as much as another, however few rows it has."""
_NAMED = 6


def warning(scores: Sequence[ClassScore], metric: str, called: str) -> str:
    """The warning that names them; empty where the primary metric does not average over classes, or none has few rows. `called`
    are they by the task: class or label."""
    few = sorted((own.rows, own.name) for own in scores if own.rows < FEW)
    if metric not in OVER_CLASSES or not few:
        return ""
    some = ", ".join(f"{name!r} {rows}" for rows, name in few[:_NAMED])
    more = f", and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
    many = "classes" if called == "class" else f"{called}s"
    return (
        f"{meaning(metric).name} is a mean over {many}, and {len(few)} of {len(scores)} have fewer than {FEW} test rows ({some}"
        f"{more}): it is less certain than its interval says, which knows no other rows of them. More test rows are needed "
        "to trust it"
    )
