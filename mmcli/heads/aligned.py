"""A vector for each column, for the columns of a row to be found by: those of one row near each other, others far apart

    p(j | i) = exp(s u_i . v_j) / sum_k exp(s u_i . v_k),  s learnt: infonce (Radford 2021)
    p(i, j) = sigmoid(s u_i . v_j + b),  s and b learnt: sigmoid (Zhai 2023)

for every two columns, both ways, over the rows of a batch that have both. Rows that are known to be alike (one group, or an
equal cell in one of the two) are never held against each other.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.heads import Head
from mmcli.signals import Fused
from mmcli.tasks import Task
from mmcli.vectors.aligned import Aligned, kin

LARGEST = math.log(100.0)
"""Of the logarithm of s."""


class Config(BaseConfig):
    """By which loss it learns."""

    loss: Literal["infonce", "sigmoid"] = "infonce"
    """infonce: which of the batch's rows it is; sigmoid: of each pair of rows by itself, whether it is one."""
    temperature: float = Field(0.07, gt=0)
    """One over the s that it begins with."""


class AlignedHead(Head):
    """Reads vectors side by side, as many as the task has columns; zeros say that a cell is absent. Parameters: 1; 2 with
    sigmoid."""

    def __init__(self, config: Config, task: Task, dim: int) -> None:
        super().__init__(task, dim)
        self.config = config
        self.columns = max(len(task.columns), 1)
        self.scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))
        if config.loss == "sigmoid":
            self.shift = nn.Parameter(torch.tensor(-10.0))

    @staticmethod
    def parameter_formula(config: Config, task: Task, dim: int) -> int:  # noqa: ARG004 - whatever it reads
        return 2 if config.loss == "sigmoid" else 1

    def forward(self, fused: Fused) -> Aligned:
        """Outputs of B rows."""
        width = fused.pooled.shape[1] // self.columns
        blocks = fused.pooled[:, : width * self.columns].float().unflatten(1, (self.columns, width))
        asked = torch.ones(self.columns, dtype=torch.bool, device=blocks.device)
        return Aligned(F.normalize(blocks, dim=2), (blocks != 0).any(2), asked)

    def loss(self, outputs: Aligned, fused: Fused, targets: Tensor) -> Tensor:  # noqa: ARG002 - all is in the outputs
        losses = [
            own
            for one, other in combinations(range(self.columns), 2)
            if bool(outputs.asked[one] | outputs.asked[other])
            and (own := self._of_two(outputs, one, other, targets)) is not None
        ]
        return (
            torch.stack(losses).mean() if losses else 0.0 * (outputs.values.sum() + sum(own.sum() for own in self.parameters()))
        )

    def _of_two(self, outputs: Aligned, one: int, other: int, targets: Tensor) -> Tensor | None:
        """Of two columns; None where no two rows have both."""
        rows = (outputs.present[:, one] & outputs.present[:, other]).nonzero()[:, 0]
        if len(rows) < 2:
            return None
        cosines = outputs.values[rows, one] @ outputs.values[rows, other].T
        itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        apart = ~kin(targets[rows], torch.arange(len(rows), device=rows.device), [one], [other])
        logits = self.scale.clamp(max=LARGEST).exp() * cosines
        if self.config.loss == "sigmoid":
            signs = torch.where(itself, 1.0, -1.0)
            each = F.softplus(-signs * (logits + self.shift))
            return (each * (itself | apart)).sum() / len(rows)
        logits = logits.masked_fill(~(itself | apart), -torch.inf)
        right = torch.arange(len(rows), device=rows.device)
        return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2

    def amplify(self, factor: float) -> None:  # noqa: ARG002 - the length of a vector says nothing
        return

    def start_small(self, factor: float) -> None:  # noqa: ARG002 - the same
        return
