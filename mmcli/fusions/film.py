"""FiLM: the other columns scale and shift the features of the first (Perez et al. 2018, equations 1 and 2).

    h_1 = P_1 LN(x_1);   h = ReLU(h_1 * (1 + sum_m gamma_m(x_m)) + sum_m beta_m(x_m)),  m from 2 to M

gamma_m and beta_m are linear; an absent column scales by 0 and shifts by 0. An absent first column is its absent embedding.
The first is that of the table, or `primary`. Parameters: 2 D_1 + (D_1 + 1) H + sum over the others of (2 D_m + (D_m + 1) 2 H).
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.errors import ConfigError, unknown
from mmcli.fusions import Fusion, stacked
from mmcli.layers.blocks import Projections
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "feature",
    "memory": "columns",
    "absent": "embedding",
    "ordered": True,
    "cost": "M D H",
    "use": "one column leads and the others say how to read it",
}


class Config(BaseConfig):
    """What modulates what."""

    hidden: int = Field(128, ge=1)
    """Width of the fused features."""
    primary: str = ""
    """The column that the others modulate; by default the first."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features and the fused features."""


class Film(Fusion):
    """Feature-wise linear modulation."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        first = config.primary or next(iter(dims))
        if first not in dims:
            raise ConfigError(f"fusion.film.primary: {unknown('column', first, dims)}")
        super().__init__({first: dims[first], **{name: dim for name, dim in dims.items() if name != first}}, config.hidden)
        others = [dims[name] for name in self.columns[1:]]
        self.first = Projections([dims[first]], config.hidden, config.dropout)
        self.others = Projections(others, 2 * config.hidden, config.dropout) if others else None
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int]) -> int:
        first = config.primary or next(iter(dims))
        others = [dim for name, dim in dims.items() if name != first]
        own = Projections.parameter_formula([dims[first]], config.hidden)
        return own + Projections.parameter_formula(others, 2 * config.hidden)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        hidden = self.first(pooled[:1])[:, 0]
        if self.others is not None:
            both_BMH = self.others(pooled[1:]) * present_BM[:, 1:, None]
            gamma, beta = both_BMH.sum(1).chunk(2, dim=1)
            hidden = hidden * (1 + gamma) + beta
        return Fused(self.dropout(hidden.relu()))
