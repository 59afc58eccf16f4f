"""What makes an answer of what is fused: one head a file, found by its name. Knows nothing of columns, encoders or the disk.

This file is their contract. A head is built from its `Config`, a task and the width of what it reads; it gives the task's
outputs and the loss that training minimises. A column by itself has a head over its own features, by the same contract. A task
names the heads that fit it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from mmcli.signals import Fused
from mmcli.tasks import Task


class Head(nn.Module, ABC):
    """Fused features of width `dim` -> the outputs of a task."""

    reads_steps: ClassVar[bool] = False
    """Whether it reads tokens one by one, in the order of what they are of: then F must give such."""
    searches: ClassVar[bool] = False
    """Whether what it answers is searched for."""
    beam: int | None = None
    """Of heads whose answers take a search, how many are followed at once; may be changed after training."""

    def __init__(self, task: Task, dim: int) -> None:
        super().__init__()
        self.task = task
        self.dim = dim

    @staticmethod
    @abstractmethod
    def parameter_formula(config: Any, task: Task, dim: int) -> int:
        """How many parameters it has: the formula of its docstring, held against the module by a test."""

    @abstractmethod
    def forward(self, fused: Fused) -> Any:
        """Outputs of B rows, of the task's kind."""

    def loss(self, outputs: Any, fused: Fused, targets: Tensor) -> Tensor:  # noqa: ARG002 - for those that look at tokens
        """What training minimises, a scalar; `outputs` are what `forward` gave for `fused`."""
        return self.task.loss(outputs, targets)

    def affine(self) -> nn.Linear | None:
        """Of a head that answers by one linear layer over the pooled features: that layer."""
        return None

    def begin(self, features: Tensor, targets: Tensor) -> None:  # noqa: ARG002 - most begin at random
        """Starts from the features [N, F] of train rows, before the first step."""
        return

    def enrol(self, outputs: Any, targets: Tensor) -> None:  # noqa: ARG002 - most look at a row by itself
        """Keeps the outputs of train rows, with which those of others are compared."""
        return

    def settle(self, outputs: Any, targets: Tensor) -> None:  # noqa: ARG002 - most have nothing to set
        """Sets what the trained head decides by (thresholds), from val outputs and targets."""
        return

    def settle_beam(self, width: int, outputs: Any, targets: Tensor) -> None:
        """`settle` for a search of that width, of heads that search."""
        raise NotImplementedError

    def start_small(self, factor: float) -> None:
        """Lets it say little at first, where the columns' own predictions are added to what it says."""
        self.amplify(factor)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                layer.bias.data.zero_()

    def amplify(self, factor: float) -> None:
        """Lets it say the same, so many times as loud: its linear layers, of which most heads have one."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.data.mul_(factor)
                layer.bias.data.mul_(factor)


class Decisions(Head):
    """For methods that fuse decisions: there is nothing left to learn. Parameters: 0."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, task.decision.width)
        self.decide = task.decision_head()

    @staticmethod
    def parameter_formula(config: Any, task: Task, dim: int) -> int:  # noqa: ARG004
        return 0

    def forward(self, fused: Fused) -> Tensor:
        outputs: Tensor = self.decide(fused.logits)
        return outputs

    def settle(self, outputs: Tensor, targets: Tensor) -> None:
        self.task.settle(self.decide, outputs, targets)


Contract = Head
__all__ = ["Contract", "Decisions", "Head"]
