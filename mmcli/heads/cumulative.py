"""One score of the pooled features between rising cuts: ordered classes by proportional odds (McCullagh 1980)

    P(class <= c) = sigmoid(cut_c - w x);   outputs log P(class = c)

    log P(class = c) = log sigmoid(cut_c - s) + log sigmoid(s - cut_{c-1}) + log(1 - exp(cut_{c-1} - cut_c)),  s = w x

so that no difference of two sigmoids is lost to rounding. All classes share one direction in the features: a model of few
parameters, which knows that the classes are ordered. Cuts begin where the classes of train part.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
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


class Cumulative(Head):
    """Parameters: D + C - 1, for features of width D and C classes."""

    def __init__(self, config: Config, task: Task, dim: int) -> None:
        super().__init__(task, dim)
        self.dropout = nn.Dropout(config.dropout)
        self.score = nn.Linear(dim, 1, bias=False)
        counts = torch.tensor(task.counts, dtype=torch.float64) + 0.5  # type: ignore[attr-defined]
        shares = (counts.cumsum(0) / counts.sum())[:-1]
        self.first = nn.Parameter(torch.zeros(1))
        self.steps = nn.Parameter(torch.zeros(len(shares) - 1))
        self._cut_at(shares)
        self.decide = task.decision_head()

    @staticmethod
    def parameter_formula(config: Config, task: Task, dim: int) -> int:  # noqa: ARG004
        return dim + task.decision.width - 1

    @torch.no_grad()
    def _cut_at(self, shares: Tensor) -> None:
        """Sets the cuts so that where the score is zero, these shares [C - 1] lie below them."""
        cuts = shares.logit()
        self.first.copy_(cuts[:1])
        self.steps.copy_(cuts.diff().clamp(min=1e-3).expm1().log())  # the inverse of softplus

    def forward(self, fused: Fused) -> Tensor:
        score = self.score(self.dropout(fused.pooled)).float()
        gaps = F.softplus(self.steps.float())
        cuts = torch.cat([self.first.float(), self.first.float() + gaps.cumsum(0)])
        between = (-torch.expm1(-gaps)).log()
        none = torch.zeros_like(score)
        below = torch.cat([F.logsigmoid(cuts - score), none], 1)
        above = torch.cat([none, F.logsigmoid(score - cuts)], 1)
        outputs: Tensor = self.decide(below + above + F.pad(between, (1, 1)))
        return outputs

    def settle(self, outputs: Tensor, targets: Tensor) -> None:
        self.task.settle(self.decide, outputs, targets)

    def start_small(self, factor: float) -> None:
        """All classes are alike to it at first."""
        self.amplify(factor)
        classes = self.task.decision.width
        self._cut_at(torch.arange(1, classes, dtype=torch.float64) / classes)

    def amplify(self, factor: float) -> None:
        self.score.weight.data.mul_(factor)
