"""Highway: a gate decides, unit by unit, how much of the joined features passes unchanged (Srivastava et al. 2015, eq. 3).

    x = W_0 [LN(x_1); ...; LN(x_M)];   T = sigma(W_T x + b_T);   h = T * ReLU(W_H x + b_H) + (1 - T) * x

b_T starts at -1, so that at first most is carried. `layers` of them one after the other.
Parameters, with S = sum_m D_m: 2 S + (S + 1) H + layers * 2 (H + 1) H.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Fusion, stacked
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "feature",
    "memory": "columns",
    "absent": "embedding",
    "ordered": False,
    "cost": "M D H + layers H^2",
    "use": "as concat, where a deeper network over the joined features may pay",
}


class Config(BaseConfig):
    """How wide and deep."""

    hidden: int = Field(128, ge=1)
    """Width of the fused features."""
    layers: int = Field(2, ge=1)
    """Highway layers."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features and between the layers."""


class Highway(Fusion):
    """Highway layers over the concatenation; absent columns enter by their absent embedding."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(dims, config.hidden)
        hidden = config.hidden
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for dim in dims.values()])
        self.first = nn.Linear(sum(dims.values()), hidden)
        self.transforms = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(config.layers)])
        self.gates = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(config.layers)])
        for gate in self.gates:
            assert isinstance(gate, nn.Linear)
            nn.init.constant_(gate.bias, -1.0)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        total, hidden = sum(dims.values()), config.hidden
        return 2 * total + (total + 1) * hidden + config.layers * 2 * (hidden + 1) * hidden

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, _ = stacked(features, self.columns)
        joined = torch.cat([norm(x) for norm, x in zip(self.norms, pooled, strict=True)], dim=1)
        hidden = self.first(self.dropout(joined))
        for transform, gate in zip(self.transforms, self.gates, strict=True):
            share = gate(hidden).sigmoid()
            hidden = self.dropout(share * transform(hidden).relu() + (1 - share) * hidden)
        return Fused(hidden)
