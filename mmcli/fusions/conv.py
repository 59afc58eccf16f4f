"""Convolution: the columns' features stacked as channels, and a convolution along them (F as a convolution, as first named).

    s = [P_1 LN(x_1); ...; P_M LN(x_M)] as [M, H], zero where absent
    h = ReLU(mean_m s_m + Conv(ReLU(Conv(s)))),   M -> C -> 1 channels, kernels of K units

Parameters: sum_m (2 D_m + (D_m + 1) H) + (M K + 1) C + C K + 1.
"""

from __future__ import annotations

from collections.abc import Mapping

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
    "ordered": True,
    "cost": "M D H + C K H",
    "use": "the founding idea; as mean, with a little more to learn",
}


class Config(BaseConfig):
    """How wide, how many channels."""

    hidden: int = Field(128, ge=1)
    """Width of the fused features."""
    channels: int = Field(16, ge=1)
    """Channels between the two convolutions."""
    kernel: int = Field(5, ge=1)
    """Units that a kernel spans; odd."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features and the fused features."""


class Conv(Fusion):
    """Two convolutions over the stacked features, around the mean."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        if config.kernel % 2 == 0:
            raise ConfigError(f"fusion.conv.kernel = {config.kernel} is even", "Use an odd number, e.g. 5.")
        super().__init__(dims, config.hidden)
        self.project = Projections(list(dims.values()), config.hidden, config.dropout)
        padding = config.kernel // 2
        self.first = nn.Conv1d(len(dims), config.channels, config.kernel, padding=padding)
        self.second = nn.Conv1d(config.channels, 1, config.kernel, padding=padding)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        own = Projections.parameter_formula(dims.values(), config.hidden)
        return own + (len(dims) * config.kernel + 1) * config.channels + config.channels * config.kernel + 1

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        here_BM = usable(present_BM)
        stack_BMH = self.project(pooled) * here_BM[..., None]
        mean = stack_BMH.sum(1) / here_BM.sum(1, keepdim=True)
        changed = self.second(self.first(stack_BMH).relu())[:, 0]
        return Fused(self.dropout((mean + changed).relu()))
