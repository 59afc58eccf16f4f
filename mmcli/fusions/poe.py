"""Product of experts: each column is a Gaussian over the fused features, sure or unsure of each (Wu and Goodman 2018, eq. 2).

    mu_m, log s_m^2 = P_m LN(x_m);   1 / s^2 = 1 + sum_m 1 / s_m^2;   h = s^2 sum_m mu_m / s_m^2

The 1 is the prior expert N(0, 1); absent columns have no say. While training h is drawn from N(h, s^2), and `beta` times its
divergence from the prior is added to the loss. The weights shown are the columns' shares of the precision.
Parameters: sum_m (2 D_m + (D_m + 1) 2 H).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

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
    "use": "columns of unequal and changing certainty; missing inputs",
}


class Config(BaseConfig):
    """How wide, how near to the prior."""

    hidden: int = Field(128, ge=1)
    """Width of the fused features."""
    beta: float = Field(1e-3, ge=0)
    """Weight of the divergence from the prior, a unit."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features."""


class Poe(Fusion):
    """A product of Gaussians."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(dims, config.hidden)
        self.beta = config.beta
        self.project = Projections(list(dims.values()), 2 * config.hidden, config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        return Projections.parameter_formula(dims.values(), 2 * config.hidden)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        mean_BMH, log_variance_BMH = self.project(pooled).float().chunk(2, dim=2)
        here_BM = usable(present_BM)
        precision_BMH = (-log_variance_BMH.clamp(-6, 6)).exp() * here_BM[..., None]
        variance = 1 / (1 + precision_BMH.sum(1))
        mean = (mean_BMH * precision_BMH).sum(1) * variance
        drawn = mean + torch.randn_like(mean) * variance.sqrt() if self.training else mean
        certain_BM = precision_BMH.mean(2)
        shares = certain_BM / certain_BM.sum(1, keepdim=True)
        return Fused(drawn, weights=shares, extras={"mean": mean, "variance": variance})

    def penalty(
        self,
        fused: Fused,
        targets: Tensor,  # noqa: ARG002 - of the features alone
        weights: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor | None:
        """KL(N(h, s^2) || N(0, 1)), the mean over rows and units."""
        mean, variance = fused.extras["mean"], fused.extras["variance"]
        return self.beta * 0.5 * (mean.square() + variance - 1 - variance.log()).sum(1).mean()
