"""Perceiver: a few latent tokens ask the tokens of all columns, then each other, over and over (Jaegle et al. 2021).

    z_0 learned, [N, H];   z' = Cross(z <- all tokens);   z = Block(z');   repeated with the same weights;   h = LN(mean z)

Its cost grows with S, not S^2, however many columns there are. Tokens of absent columns are not asked. Parameters:
sum_m (2 D_m + (D_m + 1) H) + M H + N H + 2 H + (4 H^2 + 11 H + 3 H E + 2 E) + (4 H^2 + 9 H + 3 H E + 2 E), with E = 4 H / 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.errors import ConfigError
from mmcli.fusions import Fusion, masks
from mmcli.layers.blocks import CrossAttention, TokenProjections, TransformerBlock
from mmcli.layers.starting import drawn
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "token",
    "memory": "latents",
    "absent": "masked",
    "ordered": False,
    "cost": "N S H + N H^2",
    "use": "very many tokens or columns",
}

TRAINING = {"epochs": 25, "patience": 8}
"""Fewer epochs than others: each costs more, and attention needs no more."""


class Config(BaseConfig):
    """How wide, how often."""

    hidden: int = Field(64, ge=2)
    """Width of the tokens and of the fused features."""
    heads: int = Field(4, ge=1)
    """Attention heads; they divide the width."""
    latents: int = Field(4, ge=1)
    """Latent tokens."""
    repeats: int = Field(2, ge=1)
    """How often they ask; the weights are shared."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the tokens and in every block."""


class Perceiver(Fusion):
    """Cross-attention into latents."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        if config.hidden % config.heads:
            raise ConfigError(f"fusion.perceiver: heads = {config.heads} does not divide hidden = {config.hidden}")
        super().__init__(dims, config.hidden)
        self.repeats = config.repeats
        self.project = TokenProjections(list(dims.values()), config.hidden, config.dropout)
        self.latents = nn.Parameter(drawn(config.latents, config.hidden, std=0.1))
        self.ask = CrossAttention(config.hidden, config.heads, config.dropout)
        self.think = TransformerBlock(config.hidden, config.heads, config.dropout)
        self.norm = nn.LayerNorm(config.hidden)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        hidden: int = config.hidden
        own = TokenProjections.parameter_formula(list(dims.values()), hidden) + config.latents * hidden + 2 * hidden
        return own + CrossAttention.parameter_formula(hidden) + TransformerBlock.parameter_formula(hidden)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        each = self.project([features[column].tokens for column in self.columns])
        tokens_BSH, mask_BS = torch.cat(each, 1), torch.cat(masks(features, self.columns), 1)
        latents_BNH = self.latents.to(tokens_BSH.dtype).expand(mask_BS.shape[0], -1, -1)
        everyone = torch.ones(latents_BNH.shape[:2], dtype=torch.bool, device=mask_BS.device)
        for _ in range(self.repeats):
            latents_BNH = self.think(self.ask(latents_BNH, tokens_BSH, mask_BS), everyone)
        normed = self.norm(latents_BNH)
        return Fused(normed.mean(1), tokens=normed, mask=everyone)
