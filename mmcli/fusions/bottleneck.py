"""Bottleneck: columns exchange only through a few tokens that all of them share (MBT, Nagrani et al. 2021, eq. 8 and 9).

    in each layer, for each column  [t_m; b_m] = Block_m([t_m; b]);   b = mean over present m of b_m;   h = LN(mean of b)

So each column condenses what it has to say. Absent columns do not take part. Parameters: sum_m (2 D_m + (D_m + 1) H) + M H +
N H + 2 H + layers M block, for N bottleneck tokens and blocks of 4 H^2 + 9 H + 3 H E + 2 E, E = 4 H / 3.
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
    "memory": "latents",
    "absent": "masked",
    "ordered": False,
    "cost": "layers M T H^2",
    "use": "long token sequences in every column; noise in some",
}

TRAINING = {"epochs": 25, "patience": 8}
"""Fewer epochs than others: each costs more, and attention needs no more."""


class Config(BaseConfig):
    """How wide and deep."""

    hidden: int = Field(64, ge=2)
    """Width of the tokens and of the fused features."""
    heads: int = Field(4, ge=1)
    """Attention heads; they divide the width."""
    tokens: int = Field(4, ge=1)
    """Bottleneck tokens."""
    layers: int = Field(1, ge=1)
    """Layers, of one block for each column."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the tokens and in every block."""


class Bottleneck(Fusion):
    """Self-attention within each column and the shared tokens."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        if config.hidden % config.heads:
            raise ConfigError(f"fusion.bottleneck: heads = {config.heads} does not divide hidden = {config.hidden}")
        super().__init__(dims, config.hidden)
        self.project = TokenProjections(list(dims.values()), config.hidden, config.dropout)
        self.shared = nn.Parameter(drawn(config.tokens, config.hidden, std=0.1))
        self.blocks = nn.ModuleList(
            [TransformerBlock(config.hidden, config.heads, config.dropout) for _ in range(config.layers * len(dims))]
        )
        self.norm = nn.LayerNorm(config.hidden)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        hidden: int = config.hidden
        own = TokenProjections.parameter_formula(list(dims.values()), hidden) + config.tokens * hidden + 2 * hidden
        return own + config.layers * len(dims) * TransformerBlock.parameter_formula(hidden)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        each = self.project([features[column].tokens for column in self.columns])
        own_masks = masks(features, self.columns)
        here_BM = torch.stack([mask.any(1) for mask in own_masks], 1)
        N, M = len(self.shared), len(each)
        shared_BNH = self.shared.to(each[0].dtype).expand(here_BM.shape[0], -1, -1)
        for start in range(0, len(self.blocks), M):
            answers = []
            for m in range(M):
                both = torch.cat([shared_BNH, each[m]], 1)
                both = self.blocks[start + m](both, F.pad(own_masks[m], (N, 0), value=True))
                each[m] = both[:, N:]
                answers.append(both[:, :N])
            share = here_BM.to(answers[0].dtype) / here_BM.sum(1, keepdim=True)
            shared_BNH = (torch.stack(answers, 1) * share[:, :, None, None]).sum(1)
        normed = self.norm(shared_BNH)
        return Fused(normed.mean(1), tokens=normed, mask=torch.ones(normed.shape[:2], dtype=torch.bool, device=normed.device))
