"""Gated: for each row and each hidden unit, a gate decides how much every column counts.

The gated multimodal unit of Arevalo et al. 2017 (equations 1 to 4), for any number of columns:

    h_m = tanh(W_m x_m + b_m)                       each column by itself
    z   = softmax over m of (V_m [x_1; ...; x_M])   [M, H], absent columns masked out
    h   = sum_m z_m * h_m

For two columns softmax(a, b) = sigma(a - b): the paper's z with W_z = V_1 - V_2. Inputs are first brought to unit scale by a
LayerNorm (`normalize`). For heads that read tokens the gate opens token by token, each token standing in its column's place.
Parameters, with S = sum_m D_m: (S + M) H + M S H, and 2 S for the norms.
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
    "absent": "masked",
    "ordered": False,
    "cost": "M^2 D H",
    "use": "the default: columns count differently from row to row; missing inputs",
}


class Config(BaseConfig):
    """The gated unit."""

    hidden: int = Field(128, ge=1)
    """Width of the fused features."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features and the fused features."""
    normalize: bool = True
    """Whether a LayerNorm precedes the unit; the paper has none."""


class Gated(Fusion):
    """GMU with a masked softmax: an absent column has weight zero."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(dims, config.hidden)
        self.norms = nn.ModuleList([nn.LayerNorm(dim) if config.normalize else nn.Identity() for dim in dims.values()])
        self.transforms = nn.ModuleList([nn.Linear(dim, config.hidden) for dim in dims.values()])
        self.gate = nn.Linear(sum(dims.values()), len(dims) * config.hidden, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        total, columns = sum(dims.values()), len(dims)
        return (total + columns + columns * total) * config.hidden + (2 * total if config.normalize else 0)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        normed = [self.dropout(norm(x)) for norm, x in zip(self.norms, pooled, strict=True)]
        hidden_BMH = torch.stack([t(x).tanh() for t, x in zip(self.transforms, normed, strict=True)], dim=1)
        here = [features[column].present.unsqueeze(1) for column in self.columns]
        seen = torch.cat([x * own for x, own in zip(normed, here, strict=True)], dim=1)
        scores_BMH = self.gate(seen).reshape(hidden_BMH.shape).float()
        # Where a row has nothing at all, the columns share evenly what their absent embeddings say.
        usable_BM = present_BM | ~present_BM.any(dim=1, keepdim=True)
        gates_BMH = scores_BMH.masked_fill(~usable_BM[..., None], float("-inf")).softmax(dim=1)
        fused = (gates_BMH.to(hidden_BMH.dtype) * hidden_BMH).sum(dim=1)
        return Fused(self.dropout(fused), weights=gates_BMH.mean(dim=2))
