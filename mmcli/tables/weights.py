"""How much rows count, by a column of numbers that are not negative."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmcli.errors import DataError
from mmcli.tables import numbers


def weights(cells: Sequence[str | None], rows: Sequence[int], column: str) -> list[float]:
    """The weight that each cell says. `rows` are the rows of the table that the cells are of, from 1.

    Raises:
        DataError: naming the first row whose cell is missing, or no finite number, or below zero.
    """
    form = numbers.study([cell for cell in cells if cell is not None]).format
    found = []
    for cell, row in zip(cells, rows, strict=True):
        value = None if cell is None else form.value(cell)
        if value is None or not math.isfinite(value) or value < 0:
            said = "is missing" if cell is None else f"{cell[:60]!r} is not a number from 0 up"
            raise DataError(
                f"row {row}, column {column!r}: {said}, and rows are to count by it (--weight)",
                "Write how much the row counts: 1 as any other, 2 as two of them, 0 not at all.",
            )
        found.append(float(value))
    return found


def worth(weights: Sequence[float]) -> float:
    """How many rows that count alike would tell a mean as surely (Kish 1965): (sum of w)^2 / (sum of w^2)."""
    total, squares = sum(weights), sum(own * own for own in weights)
    return total * total / squares if squares else 0.0
