"""A small residual convolutional network for pictures and other grids (He 2016, pre-activation).

`preset = "reference"` builds the founding network instead: Conv 32 3x3 valid, ReLU, max-pool 2, flatten, Dense 128, ReLU. On
64 x 64 x 3 it has 896 + 3,936,384 parameters, beside the absent embedding of 128.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 60, "learning_rate": 2e-3, "batch_size": 64, "weight_decay": 0.05, "patience": 20}


class Config(BaseConfig):
    """How wide and deep."""

    preset: Literal["modern", "reference"] = "modern"
    """`reference` builds the founding network exactly; the other options then do not apply."""
    width: int = Field(32, ge=4)
    """Channels of the first stage; each further one doubles them."""
    stages: int = Field(3, ge=1, le=6)
    """Stages, each but the first halving the resolution."""
    blocks: int = Field(1, ge=1)
    """Residual blocks in a stage."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the pooled features."""


class Cnn(Encoder):
    """Grid [C, H, W] -> one token for each cell of the last feature map, pooled by their mean."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        channels, height, width = spec.shape if spec.kind == "grid" else (1, 1, 1)
        reference = config.preset == "reference"
        super().__init__(spec, 128 if reference else config.width * 2 ** (config.stages - 1))
        self.config = config
        self.dropout = nn.Dropout(config.dropout)
        if reference:
            flat = 32 * ((height - 2) // 2) * ((width - 2) // 2)
            # Pooling before the ReLU gives the same values and a quarter of the work.
            self.body = nn.Sequential(nn.Conv2d(channels, 32, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten())
            self.dense = nn.Linear(flat, 128)
            return
        layers: list[nn.Module] = [nn.Conv2d(channels, config.width, 3, stride=2, padding=1, bias=False)]
        inner = config.width
        for stage in range(config.stages):
            outer = config.width * 2**stage
            for block in range(config.blocks):
                layers.append(_Block(inner, outer, stride=2 if stage and not block else 1))
                inner = outer
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(inner), nn.ReLU())

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        channels, height, width = spec.shape
        if config.preset == "reference":
            flat = 32 * ((height - 2) // 2) * ((width - 2) // 2)
            return (9 * channels + 1) * 32 + (flat + 1) * 128 + 128
        total, inner = 9 * channels * config.width, config.width
        for stage in range(config.stages):
            outer = config.width * 2**stage
            for _ in range(config.blocks):
                total += 9 * inner * outer + 9 * outer * outer + 2 * (inner + outer) + (inner != outer) * inner * outer
                inner = outer
        return total + 2 * inner + inner

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        grid = signal.values.float().contiguous(memory_format=torch.channels_last)
        here = signal.present
        if self.config.preset == "reference":
            pooled = F.relu(self.dense(self.body(grid)))
            return pooled, pooled[:, None], torch.ones(len(here), 1, dtype=torch.bool, device=here.device)
        tokens_BTD = self.body(grid).flatten(2).transpose(1, 2)
        mask = torch.ones(tokens_BTD.shape[:2], dtype=torch.bool, device=here.device)
        return self.dropout(tokens_BTD.mean(1)), tokens_BTD, mask


class _Block(nn.Module):
    """Normalise, activate, convolve, twice, around a shortcut."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        changes = inner != outer or stride != 1
        self.shortcut = nn.Conv2d(inner, outer, 1, stride=stride, bias=False) if changes else nn.Identity()

    def forward(self, grid: Tensor) -> Tensor:
        active = F.relu(self.norm1(grid))
        hidden: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active))))
        shortcut: Tensor = self.shortcut(active if isinstance(self.shortcut, nn.Conv2d) else grid)
        return hidden + shortcut
