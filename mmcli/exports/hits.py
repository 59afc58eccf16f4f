"""Vectors that are looked up: rows of a table, or one cell, in a gallery; two cells beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmcli.exports import batches, lookup, tables
from mmcli.exports.graph import OUTPUTS, Model
from mmcli.exports.made import Array
from mmcli.exports.tables import Table, TableError
from mmcli.reporting.counts import agreed, counted, them

HEADER = ("query", "rank", "id", "name", "similarity")
"""Of the lines that are written, as mmcli search writes them."""
MOST = 5
"""Hits of a row, unless told."""


def of_table(
    model: Model,
    table: Table,
    output: Path | None,
    media_root: str,
    held: lookup.Gallery,
    most: int,
    columns: Sequence[str],
    named: str | None,
    raw: bool = False,
) -> int:
    """Writes the most alike rows of the gallery for each row of the table, by what it has in some columns, or in all. What a
    row is called says the column `named`."""
    named = _id_column(model, table, named)
    empty, mark, formulas = list[int](), tables.delimiter(output, table), 0
    with tables.opened(output, table) as file:
        tables.write(file, [HEADER], mark)
        for batch in batches.read(model, table, media_root, columns):
            here = model.here.tolist()
            empty += [row for row, there in enumerate(here, batch.first) if not there]
            cells = [None] * len(here) if named is None else [tables.cell(own) for own in batch.told[named]]
            asked = [str(cell or row) for row, cell in enumerate(cells, batch.first)]
            rows, alike = held.nearest(lookup.of_rows(batch.outputs[OUTPUTS]), most)
            for query, there, places, found in zip(asked, here, rows.tolist(), alike.tolist(), strict=True):
                lines = enumerate(zip(places, found, strict=True), 1) if there else ()
                told = [(query, rank, held.ids[row], held.names[row], round(own, 6)) for rank, (row, own) in lines]
                formulas += tables.write(file, told, mark, raw)
    if empty:
        none = f"{counted(len(empty), 'row')} {agreed(len(empty), 'have')} no hits"
        batches.say(f"{none}, since nothing of {them(len(empty))} can be read, the first: row {empty[0]}")
    if formulas:
        batches.say(tables.remark(formulas, output))
    return 0


def _id_column(model: Model, table: Table, told: str | None) -> str | None:
    """The column whose cells name rows, as mmcli search finds it; none where rows are named by their number."""
    if told is not None and told not in table.columns:
        raise TableError(f"--id {told}: {table.path} has no such column; its columns: {', '.join(table.columns)}")
    found = [name for name in (told, *model.about["ids"]) if name in table.columns]
    files = [name for name in model.about["files"] if name in table.columns]
    if not found and len(files) == 1 and files[0] not in model.faces:  # of one picture, faces are several rows
        found = files
    return found[0] if found else None


def of_cells(model: Model, cells: Sequence[str], columns: Sequence[str], media_root: str) -> Array:
    """The vectors [N, D] of cells, each in its column, all others being absent.

    Raises:
        TableError: one of them cannot be read, or says nothing.
    """
    model.prepare()
    known = model.known(cells)
    absent: list[str | None] = [None] * len(cells)
    laid = {
        name: [own if column == name else None for own, column in zip(known, columns, strict=True)] for name in model.columns
    }
    outputs, rejects = model.outputs({**dict.fromkeys(model.besides, absent), **laid}, media_root, 1)
    if rejects:
        raise TableError(f"{rejects[0][2]}: {rejects[0][3]}")
    silent = next((cell for cell, here in zip(cells, model.here.tolist(), strict=True) if not here), None)
    if silent is not None:
        raise TableError(f"{silent!r} says nothing to the model: it counts as missing")
    return lookup.of_rows(outputs[OUTPUTS])


def column_of(model: Model, flag: str, told: Sequence[str]) -> str:
    """The one column that what follows a flag is of: the one told, or the only one of files, of texts, or of all.

    Raises:
        TableError: it is not told, and there are others; or it is none of texts.
    """
    texts = model.of_kind("text")
    among = texts if flag == "--find-text" else model.columns if len(model.columns) == 1 else model.about["files"]
    if flag == "--find-text" and not set(told or texts[:1]) & set(texts):
        raise TableError(f"{flag}: of the columns {', '.join(told or model.columns)} none is of texts")
    if len(told or among) != 1:
        raise TableError(f"{flag}: say which of {', '.join(among or model.columns)} it is of, by --column")
    return (told or among)[0]


def compare(vectors: Array, least: float | None) -> int:
    """Tells how alike two cells are; and whether they are the same, where that is known from some similarity on."""
    alike = float(vectors[0] @ vectors[1])
    said = "" if least is None else f": {'the same' if alike >= least else 'not the same'} (from {least:.4f} on)"
    print(f"similarity {alike:.4f}{said}")  # noqa: T201 - a script
    return 0


def find(vectors: Array, held: lookup.Gallery, most: int, least: float | None) -> int:
    """Tells which rows of the gallery are most like the first vector."""
    rows, found = held.nearest(vectors, most)
    for row, alike in zip(rows[0].tolist(), found[0].tolist(), strict=True):
        said = "" if least is None else f"  {'accepted' if alike >= least else 'not accepted'}"
        print(f"{held.ids[row]}  {held.names[row]}  {alike:.4f}{said}")  # noqa: T201 - a script
    return 0
