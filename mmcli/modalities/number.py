"""Numbers: standardised by the train split, robustly where tails are heavy.

    standard   (x - mean) / standard deviation
    robust     z = (x - median) / (interquartile range / 1.349);  z / sqrt(1 + (z / 3)^2), so that none exceeds 3

A missing cell stays missing (not a number): the encoder has an embedding for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.modalities import Encoded, Guess, Modality, Reject
from mmcli.signals import Column, Field, SignalSpec
from mmcli.tables.values import number

_FIT_SAMPLE = 1_000_000


class Config(BaseConfig):
    """How numbers are scaled."""

    scale: Literal["standard", "robust"] = "standard"
    """By mean and standard deviation, or by median and quartiles with the tails drawn in."""


class Number(Modality):
    """One field of a form: float32 [1]."""

    corruptions: ClassVar[tuple[str, ...]] = ("noise",)
    joins: ClassVar[bool] = True
    encoders: ClassVar[tuple[str, ...]] = ("mlp", "ft-transformer")

    def __init__(self, config: Config, centre: float, spread: float) -> None:
        self.config = config
        self.centre = centre
        self.spread = spread

    @classmethod
    def sniff(cls, cells: Sequence[str], media_root: str) -> Guess:  # noqa: ARG003 - no files
        """Numbers nearly everywhere; a few cells that are none will be named as unreadable."""
        found = [value for value in map(number, cells) if value is not None]
        share = len(found) / max(len(cells), 1)
        if share < 0.9:
            return Guess(0.0, f"{share:.0%} of the cells are numbers")
        text = "all cells are numbers" if share == 1 else f"{share:.0%} of the cells are numbers"
        return Guess(0.9 * share, f"{text}, {min(found):g} to {max(found):g}, {len(set(found))} different")

    @classmethod
    def fit(cls, config: Config, cells: Iterable[str]) -> Self:
        """Centre and spread of the train cells; those that are no numbers are left out."""
        found = (value for value in map(number, cells) if value is not None)
        values = np.fromiter(islice(found, _FIT_SAMPLE), dtype=np.float64)
        if not len(values):
            return cls(config, 0.0, 1.0)
        spread = float(values.std())
        if config.scale == "standard":
            return cls(config, float(values.mean()), spread or 1.0)
        low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
        return cls(config, float(centre), float(high - low) / 1.349 or spread or 1.0)

    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """Values float32 [N, 1]."""
        values = np.full(len(cells), np.nan)
        rejects = []
        for position, cell in enumerate(cells):
            if cell is None:
                continue
            value = number(cell)
            if value is None:
                rejects.append(Reject(position, cell, "not a number"))
            else:
                values[position] = value
        scaled = (values - self.centre) / self.spread
        if self.config.scale == "robust":
            scaled = scaled / np.sqrt(1 + (scaled / 3) ** 2)
        # A value some 30 digits off is kept finite: it is far out all the same.
        column = torch.from_numpy(np.clip(scaled, -1e30, 1e30)).float()
        return Encoded(Column(column[:, None], ~column.isnan()), rejects)

    def value(self, scaled: float) -> float:
        """The number that a scaled value stands for."""
        if self.config.scale == "robust":
            scaled = scaled / math.sqrt(max(1 - (scaled / 3) ** 2, 1e-12))
        return scaled * self.spread + self.centre

    def describe(self) -> SignalSpec:
        return SignalSpec(kind="fields", shape=(1,), fields=(Field("value"),))

    def corrupt(self, column: Column, how: str, level: float, generator: torch.Generator) -> Column:  # noqa: ARG002
        """noise: of one deviation at level 1."""
        noisy = column.values.float() + level * torch.randn(column.values.shape, generator=generator)
        return Column(noisy.to(column.values.dtype), column.present, column.offsets)

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(), "centre": self.centre, "spread": self.spread}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]), state["centre"], state["spread"])

    def linear_features(self, column: Column, train: Tensor) -> Any:  # noqa: ARG002 - scaled already
        """The scaled value and whether it is missing: [N, 2]."""
        missing = column.values.isnan()
        return torch.cat([column.values.nan_to_num(), missing.float()], 1).numpy()
