"""Sequential: a recurrent network reads the columns one after the other, in a declared order.

    s_0 = 0;  s_m = GRU(P_m LN(x_m), s_{m-1}), an absent column leaving s as it was;  h = s_M

The order is that of the columns, or `order`. For heads that read tokens, each token is read in its column's place, after the
columns before and before those behind. Parameters: sum_m (2 D_m + (D_m + 1) H) + 6 H^2 + 6 H.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.errors import ConfigError, unknown
from mmcli.fusions import Fusion, stacked
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "feature",
    "memory": "columns",
    "absent": "masked",
    "ordered": True,
    "cost": "M (D H + H^2)",
    "use": "columns that follow one another, as in time",
}


class Config(BaseConfig):
    """The recurrent pass."""

    hidden: int = Field(128, ge=1)
    """Width of the state."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features and the last state."""
    order: tuple[str, ...] = ()
    """Columns in the order they are read; by default that of the table. What is read last is remembered best."""


class Sequential(Fusion):
    """A GRU over columns. Absent ones are skipped."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        order = config.order or tuple(dims)
        for column in order:
            if column not in dims:
                raise ConfigError(f"fusion.sequential.order: {unknown('column', column, dims)}")
        if sorted(order) != sorted(dims):
            raise ConfigError(f"fusion.sequential.order must name each of {', '.join(dims)} once, it is {list(order)}")
        super().__init__({column: dims[column] for column in order}, config.hidden)
        self.norms = nn.ModuleList([nn.LayerNorm(dims[column]) for column in order])
        self.projections = nn.ModuleList([nn.Linear(dims[column], config.hidden) for column in order])
        self.cell = nn.GRUCell(config.hidden, config.hidden)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        hidden = config.hidden
        return sum(2 * dim + (dim + 1) * hidden for dim in dims.values()) + 6 * hidden * hidden + 6 * hidden

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        state = pooled[0].new_zeros(present_BM.shape[0], self.dim)
        for m, x in enumerate(pooled):
            step = self.cell(self.projections[m](self.dropout(self.norms[m](x))), state).to(state.dtype)
            state = torch.where(present_BM[:, m, None], step, state)
        return Fused(self.dropout(state))
