"""Dates and times, in their parts: the moment itself, year, month, day, weekday and, where there are times, hour and minute.

The format is found in the train split, or told. Zones are left out: a table's times are taken as they stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.modalities import Encoded, Guess, Modality, Reject
from mmcli.signals import Column, Field, SignalSpec
from mmcli.tables.values import DATE_FORMATS, date, date_format

_FIT_SAMPLE = 100_000
_SECONDS = 86_400.0


class Config(BaseConfig):
    """How dates are written."""

    format: str = ""
    """As strptime knows it, e.g. %d/%m/%Y; by default the first known one that all train cells fit."""


class Date(Modality):
    """Fields of a form: float32 [5] of dates, [7] of dates with times."""

    joins: ClassVar[bool] = True
    encoders: ClassVar[tuple[str, ...]] = ("mlp", "ft-transformer")

    def __init__(self, config: Config, form: str, centre: float, spread: float) -> None:
        self.config = config
        self.form = form
        self.centre = centre
        self.spread = spread

    @classmethod
    def sniff(cls, cells: Sequence[str], media_root: str) -> Guess:  # noqa: ARG003 - no files
        """One way of writing dates that nearly all cells follow."""
        form = date_format(cells[:500], 0.9)
        if form is None:
            return Guess(0.0, "no way of writing dates fits nine cells in ten")
        return Guess(0.93, f"dates, written {form}")

    @classmethod
    def fit(cls, config: Config, cells: Iterable[str]) -> Self:
        """The format, and centre and spread of the moments, in days."""
        sample = list(islice(cells, _FIT_SAMPLE))
        form = config.format or date_format(sample) or date_format(sample, 0.9) or DATE_FORMATS[0]
        days = [_days(moment) for moment in (date(cell, form) for cell in sample) if moment]
        if not days:
            return cls(config, form, 0.0, 1.0)
        centre = math.fsum(days) / len(days)
        spread = math.sqrt(math.fsum((day - centre) ** 2 for day in days) / len(days))
        return cls(config, form, centre, spread or 1.0)

    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """Values float32 [N, F]."""
        values = torch.full((len(cells), len(self._fields)), float("nan"))
        rejects = []
        for position, cell in enumerate(cells):
            if cell is None:
                continue
            moment = date(cell, self.form)
            if moment is None:
                rejects.append(Reject(position, cell, f"not a date written {self.form}"))
            else:
                values[position] = torch.tensor(self._parts(moment))
        return Encoded(Column(values, ~values[:, 0].isnan()), rejects)

    def _parts(self, moment: datetime) -> list[float]:
        parts = [
            (_days(moment) - self.centre) / self.spread,
            (moment.year - 2000) / 10,
            float(moment.month),
            (moment.day - 15.5) / 9,
            float(moment.weekday() + 1),
        ]
        return [*parts, float(moment.hour + 1), (moment.minute - 30) / 17] if "%H" in self.form else parts

    @property
    def _fields(self) -> tuple[Field, ...]:
        fields = (Field("moment"), Field("year"), Field("month", 13), Field("day"), Field("weekday", 8))
        return (*fields, Field("hour", 25), Field("minute")) if "%H" in self.form else fields

    def describe(self) -> SignalSpec:
        return SignalSpec(kind="fields", shape=(len(self._fields),), fields=self._fields)

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(), "format": self.form, "centre": self.centre, "spread": self.spread}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]), state["format"], state["centre"], state["spread"])

    def linear_features(self, column: Column, train: Tensor) -> Any:  # noqa: ARG002 - scaled already
        """Numbers as they are, categories as indicators, and whether the date is missing."""
        blocks = [(~column.present[:, None]).float()]
        for place, field in enumerate(self._fields):
            values = column.values[:, place].nan_to_num()
            one_hot = torch.nn.functional.one_hot(values.long(), field.categories).float() if field.categories else None
            blocks.append(values[:, None] if one_hot is None else one_hot)
        return torch.cat(blocks, 1).numpy()


def _days(moment: datetime) -> float:
    return (moment - datetime(1970, 1, 1)).total_seconds() / _SECONDS
