"""The feature tokenizer and transformer of Gorishniy et al. 2021 ("Revisiting Deep Learning Models for Tabular Data").

Each field becomes a token (numbers by piecewise-linear encodings, which the same authors added later), a class token is put
before them, and self-attention relates them; the class token's last state is the pooled feature. A few networks are trained
apart and averaged, as in `mlp`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.layers.blocks import TransformerBlock
from mmcli.layers.forms import FieldEmbedding
from mmcli.layers.starting import drawn
from mmcli.signals import Column, Kind, Signal, SignalSpec, Source

TRAINING = {"epochs": 80, "learning_rate": 1e-3, "batch_size": 64, "weight_decay": 0.05, "keep": "last"}
AUGMENT = {"none": {"field_dropout": 0.0}, "strong": {"field_dropout": 0.35}}


class Config(BaseConfig):
    """How many, how wide and deep."""

    members: int = Field(2, ge=1, le=64)
    """Networks that are averaged."""
    dim: int = Field(64, ge=2)
    """Width of the tokens."""
    heads: int = Field(4, ge=1)
    """Attention heads; they divide the width."""
    layers: int = Field(2, ge=1)
    """Transformer blocks."""
    bins: int = Field(16, ge=1)
    """Pieces of the encoding of a number."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout in every block."""
    field_dropout: float = Field(0.2, ge=0, lt=1)
    """Share of fields taken for missing while training."""


class FtTransformer(Encoder):
    """Fields [F] -> a token for each, and the class token as pooled features."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"fields"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        if config.dim % config.heads:
            raise ConfigError(f"encoder.ft-transformer.heads = {config.heads} does not divide dim = {config.dim}")
        super().__init__(spec, config.dim)
        self.members = nn.ModuleList([_Member(config, spec) for _ in range(config.members)])

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        embed = FieldEmbedding.parameter_formula(spec.fields, config.dim, config.bins)
        blocks = config.layers * TransformerBlock.parameter_formula(config.dim)
        return config.members * (embed + blocks + (len(spec.fields) + 3) * config.dim) + config.dim

    def fit(self, column: Source) -> None:
        """The bins of the numbers."""
        assert isinstance(column, Column)
        for member in self.members:
            assert isinstance(member, _Member)
            member.embed.learn_bins(column)

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        values = signal.values.float()
        each = [member(values) for member in self.members]
        states_BTD = torch.cat(each) if self.apart and self.training else torch.stack(each).mean(0)
        mask = torch.ones(states_BTD.shape[0], states_BTD.shape[1] - 1, dtype=torch.bool, device=values.device)
        return states_BTD[:, 0], states_BTD[:, 1:], mask


class _Member(nn.Module):
    """Fields [B, F] -> the states of the class token and of each field, [B, 1 + F, D]."""

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__()
        self.field_dropout = config.field_dropout
        self.embed = FieldEmbedding(spec.fields, config.dim, config.bins)
        self.place = nn.Parameter(drawn(len(spec.fields), config.dim, std=0.1))
        self.first = nn.Parameter(drawn(config.dim, std=0.1))
        self.blocks = nn.ModuleList([TransformerBlock(config.dim, config.heads, config.dropout) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, values: Tensor) -> Tensor:
        if self.training and self.field_dropout:
            values = values.masked_fill(torch.rand_like(values) < self.field_dropout, float("nan"))
        fields_BFD = self.embed(values) + self.place
        tokens_BTD = torch.cat([self.first.expand(values.shape[0], 1, -1), fields_BFD], 1)
        mask = torch.ones(tokens_BTD.shape[:2], dtype=torch.bool, device=values.device)
        for block in self.blocks:
            tokens_BTD = block(tokens_BTD, mask)
        result: Tensor = self.norm(tokens_BTD)
        return result
