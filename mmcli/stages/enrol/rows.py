"""The rows of a table that are to be enrolled: what they are called, their vectors, and what is left out."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO

import pandas as pd
import torch
from torch import Tensor

from mmcli.errors import DataError
from mmcli.models import embedding
from mmcli.models.gallery import ID, NAME, Gallery, as_kept
from mmcli.models.predictor import Model
from mmcli.options.enrol import Options
from mmcli.tables.cells import BYTES
from mmcli.tables.names import tidy
from mmcli.tables.reading import Table
from mmcli.tables.source import called
from mmcli.vectors import eight
from mmcli.vectors.eight import Kept

LONGEST = 2000
LONGEST_ID = 500


@dataclass
class New:
    """What is to be enrolled."""

    rows: list[pd.DataFrame] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)
    """float16 [n, D] each."""
    rejects: list[tuple[int, str, str, str]] = field(default_factory=list)
    left_out: list[tuple[int, str, str, str]] = field(default_factory=list)
    """Rows that are not enrolled, and why, as rejects."""
    long: Counter[str] = field(default_factory=Counter)
    """Column -> its cells that are too long to be kept."""
    remarks: dict[str, Counter[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A table, and which of its columns name its rows."""

    table: Table
    id: str | None
    name: str | None

    @property
    def columns(self) -> list[str]:
        """Those that name rows."""
        return [*dict.fromkeys(own for own in (self.id, self.name) if own is not None)]

    def ids(self, rows: pd.DataFrame) -> list[str]:
        """What rows are called.

        Raises:
            DataError: a row has no id, or one that cannot be meant.
        """
        if self.id is None:
            return [f"{self.table.path.name}:{row + 1}" for row in rows.index]
        found = []
        for row, cell in zip(rows.index, rows[self.id], strict=True):
            if cell is None or len(cell) > LONGEST_ID:
                what = "no id" if cell is None else f"an id of {len(cell):,} characters"
                raise DataError(
                    f"{called(self.table.path)}, row {row + 1}: {what} (column {self.id!r})", "Name another column: --id COL."
                )
            found.append(tidy(cell))
        return found


def check_ids(sources: list[Source], old: Gallery | None, options: Options) -> set[str]:
    """The ids that are in the gallery.

    Raises:
        DataError: a table has no rows, two rows have one id, or, unless they are to be replaced, one is in the gallery.
    """
    known, where = set() if old is None else set(old.rows[ID]), dict[str, str]()
    for source in sources:
        name, count = called(source.table.path), 0
        for part in source.table.chunks(columns=source.columns or source.table.columns[:1]):
            count += len(part)
            for row, own in zip(part.index, source.ids(part), strict=True):
                place = f"{name}, row {row + 1}"
                if own in where:
                    raise DataError(
                        f"{place} has the id {own!r}, as has {where[own]}",
                        "An id is of one row: name another column, --id COL.",
                    )
                if own in known and not options.replace:
                    raise DataError(
                        f"{place}: {own!r} is in galleries/{options.gallery} already",
                        "Add --replace to let the new row take its place, or leave it out.",
                    )
                where[own] = place
        if not count:
            raise DataError(f"{name} has a header but no rows", "There is nothing to enrol.")
    return known


def embed(source: Source, loaded: Model, options: Options, columns: Sequence[str], new: New) -> None:
    """Adds the rows of a table; in parts, of which the vectors and short cells alone are kept."""
    table = source.table
    root = options.media_root or str(table.path.parent)
    for part in embedding.embedded(loaded, table.chunks(), root, options.allow_missing, columns):
        new.rejects += part.rejects
        for column, found in part.remarks.items():
            new.remarks.setdefault(column, Counter()).update(found)
        ids = source.ids(part.rows)
        names = ids if source.name is None else [_name(cell, loaded.na) for cell in part.rows[source.name]]
        kept = []
        for place, (here, name) in enumerate(zip(part.here.tolist(), names, strict=True)):
            if here and name is not None:
                kept.append(place)
            else:
                why = "nothing of the row can be read: it is not enrolled" if not here else "no name: the row is not enrolled"
                column = "" if not here else str(source.name)
                new.left_out.append((int(part.rows.index[place]) + 1, column, ids[place], why))
        told = pd.DataFrame({ID: ids, NAME: names}, dtype=object)
        for column in table.columns:
            if column not in source.columns:
                told[_unused(column, told)] = [_short(cell, column, new.long) for cell in part.rows[column]]
        new.rows.append(told.iloc[kept])
        new.vectors.append(part.values[kept].half())


def _name(cell: str | None, na: frozenset[str]) -> str | None:
    return None if cell is None or cell.strip() in na else tidy(cell)


def _unused(column: str, told: pd.DataFrame) -> str:
    """What a column of the table is called in the gallery, whose own columns come first."""
    while column in told:
        column += "_"
    return column


def _short(cell: str | None, column: str, long: Counter[str]) -> str | None:
    if cell is None or (len(cell) <= LONGEST and not cell.startswith(BYTES)):
        return cell
    long[column] += 1
    return None


def joined(old: Gallery | None, new: New, name: str, kind: str) -> tuple[pd.DataFrame, Kept]:
    """Rows and vectors of both, kept as that kind is; new ones take the place of those of their id, the others come last.

    Raises:
        DataError: there is none that could be enrolled.
    """
    if not sum(map(len, new.rows)):
        row, column, cell, why = (new.rejects or new.left_out)[0]
        raise DataError(f"no row can be enrolled in {name}; the first: row {row}, column {column!r}, {cell!r}: {why}")
    vectors = as_kept(torch.cat(new.vectors), kind)
    rows = _without_nan(pd.concat(new.rows, ignore_index=True))
    if old is None:
        return rows, vectors
    places = {own: place for place, own in enumerate(old.rows[ID])}
    order = list(range(len(places)))
    for place, own in enumerate(rows[ID], len(places)):
        if own in places:
            order[places[own]] = place
        else:
            order.append(place)
    both = _without_nan(pd.concat([old.rows, rows], ignore_index=True)).iloc[order].reset_index(drop=True)
    return both, eight.joined(old.vectors, vectors)[torch.tensor(order)]


def _without_nan(rows: pd.DataFrame) -> pd.DataFrame:
    """With None where a part had not that column."""
    cells = rows.astype(object)
    return cells.where(cells.notna(), None)


def lines(rejects: list[tuple[int, str, str, str]]) -> bytes:
    file = StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows([("row", "column", "path", "reason"), *rejects])
    return file.getvalue().encode("utf-8")
