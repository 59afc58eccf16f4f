"""Where answers that are texts differ from the right ones: piece by piece, and which units are most often taken for which."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmcli.reporting import text_metrics
from mmcli.reporting.grid import Grid
from mmcli.reporting.text_metrics import Step
from mmcli.tasks import Task

MOST_ROWS, MOST_PAIRS = 2000, 12
"""Rows that are aligned for the most frequent substitutions, and how many of these are told."""


def pieces(task: Task, outputs: Any, targets: Tensor) -> list[list[Step]]:
    """Of each row what is right, missing, too much or taken for something else, in the order of the text; empty lists where
    answers are no texts."""
    found = task.pairs(outputs, targets)
    if found is None:
        return [[] for _ in targets]
    pairs, between = found
    return [text_metrics.pieces(text_metrics.alignment(written, right), between) for written, right in pairs]


def between(task: Task, outputs: Any, targets: Tensor) -> str | None:
    """What stands between units: a blank or nothing; None where answers are no texts."""
    one = torch.arange(len(targets))[:1]
    found = task.pairs(task.outputs.gather(outputs, one), targets[one])
    return None if found is None else found[1]


def plain(steps: list[Step]) -> str:
    """The same as text: `one [-two-]{+too+} three`, where [-two-] is right and {+too+} was written."""
    said = []
    for operation, written, right in steps:
        if operation == "equal":
            said.append(right or "")
        else:
            said.append((f"[-{right}-]" if right else "") + (f"{{+{written}+}}" if written else ""))
    return " ".join(said)


def substitutions(task: Task, outputs: Any, targets: Tensor) -> Grid | None:
    """The most frequent ones; None where there are none, or answers are no texts."""
    found = task.pairs(task.outputs.gather(outputs, torch.arange(len(targets))[:MOST_ROWS]), targets[:MOST_ROWS])
    if found is None:
        return None
    rows = [[right, written, f"{count:,}"] for written, right, count in text_metrics.substitutions(found[0], MOST_PAIRS)]
    return Grid.of("What is most often taken for what", ["right", "written", "times"], rows, (0, 1)) if rows else None
