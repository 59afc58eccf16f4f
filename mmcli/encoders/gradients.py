"""What tells outlines apart whatever the light: in each cell of a picture how much edge runs which way, and small pixels

    histograms of oriented gradients (Dalal and Triggs 2005), each cell divided by its neighbourhood's, square roots taken;
    grey pixels, their mean taken away. Both of unit length, side by side.

Nothing in it learns: a head has all to learn. The strong, cheap choice where rows are few and what they show is aligned: faces,
signs, symbols.
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
from mmcli.layers.pairs import grey_pixels
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 30, "learning_rate": 5e-4, "batch_size": 64, "weight_decay": 0.01, "patience": 10, "clip_norm": 1.0}


class Config(BaseConfig):
    """How fine."""

    cells: int = Field(8, ge=2, le=32)
    """Cells a side."""
    directions: int = Field(16, ge=2, le=32)
    """Directions of edges that are told apart, over half a turn."""
    pixels: int = Field(16, ge=0, le=64)
    """Grey pixels a side besides; 0 for none."""


class Gradients(Encoder):
    """Grid [C, H, W] -> one token, the pooled features [cells² directions + pixels²]. Parameters: D, the absent embedding."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, config.cells**2 * config.directions + config.pixels**2)
        self.config = config

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004
        width: int = config.cells**2 * config.directions + config.pixels**2
        return width

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        grey = signal.values.float().mean(1)
        blocks = [F.normalize(self._edges(grey), dim=1)]
        if self.config.pixels:
            blocks.append(grey_pixels(signal.values, self.config.pixels))
        pooled = torch.cat(blocks, 1)
        return pooled, pooled[:, None], torch.ones(pooled.shape[0], 1, dtype=torch.bool, device=pooled.device)

    def _edges(self, grey_BHW: Tensor) -> Tensor:
        """[B, cells² directions]."""
        count, cells = self.config.directions, self.config.cells
        across = F.pad(grey_BHW[:, :, 2:] - grey_BHW[:, :, :-2], (1, 1))
        down = F.pad(grey_BHW[:, 2:] - grey_BHW[:, :-2], (0, 0, 1, 1))
        strength = torch.sqrt(across.square() + down.square() + 1e-12)
        place = torch.atan2(down, across).remainder(math.pi) / math.pi * count
        low = place.floor()
        share, first = place - low, low.long() % count
        each = grey_BHW.new_zeros(grey_BHW.shape[0], count, *grey_BHW.shape[1:])
        each = each.scatter(1, first[:, None], (strength * (1 - share))[:, None])
        each = each.scatter_add(1, ((first + 1) % count)[:, None], (strength * share)[:, None])
        histograms = F.adaptive_avg_pool2d(each, cells)
        energy = histograms.square().sum(1, keepdim=True)
        around = F.avg_pool2d(energy, 3, 1, 1, count_include_pad=False) * 9
        around = around + 1e-3 * around.mean((2, 3), keepdim=True) + 1e-8
        return torch.sqrt(histograms / around.sqrt() + 1e-12).flatten(1)
