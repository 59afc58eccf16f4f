"""Compares the columns that share an encoder, and hears what the others say.

    u_m = x_m / |x_m|,  c_g = the mean of u_a . u_b over every two columns a, b of group g that are there
    d_g = the mean of [|u_a - u_b|; u_a * u_b] over the same
    h = ReLU(LN(sum_g U_g d_g + sum of the columns in no group V_m LN(x_m) + t))
    k_g = the mean of cos(A_g (u_a - m_g), A_g (u_b - m_g)) over the same
    log-odds beside the head's = sum_g (w_g c_g + v_g k_g) + b, where columns are compared (the task `match`)

A and m are discriminants of the train pairs, in closed form: directions along which cells that belong together differ little,
for how far all cells lie apart (fisherfaces, Belhumeur 1997, each pair an identity). Where a group has no two, c_g and k_g are
their means in val. w, v and b are no parameters: w and b are fitted to val rows before anything is trained, w being nowhere
below zero, since an encoder knows the pairs of train by heart. After training all are fitted once more, with a weight for what
the head says of h; until then v is 0, since A knows the pairs of train too, and the head would have nothing to learn.
Parameters: sum_g (2 D_g + 1) H + sum_m (2 D_m + (D_m + 1) H) + 2 H.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Fusion
from mmcli.layers.pairs import cosines, fitted
from mmcli.signals import Features, Fused
from mmcli.vectors.discriminant import of_pairs

ABOUT = {
    "family": "feature",
    "memory": "columns",
    "absent": "masked",
    "ordered": False,
    "cost": "M D H",
    "use": "columns that share an encoder (--share): whether two photos, or two records, belong together",
}
TRAINING = {"epochs": 20, "learning_rate": 5e-4, "patience": 6, "weight_decay": 0.2}


class Config(BaseConfig):
    """The network over differences and products."""

    hidden: int = Field(32, ge=4)
    """Width of the fused features."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on differences, products and fused features."""
    axes: int = Field(128, ge=0)
    """Directions at most that tell the train pairs apart; 0 for none."""


