"""Embrace: each unit of the fused features comes from one column, drawn at random (EmbraceNet, Choi and Lee 2019).

    d_m = ReLU(P_m LN(x_m));   while training  h_i = d_{r_i, i} with r_i drawn from the present columns;   else h = mean of d_m

So no unit can rely on one column, and absent ones are never drawn: made for missing inputs.
Parameters: sum_m (2 D_m + (D_m + 1) H).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Fusion, stacked, usable
from mmcli.layers.blocks import Projections
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "feature",
    "memory": "columns",
    "absent": "masked",
    "ordered": False,
    "cost": "M D H",
    "use": "inputs that are often missing",
}


class Config(BaseConfig):
    """How wide."""

    hidden: int = Field(128, ge=1)
    """Width of the fused features."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features and the fused features."""


class Embrace(Fusion):
    """Multinomial sampling over the columns that are there."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(dims, config.hidden)
        self.project = Projections(list(dims.values()), config.hidden, config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        return Projections.parameter_formula(dims.values(), config.hidden)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        docked_BMH = self.project(pooled).relu()
        share_BM = usable(present_BM).float()
        share_BM = share_BM / share_BM.sum(1, keepdim=True)
        if self.training:
            drawn_BH = torch.multinomial(share_BM, self.dim, replacement=True)
            fused = docked_BMH.gather(1, drawn_BH[:, None])[:, 0]
        else:
            fused = (docked_BMH * share_BM[..., None]).sum(1)
        return Fused(self.dropout(fused), weights=share_BM)
