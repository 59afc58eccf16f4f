"""`Output = F(Input_1, ..., Input_n)`: one method a file, found by its name. Knows nothing of modalities, targets or training.

This file is their contract. A fusion joins the features of any number of columns, from one up. What a user is told of it stands
in its file as `ABOUT`, readable without importing it:

    family    feature (pooled features are joined), token (tokens are) or decision (the columns' own predictions are)
    absent    masked (an absent input counts for nothing) or embedding (a learned embedding stands for it)
    ordered   whether the order of the columns matters
    cost      what grows with the number of columns M, the width H, the tokens S
    use       when to choose it
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mmcli.signals import Decision, Features, Fused

Family = Literal["feature", "token", "decision"]


class Fusion(nn.Module, ABC):
    """Features by column -> Fused of width `dim`. A method of the family `decision` is built with a `Decision` besides."""

    family: ClassVar[Family]
    """Whether pooled features, tokens or decisions are joined."""
    order_sensitive: ClassVar[bool]
    """Whether the order of the columns matters."""
    rates: ClassVar[Mapping[str, float]] = MappingProxyType({})
    """Beginning of parameter names -> factor on the learning rate."""
    compares: ClassVar[bool] = False
    """Whether it compares columns that share an encoder: it is then built with those groups besides. Where the task does
    too, it gives log-odds beside the head's (`Fused.logits` [B]), which it sets by val rows (`fit_cosines`)."""
    gives_steps: ClassVar[bool] = False
    """Whether it gives tokens in the order of a leading column's, one for each: for heads that read steps."""
    absent_inputs: ClassVar[Literal["embedding", "masked"]]
    """How absent cells enter: by a learned absent embedding, or not at all."""

    def __init_subclass__(cls) -> None:
        about = getattr(sys.modules[cls.__module__], "ABOUT", None)
        if about is not None:
            cls.family, cls.absent_inputs, cls.order_sensitive = about["family"], about["absent"], about["ordered"]

    def __init__(self, dims: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.columns = list(dims)
        self.dim = dim

    @staticmethod
    @abstractmethod
    def parameter_formula(config: Any, dims: Mapping[str, int]) -> int:
        """How many parameters it has: the formula of its docstring, held against the module by a test."""

    @abstractmethod
    def forward(self, features: Mapping[str, Features]) -> Fused:
        """Joins the features of all `columns`; each has B rows, and width `dims[column]`."""

    def penalty(self, fused: Fused, targets: Tensor) -> Tensor | None:  # noqa: ARG002 - most have none
        """What training adds to the task's loss, a scalar."""
        return None


def stacked(features: Mapping[str, Features], columns: Sequence[str]) -> tuple[list[Tensor], Tensor]:
    """Each column's pooled [B, D_m], and which are present, bool [B, M], in the order of `columns`."""
    pooled = [features[column].pooled for column in columns]
    return pooled, torch.stack([features[column].present for column in columns], dim=1)


def usable(present_BM: Tensor) -> Tensor:
    """bool [B, M]: the present columns; in a row that has none at all every column, for its absent embedding."""
    return present_BM | ~present_BM.any(dim=1, keepdim=True)


def masks(features: Mapping[str, Features], columns: Sequence[str]) -> list[Tensor]:
    """bool [B, T_m] of each column: the tokens that may be looked at."""
    here_BM = usable(stacked(features, columns)[1])
    return [features[column].mask & here_BM[:, m, None] for m, column in enumerate(columns)]


def decisions(features: Mapping[str, Features], columns: Sequence[str], decision: Decision) -> Tensor:
    """float32 [B, M, C]: the columns' own predictions."""
    outputs = [features[column].outputs for column in columns]
    assert all(own is not None for own in outputs), "the features lack the columns' own outputs"
    return torch.stack([own[:, : decision.width].float() for own in outputs if own is not None], dim=1)


def owners(tokens: Sequence[Tensor]) -> Tensor:
    """int64 [S]: the column of each token, of tokens [B, T_m, H] put side by side."""
    return torch.cat([torch.full((own.shape[1],), m, device=own.device) for m, own in enumerate(tokens)])


def shares(weights_BS: Tensor, owner_S: Tensor, columns: int) -> Tensor:
    """[B, M]: weights of tokens summed over each column."""
    return weights_BS.new_zeros(weights_BS.shape[0], columns).index_add(1, owner_S, weights_BS)


Contract = Fusion
__all__ = ["Contract", "Decision", "Family", "Fusion", "decisions", "masks", "owners", "shares", "stacked", "usable"]
