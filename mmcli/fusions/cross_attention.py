"""Cross-attention: the tokens of each column ask those of all the others (after MulT, Tsai et al. 2019, equation 1).

    t_m = P_m LN(tokens_m) + e_m;   y_m = Cross_m(t_m <- [t_n for n != m]);   h = ReLU(W [mean y_1; ...; mean y_M])

MulT has a stack for each ordered pair; here one for each column asks all the others at once, so that the cost grows with M, not
M^2. Absent columns are not asked, and their own y is 0. With one column it is that column's feed-forward layer alone. Its
tokens are the y of the leading column, the first that is there, one for each of that column's tokens and in their order.
Parameters: sum_m (2 D_m + (D_m + 1) H) + M H + M (4 H^2 + 11 H + 3 H E + 2 E) + (M H + 1) H, with E = 4 H / 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.errors import ConfigError
from mmcli.fusions import Fusion, leading, masks
from mmcli.layers.blocks import CrossAttention, TokenProjections, masked_mean
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "token",
    "memory": "lead",
    "absent": "masked",
    "ordered": False,
    "cost": "M S H^2",
    "use": "columns to be read in the light of each other, word by word",
}

TRAINING = {"epochs": 25, "patience": 8}
"""Fewer epochs than others: each costs more, and attention needs no more."""


class Config(BaseConfig):
    """How wide."""

    hidden: int = Field(64, ge=2)
    """Width of the tokens and of the fused features."""
    heads: int = Field(4, ge=1)
    """Attention heads; they divide the width."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the tokens, in every block and on the fused features."""


class CrossAttentionFusion(Fusion):
    """One cross-attention block for each column."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        if config.hidden % config.heads:
            raise ConfigError(f"fusion.cross-attention: heads = {config.heads} does not divide hidden = {config.hidden}")
        super().__init__(dims, config.hidden)
        self.project = TokenProjections(list(dims.values()), config.hidden, config.dropout)
        self.blocks = nn.ModuleList([CrossAttention(config.hidden, config.heads, config.dropout) for _ in dims])
        self.out = nn.Linear(len(dims) * config.hidden, config.hidden)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        hidden, columns = config.hidden, len(dims)
        own = TokenProjections.parameter_formula(list(dims.values()), hidden)
        return own + columns * CrossAttention.parameter_formula(hidden) + (columns * hidden + 1) * hidden

    def forward(self, features: Mapping[str, Features]) -> Fused:
        each = self.project([features[column].tokens for column in self.columns])
        own_masks = masks(features, self.columns)
        made, answers = [], []
        for m, block in enumerate(self.blocks):
            others = [n for n in range(len(each)) if n != m] or [m]
            source = torch.cat([each[n] for n in others], 1)
            mask = torch.cat([own_masks[n] for n in others], 1)
            if len(each) == 1:
                mask = torch.zeros_like(mask)
            asked = block(each[m], source, mask)
            made.append(masked_mean(asked, own_masks[m]))
            answers.append(asked)
        steps, mask, _ = leading(answers, own_masks)
        return Fused(self.dropout(self.out(torch.cat(made, 1)).relu()), steps, mask)
