"""Dates and times, in their parts: the moment itself, year, month, day, weekday and, where there are times, hour and minute.

The format is found in the train split, or told. Hours are those that the cell says; the moment counts
the zone, where one is named.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.modalities import Encoded, Guess, Modality, Reject
from mmcli.signals import Column, Field, SignalSpec
from mmcli.tables import missing
from mmcli.tables.dates import DATE_FORMATS, FREE, as_seen, date, days, has_date, has_time, study

_FIT_SAMPLE = 100_000
_SECONDS = 86_400.0


class Config(BaseConfig):
    """How dates are written."""

    format: str = ""
    """As strptime knows it, e.g. %d/%m/%Y; by default the first known one that all train cells fit."""
    missing_words: bool = True
    """Whether NA, null, ? and the like count as missing (--keep-na: they do not)."""


class Date(Modality):
    """Fields of a form: float32 [5] of dates, [7] of dates with times, [3] of times alone."""

    passes_missing_words: ClassVar[bool] = True
    joins: ClassVar[bool] = True
    encoders: ClassVar[tuple[str, ...]] = ("mlp", "ft-transformer")
    more_encoders: ClassVar[tuple[tuple[str, int], ...]] = (("tabm", 1000),)
    text_encoders = ("mlp",)

    def __init__(self, config: Config, form: str, centre: float, spread: float) -> None:
        self.config = config
        self.form = form
        self.centre = centre
        self.spread = spread

    @classmethod
    def sniff(cls, cells: Sequence[str], media_root: str) -> Guess:  # noqa: ARG003 - no files
        """One way of writing dates that nearly all cells follow."""
        found = study(cells[:500])
        if found.form is None:
            return Guess(0.0, "no way of writing dates fits nine cells in ten")
        what = "dates" if has_date(found.form) else "times of day"
        written = "in several ways" if found.form.startswith(FREE) else as_seen(cells, found.form)
        others = ", ".join(repr(cell[:30]) for cell in list(found.others)[:3])
        no_dates = "is no such date" if found.others.total() == 1 else "are no such dates"
        doubts = f"{found.others.total()} of {len(cells[:500])} cells {no_dates}, e.g. {others}" if others else ""
        return Guess(0.93, f"{what}, written {written}", found.decided, doubts)

    @classmethod
    def fit(cls, config: Config, cells: Iterable[str]) -> Self:
        """The format, and centre and spread of the moments, in days."""
        sample = list(islice(cells, _FIT_SAMPLE))
        form = config.format or study(sample).form or DATE_FORMATS[0]
        found = [days(moment) for moment in (date(cell, form) for cell in sample) if moment]
        if not found:
            return cls(config, form, 0.0, 1.0)
        centre = math.fsum(found) / len(found)
        spread = math.sqrt(math.fsum((day - centre) ** 2 for day in found) / len(found))
        return cls(config, form, centre, spread or 1.0)

    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """Values float32 [N, F]."""
        values = torch.full((len(cells), len(self._fields)), float("nan"))
        rejects, remarks = [], Counter[str]()
        for position, cell in enumerate(cells):
            if cell is None:
                continue
            moment = date(cell, self.form)
            if moment is not None:
                values[position] = torch.tensor(self._parts(moment))
            elif self.config.missing_words and missing.is_word(cell):
                remarks[missing.remark(cell)] += 1
            else:
                rejects.append(Reject(position, cell, f"not a date written {self.form}"))
        return Encoded(Column(values, ~values[:, 0].isnan()), rejects, remarks)

    def _parts(self, moment: datetime) -> list[float]:
        parts = [(days(moment) - self.centre) / self.spread]
        if has_date(self.form):
            weekday = float(moment.weekday() + 1)
            parts += [(moment.year - 2000) / 10, float(moment.month), (moment.day - 15.5) / 9, weekday]
        return [*parts, float(moment.hour + 1), (moment.minute - 30) / 17] if has_time(self.form) else parts

    @property
    def _fields(self) -> tuple[Field, ...]:
        fields = [Field("moment")]
        if has_date(self.form):
            fields += [Field("year"), Field("month", 13), Field("day"), Field("weekday", 8)]
        return (*fields, Field("hour", 25), Field("minute")) if has_time(self.form) else tuple(fields)

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
