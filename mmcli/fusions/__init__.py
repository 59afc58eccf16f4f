"""`Output = F(Input_1, ..., Input_n)`: one method a file, found by its name. Knows nothing of modalities, targets or training.

This file is their contract. A fusion joins the features of any number of columns, from one up. What a user is told of it stands
in its file as `ABOUT`, readable without importing it:

    family    feature (pooled features are joined), token (tokens are), decision (the columns' own predictions are) or alignment
              (each column keeps a vector of its own, in one space). Where the target is no text, only token is given tokens;
              others find the pooled features as the only one
    memory    what heads that read tokens find: columns (the tokens of all, side by side), lead (those of the first column that
              is there, one for each and in their order: what heads that read steps need), latents (tokens of the method's own)
              or pooled (the pooled features are the only token; so where nothing is said)
    absent    masked (an absent input counts for nothing) or embedding (a learned embedding stands for it)
    ordered   whether the order of the columns matters
    cost      what grows with the number of columns M, the width H, the tokens S
    use       when to choose it
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.signals import Decision, Features, Fused

Family = Literal["feature", "token", "decision", "alignment"]
Memory = Literal["columns", "lead", "latents", "pooled"]


@dataclass(frozen=True)
class Alignment:
    """Which encoders read which column, for methods that give a vector for each column."""

    inputs: tuple[str, ...]
    """All columns of the task, in order."""
    sources: Mapping[str, str]
    """Encoder -> the column that it reads."""
    groups: tuple[tuple[str, ...], ...] = ()
    """Encoders that are one under several names."""

    @classmethod
    def each_its_own(cls, names: Sequence[str]) -> Alignment:
        """One encoder to a column, named alike."""
        return cls(tuple(names), {name: name for name in names})

    def owner(self, encoder: str) -> str:
        """The first name of an encoder."""
        return next((group[0] for group in self.groups if encoder in group), encoder)


class Fusion(nn.Module, ABC):
    """Features by column -> Fused of width `dim`. A method of the family `decision` is built with a `Decision` besides."""

    family: ClassVar[Family]
    """Whether pooled features, tokens or decisions are joined."""
    order_sensitive: ClassVar[bool]
    """Whether the order of the columns matters."""
    rates: ClassVar[Mapping[str, float]] = MappingProxyType({})
    """Beginning of parameter names -> factor on the learning rate."""
    memory: ClassVar[Memory] = "pooled"
    """Which tokens it gives beside the pooled features. Methods of the family `feature` that say `columns` give them only by
    `remembered`."""
    compares: ClassVar[bool] = False
    """Whether it compares columns that share an encoder: it is then built with those groups besides. Where the task does
    too, it gives log-odds beside the head's (`Fused.logits` [B]), which it sets by val rows (`fit_cosines`)."""
    aligns: ClassVar[bool] = False
    """Whether it gives a vector for each column, side by side: it is then built with an `Alignment` besides."""
    absent_inputs: ClassVar[Literal["embedding", "masked"]]
    """How absent cells enter: by a learned absent embedding, or not at all."""

    def __init_subclass__(cls) -> None:
        about = getattr(sys.modules[cls.__module__], "ABOUT", None)
        if about is not None:
            cls.family, cls.absent_inputs, cls.order_sensitive = about["family"], about["absent"], about["ordered"]
            cls.memory = about.get("memory", cls.memory)

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

    def remembered(self, features: Mapping[str, Features]) -> Fused:
        """What `forward` gives, with tokens also where the method joins pooled features and says `columns`: each token of a
        column is joined with the other columns' pooled features as if it were its own column's, f(x_1, .., t, .., x_M), and
        all are put side by side. So it costs as much as joining S rows more for each row, S the tokens of all columns.
        Nothing is to be learnt for it. An absent column is left out, or its embedding is its one token."""
        fused: Fused = self(features)
        if self.family != "feature" or self.memory != "columns":
            return fused
        made = []
        for column in self.columns:
            B, T, D = features[column].tokens.shape
            each = {name: _repeated(own, T) for name, own in features.items() if name in self.columns}
            each[column] = replace(each[column], pooled=features[column].tokens.reshape(B * T, D))
            made.append(self(each).pooled.reshape(B, T, self.dim))
        if self.absent_inputs == "masked":
            own_masks = masks(features, self.columns)
        else:
            own_masks = [features[column].mask for column in self.columns]
        return replace(fused, tokens=torch.cat(made, 1), mask=torch.cat(own_masks, 1))

    def penalty(
        self,
        fused: Fused,  # noqa: ARG002 - most have none
        targets: Tensor,  # noqa: ARG002
        weights: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor | None:
        """What training adds to the task's loss, a scalar; `weights` [B] are those of rows that do not count alike."""
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


def leading(tokens: Sequence[Tensor], own_masks: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The steps that each row is read by [B, T, H], zero where there are none, their mask [B, T], and the column [B] that they
    are of: of the columns' `tokens` [B, T_m, H] those of the first that is there."""
    longest = max(own.shape[1] for own in tokens)
    wide = [F.pad(own, (0, 0, 0, longest - own.shape[1])) for own in tokens]
    masks_wide = [F.pad(own, (0, longest - own.shape[1])) for own in own_masks]
    steps, mask, leads = wide[0], masks_wide[0], own_masks[0].any(1).long() - 1
    for m in range(1, len(wide)):
        taken = (leads < 0) & own_masks[m].any(1)
        steps = torch.where(taken[:, None, None], wide[m], steps)
        mask = (taken[:, None] & masks_wide[m]) | (~taken[:, None] & mask)
        leads = torch.where(taken, m, leads)
    return steps * mask[..., None], mask, leads


def runs_hidden(steps_BTH: Tensor, mask_BT: Tensor, share: float) -> Tensor:
    """[B, T, H] with a run of each row's steps at zero, of none to twice that share of them: what training hides of a leading
    column, so that the others are needed."""
    lengths = mask_BT.sum(1)
    device = lengths.device
    size = (torch.rand(len(lengths), device=device) * 2 * share * lengths).round()
    start = torch.rand(len(lengths), device=device) * (lengths - size)
    place = torch.arange(mask_BT.shape[1], device=device)[None]
    run = (place >= start[:, None]) & (place < (start + size)[:, None])
    return steps_BTH.masked_fill(run[..., None], 0.0)


def _repeated(own: Features, times: int) -> Features:
    """Each row's pooled features so many times, one after the other; as its only token besides."""
    pooled = own.pooled[:, None].expand(-1, times, -1).flatten(0, 1)
    one = torch.ones(pooled.shape[0], 1, dtype=torch.bool, device=pooled.device)
    return Features(pooled, pooled[:, None], one, own.present[:, None].expand(-1, times).flatten())


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
__all__ = [
    "Alignment",
    "Contract",
    "Decision",
    "Family",
    "Fusion",
    "Memory",
    "decisions",
    "leading",
    "masks",
    "owners",
    "runs_hidden",
    "shares",
    "stacked",
    "usable",
]
