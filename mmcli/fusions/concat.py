"""Parallel: all features side by side, then a small network over them.

    h = ReLU(W [LN(x_1); ...; LN(x_M)] + b)

With `hidden = 0` the features themselves are the output, as in the founding network. For heads that read tokens, each token
stands in its column's place beside the other columns.
Parameters: sum_m 2 D_m + (sum_m D_m + 1) H; none with `hidden = 0`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Fusion, stacked
from mmcli.signals import Features, Fused

ALIASES = ("parallel",)
ABOUT = {
    "family": "feature",
    "memory": "columns",
    "absent": "embedding",
    "ordered": False,
    "cost": "M D H",
    "use": "the plain default of the literature: many rows, few missing inputs",
}


class Config(BaseConfig):
    """The network over the concatenated features."""

    hidden: int = Field(128, ge=0)
    """Width of the hidden layer; 0 for none."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features and the hidden layer."""


class Concat(Fusion):
    """Concatenation. Absent columns enter by their encoder's absent embedding."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        total = sum(dims.values())
        super().__init__(dims, config.hidden or total)
        self.norms = nn.ModuleList([nn.LayerNorm(dim) if config.hidden else nn.Identity() for dim in dims.values()])
        self.network = (
            nn.Sequential(nn.Dropout(config.dropout), nn.Linear(total, config.hidden), nn.ReLU(), nn.Dropout(config.dropout))
            if config.hidden
            else nn.Identity()
        )

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        total = sum(dims.values())
        return 2 * total + (total + 1) * config.hidden if config.hidden else 0

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, _ = stacked(features, self.columns)
        joined = torch.cat([norm(x) for norm, x in zip(self.norms, pooled, strict=True)], dim=1)
        return Fused(self.network(joined))
