"""Late: the columns' own predictions are joined; nothing below them is looked at.

    average    p = sum over present m of w_m p_m,  w_m equal
    weighted   the same with w = softmax(v) over the present columns, v learned
    product    log p = sum over present m of w_m log p_m, up to a constant, w learned as above: a geometric mean

Of numbers (regression) average and product are the same weighted mean. Parameters: M, none for average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Decision, Fusion, decisions, stacked, usable
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "decision",
    "absent": "masked",
    "ordered": False,
    "cost": "M C",
    "use": "columns that say the same thing independently; to see what fusing features adds",
}

TRAINING = {"learning_rate": 0.05}
"""A weight for each column is all there is to learn."""


class Config(BaseConfig):
    """How predictions are joined."""

    mode: Literal["average", "weighted", "product"] = "weighted"
    """See above."""
    smooth: float = Field(1e-4, gt=0, lt=0.5)
    """Least probability that a column may give, so that none has a veto."""


class Late(Fusion):
    """A weighted mean of decisions."""

    def __init__(self, config: Config, dims: Mapping[str, int], decision: Decision) -> None:
        super().__init__(dims, decision.width)
        self.config = config
        self.decision = decision
        self.preference: Tensor | None = None
        if config.mode != "average":
            self.preference = nn.Parameter(torch.zeros(len(dims)))

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int], decision: Decision) -> int:  # type: ignore[override]  # noqa: ARG004
        return 0 if config.mode == "average" else len(dims)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        _, present_BM = stacked(features, self.columns)
        scores_BM = torch.zeros(present_BM.shape, device=present_BM.device)
        if self.preference is not None:
            scores_BM = scores_BM + self.preference
        weights_BM = scores_BM.masked_fill(~usable(present_BM), float("-inf")).softmax(1)
        own_BMC = decisions(features, self.columns, self.decision)
        logits = self._joined(own_BMC, weights_BM[..., None])
        return Fused(logits, weights=weights_BM, logits=logits)

    def _joined(self, own_BMC: Tensor, weights_BM1: Tensor) -> Tensor:
        link, least = self.decision.link, self.config.smooth
        if link == "identity":
            return (weights_BM1 * own_BMC).sum(1)
        logs = own_BMC.log_softmax(2) if link == "softmax" else F.logsigmoid(own_BMC)
        if self.config.mode == "product":
            if link == "sigmoid":
                return (weights_BM1 * own_BMC.clamp(math.log(least), -math.log(least))).sum(1)
            return (weights_BM1 * logs.clamp(min=math.log(least))).sum(1)
        mean = (weights_BM1 * logs.exp()).sum(1).clamp(least, 1 - least)
        return mean.log() if link == "softmax" else mean.log() - (1 - mean).log()
