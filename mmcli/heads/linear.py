"""One linear layer over the pooled features, then what the task decides by: for classes, labels and numbers"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.heads import Head
from mmcli.signals import Fused
from mmcli.tasks import Task


class Config(BaseConfig):
    """What is dropped before it."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the features that it reads."""


class Linear(Head):
    """W x + b. Parameters: (D + 1) C, for C numbers that decide."""

    def __init__(self, config: Config, task: Task, dim: int) -> None:
        super().__init__(task, dim)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(dim, task.decision.width)
        self.decide = task.decision_head()

    @staticmethod
    def parameter_formula(config: Config, task: Task, dim: int) -> int:  # noqa: ARG004
        return (dim + 1) * task.decision.width

    def forward(self, fused: Fused) -> Tensor:
        outputs: Tensor = self.decide(self.linear(self.dropout(fused.pooled)))
        return outputs

    def affine(self) -> nn.Linear:
        return self.linear

    def settle(self, outputs: Tensor, targets: Tensor) -> None:
        self.task.settle(self.decide, outputs, targets)
