"""Memory: the tokens of all columns at one width, side by side, for heads that look among them (as a multi-source decoder does,
Libovicky and Helcl 2017, flat attention).

    t_m = P_m LN(tokens_m) + e_m;   tokens = [t_1; ...; t_M];   h = mean of the tokens

e_m says which column a token is of. An absent column has one token, its absent embedding. While training, runs of the first
column's tokens are hidden, so that the others are needed. Parameters: sum_m (2 D_m + (D_m + 1) H) + M H.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Fusion, runs_hidden
from mmcli.layers.blocks import TokenProjections, masked_mean
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "token",
    "memory": "columns",
    "absent": "embedding",
    "ordered": True,
    "cost": "S D H",
    "use": "answers that are texts: the head itself looks among all tokens, and nothing is fused before",
}

TRAINING = {"epochs": 80, "patience": 20, "learning_rate": 2e-3, "batch_size": 32, "modality_dropout": 0.1}


class Config(BaseConfig):
    """How wide, and what is hidden."""

    hidden: int = Field(128, ge=1)
    """Width of the tokens and of the fused features."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the tokens."""
    hide: float = Field(0.2, ge=0, le=0.5)
    """Mean share of the first column's tokens that are hidden while training, in one run; nothing where it is the only one."""


class Memory(Fusion):
    """Projections, and nothing more."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(dims, config.hidden)
        self.hide = config.hide if len(dims) > 1 else 0.0
        self.project = TokenProjections(list(dims.values()), config.hidden, config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        return TokenProjections.parameter_formula(list(dims.values()), config.hidden)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        own_masks = [features[column].mask for column in self.columns]
        each = self.project([features[column].tokens for column in self.columns])
        if self.training and self.hide:
            each[0] = runs_hidden(each[0], own_masks[0], self.hide)
        tokens_BSH, mask_BS = torch.cat(each, 1), torch.cat(own_masks, 1)
        return Fused(masked_mean(tokens_BSH, mask_BS), tokens_BSH, mask_BS)
