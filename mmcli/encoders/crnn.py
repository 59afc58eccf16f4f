"""Convolutions, then a recurrent network over the time, or width, that they leave: for sound and lines of print (Shi 2015).

Residual stages bring bands and frames down to a quarter; the bands that are left become the features of a time step; a
bidirectional GRU or LSTM reads the steps, and its states are pooled by their maximum (of sound: Cakir 2017). A picture is read
from left to right, its height being what the bands are of a spectrogram.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.layers.recurrent import recurrent, recurrent_padded
from mmcli.layers.residual import ResidualStack
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 50, "learning_rate": 2e-3, "batch_size": 32, "weight_decay": 0.05, "patience": 15}
TEXTS = {"spectrogram": {"cell": "lstm"}}
"""Where the target is a text, by kind of signal."""
STAGES = 2


class Config(BaseConfig):
    """How wide."""

    width: int = Field(24, ge=4)
    """Channels of the first stage; the second has twice as many."""
    hidden: int = Field(96, ge=1)
    """Width of the state, in each direction."""
    layers: int = Field(1, ge=1)
    """Recurrent layers, one upon the other."""
    cell: Literal["gru", "lstm"] = "gru"
    """What they are of. On a CPU rows of different lengths go through an lstm about four times as fast."""
    stride: Literal[2, 4] = 4
    """Frames, or columns of pixels, in a step: 2 where texts are long for their rows."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the recurrent network's input and on the pooled features."""


class Crnn(Encoder):
    """Spectrogram [T, mels] -> one token for every `stride` frames; grid [C, H, W] -> one for so many columns of pixels."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"spectrogram", "grid"})
    steps: ClassVar[frozenset[Kind]] = frozenset({"spectrogram", "grid"})
    may_halve = True

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, 2 * config.hidden)
        self.stride = config.stride
        self.body = ResidualStack(_channels(spec), config.width, STAGES, 1, along=config.stride // 2)
        inner = config.width * 2 ** (STAGES - 1) * _bands(spec)
        self.narrow = nn.Linear(inner, 128)
        between = config.dropout if config.layers > 1 else 0.0
        self.recur: nn.GRU | nn.LSTM = (nn.LSTM if config.cell == "lstm" else nn.GRU)(
            128, config.hidden, config.layers, bidirectional=True, batch_first=True, dropout=between
        )
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        inner: int = config.width * 2 ** (STAGES - 1) * _bands(spec)
        body = ResidualStack.parameter_formula(_channels(spec), config.width, STAGES, 1)
        gates, hidden = 4 if config.cell == "lstm" else 3, config.hidden
        read = [128] + [2 * hidden] * (config.layers - 1)
        return body + (inner + 1) * 128 + sum(2 * gates * hidden * (own + hidden + 2) for own in read) + 2 * hidden

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        if signal.lengths is None:
            grid = self.body(signal.values.float())
            lengths = torch.full_like(signal.present, grid.shape[-1], dtype=torch.int64)
            exporting = torch.compiler.is_exporting()
            on_host = None if exporting else torch.full((len(grid),), grid.shape[-1])
        else:
            grid, lengths = self.body.masked(signal.values.float().transpose(1, 2)[:, None], signal.lengths.clamp(min=1))
            known = signal.lengths_on_host
            on_host = None if known is None else self.body.left(known.clamp(min=1))
        steps_BTD = self.dropout(F.relu(self.narrow(grid.flatten(1, 2).transpose(1, 2))))
        if isinstance(self.recur, nn.LSTM):
            tokens_BTD = recurrent_padded(self.recur, steps_BTD, lengths, on_host)
        else:
            tokens_BTD, _ = recurrent(self.recur, steps_BTD, lengths, on_host)
        mask = torch.arange(tokens_BTD.shape[1], device=lengths.device)[None] < lengths[:, None]
        pooled = tokens_BTD.masked_fill(~mask[..., None], float("-inf")).amax(1)
        return self.dropout(pooled), tokens_BTD, mask


def _channels(spec: SignalSpec) -> int:
    return spec.shape[0] if spec.kind == "grid" else 1


def _bands(spec: SignalSpec) -> int:
    """Bands, or rows of pixels, left after the stem's stride and one for each further stage."""
    bands = spec.shape[1] if spec.kind == "grid" else spec.shape[-1]
    for _ in range(STAGES):
        bands = (bands + 1) // 2
    return bands
