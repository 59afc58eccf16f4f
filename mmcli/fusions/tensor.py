"""Tensor: the outer product of all columns (TFN, Zadeh et al. 2017, equation 3).

    z = [1; p_1] x [1; p_2] x ... x [1; p_M],   p_m = ReLU(P_m LN(x_m)) of width K, zero where absent;   h = ReLU(W z + b)

The ones keep every product of fewer columns, single ones included. z has (K + 1)^M numbers: with many columns that explodes,
and the method refuses. Parameters: sum_m (2 D_m + (D_m + 1) K) + ((K + 1)^M + 1) H.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.errors import ConfigError
from mmcli.fusions import Fusion, stacked, usable
from mmcli.layers.blocks import Projections
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "feature",
    "memory": "columns",
    "absent": "masked",
    "ordered": False,
    "cost": "(K + 1)^M H",
    "use": "two or three columns whose every combination matters",
}


class Config(BaseConfig):
    """How wide."""

    width: int = Field(8, ge=1)
    """Width K of each column in the product."""
    hidden: int = Field(128, ge=1)
    """Width of the fused features."""
    largest: int = Field(40_000, ge=1)
    """Most numbers that the product may have."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features, the product and the fused features."""


class Tensor(Fusion):
    """Every product of the columns' features, of all orders."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        size = (config.width + 1) ** len(dims)
        if size > config.largest:
            raise ConfigError(
                f"the outer product of {len(dims)} columns has {size:,} numbers, over tensor.largest = {config.largest:,}",
                "Use --method lowrank, which is its factorised form, or fewer columns, or --set fusion.tensor.width=2.",
            )
        super().__init__(dims, config.hidden)
        self.project = Projections(list(dims.values()), config.width, config.dropout)
        self.out = nn.Linear(size, config.hidden)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        size: int = (config.width + 1) ** len(dims)
        return Projections.parameter_formula(dims.values(), config.width) + (size + 1) * config.hidden

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        own_BMK = self.project(pooled).relu() * usable(present_BM)[..., None]
        with_one = F.pad(own_BMK, (1, 0), value=1.0)
        product = with_one[:, 0]
        for m in range(1, len(self.columns)):
            product = (product[:, :, None] * with_one[:, m, None]).flatten(1)
        return Fused(self.dropout(self.out(self.dropout(product)).relu()))
