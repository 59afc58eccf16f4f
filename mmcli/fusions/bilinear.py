"""Bilinear: products of every two columns' projections (MLB, Kim et al. 2017, equation 4), summed over the pairs.

    u_m = P_m LN(x_m), zero where absent;   h = [ReLU(sum_m u_m); sum over m < n of tanh(u_m) * tanh(u_n)]

The first half is there so that one column alone says something. All pairs cost no more than all columns:
2 sum over m < n of a_m a_n = (sum_m a_m)^2 - sum_m a_m^2. Parameters: sum_m (2 D_m + (D_m + 1) H).
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
    "use": "what two columns say together differs from what each says",
}


class Config(BaseConfig):
    """How wide."""

    hidden: int = Field(96, ge=1)
    """Width of the projections; the fused features have twice that."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features and the fused features."""


class Bilinear(Fusion):
    """Hadamard products of pairs."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(dims, 2 * config.hidden)
        self.project = Projections(list(dims.values()), config.hidden, config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        return Projections.parameter_formula(dims.values(), config.hidden)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        own_BMH = self.project(pooled) * usable(present_BM)[..., None]
        squashed = own_BMH.tanh()
        pairs = (squashed.sum(1).square() - squashed.square().sum(1)) / 2
        return Fused(self.dropout(torch.cat([own_BMH.sum(1).relu(), pairs], 1)))
