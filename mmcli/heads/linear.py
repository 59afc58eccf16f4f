"""One linear layer over the pooled features.

D is the width of the features, C the numbers that decide. Parameters: D C + C.
"""

from __future__ import annotations

from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.heads import Head
from mmcli.signals import Fused
from mmcli.tasks import Task


class Config(BaseConfig):
    """It has none."""


class Linear(Head):
    """A number for each class, label or target."""

    def __init__(self, config: Config, task: Task, dim: int) -> None:  # noqa: ARG002 - it has none
        super().__init__(task, dim)
        self.layer = nn.Linear(dim, task.decision.width)

    @staticmethod
    def parameter_formula(config: Config, task: Task, dim: int) -> int:  # noqa: ARG004 - it has none
        return dim * task.decision.width + task.decision.width

    def forward(self, fused: Fused) -> Tensor:
        outputs: Tensor = self.decides(self.layer(fused.pooled))
        return outputs
