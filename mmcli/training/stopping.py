"""When training has shown that there is nothing to be learnt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from mmcli.tasks import Task
from mmcli.training.config import TrainingConfig

STEPS = 150
"""The fewest steps after which it may be said."""
BETTER = 0.995
"""Times the constant's loss: what counts as having learnt something."""

History = list[dict[str, float]]


def nothing_learnt(
    task: Task, targets: Tensor, splits: Mapping[str, Tensor], config: TrainingConfig
) -> Callable[[History], bool]:
    """Looks at the epochs so far: whether half the patience and `STEPS` steps are over, and in none was val better than for the
    constant that knows the train targets alone: neither the loss, nor the primary metric by more than the noise of its rows.
    Only of decisions: texts stand long at nothing before they are written, and vectors are no better or worse than a constant.
    """
    train, val = splits["train"], splits["val"]
    if not task.outputs.decides or task.gives_embeddings or not len(val) or config.keep == "last":
        return lambda _: False
    constant: Any = task.constant_baseline(targets[train], len(val))
    score = task.score(constant, targets[val])
    name, sign = task.primary_metric, 1 if task.primary_higher_is_better else -1
    noise = 0.5 / math.sqrt(len(val)) if sign > 0 else 0.0
    steps = max(math.ceil(len(train) / config.batch_size), 1)
    first = max(config.patience // 2, math.ceil(STEPS / steps))

    def told(history: History) -> bool:
        if len(history) < first:
            return False
        least = min(row["val_loss"] for row in history)
        best = max(sign * row[f"val_{name}"] for row in history)
        return least > BETTER * score["loss"] and best <= sign * score[name] + noise

    return told
