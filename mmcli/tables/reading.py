"""Reads the user's table in chunks: CSV (any encoding and delimiter), JSON, Parquet, Excel.

A cell is text or None; numbers become their shortest text, lists and objects JSON. An empty cell is missing, and what the user
says means missing (`na`); `NA`, `null` and `None` are text here, since they may be names of things. Rows are numbered from 1,
not counting the header. Knows nothing of what columns mean; each format has a file of its own.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mmcli.errors import DataError, did_you_mean
from mmcli.media.boxes import Told
from mmcli.tables import delimited, objects, workbook
from mmcli.tables.cells import as_text
from mmcli.tables.columnar import NAMELESS, Columnar
from mmcli.tables.delimited import Delimited
from mmcli.tables.encoding import Encoding, check_encoding, detect
from mmcli.tables.finding import require_file
from mmcli.tables.objects import Objects
from mmcli.tables.source import called, find
from mmcli.tables.workbook import Workbook

CHUNK_ROWS = 4096
_HEAD_CHARS = 1 << 27
"""Characters of cells that `head` holds at most: cells may be whole pictures."""


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a table, in two forms."""

    frame: pd.DataFrame
    """The cells as text; the index is the row number, from 0."""
    own: Any
    """As the table has them: an Arrow batch of Parquet, objects of JSON, lists of values of CSV (text as it is) and Excel."""

    def typed(self) -> pd.DataFrame:
        """The rows with the types that the table has; of a CSV, text."""
        if isinstance(self.own, pa.RecordBatch):
            return _with_index(self.own)
        if self.own and isinstance(self.own[0], dict):
            return pd.DataFrame(self.own, columns=list(self.frame.columns))
        is_text = all(isinstance(value, str) for value in self.own[0]) if self.own else True
        return self.frame if is_text else pd.DataFrame(self.own, columns=list(self.frame.columns))


