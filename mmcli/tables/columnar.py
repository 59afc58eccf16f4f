"""Tables of Parquet, batch by batch. Bytes are text where the column as a whole is UTF-8, else data URIs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from mmcli.errors import DataError
from mmcli.tables import cells
from mmcli.tables.cells import as_text
from mmcli.tables.source import Source, called

NAMELESS = "Unnamed: 0"
"""What a first field without a name is called, as pandas calls it: it holds the names of the rows."""
_BATCH_ROWS = 4096
_WITH_BYTES = 128
"""Rows read at a time where cells may be whole files, and rows that tell whether a column of bytes is text."""


@dataclass(frozen=True)
class Columnar:
    """A Parquet file."""

    source: Source

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self.schema.names)

    @cached_property
    def index(self) -> list[str]:
        """The columns that pandas has written as the index of its rows, by name."""
        described = json.loads((self.schema.metadata or {}).get(b"pandas", b"{}"))
        return [name for name in described.get("index_columns", []) if isinstance(name, str)]

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the columns; a first one without a name is given one."""
        found = self._file.schema_arrow
        blank = bool(found.names) and not found.names[0].strip()
        return found.set(0, found.field(0).with_name(NAMELESS)) if blank else found

    def batches(self, rows: int | None = None, names: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Consecutive rows with their own types, so many at a time; of some columns, where their names can be told so.

        Raises:
            DataError: the file is damaged.
        """
        size = rows or (_WITH_BYTES if self._has_bytes else _BATCH_ROWS)
        # A name with a point would be taken for a field of a column.
        some = None if names is None or any("." in name or name == NAMELESS for name in self.columns) else names
        try:
            for batch in self._file.iter_batches(size, columns=some):
                yield batch if some is not None else pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self._name} is damaged: {error}", "Write it anew.") from None

    def records(self, names: list[str]) -> Iterator[list[str | None]]:
        """The cells of some columns of each row, as text.

        Raises:
            DataError: naming the row and column of text that is not UTF-8.
        """
        start = 0
        writers = [self._writer(name) for name in names]
        for batch in self.batches(names=names):
            lists = [
                [write(value) for value in self._values(batch.column(name), name, start)]
                for name, write in zip(names, writers, strict=True)
            ]
            self._check(lists, names, batch, start)
            yield from (list(record) for record in zip(*lists, strict=True))
            start += batch.num_rows

    def texts(self, batch: pa.RecordBatch, start: int = 0) -> dict[str, list[str | None]]:
        """Column -> its cells as text, of a batch that begins at row `start`, from 0."""
        made = {}
        for name in self.columns:
            write = self._writer(name)
            made[name] = [write(value) for value in self._values(batch.column(name), name, start)]
        self._check(list(made.values()), self.columns, batch, start)
        return made

    def _check(self, lists: list[list[str | None]], names: list[str], batch: pa.RecordBatch, start: int) -> None:
        """Refuses a cell of bytes in a column of text."""
        for name, made in zip(names, lists, strict=True):
            if name not in self._texts_as_bytes:
                continue
            place = next((i for i, cell in enumerate(made) if cell is _NO_TEXT), None)
            if place is not None:
                value = batch.column(name)[place].as_py()
                raise DataError(
                    f"{self._name}, row {start + place + 1}, column {name!r} holds bytes that are not UTF-8: {value[:20]!r}",
                    "The others of the first rows are text: write the column as text, or empty that cell.",
                )

    def _values(self, column: Any, name: str, start: int) -> list[Any]:
        try:
            return list(column.to_pylist())
        except UnicodeDecodeError:
            whole = column.cast(pa.binary()).to_pylist() if pa.types.is_string(column.type) else []
            place = next((i for i, value in enumerate(whole) if value is not None and not _decodes(value)), 0)
            shown = f": {whole[place][:40]!r}" if whole else ""
            raise DataError(
                f"{self._name}, row {start + place + 1}, column {name!r} says that it is text and is not UTF-8{shown}",
                "Mend that cell, and write the file anew with text in UTF-8.",
            ) from None
        except ValueError as error:  # a time beyond what Python can say
            raise DataError(f"{self._name}, column {name!r}: {error}", "Cast the column to text or microseconds.") from None

    def _writer(self, name: str) -> Callable[[Any], str | None]:
        return _bytes_as_text if name in self._texts_as_bytes else as_text

    @cached_property
    def _texts_as_bytes(self) -> frozenset[str]:
        """The columns of bytes that hold text: most of their first cells are UTF-8."""
        named = [field.name for field in self.schema if _is_bytes(field.type)]
        if not named:
            return frozenset()
        first = next(self.batches(_WITH_BYTES, named), None)
        if first is None:
            return frozenset()
        found = set()
        for name in named:
            known = [value for value in first.column(name).to_pylist() if value]
            if sum(map(cells.is_text, known)) > 0.5 * len(known):
                found.add(name)
        return frozenset(found)

    @cached_property
    def _has_bytes(self) -> bool:
        return any(_holds_bytes(field.type) for field in self.schema)

    @cached_property
    def _file(self) -> Any:
        try:
            return pyarrow.parquet.ParquetFile(self.source.file if not self.source.packing else self._unpacked())
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self._name} is not a readable Parquet file: {error}") from None

    def _unpacked(self) -> Any:
        with self.source.unpacking(), self.source.open() as file:
            return pa.BufferReader(file.read())

    @property
    def _name(self) -> str:
        return called(self.source.name)


_NO_TEXT = "\ufdd0"
"""Stands for bytes that are no text, until they are told of."""


def _bytes_as_text(value: bytes | None) -> str | None:
    if value is None:
        return None
    return as_text(value.decode("utf-8")) if cells.is_text(value) else _NO_TEXT


def _decodes(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_bytes(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_bytes(kind.value_type)
    views = getattr(pa.types, "is_binary_view", lambda _: False)
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or views(kind)
    )


def _holds_bytes(kind: Any) -> bool:
    if _is_bytes(kind):
        return True
    inner = [kind.field(i).type for i in range(kind.num_fields)] if pa.types.is_nested(kind) else []
    return any(map(_holds_bytes, inner))
