"""When rows happened, by a column of dates, times or numbers: for splits in the order of time."""

from __future__ import annotations

from collections.abc import Sequence

from mmcli.errors import DataError
from mmcli.tables import dates, numbers


def moments(cells: Sequence[str | None], rows: Sequence[int], column: str) -> list[float]:
    """A number for each cell that grows with time: days since 1970 where the column holds dates (UTC), else the numbers that
    stand there (years, seconds, steps). `rows` are the rows of the table that the cells are of, from 1.

    Raises:
        DataError: naming the first row whose cell is missing, or is neither.
    """
    there = [cell for cell in cells if cell is not None]
    study = numbers.study(there)
    form = dates.study(there).form if study.share < 1 else None
    found = []
    for cell, row in zip(cells, rows, strict=True):
        if cell is None:
            raise DataError(
                f"row {row}, column {column!r}: no time, and rows are to be split by it",
                "Fill it in, or leave such rows out of the table.",
            )
        moment = dates.date(cell, form) if form else None
        value = dates.days(moment) if moment else None if form else study.format.value(cell)
        if value is None:
            wanted = f"date written {form}" if form else "date or a number"
            raise DataError(
                f"row {row}, column {column!r}: {cell[:60]!r} is not a {wanted}, and rows are to be split by it",
                "Mend the cell, or split by another column.",
            )
        found.append(float(value))
    return found
