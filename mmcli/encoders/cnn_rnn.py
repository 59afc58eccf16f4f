"""A convolutional network on each frame and a recurrent one over time: for clips (LRCN, Donahue et al. 2015).

Beside each frame its change from the frame before is seen, and the recurrent network is told when the frame was taken.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.layers.residual import ResidualStack, stem_for
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 40, "learning_rate": 2e-3, "batch_size": 16, "weight_decay": 0.05, "patience": 12}


class Config(BaseConfig):
    """How wide and deep."""

    width: int = Field(16, ge=4)
    """Channels of the first stage; each further one doubles them."""
    stages: int = Field(3, ge=1, le=6)
    """Stages, each but the first halving the resolution."""
    stem: Literal[0, 2, 4] = 0
    """Stride of the first convolution over frames; 0: 4 from 48 pixels a side on, else 2."""
    hidden: int = Field(64, ge=1)
    """Width of the state, in each direction."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the frames' features and on the pooled ones."""


class CnnRnn(Encoder):
    """Clip [T, C, H, W] -> one token for each frame, pooled by their maximum."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"clip"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, 2 * config.hidden)
        channels = spec.shape[1] if spec.kind == "clip" else 1
        self.body = ResidualStack(2 * channels, config.width, config.stages, 1, stem=stem_for(spec.shape, config.stem))
        self.recur = nn.GRU(config.width * 2 ** (config.stages - 1) + 1, config.hidden, bidirectional=True, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        inner: int = config.width * 2 ** (config.stages - 1) + 1
        stem = stem_for(spec.shape, config.stem)
        body = ResidualStack.parameter_formula(2 * spec.shape[1], config.width, config.stages, 1, stem)
        return body + 2 * 3 * config.hidden * (inner + config.hidden + 2) + 2 * config.hidden

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        frames = signal.values.float()
        B, T = frames.shape[:2]
        change = torch.cat([torch.zeros_like(frames[:, :1]), frames[:, 1:] - frames[:, :-1]], 1)
        grid = torch.cat([frames, change], 2).flatten(0, 1)
        features_BTD = self.body(grid).mean((2, 3)).unflatten(0, (B, T))
        times_BT = torch.zeros(B, T, device=frames.device) if signal.times is None else signal.times.float()
        features_BTD = torch.cat([self.dropout(features_BTD), times_BT[..., None].to(features_BTD.dtype).log1p()], 2)
        tokens_BTD, _ = self.recur(features_BTD)
        mask = torch.ones(B, T, dtype=torch.bool, device=frames.device)
        return self.dropout(tokens_BTD.amax(1)), tokens_BTD, mask
