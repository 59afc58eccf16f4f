"""Gated cross-attention: the steps of a leading column, plus what they find in the others, as far as a gate opens (Alayrac
2022).

    t_m = P_m LN(tokens_m) + e_m + Q f(place);   c = Attention(LN(lead + Q f(place)) <- [t_n for n != lead])
    y = lead + tanh(a) sigmoid(G [lead; c]) c

a starts at 0, so that fusing begins as the leading column and only evidence moves it (the gate is that of Wu 2021). f(place)
are sines of how far along its row a token is, so that steps find what stands beside them. The lead is the first column; in rows
that lack it the next that is there, t_n in place of lead. While training, runs of the lead's steps are hidden, so that the
others are needed. y keeps the lead's order and length, for answers that are texts. Parameters: sum_m (2 D_m + (D_m + 1) H) +
(M - 1) H + 16 H + 4 (H + 1) H + 2 H + (2 H + 1) H + H, with H = D_lead and m over the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Fusion, leading, masks, runs_hidden
from mmcli.layers.blocks import TokenProjections, masked_mean
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "token",
    "memory": "lead",
    "absent": "masked",
    "ordered": True,
    "cost": "M S H^2",
    "use": "answers that are texts: one column is read step by step, the others say what it does not",
}

TRAINING = {"epochs": 80, "patience": 20, "learning_rate": 2e-3, "batch_size": 32, "modality_dropout": 0.1}
WAVES = 8
"""Sines and cosines that say where along its row a token is."""


class Config(BaseConfig):
    """How it attends."""

    heads: int = Field(4, ge=1)
    """Attention heads; where they do not divide the lead's width, the most that do."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the tokens and on what is found in them."""
    hide: float = Field(0.2, ge=0, lt=1)
    """Mean share of the lead's steps that are hidden while training, in one run."""


class GatedCrossAttention(Fusion):
    """One attention from the lead's steps to all other columns' tokens."""

    rates: ClassVar[Mapping[str, float]] = MappingProxyType({"open": 30.0})
    """One number a feature says how far the gate may open at all: it starts shut, and has few steps to open."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        width = next(iter(dims.values()))
        super().__init__(dims, width)
        self.config = config
        self.heads = math.gcd(config.heads, width)
        self.project = TokenProjections(list(dims.values())[1:], width, config.dropout)
        self.place = nn.Linear(2 * WAVES, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.ask = nn.Linear(width, width)
        self.answer = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.gate = nn.Linear(2 * width, width)
        self.open = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:  # noqa: ARG004
        width = next(iter(dims.values()))
        own = TokenProjections.parameter_formula(list(dims.values())[1:], width)
        return own + 2 * WAVES * width + 2 * width + 4 * (width + 1) * width + (2 * width + 1) * width + width

    def forward(self, features: Mapping[str, Features]) -> Fused:
        own_masks = masks(features, self.columns)
        each = self.project([features[column].tokens for column in self.columns[1:]])
        placed = [tokens + self.place(_waves(mask)) for tokens, mask in zip(each, own_masks[1:], strict=True)]
        steps, mask, leads = leading([features[self.columns[0]].tokens, *placed], own_masks)
        if not placed:
            return Fused(masked_mean(steps, mask), steps, mask)
        if self.training and self.config.hide:
            steps = runs_hidden(steps, mask, self.config.hide)
        others = [mask_n & (leads != n)[:, None] for n, mask_n in enumerate(own_masks) if n]
        found = self._attend(steps + self.place(_waves(mask)), torch.cat(placed, 1), torch.cat(others, 1))
        said = torch.sigmoid(self.gate(torch.cat([steps, found], -1))) * found
        made = steps + torch.tanh(self.open) * said
        return Fused(masked_mean(made + said, mask), made, mask)

    def _attend(self, query_BTH: Tensor, source_BSH: Tensor, mask_BS: Tensor) -> Tensor:
        """[B, T, H]: zero in rows that have nothing to be asked."""
        B, T, H = query_BTH.shape
        width = H // self.heads
        query = self.ask(self.norm(query_BTH)).reshape(B, T, self.heads, width).transpose(1, 2)
        pair = self.answer(source_BSH).reshape(B, -1, 2, self.heads, width).permute(2, 0, 3, 1, 4)
        none = ~mask_BS.any(1)
        usable = mask_BS | none[:, None]
        attended = F.scaled_dot_product_attention(query, pair[0], pair[1], attn_mask=usable[:, None, None, :])
        found: Tensor = self.dropout(self.out(attended.transpose(1, 2).reshape(B, T, H)))
        return found.masked_fill(none[:, None, None], 0.0)


def _waves(mask_BT: Tensor) -> Tensor:
    """[B, T, 2 WAVES]: sines and cosines of each token's place among its row's, from 0 to 1."""
    place = mask_BT.cumsum(1) - 0.5
    share = place / mask_BT.sum(1, keepdim=True).clamp(min=1)
    turns = torch.arange(1, WAVES + 1, device=mask_BT.device) * torch.pi
    angle = share[..., None] * turns
    return torch.cat([angle.sin(), angle.cos()], -1)
