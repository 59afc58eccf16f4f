"""A small residual convolutional network for pictures, other grids and spectrograms (He 2016, pre-activation).

A spectrogram is a picture of one channel whose padding is kept at zero through every layer, so that a recording's features do
not depend on what it was batched with; its tokens are its time steps, averaged over the bands.

`preset = "reference"` builds the founding network instead: Conv 32 3x3 valid, ReLU, max-pool 2, flatten, Dense 128, ReLU. On
64 x 64 x 3 it has 896 + 3,936,384 parameters, beside the absent embedding of 128.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.layers.blocks import masked_mean
from mmcli.layers.residual import ResidualStack, stem_for
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 60, "learning_rate": 2e-3, "batch_size": 64, "weight_decay": 0.05, "patience": 20, "clip_norm": 0}
COMPARING = {"pool": "layout"}
"""Options where columns that share it are compared."""
CELLS = 4
"""Cells down and across whose places are known, with `pool = "layout"`."""


class Config(BaseConfig):
    """How wide and deep."""

    preset: Literal["modern", "reference"] = "modern"
    """`reference` builds the founding network exactly; the other options then do not apply."""
    width: int = Field(32, ge=4)
    """Channels of the first stage; each further one doubles them."""
    stages: int = Field(3, ge=1, le=6)
    """Stages, each but the first halving the resolution."""
    stem: Literal[0, 2, 4] = 0
    """Stride of the first convolution over pictures; 0: 4 from 48 pixels a side on, else 2. Over spectrograms it is 2."""
    blocks: int = Field(1, ge=1)
    """Residual blocks in a stage."""
    pool: Literal["mean", "layout"] = "mean"
    """Features of a picture: the mean of its cells; or a linear layer over 4 x 4 of them, which knows what lies where."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the pooled features, or what they are made of."""


class Cnn(Encoder):
    """Grid [C, H, W] -> one token for each cell of the last feature map; spectrogram [T, mels] -> one for each time step left.

    Pooled by their mean."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid", "spectrogram"})
    steps: ClassVar[frozenset[Kind]] = frozenset({"spectrogram"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        channels, height, width = spec.shape if spec.kind == "grid" else (1, 1, 1)
        if config.preset == "reference" and spec.kind != "grid":
            raise ConfigError("the reference cnn is for pictures of one size", "Leave encoder.cnn.preset at modern.")
        reference = config.preset == "reference"
        super().__init__(spec, 128 if reference else config.width * 2 ** (config.stages - 1))
        self.config = config
        self.dropout = nn.Dropout(config.dropout)
        self.body: Any
        if reference:
            flat = 32 * ((height - 2) // 2) * ((width - 2) // 2)
            # Pooling before the ReLU gives the same values and a quarter of the work.
            self.body = nn.Sequential(nn.Conv2d(channels, 32, 3), nn.MaxPool2d(2), nn.ReLU())
            self.dense = nn.Linear(flat, 128)
            self.layout = None
            return
        self.body = ResidualStack(channels, config.width, config.stages, config.blocks, stem=_stem(config, spec))
        self.layout = nn.Linear(CELLS**2 * self.dim, self.dim) if _knows_layout(config, spec) else None

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        channels, height, width = spec.shape if spec.kind == "grid" else (1, 1, 1)
        if config.preset == "reference":
            flat = 32 * ((height - 2) // 2) * ((width - 2) // 2)
            return (9 * channels + 1) * 32 + (flat + 1) * 128 + 128
        inner: int = config.width * 2 ** (config.stages - 1)
        layout = (CELLS**2 * inner + 1) * inner if _knows_layout(config, spec) else 0
        body = ResidualStack.parameter_formula(channels, config.width, config.stages, config.blocks, _stem(config, spec))
        return body + inner + layout

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        if signal.lengths is not None:
            return self._encode_spectrogram(signal)
        grid = signal.values.float()
        here = signal.present
        if self.config.preset == "reference":
            # Flattened row by row with the colours last, as Keras does: no copy where they lie so.
            pooled = F.relu(self.dense(self.body(grid).permute(0, 2, 3, 1).flatten(1)))
            return pooled, pooled[:, None], torch.ones(here.shape[0], 1, dtype=torch.bool, device=here.device)
        cells = self.body(grid)
        tokens_BTD = cells.flatten(2).transpose(1, 2)
        mask = torch.ones(tokens_BTD.shape[:2], dtype=torch.bool, device=here.device)
        if self.layout is not None:
            return self.layout(self.dropout(F.adaptive_avg_pool2d(cells, CELLS).flatten(1))), tokens_BTD, mask
        return self.dropout(tokens_BTD.mean(1)), tokens_BTD, mask

    def _encode_spectrogram(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        assert signal.lengths is not None
        values = signal.values.float().transpose(1, 2)[:, None]  # [B, 1, mels, T]
        grid, lengths = self.body.masked(values, signal.lengths.clamp(min=1))
        tokens_BTD = grid.mean(2).transpose(1, 2)
        mask = torch.arange(tokens_BTD.shape[1], device=lengths.device)[None] < lengths[:, None]
        return self.dropout(masked_mean(tokens_BTD, mask)), tokens_BTD, mask


def _stem(config: Config, spec: SignalSpec) -> int:
    return stem_for(spec.shape, config.stem) if spec.kind == "grid" else 2


def _knows_layout(config: Config, spec: SignalSpec) -> bool:
    return config.pool == "layout" and config.preset == "modern" and spec.kind == "grid"
