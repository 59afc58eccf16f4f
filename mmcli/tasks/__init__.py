"""What is predicted. One file for each kind of target; this file is their contract.

A task turns target cells into tensors, gives the loss and the metrics, and writes predictions out. It knows nothing of columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from mmcli.reporting.metrics import Interval


class Task(ABC):
    """A kind of target, fitted to the train split. `outputs` are what the head gives, [N, num_outputs], raw."""

    primary_metric: ClassVar[str]
    metrics: ClassVar[dict[str, bool]]
    """Metric -> whether higher is better."""
    config: Any

    @classmethod
    @abstractmethod
    def fit(cls, config: Any, targets: Sequence[str]) -> Self:
        """Learns what must be learnt from the targets of the train split.

        Raises:
            DataError: nothing can be learnt from them.
        """

    @property
    @abstractmethod
    def num_outputs(self) -> int: ...

    @abstractmethod
    def encode(self, targets: Sequence[str]) -> Tensor:
        """Targets as a tensor [N, ...].

        Raises:
            DataError: a target that the train split does not have.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What training minimises: a scalar."""

    @abstractmethod
    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Every metric, and `loss`."""

    @abstractmethod
    def intervals(self, outputs: Tensor, targets: Tensor, seed: int = 0) -> dict[str, Interval]:
        """Every metric with its 95% bootstrap interval."""

    @abstractmethod
    def gain(self, outputs: Tensor, other: Tensor, targets: Tensor, seed: int = 0) -> Interval:
        """How much better `outputs` are than `other` by the primary metric, in pairs; above zero is better."""

    @abstractmethod
    def decode(self, outputs: Tensor) -> dict[str, list[Any]]:
        """What `predict` writes: column suffix -> one value a row; the suffix "" is the prediction."""

    @abstractmethod
    def summary(self) -> str:
        """What was learnt of the targets, in a few words: `9 classes`."""

    @abstractmethod
    def draw(self, outputs: Tensor, targets: Tensor, folder: Path) -> dict[str, str]:
        """Draws what shows where the outputs are right and wrong: file in `folder` -> caption."""

    @abstractmethod
    def constant_baseline(self, targets: Tensor, rows: int) -> Tensor:
        """Outputs [rows, num_outputs] of a model that has seen the train targets and no input."""

    @abstractmethod
    def linear_baseline(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Tensor:
        """Outputs of a linear model for all rows of `features` [N, F], fitted on `train`, its strength chosen on `val`."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that was configured and learnt, as plain JSON."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The reverse of `state`."""

    def head(self, dim: int) -> nn.Module:
        """From fused features [B, dim] to outputs."""
        return nn.Linear(dim, self.num_outputs)

    @property
    def primary_higher_is_better(self) -> bool:
        return self.metrics[self.primary_metric]


Contract = Task
__all__ = ["Contract", "Task"]
