"""Multilayer perceptrons over fields (numbers and categories, embedded) or over a vector: a few, trained apart, averaged.

Numbers enter as they are and piecewise linearly (Gorishniy 2022), categories and missing cells by embeddings as wide as the
layers; then residual layers. Each member is trained by its own loss (`apart`) on the same head, so that the mean of their
features gives the mean of their outputs: a deep ensemble (Lakshminarayanan 2017) in one encoder. The strong, cheap choice for
tables.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.encoders import Encoder
from mmcli.layers.config import PerceptronConfig
from mmcli.layers.forms import FieldLinear
from mmcli.signals import Column, Kind, Signal, SignalSpec, Source

TRAINING = {"epochs": 100, "learning_rate": 2e-3, "batch_size": 64, "weight_decay": 0.05, "keep": "last"}
AUGMENT = {"none": {"field_dropout": 0.0}, "strong": {"field_dropout": 0.35}}


class Config(PerceptronConfig):
    """How many, how wide and deep."""

    members: int = Field(8, ge=1, le=64)
    """Networks that are averaged."""
    layers: int = Field(2, ge=1)
    """Residual layers after the first."""


class Mlp(Encoder):
    """Fields [F] or a vector [D] -> one token, the pooled features."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"fields", "vector"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, config.hidden)
        self.members = nn.ModuleList([_Member(config, spec) for _ in range(config.members)])

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        hidden, first = config.hidden, (spec.shape[-1] + 1) * config.hidden
        if spec.kind == "fields":
            first = FieldLinear.parameter_formula(spec.fields, hidden, config.bins)
        return config.members * (first + config.layers * (hidden + 3) * hidden) + hidden

    def fit(self, column: Source) -> None:
        """The bins of the numbers."""
        assert isinstance(column, Column)
        for member in self.members:
            if isinstance(member, _Member) and isinstance(member.first, FieldLinear):
                member.first.learn_bins(column)

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        values = signal.values.float()
        each = [member(values) for member in self.members]
        pooled = torch.cat(each) if self.apart and self.training else torch.stack(each).mean(0)
        return pooled, pooled[:, None], torch.ones(pooled.shape[0], 1, dtype=torch.bool, device=pooled.device)


class _Member(nn.Module):
    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__()
        self.field_dropout = config.field_dropout if spec.kind == "fields" else 0.0
        self.first: nn.Module
        if spec.kind == "fields":
            self.first = FieldLinear(spec.fields, config.hidden, config.bins)
        else:
            self.first = nn.Linear(spec.shape[-1], config.hidden)
        self.norms = nn.ModuleList([nn.LayerNorm(config.hidden) for _ in range(config.layers)])
        self.layers = nn.ModuleList([nn.Linear(config.hidden, config.hidden) for _ in range(config.layers)])
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, values: Tensor) -> Tensor:
        if self.training and self.field_dropout:
            values = values.masked_fill(torch.rand_like(values) < self.field_dropout, float("nan"))
        hidden: Tensor = self.dropout(F.relu(self.first(values)))
        for norm, layer in zip(self.norms, self.layers, strict=True):
            hidden = hidden + self.dropout(F.relu(layer(norm(hidden))))
        return hidden
