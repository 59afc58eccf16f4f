"""The rows of a table through a model, so many at a time; what cannot be read is told on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmcli.exports.graph import Model
from mmcli.exports.made import Array
from mmcli.exports.tables import Table, TableError
from mmcli.reporting.counts import agreed, counted
from mmcli.tables.names import lacking

BATCH_ROWS = 32
"""Rows decoded and computed at once: what bounds memory. int8 graphs scale by batch, so it is that of mmcli predict."""


@dataclass(frozen=True)
class Batch:
    """Some consecutive rows."""

    first: int
    """Which row of the table, from 1, the first of them is."""
    told: dict[str, tuple[str, ...]]
    """Column -> its cells, blanks and all."""
    outputs: dict[str, Array]
    """What the model gives of them."""


def read(model: Model, table: Table, media_root: str, columns: Sequence[str] = ()) -> Iterator[Batch]:
    """The table's rows, in order; only some columns of it are looked at, where they are named.

    Raises:
        TableError: it has none of the model's inputs, or no rows.
    """
    looked = [name for name in model.columns if not columns or name in columns]
    missing = [name for name in looked if name not in table.columns]
    if len(missing) == len(looked):
        wanted, found = ", ".join(missing), ", ".join(table.columns)
        raise TableError(f"{table.path} has none of the model's inputs: {wanted}; its columns: {found}")
    if missing:
        say(lacking(str(table.path), missing, model.columns, table.columns))
    first, rejected = 1, 0
    for batch in table.batches(BATCH_ROWS):
        told = dict(zip(table.columns, zip(*batch, strict=True), strict=True))
        cells = {name: model.known(told[name]) for name in (*looked, *model.besides) if name in told}
        absent: list[str | None] = [None] * len(batch)
        wanted_cells = {name: cells.get(name, absent) for name in (*model.columns, *model.besides)}
        outputs, rejects = model.outputs(wanted_cells, media_root, first)
        for row, column, cell, why in rejects:
            say(f"row {row}, column {column!r}, {cell!r}: {why}")
        yield Batch(first, told, outputs)
        first, rejected = first + len(batch), rejected + len(rejects)
    if first == 1:
        raise TableError(f"{table.path} has a header but no rows: there is nothing to predict")
    if rejected:
        say(f"{counted(rejected, 'cell')} could not be read and {agreed(rejected, 'count')} as absent")
    for column, remarks in model.remarks.items():
        for what, count in remarks.items():
            say(f"column {column!r}: {counted(count, 'cell')} {what}")


def say(text: str) -> None:
    """Beside what is written."""
    print(text, file=sys.stderr)  # noqa: T201 - a script
