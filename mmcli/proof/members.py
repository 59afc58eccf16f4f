"""What stands beside F in a fused model, and counts without it, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmcli.models import plain, recall

OWN = "beside"
"""What config and metrics of the artifact call the columns' own decisions."""
WHAT = {
    OWN: "what its columns decide by themselves",
    plain.METHOD: "the plain linear model of the same inputs",
    plain.TREES: "boosted trees over the form",
    plain.IN_CONTEXT: "TabICL over the form",
    recall.METHOD: "known texts of train, recited where they fit",
}
MOST = 0.5
"""The share from which on one of them counts more than all else."""


def shares(metrics: Mapping[str, Any]) -> dict[str, float]:
    """How much each that was taken in counts in the model that came of it. Each was joined to what was there before, by a share
    of its own, so that those after it take from its share; metrics name them in that order."""
    left, found = 1.0, dict[str, float]()
    for key in reversed([key for key in metrics if key in WHAT]):
        share = metrics[key]["share"]
        found[key], left = left * share, left * (1 - share)
    return found


def told(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What was taken in, and how much it counts in the end, in words."""
    counts = shares(metrics)
    for key, what in WHAT.items():
        if key in counts:
            yield f"{what}, weighed on val, counts {counts[key]:.0%}"


def mostly(metrics: Mapping[str, Any]) -> str:
    """Which of these that are not made of the columns' networks counts more than all else in a fused model: what fusing seems
    to gain is then its doing."""
    for key, count in shares(metrics).items():
        if key != OWN and count > MOST:
            return f" What counts most in the fused model ({count:.0%}) is {WHAT[key]}, not what F makes of its columns."
    return ""
