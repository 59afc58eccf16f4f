"""Attention pooling: a learned question asks the tokens of all columns (Bahdanau et al. 2015; Yang et al. 2016, eq. 5 to 7).

    t_s = P_m LN(token_s) + e_m;   a = softmax over s of (q_k . tanh(V t_s));   h = [sum_s a_s^1 t_s; ...; sum_s a_s^K t_s] W

for K questions q_k. Tokens of absent columns are not asked. The weights shown: each column's share of the attention.
Parameters: sum_m (2 D_m + (D_m + 1) H) + M H + (H + 1) H + K H + (K H + 1) H.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Fusion, masks, owners, shares
from mmcli.layers.blocks import TokenProjections
from mmcli.layers.starting import drawn
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "token",
    "memory": "pooled",
    "absent": "masked",
    "ordered": False,
    "cost": "S H^2",
    "use": "long texts or sounds of which a part tells",
}

TRAINING = {"epochs": 30, "patience": 10}
"""Fewer epochs than others: each costs more, and attention needs no more."""


class Config(BaseConfig):
    """How wide, how many questions."""

    hidden: int = Field(128, ge=1)
    """Width of the tokens and of the fused features."""
    questions: int = Field(4, ge=1)
    """Learned questions, each with an answer of its own."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the tokens and the fused features."""


class Attention(Fusion):
    """Several questions to all tokens."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(dims, config.hidden)
        self.project = TokenProjections(list(dims.values()), config.hidden, config.dropout)
        self.keys = nn.Linear(config.hidden, config.hidden)
        self.questions = nn.Parameter(drawn(config.questions, config.hidden, std=config.hidden**-0.5))
        self.out = nn.Linear(config.questions * config.hidden, config.hidden)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        hidden, questions = config.hidden, config.questions
        own = TokenProjections.parameter_formula(list(dims.values()), hidden)
        return own + (hidden + 1) * hidden + questions * hidden + (questions * hidden + 1) * hidden

    def forward(self, features: Mapping[str, Features]) -> Fused:
        each = self.project([features[column].tokens for column in self.columns])
        tokens_BSH, mask_BS = torch.cat(each, 1), torch.cat(masks(features, self.columns), 1)
        scores_BSK = self.keys(tokens_BSH).tanh() @ self.questions.T.to(tokens_BSH.dtype)
        weights_BSK = scores_BSK.float().masked_fill(~mask_BS[..., None], float("-inf")).softmax(1)
        answers = torch.einsum("bsk,bsh->bkh", weights_BSK.to(tokens_BSH.dtype), tokens_BSH).flatten(1)
        fused = self.dropout(self.out(answers).relu())
        return Fused(fused, weights=shares(weights_BSK.mean(2), owners(each), len(self.columns)))
