"""Where a model that was picked by one metric is worse than another by the others, beyond noise."""

from __future__ import annotations

from torch import Tensor

from mmcli.reporting import metrics
from mmcli.reporting.metrics import Array
from mmcli.reporting.words import worsened
from mmcli.tasks import Task


def beyond_noise(
    task: Task, outputs: Tensor, other: Tensor, targets: Tensor, seed: int, groups: Array | None = None
) -> list[str]:
    """The task's metrics but the primary one by which `outputs` are worse than `other`, the whole 95% interval of the paired
    difference being on that side: `log loss 0.520 instead of 0.271`."""
    weights = task.resamples(targets, seed, groups)
    one, right = task.readings(outputs, targets)
    two, _ = task.readings(other, targets)
    measures, sure = task.measures(), {}
    for name, higher in task.metrics.items():
        found = metrics.difference(measures[name], one, two, right, weights, own=task.counting(targets))
        if found.high < 0 if higher else found.low > 0:
            sure[name] = higher
    return worsened(task.score(other, targets), task.score(outputs, targets), sure, task.primary_metric)
