"""Dates and times as fields of a form, in their parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from mmcli.exports.fields import Field, fields
from mmcli.exports.made import Cells, Made
from mmcli.tables import missing
from mmcli.tables.dates import date, days, has_date, has_time


class Dates(Field):
    """Dates -> [B, 5], with times [B, 7]: the moment, year, month, day, weekday, hour, minute."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: ARG002 - no file beside the state
        self.form, self.centre, self.spread = state["format"], state["centre"], state["spread"]
        self.missing_words = state["config"]["missing_words"]

    def __call__(self, cells: Cells) -> Made:
        width = 1 + 4 * has_date(self.form) + 2 * has_time(self.form)
        values, rejects, remarks = np.full((len(cells), width), np.nan, dtype=np.float32), [], Counter[str]()
        for position, cell in enumerate(cells):
            moment = None if cell is None else date(cell, self.form)
            if moment is not None:
                values[position] = self._parts(moment)
            elif cell is not None and self.missing_words and missing.is_word(cell):
                remarks[missing.remark(cell)] += 1
            elif cell is not None:
                rejects.append((position, f"not a date written {self.form}"))
        made = fields(values, rejects)
        made.remarks.update(remarks)
        return made

    def _parts(self, moment: datetime) -> list[float]:
        parts = [(days(moment) - self.centre) / self.spread]
        if has_date(self.form):
            parts += [(moment.year - 2000) / 10, moment.month, (moment.day - 15.5) / 9, moment.weekday() + 1]
        return [*parts, moment.hour + 1, (moment.minute - 30) / 17] if has_time(self.form) else parts