@dataclass(frozen=True)
class Table:
    """A table on disk. Nothing is held in memory but the names of its columns."""

    path: Path
    format: str
    """csv, json, parquet or excel."""
    encoding: str
    delimiter: str
    reader: Delimited | Objects | Columnar | Workbook
    notes: tuple[str, ...] = ()
    """What was understood of the file that a user may want to know."""
    warnings: tuple[str, ...] = ()
    """What was guessed."""
    na: frozenset[str] = frozenset()
    """Cells that the user says mean missing; a chunk's `attrs["na"]` counts them by (column, cell)."""
    faces: Mapping[str, Told] = field(default_factory=dict)
    """Column -> other columns, by which chunks mark its cells."""

    @property
    def described(self) -> str:
        """The format in words."""
        if self.format == "csv":
            names = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
            return f"CSV in {self.encoding}, fields separated by {names.get(self.delimiter, repr(self.delimiter))}"
        if isinstance(self.reader, Objects):
            return f"{self.reader.layout} in {self.encoding}"
        return {"parquet": "Parquet", "excel": "Excel"}[self.format]

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        names = list(self.reader.columns)
        if names and not names[0].strip() and self.format != "json":
            names[0] = _unused(NAMELESS, names)
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            places = ", ".join(str(i + 1) for i, name in enumerate(names) if name == duplicates[0])
            raise DataError(
                f"{self.path}: the column {duplicates[0]!r} stands {names.count(duplicates[0])} times in the header "
                f"(fields {places})",
                "Rename or remove all but one.",
            )
        for place, name in enumerate(names, 1):
            if not name.strip():
                raise DataError(f"{self.path}: field {place} of the header has no name", "Give every column a name.")
        return names

    @cached_property
    def row_index(self) -> list[str]:
        """The columns that pandas has written as the index of a Parquet file."""
        names = self.reader.index if isinstance(self.reader, Columnar) else []
        return [name for name in names if name in self.columns]

    def require(self, column: str, flag: str) -> None:
        """Raises DataError if there is no such column, suggesting the nearest, or how to name several."""
        several = [name.strip() for name in column.split(",")]
        if column not in self.columns and all(name in self.columns for name in several):
            raise DataError(
                f"{flag} {column}: {self.path} has no such column, but it has {' and '.join(several)}",
                f"Name each by itself: {' '.join(f'{flag} {shlex.quote(name)}' for name in several)}.",
            )
        if column not in self.columns:
            raise DataError(
                f"{flag} {column}: {self.path} has no such column. {did_you_mean(column, self.columns)}",
                f"Its columns: {', '.join(self.columns)}.",
            )

    def chunks(self, rows: int = CHUNK_ROWS, columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
        """Consecutive parts of the table, as text; the index is the row number, from 0.

        Raises:
            DataError: naming the row and line of what cannot be read.
        """
        wanted = self.columns if columns is None else columns
        told = [name for own, found in self.faces.items() if own in wanted for name in found.columns]
        besides = [name for name in told if name not in wanted and name in self.columns]
        names = [*wanted, *dict.fromkeys(besides)]
        records, start = self._cells(names), 0
        while block := list(islice(records, rows)):
            chunk = marked(self._chunk(block, names, start), self.faces)
            yield chunk[wanted] if besides else chunk
            start += len(block)

    def _chunk(self, block: list[list[str | None]], columns: list[str], start: int) -> pd.DataFrame:
        named: Counter[tuple[str, str]] = Counter()
        for record in block if self.na else ():
            for place, cell in enumerate(record):
                if cell is not None and cell.strip() in self.na:
                    named[columns[place], cell.strip()] += 1
                    record[place] = None
        frame = _frame(list(zip(*block, strict=True)), columns, start, len(block))
        if named:
            frame.attrs["na"] = named
        return frame

    def head(self, rows: int) -> pd.DataFrame:
        """The first rows; fewer where cells are huge."""
        block, size = list[list[str | None]](), 0
        for record in islice(self._cells(self.columns), rows):
            block.append(record)
            size += sum(len(cell) for cell in record if cell is not None)
            if size > _HEAD_CHARS:
                break
        return marked(self._chunk(block, self.columns, 0), self.faces)

    def parts(self, rows: int = CHUNK_ROWS) -> Iterator[Rows]:
        """Consecutive parts of the table, as text and as it has them itself.

        Raises:
            DataError: as `chunks`.
        """
        reader, start = self.reader, 0
        if isinstance(reader, Columnar):
            for batch in reader.batches():
                cells = reader.texts(batch, start)
                yield Rows(_frame(list(cells.values()), self.columns, start, batch.num_rows), batch)
                start += batch.num_rows
            return
        records: Iterator[Any] = reader.objects() if isinstance(reader, Objects) else reader.records()
        while block := list(islice(records, rows)):
            lists = [[record.get(name) for name in self.columns] for record in block] if isinstance(reader, Objects) else block
            made = [[as_text(value) for value in values] for values in zip(*lists, strict=True)]
            yield Rows(_frame(made, self.columns, start, len(block)), block)
            start += len(block)

    def _cells(self, wanted: list[str]) -> Iterator[list[str | None]]:
        """The wanted cells of each row, as text."""
        if isinstance(self.reader, Columnar):
            yield from self.reader.records(wanted)
            return
        places = [self.columns.index(name) for name in wanted]
        if isinstance(self.reader, Delimited):
            for record in self.reader.records():
                yield [cell if (cell := record[place]) and not cell.isspace() else None for place in places]
            return
        for values in self.reader.records():
            yield [as_text(values[place]) for place in places]


def marked(chunk: pd.DataFrame, faces: Mapping[str, Told]) -> pd.DataFrame:
    """Cells as text, those of pictures with marks by what other columns tell of their faces."""
    made = {}
    for name, told in faces.items():
        if name in chunk:
            cells = [chunk[own].tolist() if own in chunk else [None] * len(chunk) for own in told.columns]
            made[name] = pd.Series(told.over(chunk[name].tolist(), cells), index=chunk.index, dtype=object)
    return chunk.assign(**made) if made else chunk


def open_table(path: Path, encoding: str | None = None, delimiter: str | None = None) -> Table:
    """The table at `path`, `-` for standard input: its format told by its first bytes and its suffix, its encoding and
    delimiter by its bytes where not given.

    Raises:
        DataError: no such file, a format that is not read, an empty file, a wrong encoding.
    """
    require_file(path)
    source, kind = find(path)
    if kind == "parquet":
        return Table(path, kind, "utf-8", ",", Columnar(source))
    if kind == "excel":
        book = workbook.look(source)
        return _named(Table(path, kind, "utf-8", ",", book), book.notes, book.warnings)
    warnings = []
    with source.unpacking():
        if encoding is None:
            found = detect(source, header=kind == "csv")
            if found.example:
                warnings.append(_guessed(found))
            encoding = found.name
        else:
            check_encoding(source, encoding)
    name = Path(source.member or path.name.removesuffix(path.suffix if source.packing else ""))
    if kind == "json":
        table = objects.look(source, name.suffix.lower(), encoding)
        return _named(Table(path, kind, encoding, ",", table), (), warnings)
    text = delimited.look(source, name.suffix.lower(), encoding, _one_character(delimiter))
    return _named(Table(path, kind, encoding, text.delimiter, text), text.notes, [*warnings, *text.warnings])


def _named(table: Table, notes: Sequence[str], warnings: Sequence[str]) -> Table:
    """The table with notes and warnings, its name before each."""
    name = called(table.path)
    return replace(table, notes=tuple(f"{name}: {own}" for own in notes), warnings=tuple(f"{name}: {own}" for own in warnings))


def _guessed(found: Encoding) -> str:
    return (
        f"its encoding is not told and was guessed: {found.name}. So it reads {found.example!r}; if that is wrong, give "
        "--encoding (utf-8, gb18030, big5, shift_jis, cp1252, ...)"
    )


def _one_character(delimiter: str | None) -> str | None:
    """Raises DataError if it is none."""
    told = delimiter and delimiter.replace("\\t", "\t")
    if told is not None and len(told) != 1:
        raise DataError(f"--delimiter {delimiter!r} is not one character", r"E.g. ';' or '\t'.")
    return told


def _with_index(rows: pa.RecordBatch) -> pd.DataFrame:
    """The frame of Arrow rows, what pandas has written as an index among its columns."""
    known = rows.schema.metadata or {}
    if b"pandas" in known:
        told = {**json.loads(known[b"pandas"]), "index_columns": []}
        rows = rows.replace_schema_metadata({**known, b"pandas": json.dumps(told)})
    frame: pd.DataFrame = rows.to_pandas()
    return frame.set_axis(rows.schema.names, axis=1)


def _frame(columns: Sequence[Sequence[Any]], names: list[str], start: int, rows: int) -> pd.DataFrame:
    """A frame of cells; the index is the row number."""
    made = {}
    for name, cells in zip(names, columns or [()] * len(names), strict=True):
        array = np.empty(rows, dtype=object)
        array[:] = cells
        made[name] = array
    return pd.DataFrame(made, columns=names, index=pd.RangeIndex(start, start + rows), dtype=object)


def _unused(name: str, names: Sequence[str]) -> str:
    """The name, or as pandas does with a point and a number behind it where there is such a column already."""
    number = 0
    while (found := f"{name}.{number}" if number else name) in names:
        number += 1
    return found
