"""Where which colours lie, small, of length one: nothing is learnt, as in `pixels`, which knows greys alone.

red less green, and yellow less blue: (R - G, (R + G) / 2 - B), the opponents of colour vision, at side x side

A picture of greys has none: its features are zero but for what normalising the channels apart leaves.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 64, "weight_decay": 0.05}


class Config(BaseConfig):
    """How small."""

    side: int = Field(8, ge=1, le=64)
    """Height and width."""


class Colours(Encoder):
    """Grid [C, H, W] -> 2 side^2 numbers, of length one; of other than three channels all are zero. Parameters: 2 side^2, the
    absent embedding."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid"})
    keeps_order: ClassVar[bool] = False

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, 2 * config.side**2)
        self.side = config.side

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004
        return 2 * config.side**2

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        values = signal.values.float()
        values = values if values.shape[1] == 3 else values[:, :1].expand(-1, 3, -1, -1)
        red, green, blue = values.unbind(1)
        opponents = torch.stack([red - green, (red + green) / 2 - blue], 1)
        pooled = F.normalize(F.adaptive_avg_pool2d(opponents, self.side).flatten(1), dim=1)
        return pooled, pooled[:, None], torch.ones_like(pooled[:, :1], dtype=torch.bool)
