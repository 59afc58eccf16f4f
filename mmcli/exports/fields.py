"""The fields of a form: numbers and categories, each as a row of float32, not a number where a cell is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcli.exports.made import Array, Cells, Made, Rejects
from mmcli.tables.values import number


class Field:
    """What such kinds share: none names files."""

    def names_file(self, cell: str) -> bool:  # noqa: ARG002 - never
        return False


class Numbers(Field):
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
        return fields(column, [(i, "not a number") for i in wrong])


class Categories(Field):
    """Names -> [B, 1] of ids; 0 is a name that was not learnt."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: ARG002 - no file beside the state
        self.ids = {name: i for i, name in enumerate(state["names"], 1)}

    def __call__(self, cells: Cells) -> Made:
        ids = [np.nan if cell is None else float(self.ids.get(cell.strip(), 0)) for cell in cells]
        unknown = ids.count(0.0)
        made = fields(np.array(ids, dtype=np.float32)[:, None], [])
        made.remarks.update({"with a name that train has never or too seldom": unknown} if unknown else {})
        return made


def fields(values: Array, rejects: Rejects) -> Made:
    """Rows of fields, of which one is missing where its first is not a number."""
    return Made(values, ~np.isnan(values[:, 0]), rejects=rejects, remarks=Counter())
