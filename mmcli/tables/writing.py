"""Rows of a table with more columns beside them, written as CSV, JSON Lines or Parquet: what the table held keeps its type.

A column of the table that is called like one of the new ones is replaced in its place. Knows nothing of what columns mean.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from mmcli.reporting import strict
from mmcli.tables.cells import as_text
from mmcli.tables.formulas import guarded, is_formula
from mmcli.tables.reading import Rows, Table
from mmcli.tables.typed import Typed, with_lists

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""What a table may be written as."""
_UNTOLD: Mapping[str, Typed] = MappingProxyType({})


class Writer(Protocol):
    """Takes consecutive rows."""

    def write(self, rows: Rows, more: Mapping[str, Sequence[Any]]) -> None: ...

    @property
    def close(self) -> Callable[[], object]: ...


def writer(path: Path, suffix: str, table: Table, raw: bool = False, types: Mapping[str, Typed] = _UNTOLD) -> Writer:
    """What writes rows of `table` to `path`, as the suffix tells; `raw`: a CSV keeps what a spreadsheet would run; `types` are
    those of new columns, where values alone would not say; cells become lists where a type is of such and the file has them."""
    kind = SUFFIXES[suffix]
    if kind == "csv":
        return CsvWriter(path.open("w", encoding="utf-8", newline=""), table, "\t" if suffix in {".tsv", ".tab"} else ",", raw)
    return (_JsonLines if kind == "json" else _Parquet)(path, table, types)


class CsvWriter:
    """CSV in UTF-8; the cells of a CSV come as they were."""

    def __init__(
        self, file: TextIO, table: Table, delimiter: str = ",", raw: bool = False, close: Callable[[], object] | None = None
    ) -> None:
        self._file = file
        self.close = close or file.close
        self._columns = table.columns
        self._delimiter = delimiter
        self._header = True
        self._raw = raw
        self.guarded = 0
        """Cells that a spreadsheet would have run as formulas."""

    def write(self, rows: Rows, more: Mapping[str, Sequence[Any]]) -> None:
        frame = rows.frame
        if isinstance(rows.own, list) and rows.own and isinstance(rows.own[0], list) and isinstance(rows.own[0][0], str):
            frame = pd.DataFrame(rows.own, columns=self._columns, dtype=object)  # blanks and all
        frame = frame.assign(**{name: [_flat(cell) for cell in cells] for name, cells in more.items()})
        if not self._raw:
            frame, count = guarded_frame(frame)
            self.guarded += count
        frame.to_csv(
            self._file,
            index=False,
            header=self._header,
            sep=self._delimiter,
            quoting=csv.QUOTE_MINIMAL,
            lineterminator="\n",
        )
        self._header = False


