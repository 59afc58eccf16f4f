"""Where edges run and which way, of length one: nothing is learnt, as in `pixels`. After Dalal and Triggs 2005.

g_k(x) = |d(x)| cos(angle of d(x) - k pi / K)^4,  d the gradient of the grey picture
features = sqrt(mean of g_k over each of side x side cells), less their mean, of length one
"""

from __future__ import annotations

import math
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
    """Cells and directions."""

    side: int = Field(8, ge=2, le=32)
    """Cells down and across."""
    directions: int = Field(8, ge=2, le=16)
    """Directions of an edge, over half a turn."""


class Edges(Encoder):
    """Grid [C, H, W] -> side^2 K numbers, of length one. Parameters: side^2 K, the absent embedding."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid"})
    keeps_order: ClassVar[bool] = False

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, config.side**2 * config.directions)
        self.side, self.directions = config.side, config.directions

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004
        return config.side**2 * config.directions

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        grey = signal.values.float().mean(1)
        across, down = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
        length = (across.square() + down.square() + 1e-12).sqrt()
        angles = [math.pi * k / self.directions for k in range(self.directions)]
        along = torch.stack([across * math.cos(own) + down * math.sin(own) for own in angles], 1)
        strength = along.square().square() / length[:, None] ** 3
        cells = (F.adaptive_avg_pool2d(strength, self.side).flatten(1) + 1e-12).sqrt()
        pooled = F.normalize(cells - cells.mean(1, keepdim=True), dim=1)
        return pooled, pooled[:, None], torch.ones_like(pooled[:, :1], dtype=torch.bool)
