"""What makes an answer of fused features: one kind of answer a file. Knows no columns, no encoders, nor how they were fused.

This file is their contract. A head is built from its `Config`, the task and the width of what it reads; a column by itself has
one over its own features, by the same contract. `Decided` serves the methods that fuse decisions, and is no part of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from mmcli.signals import Fused
from mmcli.tasks import Task


class Head(nn.Module, ABC):
    """Fused features of width `dim` -> outputs of the task."""

    def __init__(self, task: Task, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.decides = task.decision_head()
        """From what decides to outputs; holds what is settled once the rest is trained (thresholds)."""

    @staticmethod
    @abstractmethod
    def parameter_formula(config: Any, task: Task, dim: int) -> int:
        """How many parameters it has: the formula of its docstring, held against the module by a test."""

    @abstractmethod
    def forward(self, fused: Fused) -> Tensor:
        """Outputs [B, ...] of fused features; a head that attends looks at `tokens` and `mask`."""

    def loss(self, task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
        """What training minimises: a scalar; the task's own loss where a head has none."""
        return task.loss(outputs, targets)

    def settle(self, task: Task, outputs: Tensor, targets: Tensor) -> None:
        """Sets what it decides by, from val outputs and targets."""
        task.settle(self.decides, outputs, targets)


class Decided(Head):
    """Outputs of decisions that a method has fused already."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, task.decision.width)

    @staticmethod
    def parameter_formula(config: Any, task: Task, dim: int) -> int:  # noqa: ARG004 - whatever they are
        return 0

    def forward(self, fused: Fused) -> Tensor:
        assert fused.logits is not None, "the method has fused no decisions"
        outputs: Tensor = self.decides(fused.logits)
        return outputs


Contract = Head
__all__ = ["Contract", "Decided", "Head"]
