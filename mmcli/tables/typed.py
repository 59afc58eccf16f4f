"""Of which type the values of a column are, and the way back from the cells that they have become (`cells.as_text` is the way
there): the one place that knows both what a class is called and what it is.

A type is called what Arrow calls it. There is none of a CSV, which holds text, nor of values of several types: these stay text.
Lists of names (`list<string>`) are cells of JSON; their type is that of the table, and their names are what is asked about.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from mmcli.errors import DataError
from mmcli.tables import missing
from mmcli.tables.cells import as_text
from mmcli.tables.columnar import Columnar
from mmcli.tables.delimited import Delimited
from mmcli.tables.names import listed
from mmcli.tables.reading import Table

_READ: dict[str, Callable[[str], Any]] = {
    "bool": {"True": True, "False": False}.__getitem__,
    **dict.fromkeys([f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)], int),
    **dict.fromkeys(["float", "double"], float),
}
"""Type -> what makes a value of a cell."""
_NAMED: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(["string", "large_string"], str),
    **{kind: make for kind, make in _READ.items() if kind != "bool"},
}
"""Type of what lists hold -> what makes an item of its name."""
KINDS = frozenset(_READ) | {f"{size}list<{item}>" for size in ("", "large_") for item in _NAMED}
"""The types that are not text."""
_LISTS = re.compile(r"(large_)?list<(\w+)>")
_OF_JSON = {bool: "bool", int: "int64", float: "double"}
_IN_LISTS = {str: "string", int: "int64", float: "double"}


@dataclass(frozen=True)
class Typed:
    """The type of a column; empty where its values are text, or what has no other form here."""

    kind: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError where there is no such type."""
        if self.kind and self.kind not in KINDS:
            raise ValueError(f"no type {self.kind!r}")

    @property
    def item(self) -> str:
        """The type of what its lists hold; empty where values are no lists."""
        found = _LISTS.fullmatch(self.kind)
        return found[2] if found else ""

    @property
    def arrow(self) -> Any:
        """For a column of Parquet; None where values are text."""
        if self.item:
            items = pa.type_for_alias(self.item)
            return pa.large_list(items) if self.kind.startswith("large_") else pa.list_(items)
        return pa.type_for_alias(self.kind) if self.kind else None

    def values(self, cells: Sequence[Any]) -> list[Any]:
        """The values that such cells were; None stays.

        Raises:
            DataError: a cell cannot have been one.
        """
        if not self.kind:
            return list(cells)
        known = {cell: self._value(cell) for cell in {cell for cell in cells if cell is not None}}
        values = [None if cell is None else known[cell] for cell in cells]
        return [list(own) if isinstance(own, list) else own for own in values]

    def gives_back(self, cells: Sequence[str]) -> bool:
        """Whether the value that each cell was is one of the type, and becomes that cell again; of lists, each name in them."""
        if self.item:
            return _are_named(cells, self.item)
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
            if not self.item:
                return _READ[self.kind](cell)
            if (names := listed(cell)) is None:
                raise ValueError
            return [_NAMED[self.item](name) for name in names]
        except (KeyError, ValueError, TypeError):
            raise DataError(
                f"the answer {cell!r} is no {self.kind}, which the target of the train table is",
                "A task whose answers are no values of its target has none to name: answers = ().",
            ) from None


def _are_named(names: Sequence[str], item: str) -> bool:
    """Whether these are what items of lists are called, as `names.listed` does."""
    try:
        values = [_NAMED[item](name) for name in names]
        pa.array(values, pa.type_for_alias(item))
        found = [value if isinstance(value, str) else json.dumps(value, allow_nan=False) for value in values]
    except (ValueError, OverflowError, pa.ArrowException):
        return False
    return found == list(names)


def with_lists(columns: Mapping[str, Sequence[Any]], types: Mapping[str, Typed]) -> dict[str, list[Any]]:
    """The columns, with lists where a type says that cells were such."""
    return {name: types[name].values(own) if name in types and types[name].item else list(own) for name, own in columns.items()}


def of_columns(table: Table, columns: Iterable[str], names: Sequence[str], lists: bool = False) -> dict[str, str]:
    """Column -> the type of its values, of those that have one."""
    found = {column: of_column(table, column, names, lists).kind for column in columns} if names else {}
    return {column: kind for column, kind in found.items() if kind}


def of_column(table: Table, column: str, names: Sequence[str], lists: bool = False) -> Typed:
    """The type of a column some of whose cells are called `names`, or are `lists` of these, if it gives each back as it was.
    Missing cells have none."""
    reader = table.reader
    if isinstance(reader, Delimited):
        return Typed()
    if isinstance(reader, Columnar):
        own = reader.schema.field(column).type
        kind = _of_arrow(own, lists)
        return Typed(kind) if kind in KINDS and Typed(kind).gives_back(names) else Typed()
    kinds = [f"list<{item}>" for item in _IN_LISTS.values()] if lists else list(_OF_JSON.values())
    fitting = [kind for kind in kinds if Typed(kind).gives_back(names)]
    if not fitting:  # so no text costs another pass
        return Typed()
    place = table.columns.index(column)
    values = _there((record[place] for record in reader.records()), table.na)
    only = f"list<{_only_kind(_items(values), _IN_LISTS)}>" if lists else _only_kind(values, _OF_JSON)
    return Typed(only) if only in fitting else Typed()


def _of_arrow(own: Any, lists: bool) -> str:
    """What a type of Arrow is called; that of lists by what they hold, without the name of their field."""
    own = own.value_type if pa.types.is_dictionary(own) else own
    if not lists:
        return str(own)
    size = "list" if pa.types.is_list(own) else "large_list" if pa.types.is_large_list(own) else ""
    return f"{size}<{_of_arrow(own.value_type, False)}>" if size else ""


def _there(values: Iterable[Any], na: Container[str]) -> Iterator[Any]:
    """The values of a column of JSON or Excel that are not missing."""
    for value in values:
        cell = as_text(value)
        if cell is None or cell.strip() in na or (isinstance(value, str) and missing.is_word(cell)):
            continue
        yield value


def _items(lists: Iterable[Any]) -> Iterator[Any]:
    """What lists hold; what is none, as it is, in a list where it would not be told from their items."""
    for own in lists:
        yield from (item for item in own if item is not None) if isinstance(own, list) else ([own],)


def _only_kind(values: Iterable[Any], kinds: Mapping[type, str]) -> str:
    """What values all are; empty where they are of several types, or text."""
    only = ""
    for value in values:
        kind = kinds.get(type(value), "")
        if not kind or (only and kind != only):
            return ""
        only = kind
    return only
