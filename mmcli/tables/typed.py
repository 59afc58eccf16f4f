"""Of which type the values of a column are, and the way back from the cells that they have become (`cells.as_text` is the way
there): the one place that knows both what a class is called and what it is.

A type is called what Arrow calls it. There is none of a CSV, which holds text, nor of values of several types: these stay text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from mmcli.errors import DataError
from mmcli.tables import missing
from mmcli.tables.cells import as_text
from mmcli.tables.columnar import Columnar
from mmcli.tables.delimited import Delimited
from mmcli.tables.reading import Table

_READ: dict[str, Callable[[str], Any]] = {
    "bool": {"True": True, "False": False}.__getitem__,
    **dict.fromkeys([f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)], int),
    **dict.fromkeys(["float", "double"], float),
}
"""Type -> what makes a value of a cell."""
KINDS = frozenset(_READ)
"""The types that are not text."""
_OF_JSON = {bool: "bool", int: "int64", float: "double"}


@dataclass(frozen=True)
class Typed:
    """The type of a column; empty where its values are text, or what has no other form here."""

    kind: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError where there is no such type."""
        if self.kind and self.kind not in _READ:
            raise ValueError(f"no type {self.kind!r}")

    @property
    def arrow(self) -> Any:
        """For a column of Parquet; None where values are text."""
        return pa.type_for_alias(self.kind) if self.kind else None

    def values(self, cells: Sequence[Any]) -> list[Any]:
        """The values that such cells were; None stays.

        Raises:
            DataError: a cell cannot have been one.
        """
        if not self.kind:
            return list(cells)
        known = {cell: self._value(cell) for cell in {cell for cell in cells if cell is not None}}
        return [None if cell is None else known[cell] for cell in cells]

    def gives_back(self, cells: Sequence[str]) -> bool:
        """Whether the value that each cell was is one of the type, and becomes that cell again."""
        try:
            values = self.values(cells)
            pa.array(values, self.arrow)
        except (DataError, OverflowError, pa.ArrowException):
            return False
        return all(as_text(value) == cell and math.isfinite(value) for value, cell in zip(values, cells, strict=True))

    def series(self, cells: Sequence[Any]) -> pd.Series:
        """The same as a column of a frame."""
        return pa.array(self.values(cells), self.arrow).to_pandas(integer_object_nulls=True)  # type: ignore[no-any-return]

    def _value(self, cell: Any) -> Any:
        try:
            return _READ[self.kind](cell)
        except (KeyError, ValueError, TypeError):
            raise DataError(
                f"the answer {cell!r} is no {self.kind}, which the target of the train table is",
                "A task whose answers are no values of its target has none to name: answers = ().",
            ) from None


def of_columns(table: Table, columns: Iterable[str], names: Sequence[str]) -> dict[str, str]:
    """Column -> the type of its values, of those that have one."""
    found = {column: of_column(table, column, names).kind for column in columns} if names else {}
    return {column: kind for column, kind in found.items() if kind}


def of_column(table: Table, column: str, names: Sequence[str]) -> Typed:
    """The type of a column some of whose cells are called `names`, if it gives each back as it was. Missing cells have none."""
    reader = table.reader
    if isinstance(reader, Delimited):
        return Typed()
    if isinstance(reader, Columnar):
        own = reader.schema.field(column).type
        kind = str(own.value_type if pa.types.is_dictionary(own) else own)
        return Typed(kind) if kind in KINDS and Typed(kind).gives_back(names) else Typed()
    fitting = [kind for kind in _OF_JSON.values() if Typed(kind).gives_back(names)]
    if not fitting:  # so no text costs another pass
        return Typed()
    place = table.columns.index(column)
    only = _only_kind((record[place] for record in reader.records()), table.na)
    return Typed(only) if only in fitting else Typed()


def _only_kind(values: Iterable[Any], na: Container[str]) -> str:
    """What the values of a column of JSON or Excel all are; empty where they are of several types, or text."""
    only = ""
    for value in values:
        cell = as_text(value)
        if cell is None or cell.strip() in na or (isinstance(value, str) and missing.is_word(cell)):
            continue
        kind = _OF_JSON.get(type(value), "")
        if not kind or (only and kind != only):
            return ""
        only = kind
    return only
