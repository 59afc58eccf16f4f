"""Low-rank: the outer product of all columns in factorised form (LMF, Liu et al. 2018, equation 6).

    h = sum over r of w_r * prod over m of (W_m^r [1; p_m]),   p_m = LN(x_m), zero where absent

Cost grows with the sum of the columns, not their product. The weights of the ones start at 1, so that a column that says
nothing multiplies by about 1. Parameters: sum_m (2 D_m + (D_m + 1) R H) + R + H.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Fusion, stacked, usable
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "feature",
    "memory": "columns",
    "absent": "masked",
    "ordered": False,
    "cost": "M D R H",
    "use": "interactions of many columns at the price of a sum",
}


class Config(BaseConfig):
    """How wide, of what rank."""

    hidden: int = Field(128, ge=1)
    """Width of the fused features."""
    rank: int = Field(4, ge=1)
    """Terms of the sum."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features and the fused features."""


class Lowrank(Fusion):
    """Modality-specific factors, multiplied unit by unit."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(dims, config.hidden)
        self.rank = config.rank
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for dim in dims.values()])
        self.factors = nn.ModuleList([nn.Linear(dim, config.rank * config.hidden) for dim in dims.values()])
        for factor in self.factors:
            assert isinstance(factor, nn.Linear)
            nn.init.normal_(factor.weight, std=0.5 * factor.in_features**-0.5)
            nn.init.ones_(factor.bias)
        self.weights = nn.Parameter(torch.full((config.rank,), config.rank**-0.5))
        self.bias = nn.Parameter(torch.zeros(config.hidden))
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        size: int = config.rank * config.hidden
        return sum(2 * dim + (dim + 1) * size for dim in dims.values()) + config.rank + config.hidden

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        here_BM = usable(present_BM)
        product = None
        for m, (norm, factor, x) in enumerate(zip(self.norms, self.factors, pooled, strict=True)):
            own = factor(self.dropout(norm(x)) * here_BM[:, m, None]).unflatten(1, (self.rank, self.dim))
            product = own if product is None else product * own
        assert product is not None
        fused = (product * self.weights[:, None]).sum(1) + self.bias
        return Fused(self.dropout(fused))
