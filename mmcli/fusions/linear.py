"""Linear: the features side by side, standardised, and the head over them alone: F as a plain linear model.

    h = [(x_1 - mean) / std; ...; (x_M - mean) / std], each over its own units;   output = W h + b

What every other method should beat. Absent columns are zeros, the mean. Parameters: none of its own.
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
    "cost": "M D",
    "use": "few rows; to see whether anything more is needed",
}


class Config(BaseConfig):
    """What is done to the features."""

    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features."""


class Linear(Fusion):
    """Nothing but the task's linear head on normalised features."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(dims, sum(dims.values()))
        self.norms = nn.ModuleList([nn.LayerNorm(dim, elementwise_affine=False) for dim in dims.values()])
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:  # noqa: ARG004 - there are none
        return 0

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        here_BM = usable(present_BM)
        normed = [norm(x) * here_BM[:, m, None] for m, (norm, x) in enumerate(zip(self.norms, pooled, strict=True))]
        return Fused(self.dropout(torch.cat(normed, dim=1)))
