"""Reads the user's table in chunks: CSV (any encoding and delimiter), Parquet, JSON Lines.

A cell is text or None; numbers become their shortest text, lists and objects JSON. An empty cell is missing, and what the user
says means missing (`na`); `NA`, `null` and `None` are text here, since they may be names of things. Rows are numbered from 1,
not counting the header. Knows nothing of what columns mean.
"""

from __future__ import annotations

import csv
import functools
import itertools
import json
import math
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from mmcli.errors import DataError, did_you_mean
from mmcli.tables.encoding import check_encoding, detect_delimiter, detect_encoding
from mmcli.tables.finding import require_file

CHUNK_ROWS = 4096
_LOOKED_AT = 20
"""Records that tell whether the header lacks a field."""
NAMELESS = "Unnamed: 0"
"""What a first field without a name is called, as pandas calls it: it holds the names of the rows."""
FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}


@dataclass(frozen=True)
class Table:
    """A table on disk. Nothing is held in memory but the names of its columns."""

    path: Path
    format: str
    encoding: str = "utf-8"
    delimiter: str = ","
    na: frozenset[str] = frozenset()
    """Cells that the user says mean missing; a chunk's `attrs["na"]` counts them by (column, cell)."""

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        names = {"csv": _csv_header, "parquet": _parquet_header, "jsonl": _jsonl_header}[self.format](self)
        if names and not names[0].strip() and self.format != "jsonl":
            names[0] = NAMELESS
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
        described = (
            json.loads((_parquet(self).schema_arrow.metadata or {}).get(b"pandas", b"{}")) if self.format == "parquet" else {}
        )
        return [name for name in described.get("index_columns", []) if isinstance(name, str) and name in self.columns]

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
        records = {"csv": _csv_records, "parquet": _parquet_records, "jsonl": _jsonl_records}[self.format](self)
        start, block = 0, list[list[str | None]]()
        places = [self.columns.index(name) for name in wanted]
        for record in records:
            block.append([record[place] for place in places])
            if len(block) == rows:
                yield self._chunk(block, wanted, start)
                start, block = start + rows, []
        if block:
            yield self._chunk(block, wanted, start)

    def _chunk(self, block: list[list[str | None]], columns: list[str], start: int) -> pd.DataFrame:
        named: Counter[tuple[str, str]] = Counter()
        for record in block if self.na else ():
            for place, cell in enumerate(record):
                if cell is not None and cell.strip() in self.na:
                    named[columns[place], cell.strip()] += 1
                    record[place] = None
        frame = _frame(block, columns, start)
        if named:
            frame.attrs["na"] = named
        return frame

    def head(self, rows: int) -> pd.DataFrame:
        """The first rows."""
        return next(self.chunks(rows), _frame([], self.columns, 0))


