"""Mean, sum or maximum: every column is brought to one width, and the columns that are there are averaged.

    h = ReLU(mean over present m of P_m LN(x_m))

Also `pool = "sum"` or `"max"`. The simplest method that does not mind how many columns a row has.
Parameters: sum_m (2 D_m + (D_m + 1) H).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

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
    "use": "many columns, of which many are missing; a plain first try",
}


class Config(BaseConfig):
    """How columns are pooled."""

    hidden: int = Field(128, ge=1)
    """Width of the fused features."""
    pool: Literal["mean", "sum", "max"] = "mean"
    """What is taken of the columns."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features and the fused features."""


class Mean(Fusion):
    """Pooling over the columns that are there."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(dims, config.hidden)
        self.pool = config.pool
        self.project = Projections(list(dims.values()), config.hidden, config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        return Projections.parameter_formula(dims.values(), config.hidden)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        here_BM = usable(present_BM)
        projected_BMH = self.project(pooled)
        if self.pool == "max":
            joined = projected_BMH.masked_fill(~here_BM[..., None], float("-inf")).amax(1)
        else:
            joined = (projected_BMH * here_BM[..., None]).sum(1)
        if self.pool == "mean":
            joined = joined / here_BM.sum(1, keepdim=True)
        return Fused(self.dropout(joined.relu()))
