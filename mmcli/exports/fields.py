"""The fields of a form: numbers, categories and dates, each as a row of float32, not a number where a cell is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from mmcli.exports.made import Array, Cells, Made, Rejects
from mmcli.tables.values import date, number

_SECONDS = 86_400.0


class _Fields:
    """What the kinds below share: none names files."""

    def names_file(self, cell: str) -> bool:  # noqa: ARG002 - never
        return False


class Numbers(_Fields):
    """Numbers -> [B, 1], less the centre, by the spread; robust ones with the tails drawn in."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: ARG002 - no file beside the state
        self.centre, self.spread = state["centre"], state["spread"]
        self.robust = state["config"]["scale"] == "robust"

    def __call__(self, cells: Cells) -> Made:
        found = [None if cell is None else number(cell) for cell in cells]
        values = np.array([np.nan if value is None else value for value in found])
        scaled = (values - self.centre) / self.spread
        if self.robust:
            scaled = scaled / np.sqrt(1 + (scaled / 3) ** 2)
        column = np.clip(scaled, -1e30, 1e30).astype(np.float32)[:, None]
        wrong = [i for i, cell in enumerate(cells) if cell is not None and found[i] is None]
        return _made(column, [(i, "not a number") for i in wrong])


class Categories(_Fields):
    """Names -> [B, 1] of ids; 0 is a name that was not learnt."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: ARG002 - no file beside the state
        self.ids = {name: i for i, name in enumerate(state["names"], 1)}

    def __call__(self, cells: Cells) -> Made:
        ids = [np.nan if cell is None else float(self.ids.get(cell.strip(), 0)) for cell in cells]
        unknown = ids.count(0.0)
        made = _made(np.array(ids, dtype=np.float32)[:, None], [])
        made.remarks.update({"with a name that train has never or too seldom": unknown} if unknown else {})
        return made


class Dates(_Fields):
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
        return _made(values, rejects)

    def _parts(self, moment: datetime) -> list[float]:
        days = (moment - datetime(1970, 1, 1)).total_seconds() / _SECONDS
        day = [(days - self.centre) / self.spread, (moment.year - 2000) / 10, moment.month, (moment.day - 15.5) / 9]
        return [*day, moment.weekday() + 1, moment.hour + 1, (moment.minute - 30) / 17]


def _made(values: Array, rejects: Rejects) -> Made:
    return Made(values, ~np.isnan(values[:, 0]), rejects=rejects, remarks=Counter())
