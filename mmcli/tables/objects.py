"""Tables of JSON: an object to a line, an array of objects, or an object of columns. Knows nothing of what columns mean."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TextIO

from mmcli.errors import DataError
from mmcli.reporting.counts import counted
from mmcli.tables.cells import CUT_CHARACTER, surrogate
from mmcli.tables.source import Source, called

_READ_CHARS = 1 << 20
LINES, ARRAY, COLUMNS = "JSON Lines", "a JSON array", "JSON by column"


@dataclass(frozen=True)
class Objects:
    """How a table of JSON is to be read."""

    source: Source
    encoding: str
    layout: str

    @cached_property
    def columns(self) -> list[str]:
        """The keys of all objects, in the order in which they come."""
        names: dict[str, None] = {}
        for record in self.objects():
            names.update(dict.fromkeys(record))
        if not names:
            raise DataError(f"{called(self.source.name)} holds no objects", 'Expected {"column": value, ...} for each row.')
        return list(names)

    def records(self) -> Iterator[list[Any]]:
        """The values of each row, in the order of the columns; None where an object lacks one."""
        names = self.columns
        for record in self.objects():
            yield [record.get(name) for name in names]

    def objects(self) -> Iterator[dict[str, Any]]:
        """The object of each row, as it stands in the file.

        Raises:
            DataError: naming the row of what is no object, or holds text that no encoding can write.
        """
        reading = {LINES: self._lines, ARRAY: self._array, COLUMNS: self._columns}[self.layout]
        with self.source.unpacking():
            yield from reading()

    def _lines(self) -> Iterator[dict[str, Any]]:
        with self.source.text(self.encoding, newline=None) as file:
            row = 0
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                row += 1
                where = f"{called(self.source.name)}, row {row} (line {line})"
                try:
                    record = json.loads(text, object_pairs_hook=functools.partial(_unique, where))
                except (json.JSONDecodeError, RecursionError) as error:
                    raise DataError(f"{where} is not JSON: {error}", "JSON Lines holds one object to a line.") from None
                yield _checked(record, where, text)

    def _array(self) -> Iterator[dict[str, Any]]:
        """Each object of an array as soon as it is read: the array is never whole in memory."""
        with self.source.text(self.encoding, newline=None) as file:
            for row, (record, text) in enumerate(_elements(file, called(self.source.name)), 1):
                yield _checked(record, f"{called(self.source.name)}, row {row}", text)

    def _columns(self) -> Iterator[dict[str, Any]]:
        name = called(self.source.name)
        with self.source.text(self.encoding, newline=None) as file:
            text = file.read()
        table, escapes = _by_column(json.loads(text), name), "\\ud" * ("\\ud" in text.lower())
        lengths = {column: len(values) for column, values in table.items()}
        if len(set(lengths.values())) > 1:
            shortest, longest = min(lengths, key=lambda key: lengths[key]), max(lengths, key=lambda key: lengths[key])
            raise DataError(
                f"{name}: the column {shortest!r} has {counted(lengths[shortest], 'value')}, {longest!r} "
                f"has {lengths[longest]}",
                "Give every column a value for each row, null where there is none.",
            )
        for row, values in enumerate(zip(*table.values(), strict=True), 1):
            yield _checked(dict(zip(table, values, strict=True)), f"{name}, row {row}", escapes)


def look(source: Source, suffix: str, encoding: str) -> Objects:
    """How the table is to be read, by its first signs: JSON in one piece unless the first line is an object by itself."""
    with source.unpacking(), source.text(encoding, newline=None) as file:
        head = file.read(_READ_CHARS).lstrip("\ufeff \t\r\n")
    if head.startswith("["):
        return Objects(source, encoding, ARRAY)
    line, _, rest = head.partition("\n")
    one_piece = suffix not in {".jsonl", ".ndjson"} and not (_is_object(line) and rest.strip())
    return Objects(source, encoding, COLUMNS if one_piece and _holds_columns(source, encoding) else LINES)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (json.JSONDecodeError, RecursionError):
        return False


def _holds_columns(source: Source, encoding: str) -> bool:
    """Whether the file is one object, and that is a table.

    Raises:
        DataError: it is one object that is no table.
    """
    with source.unpacking(), source.text(encoding, newline=None) as file:
        try:
            whole = json.loads(file.read())
        except (json.JSONDecodeError, RecursionError):
            return False
    if not isinstance(whole, dict):
        return False
    flat = not any(isinstance(value, list | dict) for value in whole.values())
    if flat:
        return False  # one row
    _by_column(whole, called(source.name))
    return True


def _by_column(whole: Any, name: str) -> dict[str, list[Any]]:
    """Column -> its values, of the ways in which programs write a table as one object.

    Raises:
        DataError: it is none of them.
    """
    values = list(whole.values()) if isinstance(whole, dict) else []
    if {"columns", "data"} <= set(whole) and all(isinstance(row, list) for row in whole["data"]):
        names = [str(column) for column in whole["columns"]]
        if all(len(row) == len(names) for row in whole["data"]):
            return {column: [row[place] for row in whole["data"]] for place, column in enumerate(names)}
    lists = {key: value for key, value in whole.items() if isinstance(value, list)}
    rows = [value for value in lists.values() if value and all(isinstance(row, dict) for row in value)]
    if len(rows) == 1 and len(lists) == 1:  # {"data": [{...}, {...}]}
        keys = dict.fromkeys(key for row in rows[0] for key in row)
        return {column: [row.get(column) for row in rows[0]] for column in keys}
    if values and len(lists) == len(values):
        return {str(key): value for key, value in lists.items()}
    if values and all(isinstance(value, dict) for value in values):  # pandas: {"column": {"0": value, ...}}
        index = list(dict.fromkeys(key for value in values for key in value))
        if _are_rows(list(whole), index):
            return _by_row(whole, index)
        return {str(key): [value.get(place) for place in index] for key, value in whole.items()}
    raise DataError(
        f"{name} is one JSON object, and no table: {', '.join(map(repr, list(whole)[:5]))}",
        'Give an array of objects, an object to a line, an object of columns, {"column": [value, ...], ...}, or of rows.',
    )


def _are_rows(outer: Sequence[str], inner: Sequence[str]) -> bool:
    """Whether the objects in an object are its rows rather than its columns: pandas numbers the rows of both, annotation
    programs name them, and a table has more rows than columns."""
    numbered = [all(key.isdecimal() for key in keys) for keys in (outer, inner)]
    return numbered[0] if numbered[0] != numbered[1] else not numbered[0] and len(outer) > len(inner)


def _by_row(whole: dict[str, Any], names: Sequence[str]) -> dict[str, list[Any]]:
    """Column -> its values, of an object of rows, {"row": {"column": value, ...}, ...}; names of rows are a column too."""
    columns = {name: [row.get(name) for row in whole.values()] for name in names}
    if all(key.isdecimal() for key in whole):
        return columns
    key = "key"
    while key in columns:
        key += "_"
    return {key: list(whole), **columns}


def _elements(file: TextIO, name: str) -> Iterator[tuple[Any, str]]:
    """(value, its text) of each element of the array that a file holds."""
    row = 1

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return _unique(f"{name}, row {row}", pairs)

    decoder = json.JSONDecoder(object_pairs_hook=unique)
    buffer = file.read(_READ_CHARS).lstrip("\ufeff \t\r\n").removeprefix("[")
    place, size, comma = 0, _READ_CHARS, False  # whether a comma must come before the next
    while True:
        start = _past_blanks(buffer, place)
        found = buffer[start : start + 1]
        if found == "]":
            return _at_end(buffer[start + 1 :] + file.read(), name, row)
        if comma and found and found != ",":
            what = f"expected a comma or ], found {buffer[start : start + 20]!r}"
            raise DataError(f"{name}, after row {row - 1}: {what}", "The JSON is damaged.")
        try:
            begin = _past_blanks(buffer, start + 1) if comma and found else start
            value, end = decoder.raw_decode(buffer, begin)
            if end == len(buffer):
                raise json.JSONDecodeError("a number may go on", buffer, end)
        except (json.JSONDecodeError, RecursionError) as error:
            more = file.read(size)
            if not more:
                why = "The array of objects is damaged or cut short."
                raise DataError(f"{name}, row {row} is not JSON: {error}", why) from None
            buffer, place, size = buffer[start:] + more, 0, size * 2
            continue
        yield value, buffer[begin:end]
        place, size, comma, row = end, _READ_CHARS, True, row + 1


def _past_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _at_end(rest: str, name: str, row: int) -> None:
    if rest.strip():
        rows = counted(row - 1, "row")
        raise DataError(f"{name}: after the array of {rows} comes {rest.strip()[:40]!r}", "A table is one array.")


def _checked(record: Any, where: str, text: str) -> dict[str, Any]:
    """The object, whose texts any encoding can write."""
    if not isinstance(record, dict):
        raise DataError(f"{where} is not an object: {text.strip()[:40]}", 'Expected {"column": value, ...}.')
    if "\\ud" in text or "\\uD" in text:
        for name, value in record.items():
            half = surrogate(name) or surrogate(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            if half:
                raise DataError(f"{where}, column {name!r} holds {half}, {CUT_CHARACTER}", "Mend or empty that cell.")
    return record


def _unique(where: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where} holds the column {twice!r} twice", "Rename or remove one.")
    return record
