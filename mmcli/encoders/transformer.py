"""A transformer encoder (Vaswani et al. 2017) over token ids, sequences of vectors or spectrograms, with a class token.

Spectrograms are cut into pieces of four frames (as Gong et al. 2021 cut patches). Positions are told by sines and cosines, so
that any length will do.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.layers.blocks import TransformerBlock, masked_mean
from mmcli.layers.starting import drawn
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 60, "learning_rate": 1e-3, "batch_size": 32, "weight_decay": 0.05, "patience": 15}
AUGMENT = {"none": {"token_dropout": 0.0}, "strong": {"token_dropout": 0.25}}
PIECE = 4
"""Frames of a spectrogram in a token."""


class Config(BaseConfig):
    """How wide and deep."""

    dim: int = Field(128, ge=2)
    """Width of the tokens; even."""
    heads: int = Field(4, ge=1)
    """Attention heads; they divide the width."""
    layers: int = Field(3, ge=1)
    """Transformer blocks."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the tokens and in every block."""
    token_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of tokens hidden while training."""


class Transformer(Encoder):
    """Ids [T], a sequence [T, D] or a spectrogram [T, mels] -> one token for each step or piece.

    Pooled: the class token's last state beside the mean of the others, projected."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"ids", "sequence", "spectrogram"})
    steps: ClassVar[frozenset[Kind]] = kinds

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        if config.dim % config.heads or config.dim % 2:
            raise ConfigError(f"encoder.transformer: heads = {config.heads} does not divide dim = {config.dim}, or dim is odd")
        super().__init__(spec, config.dim)
        self.config = config
        self.piece = self.stride = PIECE if spec.kind == "spectrogram" else 1
        self.embed: nn.Module = (
            nn.Embedding(spec.vocab_size, config.dim)
            if spec.kind == "ids"
            else nn.Linear(spec.shape[-1] * self.piece, config.dim)
        )
        self.first = nn.Parameter(drawn(config.dim, std=0.1))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([TransformerBlock(config.dim, config.heads, config.dropout) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.dim)
        self.pool = nn.Linear(2 * config.dim, config.dim)

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        dim = config.dim
        piece = PIECE if spec.kind == "spectrogram" else 1
        embed = spec.vocab_size * dim if spec.kind == "ids" else (spec.shape[-1] * piece + 1) * dim
        return embed + config.layers * TransformerBlock.parameter_formula(dim) + (2 * dim + 1) * dim + 4 * dim

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        assert signal.lengths is not None
        values, lengths = signal.values, signal.lengths.clamp(min=1)
        if self.piece > 1:
            values = F.pad(values, (0, 0, 0, -values.shape[1] % self.piece))
            values = values.reshape(values.shape[0], -1, self.piece * values.shape[2])
            lengths = (lengths + self.piece - 1) // self.piece
        embedded_BTD = self.embed(values.long() if isinstance(self.embed, nn.Embedding) else values.float())
        mask = torch.arange(embedded_BTD.shape[1], device=lengths.device)[None] < lengths[:, None]
        embedded_BTD = self._hide(embedded_BTD) + _positions(embedded_BTD.shape[1], self.dim, embedded_BTD.device)
        tokens_BTD = torch.cat([self.first.expand(values.shape[0], 1, -1), self.dropout(embedded_BTD)], 1)
        all_mask = F.pad(mask, (1, 0), value=True)
        for block in self.blocks:
            tokens_BTD = block(tokens_BTD, all_mask)
        normed_BTD = self.norm(tokens_BTD)
        pooled = self.pool(torch.cat([normed_BTD[:, 0], masked_mean(normed_BTD[:, 1:], mask)], 1))
        return self.dropout(pooled), normed_BTD[:, 1:], mask

    def _hide(self, embedded_BTD: Tensor) -> Tensor:
        if not self.training or not self.config.token_dropout:
            return embedded_BTD
        kept = torch.rand(embedded_BTD.shape[:2], device=embedded_BTD.device) >= self.config.token_dropout
        return embedded_BTD * kept[..., None]


def _positions(steps: int, dim: int, device: torch.device) -> Tensor:
    """[T, D]: sines and cosines of the step (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10_000.0) / dim))
    angles = torch.arange(steps, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
