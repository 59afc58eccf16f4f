"""The fields of a form: numbers and categories, each as a row of float32, not a number where a cell is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcli.exports.made import Array, Cells, Made, Rejects
from mmcli.tables import missing
from mmcli.tables.names import tidy
from mmcli.tables.numbers import NumberFormat


class Field:
    """What such kinds share: none names files."""

    def names_file(self, cell: str) -> bool:  # noqa: ARG002 - never
        return False


class Numbers(Field):
    """Numbers -> [B, 1], less the centre, by the spread; robust ones with the tails drawn in."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: ARG002 - no file beside the state
        self.centre, self.spread, self.base = state["centre"], state["spread"], state["base"]
        self.form = NumberFormat.from_state(state["format"])
        self.robust = state["config"]["scale"] == "robust"
        self.missing_words = state["config"]["missing_words"]

    def __call__(self, cells: Cells) -> Made:
        values, wrong, remarks = np.full(len(cells), np.nan), [], Counter[str]()
        for position, cell in enumerate(cells):
            if cell is None:
                continue
            value = self.form.value(cell)
            if value is not None:
                values[position] = value - self.base
                remarks.update(filter(None, [self.form.remark(cell)]) if self.form.shares else ())
            elif self.missing_words and missing.is_word(cell):
                remarks[missing.remark(cell)] += 1
            else:
                wrong.append((position, self.form.why_not(cell)))
        scaled = (values - self.centre) / self.spread
        if self.robust:
            scaled = scaled / np.sqrt(1 + (scaled / 3) ** 2)
        column = np.clip(scaled, -1e30, 1e30).astype(np.float32)[:, None]
        made = fields(column, wrong)
        made.remarks.update(remarks)
        return made


class Categories(Field):
    """Names -> [B, 1] of ids; 0 is a name that was not learnt."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: ARG002 - no file beside the state
        self.ids = {tidy(name): i for i, name in enumerate(state["names"], 1)}

    def __call__(self, cells: Cells) -> Made:
        ids = [np.nan if cell is None else float(self.ids.get(tidy(cell), 0)) for cell in cells]
        unknown = ids.count(0.0)
        made = fields(np.array(ids, dtype=np.float32)[:, None], [])
        made.remarks.update({"with a name that train has never or too seldom": unknown} if unknown else {})
        return made


def fields(values: Array, rejects: Rejects) -> Made:
    """Rows of fields, of which one is missing where its first is not a number."""
    return Made(values, ~np.isnan(values[:, 0]), rejects=rejects, remarks=Counter())
