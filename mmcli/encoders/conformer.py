"""Self-attention for what is far apart, convolution for what is near: for texts of sound (Conformer, Gulati 2020)

Both stand between two halves of a feed-forward layer. Two convolutions bring bands down to a quarter and frames to a half or a
quarter, before what is expensive. With `halves` the blocks look at four frames and a token is for two: what the blocks say is
said of both halves, each with what the first convolution has of it and a convolution over them. So there are as many steps as
characters of fast speech need, and the blocks cost half of what they would. Relative positions enter the attention by rotating
queries and keys (Su 2021). Where Gulati has BatchNorm there is LayerNorm: a row's result depends on no other row and on no
padding, while training either.
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

TEXTS = {"spectrogram": {"stride": 2, "halves": True}}
"""Where the target is a text, by kind of signal."""
TRAINING = {"epochs": 120, "learning_rate": 1e-3, "batch_size": 16, "weight_decay": 0.05, "patience": 40}


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
    halves: bool = False
    """With a stride of 2: blocks look at four frames each, and both halves get what they say."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the tokens and in every block."""


class Conformer(Encoder):
    """Spectrogram [T, mels] -> one token for every `stride` frames. Pooled: the mean of the blocks' tokens.

    Parameters, with D = dim, C = channels, K = kernel, M = mels / 4 rounded up, L = layers:
    10 C + (9 C + 1) C + (C M + 1) D + L (23 D^2 + (31 + K) D) + D; with `halves` and N = mels / 2 rounded up
    (C N + 1) D + 3 D^2 + (10 + K) D besides."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"spectrogram"})
    steps: ClassVar[frozenset[Kind]] = kinds
    may_halve = True

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        if config.dim % (2 * config.heads) or not config.kernel % 2:
            raise ConfigError(
                f"encoder.conformer: 2 x heads = {2 * config.heads} does not divide dim = {config.dim}, or kernel = "
                f"{config.kernel} is even"
            )
        if config.halves and config.stride != 2:
            raise ConfigError(
                f"encoder.conformer: halves are of four frames, and stride = {config.stride}",
                "Set stride to 2, or halves to false.",
            )
        super().__init__(spec, config.dim)
        self.stride = config.stride
        self.width = config.dim // config.heads
        self.first = nn.Conv2d(1, config.channels, 3, stride=2, padding=1)
        self.steps_apart = 2 if config.halves else config.stride // 2
        self.second = nn.Conv2d(config.channels, config.channels, 3, stride=(self.steps_apart, 2), padding=1)
        self.narrow = nn.Linear(config.channels * _bands(spec, 2), config.dim)
        self.dropout, self.dropout_pooled = SharedDropout(config.dropout), nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            [ConformerBlock(config.dim, config.heads, config.kernel, config.dropout) for _ in range(config.layers)]
        )
        bands = config.channels * _bands(spec, 1)
        self.halves = Halves(bands, config.dim, config.kernel, config.dropout) if config.halves else None

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        dim, channels = config.dim, config.channels
        front: int = 10 * channels + (9 * channels + 1) * channels + (channels * _bands(spec, 2) + 1) * dim
        if config.halves:
            front += Halves.parameter_formula(channels * _bands(spec, 1), dim, config.kernel)
        return front + config.layers * ConformerBlock.parameter_formula(dim, config.kernel) + dim

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        assert signal.lengths is not None
        halves = (signal.lengths.clamp(min=1) + 1) // 2
        fine = F.relu(self.first(signal.values.float()[:, None]))
        fine_mask = _real(halves, fine.shape[2])
        fine = fine * fine_mask[:, None, :, None]
        grid = F.relu(self.second(fine))
        tokens_BTD = self.dropout(self.narrow(grid.transpose(1, 2).flatten(2)))
        mask = _real((halves + self.steps_apart - 1) // self.steps_apart, tokens_BTD.shape[1])
        turns = _turns(tokens_BTD.shape[1], self.width, tokens_BTD.device)
        for block in self.blocks:
            tokens_BTD = block(tokens_BTD, mask, turns)
        pooled = self.dropout_pooled(masked_mean(tokens_BTD, mask))
        if self.halves is None:
            return pooled, tokens_BTD, mask
        return pooled, self.halves(tokens_BTD, fine.transpose(1, 2).flatten(2), fine_mask), fine_mask


class Halves(nn.Module):
    """Tokens [B, U, D] and what is known of both halves of each [B, T, E], T <= 2 U -> tokens of the halves [B, T, D]:
    y = token + P half, then LN(y + convolution(LN y)). Parameters: (E + 1) D + 3 D^2 + (10 + K) D."""

    def __init__(self, bands: int, dim: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.narrow = nn.Linear(bands, dim)
        self.norm_near = nn.LayerNorm(dim)
        self.gate = nn.Linear(dim, 2 * dim)
        self.near = nn.Conv2d(dim, dim, (1, kernel), padding=(0, kernel // 2), groups=dim)
        self.norm_inner = nn.LayerNorm(dim)
        self.mix = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = SharedDropout(dropout)

    @staticmethod
    def parameter_formula(bands: int, dim: int, kernel: int) -> int:
        return (bands + 1) * dim + 3 * dim * dim + (10 + kernel) * dim

    def forward(self, tokens_BUD: Tensor, halves_BTE: Tensor, mask_BT: Tensor) -> Tensor:
        B, U, D = tokens_BUD.shape
        twice = tokens_BUD[:, :, None].expand(B, U, 2, D).reshape(B, 2 * U, D)[:, : halves_BTE.shape[1]]
        made = twice + self.dropout(self.narrow(halves_BTE))
        result: Tensor = self.norm(made + self.dropout(_convolved(self, self.norm_near(made), mask_BT)))
        return result


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
        self.dropout = SharedDropout(dropout)

    @staticmethod
    def parameter_formula(dim: int, kernel: int) -> int:
        feed_forward = 8 * dim * dim + 7 * dim
        attention = 4 * dim * dim + 6 * dim
        convolution = 3 * dim * dim + (8 + kernel) * dim
        return 2 * feed_forward + attention + convolution + 2 * dim

    def forward(self, tokens_BTD: Tensor, mask_BT: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        tokens_BTD = tokens_BTD + 0.5 * self.before(tokens_BTD)
        tokens_BTD = tokens_BTD + self.dropout(self._attended(self.norm_attention(tokens_BTD), mask_BT, turns))
        tokens_BTD = tokens_BTD + self.dropout(_convolved(self, self.norm_near(tokens_BTD), mask_BT))
        result: Tensor = self.norm(tokens_BTD + 0.5 * self.after(tokens_BTD))
        return result

    def _attended(self, normed_BTD: Tensor, mask_BT: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        B, T, D = normed_BTD.shape
        query, key, value = self.qkv(normed_BTD).reshape(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        query, key = _turned(query, turns), _turned(key, turns)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask_BT[:, None, None, :])
        result: Tensor = self.out(attended.transpose(1, 2).reshape(B, T, D))
        return result


def _convolved(own: ConformerBlock | Halves, normed_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """By the layers of `own`; padding is blanked before it could reach what is real."""
    gated = F.glu(own.gate(normed_BTD), -1) * mask_BT[..., None]
    near = own.near(gated.transpose(1, 2)[:, :, None])[:, :, 0].transpose(1, 2)
    result: Tensor = own.mix(F.silu(own.norm_inner(near)))
    return result


def _feed_forward(dim: int, dropout: float) -> nn.Sequential:
    layers = [nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.SiLU(), SharedDropout(dropout), nn.Linear(4 * dim, dim)]
    return nn.Sequential(*layers, SharedDropout(dropout))


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


def _bands(spec: SignalSpec, times: int) -> int:
    """Bands left by so many convolutions of stride 2."""
    bands: int = spec.shape[-1]
    for _ in range(times):
        bands = (bands + 1) // 2
    return bands
