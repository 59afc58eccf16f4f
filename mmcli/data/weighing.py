"""How much the rows of a table count: whether the task has a use for it, and what the column says of each."""

from __future__ import annotations

import shlex

import numpy as np
import pandas as pd

from mmcli import registry
from mmcli.errors import ConfigError, DataError
from mmcli.tables.splitting import SPLITS, TRAIN, UNLABELLED
from mmcli.tables.weights import weights, worth
from mmcli.tasks import Task


def check(kind: type[Task], column: str | None) -> None:
    """Raises ConfigError where rows are to count by a column, and the task cannot let them."""
    if column is not None and not kind.weighable:
        able = [name for name in registry.parts("tasks") if registry.load("tasks", name).weighable]
        raise ConfigError(
            f"--weight {column}: the task {registry.name_of(kind)} does not learn classes, labels or numbers of single rows, "
            "and counts all rows alike",
            f"Leave it out (--ignore {shlex.quote(column)}). Rows may have weights where the task is {', '.join(able)}.",
        )


def weigh(rows: pd.DataFrame, column: str | None) -> list[str]:
    """Makes the cells of `weight` in a plan's rows numbers, those of rows without a target not a number; says what they are.

    Raises:
        DataError: a cell says no weight, or the rows of a split count for nothing.
    """
    if column is None:
        return []
    used = (rows["split"] != UNLABELLED).to_numpy()
    cells = [None if pd.isna(cell) else str(cell) for cell in rows["weight"][used]]
    found = np.full(len(rows), np.nan)
    found[used] = weights(cells, rows["row"][used].tolist(), column)
    rows["weight"] = found
    for split in SPLITS:
        own = found[(rows["split"] == split).to_numpy()]
        if len(own) and not own.sum() > 0:
            raise DataError(
                f"column {column!r}: all {len(own):,} {split} rows have the weight 0 (--weight)",
                "Give rows of each split a weight above 0.",
            )
    low, high = np.nanmin(found), np.nanmax(found)
    if low == high:
        return [f"weight: {column!r} is {low:g} in every row, which changes nothing; not an input"]
    train = found[(rows["split"] == TRAIN).to_numpy()]
    return [
        f"weight: {column!r}, not an input; rows count for {low:g} to {high:g} in learning and in scores, and the "
        f"{len(train):,} train rows tell as much as {worth(train.tolist()):,.0f} that count alike"
    ]
