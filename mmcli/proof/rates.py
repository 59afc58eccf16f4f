"""Errors at the settled threshold by the values of a column: impostors accepted, and those that belong together refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmcli.reporting.grid import Cell, Grid
from mmcli.reporting.metrics import Array, shown
from mmcli.reporting.words import meaning
from mmcli.tasks import Task

MOST_VALUES = 50
"""Values of a column whose rates are told: the largest."""
LEAST = 8
"""Rows below which a value is not called the best or the worst."""
RATES = {"far": "impostors accepted (FAR)", "frr": "own refused (FRR)"}


def by_value(
    task: Task,
    outputs: Any,
    targets: Tensor,
    extra: Mapping[str, Sequence[str]],
    seed: int,
    groups: Array | None = None,
) -> dict[str, Any]:
    """`threshold`, in words, and `values`: of each value of the `extra` columns (name -> cell of each row) its rows, the equal
    error rate, and the errors at that threshold, `far` and `frr`, with how many are `wrong` of `n`. Empty of other tasks."""
    threshold = task.threshold_said(outputs)
    found = []
    for column, cells in extra.items() if threshold else ():
        counts = sorted(((count, value) for value, count in Counter(cells).items()), key=lambda own: (-own[0], own[1]))
        for count, value in counts[:MOST_VALUES]:
            index = torch.tensor([place for place, cell in enumerate(cells) if cell == value])
            equal = task.within(outputs, targets, index, seed, groups)["eer"]
            rates = task.errors_at_threshold(outputs, targets, index, seed, groups)
            found.append({"column": column, "value": value, "rows": count, "eer": equal.as_dict(), **rates})
    return {"threshold": threshold, "values": found} if found else {}


def table(found: Mapping[str, Any]) -> Grid:
    """The worst EER first within each column."""
    order = list(dict.fromkeys(own["column"] for own in found["values"]))
    ranked = sorted(found["values"], key=lambda own: (order.index(own["column"]), *_last_unknown(own)))
    rows = [
        [own["column"], own["value"], f"{own['rows']:,}", _equal(own["eer"]), *(_rate(own[name]) for name in RATES)]
        for own in ranked
    ]
    header = ["slice", "value", "rows", meaning("eer").name, *RATES.values()]
    return Grid.of(f"Errors at the threshold, {found['threshold']}", header, rows, (0, 1))


def _last_unknown(own: Mapping[str, Any]) -> tuple[bool, float]:
    value = own["eer"]["value"]
    return value != value, -value


def _equal(own: Mapping[str, float]) -> Cell:
    return Cell(shown(own["value"]), f"{shown(own['low'])} – {shown(own['high'])}" if own["low"] == own["low"] else "")


def _rate(own: Mapping[str, float]) -> Cell:
    interval = f", {shown(own['low'])} – {shown(own['high'])}" if own["low"] == own["low"] else ""
    return Cell(shown(own["value"]), f"{own['wrong']:,} of {own['n']:,}{interval}")


def said(found: Mapping[str, Any], where: str) -> list[str]:
    """A sentence for each column: which value is worst and which best, where their intervals lie apart, and `where` all are."""
    told = []
    for column in dict.fromkeys(own["column"] for own in found.get("values", ())):
        own = [one for one in found["values"] if one["column"] == column and one["rows"] >= LEAST]
        own = sorted((one for one in own if one["eer"]["value"] == one["eer"]["value"]), key=lambda one: one["eer"]["value"])
        name = meaning("eer").name
        if len(own) > 1 and own[-1]["eer"]["low"] > own[0]["eer"]["high"]:
            worst, best = own[-1], own[0]
            what = f"{name} is worst for {_of(worst)} and best for {_of(best)}, beyond noise"
        else:
            what = f"no value is worse than another in {name} beyond noise"
        told.append(f"--slice {column}: {what}; FAR and FRR of each are in {where}")
    return told


def _of(own: Mapping[str, Any]) -> str:
    equal = own["eer"]
    return f"{own['value']} ({shown(equal['value'])} [{shown(equal['low'])}, {shown(equal['high'])}] on {own['rows']:,} rows)"
