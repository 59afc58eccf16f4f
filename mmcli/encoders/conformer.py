"""Self-attention for what is far apart, convolution for what is near: for texts of sound (Conformer, Gulati 2020)

Both stand between two halves of a feed-forward layer. Two convolutions bring bands down to a quarter and frames to a half or a
quarter, before anything that is expensive. Relative positions enter the attention by rotating queries and keys (Su 2021).
Where Gulati has BatchNorm there is LayerNorm: a row's result depends on no other row and on no padding, while training either.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.layers.blocks import masked_mean
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 60, "learning_rate": 1e-3, "batch_size": 16, "weight_decay": 0.05, "patience": 15}


class Config(BaseConfig):
    """How wide and deep."""

    dim: int = Field(144, ge=4)
    """Width of the tokens."""
    heads: int = Field(4, ge=1)
    """Attention heads; twice as many divide the width."""
    layers: int = Field(4, ge=1)
    """Blocks."""
    kernel: int = Field(15, ge=1)
    """Tokens that a convolution sees; odd."""
    channels: int = Field(32, ge=1)
    """Channels of the two convolutions in front."""
    stride: Literal[2, 4] = 4
    """Frames of sound in a token."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the tokens and in every block."""


class Conformer(Encoder):
    """Spectrogram [T, mels] -> one token for every `stride` frames. Pooled: the mean of the tokens.

    Parameters, with D = dim, C = channels, K = kernel, M = mels / 4 rounded up, L = layers:
    10 C + (9 C + 1) C + (C M + 1) D + L (23 D^2 + (31 + K) D) + D."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"spectrogram"})
    steps: ClassVar[frozenset[Kind]] = kinds
    may_halve = True

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        if config.dim % (2 * config.heads) or not config.kernel % 2:
            raise ConfigError(
                f"encoder.conformer: 2 x heads = {2 * config.heads} does not divide dim = {config.dim}, or kernel = "
                f"{config.kernel} is even"
            )
        super().__init__(spec, config.dim)
        self.stride = config.stride
        self.width = config.dim // config.heads
        self.first = nn.Conv2d(1, config.channels, 3, stride=2, padding=1)
        self.steps_apart = config.stride // 2
        self.second = nn.Conv2d(config.channels, config.channels, 3, stride=(self.steps_apart, 2), padding=1)
        self.narrow = nn.Linear(config.channels * _bands(spec), config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            [ConformerBlock(config.dim, config.heads, config.kernel, config.dropout) for _ in range(config.layers)]
        )

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        dim, channels = config.dim, config.channels
        front: int = 10 * channels + (9 * channels + 1) * channels + (channels * _bands(spec) + 1) * dim
        return front + config.layers * ConformerBlock.parameter_formula(dim, config.kernel) + dim

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        assert signal.lengths is not None
        lengths = (signal.lengths.clamp(min=1) + 1) // 2
        grid = F.relu(self.first(signal.values.float()[:, None]))
        grid = grid * _real(lengths, grid.shape[2])[:, None, :, None]
        lengths = (lengths + self.steps_apart - 1) // self.steps_apart
        grid = F.relu(self.second(grid))
        tokens_BTD = self.dropout(self.narrow(grid.transpose(1, 2).flatten(2)))
        mask = _real(lengths, tokens_BTD.shape[1])
        turns = _turns(tokens_BTD.shape[1], self.width, tokens_BTD.device)
        for block in self.blocks:
            tokens_BTD = block(tokens_BTD, mask, turns)
        return self.dropout(masked_mean(tokens_BTD, mask)), tokens_BTD, mask


class ConformerBlock(nn.Module):
    """x + FF(x) / 2, then + attention, + convolution, + FF / 2, and a LayerNorm. Parameters: 23 D^2 + (31 + K) D."""

    def __init__(self, dim: int, heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = _feed_forward(dim, dropout), _feed_forward(dim, dropout)
        self.norm_attention = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm_near = nn.LayerNorm(dim)
        self.gate = nn.Linear(dim, 2 * dim)
        self.near = nn.Conv2d(dim, dim, (1, kernel), padding=(0, kernel // 2), groups=dim)
        self.norm_inner = nn.LayerNorm(dim)
        self.mix = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    @staticmethod
    def parameter_formula(dim: int, kernel: int) -> int:
        feed_forward = 8 * dim * dim + 7 * dim
        attention = 4 * dim * dim + 6 * dim
        convolution = 3 * dim * dim + (8 + kernel) * dim
        return 2 * feed_forward + attention + convolution + 2 * dim

    def forward(self, tokens_BTD: Tensor, mask_BT: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        tokens_BTD = tokens_BTD + 0.5 * self.before(tokens_BTD)
        tokens_BTD = tokens_BTD + self.dropout(self._attended(self.norm_attention(tokens_BTD), mask_BT, turns))
        tokens_BTD = tokens_BTD + self.dropout(self._convolved(self.norm_near(tokens_BTD), mask_BT))
        result: Tensor = self.norm(tokens_BTD + 0.5 * self.after(tokens_BTD))
        return result

    def _attended(self, normed_BTD: Tensor, mask_BT: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        B, T, D = normed_BTD.shape
        query, key, value = self.qkv(normed_BTD).reshape(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        query, key = _turned(query, turns), _turned(key, turns)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask_BT[:, None, None, :])
        result: Tensor = self.out(attended.transpose(1, 2).reshape(B, T, D))
        return result

    def _convolved(self, normed_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Padding is blanked before it could reach what is real."""
        gated = F.glu(self.gate(normed_BTD), -1) * mask_BT[..., None]
        near = self.near(gated.transpose(1, 2)[:, :, None])[:, :, 0].transpose(1, 2)
        result: Tensor = self.mix(F.silu(self.norm_inner(near)))
        return result


def _feed_forward(dim: int, dropout: float) -> nn.Sequential:
    layers = [nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.SiLU(), SharedDropout(dropout), nn.Linear(4 * dim, dim)]
    return nn.Sequential(*layers, nn.Dropout(dropout))


class SharedDropout(nn.Module):
    """Dropout of whole features of a row, in all of its steps (Gal 2016): where there are many of them, drawing a number for
    each step takes as long as the layers around it do on a CPU."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, states_BTD: Tensor) -> Tensor:
        if not self.training or not self.share:
            return states_BTD
        kept = F.dropout(torch.ones_like(states_BTD[:, :1]), self.share)
        return states_BTD * kept


def _real(lengths: Tensor, steps: int) -> Tensor:
    """bool [B, T]: which steps are not padding."""
    return torch.arange(steps, device=lengths.device)[None] < lengths[:, None]


def _turns(steps: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, width / 2] of the angles by which pairs of features turn at each step."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2, device=device) / width)
    angles = torch.arange(steps, device=device)[:, None] * rates
    return angles.cos(), angles.sin()


def _turned(states_BHTD: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotated, so that a product of two depends on how far apart they stand and not on where (Su 2021, equation 34)."""
    one, other = states_BHTD.chunk(2, -1)
    cos, sin = (turn.to(states_BHTD.dtype) for turn in turns)
    return torch.cat([one * cos - other * sin, one * sin + other * cos], -1)


def _bands(spec: SignalSpec) -> int:
    """Bands left by two convolutions of stride 2."""
    return ((spec.shape[-1] + 1) // 2 + 1) // 2