def guarded_frame(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The frame with its texts and its header guarded, and how many cells that changed."""
    changed: dict[Hashable, pd.Series] = {}
    count = 0
    for name, column in frame.items():
        if not (pd.api.types.is_object_dtype(column.dtype) or isinstance(column.dtype, pd.StringDtype)):
            continue
        found = column.map(lambda cell: isinstance(cell, str) and is_formula(cell)).astype(bool)
        if found.any():
            count += int(found.sum())
            changed[name] = column.mask(found, "'" + column.where(found, "").astype(str))
    names = [guarded(str(name)) for name in frame.columns]
    count += sum(new != str(old) for new, old in zip(names, frame.columns, strict=True))
    safe = frame.assign(**{str(name): column for name, column in changed.items()}) if changed else frame
    return safe.set_axis(names, axis=1), count


def _flat(cell: Any) -> Any:
    """A list as JSON: a CSV has none."""
    return strict.text(cell) if isinstance(cell, list) else cell


class _JsonLines:
    """An object to a line: numbers, booleans, lists and objects as the table has them, cells of a CSV as text."""

    def __init__(self, path: Path, table: Table, types: Mapping[str, Typed]) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._columns = table.columns
        self._types = types

    def write(self, rows: Rows, more: Mapping[str, Sequence[Any]]) -> None:
        names, columns = list(more), with_lists(more, self._types).values()
        for record, values in zip(self._objects(rows), zip(*columns, strict=True), strict=True):
            self._file.write(strict.text({**record, **dict(zip(names, values, strict=True))}, default=as_text) + "\n")

    def _objects(self, rows: Rows) -> Sequence[Mapping[str, Any]]:
        if isinstance(rows.own, pa.RecordBatch):
            lists = [_said(rows.own.column(name), rows.frame[name].tolist()) for name in self._columns]
            return [dict(zip(self._columns, record, strict=True)) for record in zip(*lists, strict=True)]
        if rows.own and isinstance(rows.own[0], dict):
            return list(rows.own)
        return [
            {name: value if value != "" else None for name, value in zip(self._columns, record, strict=True)}
            for record in rows.own
        ]

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """Types as the table has them: those of Parquet as they are, those of JSON and Excel as all rows allow, CSV as text."""

    def __init__(self, path: Path, table: Table, types: Mapping[str, Typed]) -> None:
        self._path = path
        self._types = types
        self._table = table
        self._schema: pa.Schema | None = None
        self._own: pa.Schema | None = None
        self._writer: Any = None

    def write(self, rows: Rows, more: Mapping[str, Sequence[Any]]) -> None:
        own = self._arrow(rows)
        for name, cells in with_lists(more, self._types).items():
            kind = self._types.get(name, Typed()).arrow if self._schema is None else self._schema.field(name).type
            array = pa.array(cells, type=kind)
            array = array.cast(pa.string()) if pa.types.is_null(array.type) else array
            place = own.schema.get_field_index(name)
            own = own.append_column(name, array) if place < 0 else own.set_column(place, name, array)
        if self._writer is None:
            self._schema = own.schema
            self._writer = pyarrow.parquet.ParquetWriter(self._path, own.schema)
        self._writer.write_table(own)

    def _arrow(self, rows: Rows) -> pa.Table:
        if isinstance(rows.own, pa.RecordBatch):
            return pa.Table.from_batches([rows.own])
        if self._own is None:
            self._own = _types(self._table) if self._table.format in {"json", "excel"} else None
        texts = {name: rows.frame[name].tolist() for name in self._table.columns}
        if self._own is None:
            return pa.table({name: pa.array(cells, pa.string()) for name, cells in texts.items()})
        values = dict(zip(self._table.columns, _by_column(rows.own, self._table.columns), strict=True))
        kinds = {field.name: field.type for field in self._own}
        arrays = {
            name: pa.array(texts[name] if pa.types.is_string(kind) else values[name], kind) for name, kind in kinds.items()
        }
        return pa.table(arrays)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _by_column(own: Any, names: Sequence[str]) -> list[list[Any]]:
    if own and isinstance(own[0], dict):
        return [[record.get(name) for record in own] for name in names]
    return [list(values) for values in zip(*own, strict=True)]


def _said(column: Any, texts: list[str | None]) -> list[Any]:
    """The values of an Arrow column that JSON has, and the others as text."""
    values = column.to_pylist()
    return [
        value if isinstance(value, bool | int | float | str | list | dict) and not _holds_other(value) else text
        for value, text in zip(values, texts, strict=True)
    ]


def _holds_other(value: Any) -> bool:
    """Whether a value holds what JSON does not have: bytes, times, decimals."""
    if isinstance(value, list):
        return any(map(_holds_other, value))
    if isinstance(value, dict):
        return any(map(_holds_other, value.values()))
    return not isinstance(value, bool | int | float | str | None)


def _types(table: Table) -> pa.Schema:
    """A type for each column that all its values have; text where they have none in common."""
    kinds: dict[str, Any] = dict.fromkeys(table.columns, pa.null())
    for rows in table.parts():
        for name, values in zip(table.columns, _by_column(rows.own, table.columns), strict=True):
            kinds[name] = _common(kinds[name], values)
    return pa.schema([(name, pa.string() if kind is None or pa.types.is_null(kind) else kind) for name, kind in kinds.items()])


def _common(kind: Any, values: list[Any]) -> Any:
    """The type of what was there before and of these values; None for none."""
    if kind is None:
        return None
    try:
        own = pa.array(values).type
        schemas = [pa.schema([("value", one)]) for one in (kind, own)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowException, OverflowError, TypeError):
        return None
