"""Brings columns into one space: a unit vector for each, near those of the columns that belong to it.

    x_m = [e_1 / |e_1|; e_2 / |e_2|; ..] of the features of the encoders that read column m
    z_m = W_m (x_m - c_m) (+ V_m GELU(U_m (x_m - c_m)), where hidden is not 0),  u_m = z_m / |z_m|

W and the centres c begin at what columns have in common in closed form, chosen by val (`vectors/together.py`): those of columns
that share their encoders as one, or each by itself. An absent column is zero. The fused features are all u_m side by side.
Parameters: sum_m F_m D, and sum_m (F_m + 1 + D) hidden, for widths F_m of x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.fusions import Alignment, Fusion
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "alignment",
    "memory": "pooled",
    "absent": "masked",
    "ordered": False,
    "cost": "M F D",
    "use": "tables without a target (--task contrastive): the columns of a row belong together, and find each other",
}
TRAINING = {"epochs": 40, "learning_rate": 3e-4, "batch_size": 256, "patience": 8, "weight_decay": 0.05}
SEEDS = 1


class Config(BaseConfig):
    """The space, and what projects into it."""

    dim: int = Field(128, ge=2)
    """Numbers of a vector."""
    hidden: int = Field(0, ge=0)
    """Width of a hidden layer beside the linear one; 0 for none."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on what it reads."""


class Align(Fusion):
    """Vectors of the columns of an `Alignment` side by side [B, C D]; those that it reads nothing of are zero."""

    aligns: ClassVar[bool] = True

    def __init__(self, config: Config, dims: Mapping[str, int], columns: Alignment | None = None) -> None:
        self.plan = columns or Alignment.each_its_own(list(dims))
        super().__init__(dims, config.dim * len(self.plan.inputs))
        self.config = config
        self.members = {name: [own for own in dims if self.plan.sources[own] == name] for name in self.plan.inputs}
        """Column -> the encoders that read it."""
        self.read = [name for name, own in self.members.items() if own]
        kinds = [tuple(self.plan.owner(own) for own in self.members[name]) for name in self.read]
        self.spaces = [list(dict.fromkeys(kinds)).index(kind) for kind in kinds]
        """Of each column that it reads, which space x lies in: the same for those that share all their encoders."""
        self.parts = [[dims[own] for own in self.members[name]] for name in self.read]
        """Of each column that it reads, the widths of its encoders' parts of x."""
        widths = [sum(own) for own in self.parts]
        self.linear = nn.ModuleList([nn.Linear(width, config.dim, bias=False) for width in widths])
        self.more = nn.ModuleList([_hidden(width, config) for width in widths] if config.hidden else [])
        for place, width in enumerate(widths):
            self.register_buffer(f"centre{place}", torch.zeros(width))
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int], columns: Alignment | None = None) -> int:
        plan = columns or Alignment.each_its_own(list(dims))
        widths = [sum(dims[own] for own in dims if plan.sources[own] == name) for name in plan.inputs]
        return sum(wide * config.dim + (wide + 1 + config.dim) * config.hidden for wide in widths if wide)

    def joined(self, features: Mapping[str, Features]) -> dict[str, tuple[Tensor, Tensor]]:
        """Column -> x [B, F] and which rows are there, bool [B], of those that it reads."""
        found = {}
        for name in self.read:
            own = [features[member] for member in self.members[name]]
            found[name] = torch.cat([F.normalize(each.pooled.float(), dim=1) for each in own], 1), own[0].present
        return found

    def forward(self, features: Mapping[str, Features]) -> Fused:
        made: dict[str, Tensor] = {}
        for place, (name, (x, present)) in enumerate(self.joined(features).items()):
            centred = self.dropout(x - self.get_buffer(f"centre{place}"))
            z: Tensor = self.linear[place](centred)
            z = z + self.more[place](centred) if len(self.more) else z
            made[name] = F.normalize(z.float(), dim=1) * present[:, None]
        some = next(iter(made.values()))
        return Fused(torch.cat([made.get(name, torch.zeros_like(some)) for name in self.plan.inputs], 1))

    @torch.no_grad()
    def start(self, centres: Sequence[Tensor], directions: Sequence[Tensor]) -> None:
        """Takes over what x of each column that it reads is centred at, and the directions [F, at most D] of its projection."""
        for place in range(len(self.linear)):
            weight = self.get_parameter(f"linear.{place}.weight")
            self.get_buffer(f"centre{place}").copy_(centres[place])
            weight.zero_()
            weight[: directions[place].shape[1]] = directions[place].T.to(weight)
            if len(self.more):
                self.get_parameter(f"more.{place}.2.weight").zero_()


def _hidden(width: int, config: Config) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.dim, bias=False))
