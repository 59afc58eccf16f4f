"""TabM (Gorishniy, Kotelnikov and Babenko 2025): one perceptron that is many, whose members share each matrix, averaged.

A member has vectors of its own in each layer (BatchEnsemble, Wen 2020); those before the first begin as random signs, so that
members see other mixtures of the same fields and learn different things:

    l_k(x) = ((x * r_k) W) * s_k + b_k

Numbers enter as they are and piecewise linearly, categories and missing cells as indicators, as in `mlp`. All members are
computed at once, [B, K, H], each with other fields hidden while it trains; each is trained by its own loss (`apart`) on the
same head, before which it has an r_k too, so that the mean of their features gives the mean of their outputs.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.encoders import Encoder
from mmcli.layers.config import PerceptronConfig
from mmcli.layers.forms import Fields
from mmcli.layers.starting import drawn
from mmcli.signals import Column, Kind, Signal, SignalSpec, Source

TRAINING = {"epochs": 100, "learning_rate": 2e-3, "batch_size": 64, "weight_decay": 0.05, "keep": "last"}
AUGMENT = {"none": {"field_dropout": 0.0}, "strong": {"field_dropout": 0.35}}


class Config(PerceptronConfig):
    """How many, how wide and deep."""

    members: int = Field(16, ge=1, le=128)
    """Networks in one, that are averaged."""
    layers: int = Field(2, ge=0)
    """Layers after the first."""


class TabM(Encoder):
    """Fields [F] or a vector [D] -> one token, the pooled features."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"fields", "vector"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, config.hidden)
        members, hidden = config.members, config.hidden
        self.first = _Fields(config, spec) if spec.kind == "fields" else _Linear(members, spec.shape[-1], hidden, signs=True)
        self.layers = nn.ModuleList([_Linear(members, hidden, hidden) for _ in range(config.layers)])
        self.last = nn.Parameter(torch.ones(members, hidden))
        self.dropout = config.dropout

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        members, hidden, width = config.members, config.hidden, spec.shape[-1]
        if spec.kind == "fields":
            width += sum(field.categories or 1 + config.bins for field in spec.fields)
        first = width * hidden + members * (width + 2 * hidden)
        return first + config.layers * (hidden + 3 * members) * hidden + members * hidden + hidden

    def fit(self, column: Source) -> None:
        """The bins of the numbers."""
        if isinstance(self.first, _Fields):
            assert isinstance(column, Column)
            self.first.learn_bins(column)

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        values = signal.values.float()
        share = self.dropout if self.training else 0.0
        hidden_BKH = _dropped(F.relu(self.first(values if isinstance(self.first, _Fields) else values[:, None])), share)
        for layer in self.layers:
            hidden_BKH = _dropped(F.relu(layer(hidden_BKH)), share)
        each_BKH = hidden_BKH * self.last
        pooled = each_BKH.transpose(0, 1).flatten(0, 1) if self.apart and self.training else each_BKH.mean(1)
        return pooled, pooled[:, None], torch.ones(pooled.shape[0], 1, dtype=torch.bool, device=pooled.device)


class _Linear(nn.Module):
    """[B, K or 1, D] -> [B, K, H], by one matrix and three vectors of each of K members."""

    def __init__(self, members: int, width: int, dim: int, signs: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, dim).uniform_(-1, 1) * width**-0.5)
        self.before = nn.Parameter(_signs(members, width) if signs else torch.ones(members, width))
        self.after = nn.Parameter(torch.ones(members, dim))
        self.bias = nn.Parameter((torch.empty(dim).uniform_(-1, 1) * width**-0.5).repeat(members, 1))

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = ((values * self.before) @ self.weight) * self.after + self.bias
        return result


class _Fields(Fields):
    """Fields [B, F] -> [B, K, H]: the same over encoded numbers, categories as indicators, and indicators of what is missing.

    An indicator times a sign times its row of the matrix is a sum of rows of a table, so that many categories cost no more
    than few. `learn_bins` before use.
    """

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec.fields, config.bins)
        members, dim = config.members, config.hidden
        numbers, categories = len(self.number_at) * (1 + config.bins), sum(field.categories for field in spec.fields)
        scale = 0.6 * max(numbers + categories, 1) ** -0.5
        self.field_dropout = config.field_dropout
        self.weight = nn.Parameter(drawn(numbers, dim, std=scale))
        self.table = nn.Parameter(drawn(categories, dim, std=scale))
        self.missing = nn.Parameter(torch.zeros(len(spec.fields), dim))
        self.before_numbers = nn.Parameter(_signs(members, numbers))
        self.before_categories = nn.Parameter(_signs(members, categories))
        self.before_missing = nn.Parameter(_signs(members, len(spec.fields)))
        self.after = nn.Parameter(torch.ones(members, dim))
        self.bias = nn.Parameter(torch.zeros(members, dim))

    def forward(self, fields_BF: Tensor) -> Tensor:
        members = len(self.bias)
        absent_BKF = fields_BF.isnan()[:, None].expand(-1, members, -1)
        if self.training and self.field_dropout:
            absent_BKF = absent_BKF | (torch.rand(absent_BKF.shape, device=fields_BF.device) < self.field_dropout)
        sums = (absent_BKF.to(self.missing.dtype) * self.before_missing) @ self.missing
        if len(self.number_at):
            encoded_BNT = self.encoded(fields_BF)
            gone_BKN = absent_BKF[:, :, self.number_at]
            signed_BKNT = encoded_BNT[:, None] * self.before_numbers.unflatten(1, encoded_BNT.shape[1:])
            sums = sums + signed_BKNT.masked_fill(gone_BKN[..., None], 0.0).flatten(2) @ self.weight
        if len(self.category_at):
            ids_BC = self.ids(fields_BF)
            signs_BKC = self.before_categories.t()[ids_BC].transpose(1, 2).masked_fill(absent_BKF[:, :, self.category_at], 0.0)
            sums = sums + signs_BKC @ self.table[ids_BC]
        return sums * self.after + self.bias


def _dropped(values: Tensor, share: float) -> Tensor:
    """Dropout of 16 random bits a number: four at a time, for to draw them one by one is half of all the work there is here."""
    if not share:
        return values
    drawn = torch.empty((values.numel() + 3) // 4, dtype=torch.int64, device=values.device).random_(-(2**63), None)
    kept = drawn.view(torch.int16)[: values.numel()].view(values.shape) >= round(share * 2**16) - 2**15
    return values * (kept.to(values.dtype) * (1 / (1 - share)))


def _signs(members: int, width: int) -> Tensor:
    """1 or -1 at random, [members, width]."""
    return torch.randint(2, (members, width)) * 2.0 - 1.0