class Compare(Fusion):
    """Differences, products and cosines of columns that share an encoder. An absent column is compared with none; a row where
    nothing can be compared is as those of val are on average."""

    compares: ClassVar[bool] = True

    def __init__(self, config: Config, dims: Mapping[str, int], groups: Sequence[Sequence[str]] = ()) -> None:
        super().__init__(dims, config.hidden)
        self.groups = [list(group) for group in groups]
        grouped = {name for group in self.groups for name in group}
        self.others = [name for name in dims if name not in grouped]
        self.pairs = nn.ModuleList([nn.Linear(2 * dims[group[0]], config.hidden) for group in self.groups])
        self.norms = nn.ModuleList([nn.LayerNorm(dims[name]) for name in self.others])
        self.layers = nn.ModuleList([nn.Linear(dims[name], config.hidden) for name in self.others])
        self.norm = nn.LayerNorm(config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.weights: Tensor
        self.shift: Tensor
        self.axes = [min(config.axes, dims[group[0]]) for group in self.groups] if config.axes else []
        for place, count in enumerate(self.axes):
            width = dims[self.groups[place][0]]
            self.register_buffer(f"centre{place}", torch.zeros(width))
            self.register_buffer(f"axes{place}", torch.zeros(width, count))
        self.register_buffer("weights", torch.zeros(len(self.groups) + len(self.axes)))
        self.register_buffer("shift", torch.zeros(()))
        self.means: Tensor
        self.register_buffer("means", torch.zeros(len(self.groups) + len(self.axes)))
        self.typical: Tensor
        self.register_buffer("typical", torch.zeros(config.hidden))

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int], groups: Sequence[Sequence[str]] = ()) -> int:
        grouped = {name for group in groups for name in group}
        alone = sum(2 * dim + (dim + 1) * config.hidden for name, dim in dims.items() if name not in grouped)
        return sum((2 * dims[group[0]] + 1) * config.hidden for group in groups) + alone + 2 * config.hidden

    def _measured(self, features: Mapping[str, Features]) -> list[tuple[Tensor, Tensor]]:
        """c of each group, then k of each: [B] and bool [B], whether there are two columns."""
        columns = [[features[name] for name in group] for group in self.groups]
        return [
            *(cosines(own) for own in columns),
            *(cosines([self._told_apart(each, place) for each in columns[place]]) for place in range(len(self.axes))),
        ]

    def _told_apart(self, own: Features, place: int) -> Features:
        moved = F.normalize(own.pooled.float(), dim=1) - self.get_buffer(f"centre{place}")
        return replace(own, pooled=moved @ self.get_buffer(f"axes{place}"))

    def cosines(self, features: Mapping[str, Features]) -> Tensor:
        """[B, G], or [B, 2 G] with k: how alike the columns of each group are; where there are no two, as alike as those of val
        are on average."""
        alike, enough = (torch.stack(side, 1) for side in zip(*self._measured(features), strict=True))
        return torch.where(enough, alike, self.means)

    def _fused(self, features: Mapping[str, Features]) -> tuple[Tensor, Tensor]:
        """[B, H], and bool [B]: whether there is anything to tell in a row."""
        total: Tensor | float = 0.0
        heard = torch.zeros_like(features[self.columns[0]].present)
        for group, layer in zip(self.groups, self.pairs, strict=True):
            told, enough = _compared([features[name] for name in group])
            total, heard = total + layer(self.dropout(told)) * enough[:, None], heard | enough
        for name, norm, layer in zip(self.others, self.norms, self.layers, strict=True):
            own = features[name]
            total, heard = total + layer(norm(own.pooled)) * own.present[:, None], heard | own.present
        return F.relu(self.norm(total)), heard

    def forward(self, features: Mapping[str, Features]) -> Fused:
        fused, heard = self._fused(features)
        pooled = self.dropout(torch.where(heard[:, None], fused, self.typical.to(fused.dtype)))
        if not self.groups:
            return Fused(pooled)
        return Fused(pooled, logits=self.cosines(features) @ self.weights + self.shift)

    @torch.no_grad()
    def fit_cosines(self, features: Mapping[str, Features], right: Tensor, rest: Tensor | None = None) -> float:
        """Sets what cosines weigh by rows that are `right` or not, bool [N]; with a further measurement, `rest` [N], gives the
        weight of that."""
        found = self._measured(features)
        self.means.copy_(torch.stack([alike[enough].sum() / enough.sum().clamp(min=1) for alike, enough in found]))
        training = self.training
        fused, heard = self.eval()._fused(features)
        self.train(training)
        self.typical.copy_(fused[heard].mean(0) if heard.any() else self.typical)
        alike = self.cosines(features)
        measured = alike[:, : len(self.groups)] if rest is None else torch.cat([alike, rest[:, None]], 1)
        weights, shift = fitted(measured, right)
        self.weights.zero_()
        known = len(self.groups) if rest is None else len(self.weights)
        self.weights[:known] = weights[:known].to(self.weights)
        self.shift.copy_(shift)
        return 1.0 if rest is None else float(weights[-1])

    @torch.no_grad()
    def fit_axes(self, features: Mapping[str, Features], right: Tensor) -> None:
        """Sets the directions that tell pairs apart by train rows that are `right` or not, bool [N], and every two columns of a
        group that are there."""
        for place, count in enumerate(self.axes):
            columns, ones, others, belong = [features[name] for name in self.groups[place]], [], [], []
            for one, other in combinations(columns, 2):
                both = one.present & other.present
                ones.append(F.normalize(one.pooled[both].float(), dim=1).cpu())
                others.append(F.normalize(other.pooled[both].float(), dim=1).cpu())
                belong.append(right[both].cpu())
            centre, axes = self.get_buffer(f"centre{place}").zero_(), self.get_buffer(f"axes{place}").zero_()
            found = of_pairs(torch.cat(ones), torch.cat(others), torch.cat(belong), count)
            if found is not None:
                centre.copy_(found.mean)
                axes[:, : found.directions.shape[1]] = found.directions.to(axes)


def _compared(columns: Sequence[Features]) -> tuple[Tensor, Tensor]:
    """[B, 2 D]: differences and products of unit vectors, the mean over every two that are there; bool [B]: whether two are."""
    units = [F.normalize(own.pooled, dim=1) for own in columns]
    total, pairs = torch.zeros_like(torch.cat([units[0], units[0]], 1)), torch.zeros_like(units[0][:, 0])
    for one, other in combinations(range(len(units)), 2):
        both = (columns[one].present & columns[other].present).to(total.dtype)
        told = torch.cat([(units[one] - units[other]).abs(), units[one] * units[other]], 1)
        total, pairs = total + told * both[:, None], pairs + both
    return total / pairs.clamp(min=1)[:, None] * len(units[0][0]) ** 0.5, pairs > 0
