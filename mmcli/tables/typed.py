"""Of which type the values of a column are, and the way back from the cells that they have become (`cells.as_text` is the way
there): the one place that knows both what a class is called and what it is.

A type is called what Arrow calls it. There is none of a CSV, which holds text, nor of values of several types: these stay text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from mmcli.errors import DataError
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


def of_column(table: Table, column: str, names: Iterable[str]) -> Typed:
    """The type of a column some of whose cells are called `names`, if it gives each back as it was. Missing cells have none."""
    found = _kind(table, column)
    if found not in _READ:
        return Typed()
    typed, cells = Typed(found), list(names)
    try:
        values = typed.values(cells)
        pa.array(values, typed.arrow)
    except (DataError, OverflowError, pa.ArrowException):
        return Typed()
    same = all(as_text(value) == cell and math.isfinite(value) for value, cell in zip(values, cells, strict=True))
    return typed if same else Typed()


def _kind(table: Table, column: str) -> str:
    """What Arrow calls the type of a column's values; empty where they are of several, or it holds none."""
    reader = table.reader
    if isinstance(reader, Delimited):
        return ""
    if isinstance(reader, Columnar):
        kind = reader.schema.field(column).type
        return str(kind.value_type if pa.types.is_dictionary(kind) else kind)
    place, kinds = table.columns.index(column), set[type]()
    for record in reader.records():
        cell = as_text(record[place])
        if cell is not None and cell.strip() not in table.na:
            kinds.add(type(record[place]))
    return _OF_JSON.get(kinds.pop(), "") if len(kinds) == 1 else ""
