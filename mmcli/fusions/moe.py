"""Mixture of experts: several small networks over all columns, and a gate that mixes them row by row (Jacobs et al. 1991).

    x = [LN(x_1); ...; LN(x_M)];   g = softmax(G x);   h = sum_e g_e ReLU(W_e x + b_e)

The gate also sees which columns are there. `balance` times the squared coefficient of variation of the experts' mean gates is
added to the loss (Shazeer et al. 2017, equation 7). Parameters, with S = sum_m D_m: 2 S + E (S + 1) H + E (S + M + 1).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Fusion, stacked
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "feature",
    "memory": "columns",
    "absent": "embedding",
    "ordered": False,
    "cost": "E M D H",
    "use": "rows of different kinds that want different readings",
}


class Config(BaseConfig):
    """How many experts, how wide."""

    hidden: int = Field(96, ge=1)
    """Width of the fused features."""
    experts: int = Field(4, ge=1)
    """Networks that are mixed."""
    balance: float = Field(0.01, ge=0)
    """Weight of the penalty on experts that idle."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features and the fused features."""


class Moe(Fusion):
    """Soft gating; absent columns enter by their absent embedding."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(dims, config.hidden)
        total = sum(dims.values())
        self.config = config
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for dim in dims.values()])
        self.experts = nn.Linear(total, config.experts * config.hidden)
        self.gate = nn.Linear(total + len(dims), config.experts)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        total = sum(dims.values())
        return 2 * total + config.experts * (total + 1) * config.hidden + config.experts * (total + len(dims) + 1)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        joined = self.dropout(torch.cat([norm(x) for norm, x in zip(self.norms, pooled, strict=True)], dim=1))
        gates_BE = self.gate(torch.cat([joined, present_BM.to(joined.dtype)], 1)).float().softmax(1)
        each_BEH = self.experts(joined).relu().unflatten(1, (self.config.experts, self.dim))
        return Fused(self.dropout((gates_BE[..., None].to(each_BEH.dtype) * each_BEH).sum(1)), extras={"gates": gates_BE})

    def penalty(
        self,
        fused: Fused,
        targets: Tensor,  # noqa: ARG002 - of the gates alone
        weights: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor | None:
        """The squared coefficient of variation of how much each expert is used over the batch."""
        used = fused.extras["gates"].mean(0)
        return self.config.balance * used.var(unbiased=False) / used.mean().square()
