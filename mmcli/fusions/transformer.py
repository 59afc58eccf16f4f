"""Transformer: self-attention over the tokens of all columns and a class token (Vaswani 2017; as in VisualBERT, Li 2019).

    t = [c; P_1 LN(tokens_1) + e_1; ...; P_M LN(tokens_M) + e_M];   `layers` blocks of self-attention;   h = LN(t_c)

Tokens of absent columns are masked. Parameters: sum_m (2 D_m + (D_m + 1) H) + M H + 3 H + layers * block, a block having
4 H^2 + 9 H + 3 H E + 2 E with E = 4 H / 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.errors import ConfigError
from mmcli.fusions import Fusion, masks
from mmcli.layers.blocks import TokenProjections, TransformerBlock
from mmcli.layers.starting import drawn
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "token",
    "memory": "columns",
    "absent": "masked",
    "ordered": False,
    "cost": "layers (S H^2 + S^2 H)",
    "use": "enough rows, and words or places that refer to each other",
}

TRAINING = {"epochs": 25, "patience": 8}
"""Fewer epochs than others: each costs more, and attention needs no more."""


class Config(BaseConfig):
    """How wide and deep."""

    hidden: int = Field(64, ge=2)
    """Width of the tokens and of the fused features."""
    heads: int = Field(4, ge=1)
    """Attention heads; they divide the width."""
    layers: int = Field(1, ge=1)
    """Transformer blocks."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the tokens and in every block."""


class Transformer(Fusion):
    """Pre-norm blocks over all tokens at once."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        if config.hidden % config.heads:
            raise ConfigError(f"fusion.transformer: heads = {config.heads} does not divide hidden = {config.hidden}")
        super().__init__(dims, config.hidden)
        self.project = TokenProjections(list(dims.values()), config.hidden, config.dropout)
        self.first = nn.Parameter(drawn(config.hidden, std=0.1))
        self.blocks = nn.ModuleList(
            [TransformerBlock(config.hidden, config.heads, config.dropout) for _ in range(config.layers)]
        )
        self.norm = nn.LayerNorm(config.hidden)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        own = TokenProjections.parameter_formula(list(dims.values()), config.hidden)
        return own + 3 * config.hidden + config.layers * TransformerBlock.parameter_formula(config.hidden)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        each = self.project([features[column].tokens for column in self.columns])
        mask_BS = F.pad(torch.cat(masks(features, self.columns), 1), (1, 0), value=True)
        tokens_BSH = torch.cat([self.first.to(each[0].dtype).expand(mask_BS.shape[0], 1, -1), *each], 1)
        for block in self.blocks:
            tokens_BSH = block(tokens_BSH, mask_BS)
        normed = self.norm(tokens_BSH)
        return Fused(normed[:, 0], tokens=normed[:, 1:], mask=mask_BS[:, 1:])
