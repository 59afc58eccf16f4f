"""Pixels as they are, grey and small, of length one: nothing is learnt, so that no picture is known by heart. For comparing."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.layers.pairs import grey_pixels
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 64, "weight_decay": 0.05}


class Config(BaseConfig):
    """How small."""

    side: int = Field(16, ge=2, le=64)
    """Height and width."""


class Pixels(Encoder):
    """Grid [C, H, W] -> side^2 numbers, less their mean, of length one. Parameters: side^2, the absent embedding."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid"})
    keeps_order: ClassVar[bool] = False

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, config.side**2)
        self.side = config.side

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004
        return config.side**2

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        pooled = grey_pixels(signal.values, self.side)
        return pooled, pooled[:, None], torch.ones_like(pooled[:, :1], dtype=torch.bool)