def open_table(path: Path, encoding: str | None = None, delimiter: str | None = None) -> Table:
    """The table at `path`, its format told by the suffix, its encoding and delimiter by its bytes where not given.

    Raises:
        DataError: no such file, an unknown suffix, an empty file, a wrong encoding.
    """
    require_file(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise DataError(
            f"{path}: cannot tell the format of a table from {path.suffix or 'no suffix'!r}",
            f"Known: {', '.join(FORMATS)}.",
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty", "A table needs a header and at least one row.")
    if kind == "parquet":
        return Table(path, kind)
    if encoding is None:
        encoding = detect_encoding(path)
    else:
        check_encoding(path, encoding)
    if kind == "csv" and delimiter is None:
        delimiter = detect_delimiter(path, encoding)
    return Table(path, kind, encoding, (delimiter or ",").replace("\\t", "\t"))


def _frame(block: list[list[str | None]], columns: list[str], start: int) -> pd.DataFrame:
    frame = pd.DataFrame(block, columns=columns, dtype=object)
    frame.index = pd.RangeIndex(start, start + len(block))
    return frame


def _csv_header(table: Table) -> list[str]:
    csv.field_size_limit(sys.maxsize)
    with table.path.open(encoding=table.encoding, newline="") as file:
        records = (record for record in csv.reader(file, delimiter=table.delimiter) if record)
        names = [name.strip() for name in next(records, [])]
        if not names:
            raise DataError(f"{table.path} is empty", "A table needs a header and at least one row.")
        first = list(itertools.islice(records, _LOOKED_AT))
    # R gives the names of rows no field in the header; a mark at the end of each line is another matter.
    longer = first and all(len(record) == len(names) + 1 for record in first)
    return ["", *names] if longer and all(record[-1].strip() for record in first) else names


def _csv_records(table: Table) -> Iterator[list[str | None]]:
    width = len(table.columns)
    csv.field_size_limit(sys.maxsize)
    with table.path.open(encoding=table.encoding, newline="") as file:
        reader = csv.reader(file, delimiter=table.delimiter, strict=True)
        row = 0
        try:
            next(record for record in reader if record)  # the header
            for record in reader:
                if not record:
                    continue
                row += 1
                _check_csv_record(table, record, row, reader.line_num, width)
                yield [cell if cell.strip() else None for cell in record]
        except csv.Error as error:
            raise DataError(
                f"{table.path}, row {row + 1} (line {reader.line_num}): {error}",
                'A quote is probably left open or not doubled: write "" for a quote inside a quoted field.',
            ) from None


def _check_csv_record(table: Table, record: list[str], row: int, line: int, width: int) -> None:
    if len(record) != width:
        raise DataError(
            f"{table.path}, row {row} (line {line}) has {len(record)} fields, the header has {width}",
            f"It begins {table.delimiter.join(record)[:60]!r}. Quote fields that hold the delimiter "
            f"{table.delimiter!r}, or give another with --delimiter.",
        )
    for name, cell in zip(table.columns, record, strict=True):
        if "\0" in cell:
            raise DataError(
                f"{table.path}, row {row} (line {line}), column {name!r} holds a NUL byte: {cell[:40]!r}",
                "The file is damaged, or is UTF-16 without a mark: then give --encoding utf-16.",
            )


def _parquet_header(table: Table) -> list[str]:
    return [str(name) for name in _parquet(table).schema_arrow.names]


def _parquet_records(table: Table) -> Iterator[list[str | None]]:
    for batch in _parquet(table).iter_batches(CHUNK_ROWS):
        lists = [column.to_pylist() for column in batch.columns]
        for record in zip(*lists, strict=True):
            yield [_as_text(cell) for cell in record]


def _parquet(table: Table) -> Any:
    try:
        return pyarrow.parquet.ParquetFile(table.path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{table.path} is not a readable Parquet file: {error}") from None


def _jsonl_objects(table: Table) -> Iterator[tuple[int, dict[str, Any]]]:
    with table.path.open(encoding=table.encoding) as file:
        row = 0
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            row += 1
            where = f"{table.path}, row {row} (line {line})"
            try:
                record = json.loads(text, object_pairs_hook=functools.partial(_unique, where))
            except json.JSONDecodeError as error:
                raise DataError(f"{where} is not JSON: {error}", "JSON Lines holds one object to a line.") from None
            if not isinstance(record, dict):
                raise DataError(f"{where} is not an object: {text.strip()[:40]}", 'Expected {"column": value, ...}.')
            yield row, record


def _unique(where: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where} holds the column {twice!r} twice", "Rename or remove one.")
    return record


def _jsonl_header(table: Table) -> list[str]:
    names: dict[str, None] = {}
    for _, record in _jsonl_objects(table):
        names.update(dict.fromkeys(record))
    return list(names)


def _jsonl_records(table: Table) -> Iterator[list[str | None]]:
    for _, record in _jsonl_objects(table):
        yield [_as_text(record.get(name)) for name in table.columns]


def _as_text(cell: Any) -> str | None:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, list | dict):
        return json.dumps(cell, ensure_ascii=False)
    text = cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
    return text if text.strip() else None
