"""Dates and times as fields of a form, in their parts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from mmcli.exports.fields import Field, fields
from mmcli.exports.made import Cells, Made
from mmcli.tables.values import date

_SECONDS = 86_400.0


class Dates(Field):
    """Dates -> [B, 5], with times [B, 7]: the moment, year, month, day, weekday, hour, minute."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: ARG002 - no file beside the state
        self.form, self.centre, self.spread = state["format"], state["centre"], state["spread"]

    def __call__(self, cells: Cells) -> Made:
        values = np.full((len(cells), 7 if "%H" in self.form else 5), np.nan, dtype=np.float32)
        rejects = []
        for position, cell in enumerate(cells):
            moment = None if cell is None else date(cell, self.form)
            if moment is not None:
                values[position] = self._parts(moment)[: values.shape[1]]
            elif cell is not None:
                rejects.append((position, f"not a date written {self.form}"))
        return fields(values, rejects)

    def _parts(self, moment: datetime) -> list[float]:
        days = (moment - datetime(1970, 1, 1)).total_seconds() / _SECONDS
        day = [(days - self.centre) / self.spread, (moment.year - 2000) / 10, moment.month, (moment.day - 15.5) / 9]
        return [*day, moment.weekday() + 1, moment.hour + 1, (moment.minute - 30) / 17]
