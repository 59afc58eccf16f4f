"""Split-conformal prediction sets (Vovk et al. 2005; Sadinle et al. 2019): sets of classes, or intervals, that hold the truth
as often as asked, whatever the model, for rows that come as those of val did.

    q = the ceil((n + 1) coverage) / n quantile of the val rows' scores
    classes:  score = 1 - p(right class);  set = every class with p >= 1 - q, and the answer
    labels:   score = 1 - the least p of the right labels;  set = every label with p >= 1 - q
    numbers:  score = |predicted - right|;  interval = predicted +- q, for each target, on the scale on which it is learnt:
              of a log scale the interval widens as the number grows
    quantiles: score = max(lowest - right, right - highest);  interval = [lowest - q, highest + q] (Romano et al. 2019)

What they promise is of rows, each counting as one, whatever weights rows have.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcli.tasks import Task


def fit(task: Task, outputs: Tensor, targets: Tensor, coverage: float) -> dict[str, Any]:
    """The threshold from val rows, as plain data; empty where there are too few for such a coverage, or no such sets."""
    if task.lacks("prediction sets"):
        return {}
    scores = _scores(task, outputs, targets)
    rank = math.ceil((len(scores) + 1) * coverage)
    if rank > len(scores):
        return {}
    thresholds = np.sort(scores, 0)[rank - 1]
    found = {"coverage": coverage, "thresholds": np.atleast_1d(thresholds).tolist(), "rows": len(scores)}
    return found | ({"scale": "log" if task.config.scale == "log" else "learnt"} if _by_task(task) else {})


def check(task: Task, found: dict[str, Any], outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """How often the sets hold the truth on these rows, and how large they are: classes, or the width of the interval."""
    if task.decision.link == "identity":
        by_task, thresholds = "scale" in found, np.asarray(found["thresholds"])
        low, high = _ends(task, found, outputs) if by_task else (0.0, 2 * thresholds)
        within = _distances(task, outputs, targets, by_task) <= thresholds
        return {"coverage": float(within.mean()), "size": float(np.mean(high - low))}
    inside = sets(task, found, outputs)
    right = task.parted(targets)[0].cpu().numpy()
    held = inside[np.arange(len(right)), right] if right.ndim == 1 else (inside | (right < 0.5)).all(1)
    return {"coverage": float(held.mean()), "size": float(inside.sum(1).mean())}


def sets(task: Task, found: dict[str, Any], outputs: Tensor) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """bool [N, C]: which classes or labels are in each row's set."""
    probabilities = _probabilities(task, outputs)
    inside: np.ndarray[Any, np.dtype[np.bool_]] = probabilities >= 1 - found["thresholds"][0]
    if task.decision.link == "softmax":
        inside[np.arange(len(inside)), task.chosen(outputs).cpu().numpy()] = True
    return inside


def columns(task: Task, found: dict[str, Any], outputs: Tensor) -> dict[str, list[Any]]:
    """What `predict` writes: `_set`, its members divided by bars; or `_low` and `_high` of each target."""
    if task.decision.link != "identity":
        names = list(getattr(task, "classes", None) or task.labels)  # type: ignore[attr-defined]
        return {
            "_set": [
                "|".join(name for name, here in zip(names, row, strict=True) if here) for row in sets(task, found, outputs)
            ]
        }
    own, ends = list(task.decode(outputs[:1])), _ends(task, found, outputs)
    written = getattr(task, "written", lambda values, _: values.round(6).tolist())  # a task of one's own may have no say
    result: dict[str, list[Any]] = {}
    for place, name in enumerate(own[: task.target_width]):
        for end, values in zip(("_low", "_high"), ends, strict=True):
            result[name + end] = written(values[:, place], place)
    return result


def _by_task(task: Task) -> bool:
    """Whether the task itself says how far off numbers are: on a log scale, and of quantiles."""
    return (getattr(task.config, "scale", "") == "log" or bool(task.levels)) and hasattr(task, "strayed")


def _ends(task: Task, found: dict[str, Any], outputs: Tensor) -> tuple[Any, Any]:
    """The ends [N, K] of the intervals of numbers, as their thresholds were set: by the task, or in the table's units."""
    thresholds = np.asarray(found["thresholds"])
    if "scale" in found:
        low, high = task.around(outputs, thresholds)  # type: ignore[attr-defined]
        return low, high
    predicted, _ = task.readings(outputs, torch.zeros(len(outputs), task.decision.width))
    return predicted - thresholds, predicted + thresholds


def _probabilities(task: Task, outputs: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    own = outputs.double()[:, : task.decision.width]
    found: np.ndarray[Any, np.dtype[np.float64]] = (
        (own.softmax(1) if task.decision.link == "softmax" else own.sigmoid()).cpu().numpy()
    )
    return found


def _scores(task: Task, outputs: Tensor, targets: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    if task.decision.link == "identity":
        return _distances(task, outputs, targets, _by_task(task))
    probabilities, right = _probabilities(task, outputs), task.parted(targets)[0].cpu().numpy()
    if right.ndim == 1:
        missed: np.ndarray[Any, np.dtype[np.float64]] = 1 - probabilities[np.arange(len(right)), right]
        return missed
    least: np.ndarray[Any, np.dtype[np.float64]] = 1 - np.where(right > 0.5, probabilities, 1.0).min(1)
    return least


def _distances(task: Task, outputs: Tensor, targets: Tensor, by_task: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How far off numbers are: on the scale that is learnt, or in the table's units."""
    if by_task:
        return task.strayed(outputs, targets)  # type: ignore[attr-defined, no-any-return]
    predicted, right = task.readings(outputs, targets)
    distance: np.ndarray[Any, np.dtype[np.float64]] = np.abs(predicted - right)
    return distance
