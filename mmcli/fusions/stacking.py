"""Stacking: a linear model on the columns' own predictions, learnt from out-of-fold ones (Wolpert 1992; Breiman 1996).

    z_m = the column's outputs (of classes: log p_m), zero where absent;   logits = a + sum_m (s_m z_m + A_m z_m)

Each column has a scale s_m, a matrix A_m that starts at zero, and the row's missing inputs an offset each. On train rows the
predictions come from encoders that have not seen the row (`mmcli train-encoder --folds 5`): what an encoder says of rows that
it knows by heart would teach nothing. Parameters: M (C^2 + C + 1) + C.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Decision, Fusion, decisions, stacked, usable
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "decision",
    "absent": "masked",
    "ordered": False,
    "cost": "M C^2",
    "use": "strong single columns; out-of-fold predictions are there",
}

TRAINING = {"learning_rate": 0.01}
NEEDS_FOLDS = True
"""Whether train rows must come with out-of-fold outputs."""


class Config(BaseConfig):
    """How free the meta-model is."""

    dropout: float = Field(0.2, ge=0, lt=1)
    """How often a column's predictions are left out while training."""


class Stacking(Fusion):
    """A linear meta-model."""

    def __init__(self, config: Config, dims: Mapping[str, int], decision: Decision) -> None:
        super().__init__(dims, decision.width)
        self.decision = decision
        self.dropout = config.dropout
        columns, width = len(dims), decision.width
        self.scale = nn.Parameter(torch.full((columns,), 1.0 / columns))
        self.matrix = nn.Parameter(torch.zeros(columns, width, width))
        self.missing = nn.Parameter(torch.zeros(columns, width))
        self.bias = nn.Parameter(torch.zeros(width))

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int], decision: Decision) -> int:  # type: ignore[override]  # noqa: ARG004
        width = decision.width
        return len(dims) * (width * width + width + 1) + width

    def forward(self, features: Mapping[str, Features]) -> Fused:
        _, present_BM = stacked(features, self.columns)
        here_BM = present_BM
        if self.training and self.dropout:
            here_BM = present_BM & (torch.rand(present_BM.shape, device=present_BM.device) >= self.dropout)
        own_BMC = decisions(features, self.columns, self.decision)
        if self.decision.link == "softmax":
            own_BMC = own_BMC.log_softmax(2).clamp(min=-12.0)
        own_BMC = own_BMC * usable(here_BM)[..., None]
        joined = (own_BMC * self.scale[:, None]).sum(1) + torch.einsum("bmc,mcd->bd", own_BMC, self.matrix.float())
        logits = joined + (~here_BM).float() @ self.missing.float() + self.bias
        return Fused(logits, logits=logits)
