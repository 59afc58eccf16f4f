"""What the training loop is told: the module, its loss and outputs, the rows, and how to train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from mmcli.reporting.metrics import Interval
from mmcli.signals import Batch
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows
from mmcli.training.device import Compute


class Scoring(Protocol):
    """What the loop must know of a task."""

    @property
    def primary_metric(self) -> str: ...
    @property
    def primary_higher_is_better(self) -> bool: ...
    @property
    def metrics(self) -> dict[str, bool]: ...
    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]: ...
    def gain(self, outputs: Tensor, other: Tensor, targets: Tensor) -> Interval: ...


@dataclass(frozen=True)
class Job:
    """What is trained, on what, and how."""

    module: nn.Module
    outputs: Callable[[Batch], Tensor]
    """The module's outputs for a batch, [B, num_outputs]: what is scored."""
    loss: Callable[[Batch], Tensor]
    """What is minimised: a scalar."""
    rows: Rows
    task: Scoring
    config: TrainingConfig
    compute: Compute
    seed: int
    folder: Path
    """Where the log and the checkpoint go."""
    label: str
    """What the progress bar says."""
    learning_rates: dict[str, float] = field(default_factory=dict)
    """Prefix of parameter names -> factor on the learning rate."""
    watch: Callable[[list[dict[str, float]]], bool] = field(default=lambda _: False)
    """Told the history after each epoch; True ends the training, the best epoch being kept."""
