"""Fusion methods: `Output = F(Input_1, ..., Input_n)`. One file each, found by its name; this file is their contract.

A fusion joins the features of any number of columns, from one up. It knows nothing of modalities, targets or training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mmcli.signals import Features, Fused

Family = Literal["feature", "token", "decision"]


class Fusion(nn.Module, ABC):
    """Features by column -> Fused of width `dim`."""

    family: ClassVar[Family]
    """Whether pooled features, tokens or decisions are joined."""
    order_sensitive: ClassVar[bool] = False
    """Whether the order of the columns matters."""
    absent_inputs: ClassVar[Literal["embedding", "masked"]]
    """How absent cells enter: by the encoder's learned absent embedding, or not at all."""

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


def stacked(features: Mapping[str, Features], columns: Sequence[str]) -> tuple[list[Tensor], Tensor]:
    """Each column's pooled [B, D_m], and which are present, bool [B, M], in the order of `columns`."""
    pooled = [features[column].pooled for column in columns]
    return pooled, torch.stack([features[column].present for column in columns], dim=1)


Contract = Fusion
__all__ = ["Contract", "Family", "Fusion", "stacked"]
