"""Tables of Excel: the first sheet with rows, its values (not the formulas behind them). Needs the extra `excel`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from mmcli.errors import DataError
from mmcli.tables.source import Source, called

_ERRORS = {"#N/A", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"}
_MOST_TITLES = 20


@dataclass(frozen=True)
class Workbook:
    """One sheet of a workbook."""

    source: Source
    sheet: str
    columns: list[str]
    header: int
    """Rows of the sheet up to and with the header."""
    places: list[int]
    """Where in the sheet's rows the columns stand."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def records(self) -> Iterator[list[Any]]:
        """The values of each row that has any.

        Raises:
            DataError: naming the cell that holds an error, or a value beyond the header.
        """
        named = set(self.places)
        for line, row in _rows(self.source, self.sheet):
            if line <= self.header or all(_blank(value) for value in row):
                continue
            for place, value in enumerate(row):
                if place not in named and not _blank(value):
                    raise DataError(
                        f"{called(self.source.name)}, sheet {self.sheet!r}, line {line} has {value!r} in field {place + 1}, "
                        "which has no name in the header",
                        "Give every column a name, or empty that cell.",
                    )
            yield [_value(row[place] if place < len(row) else None) for place in self.places]


def look(source: Source) -> Workbook:
    """The first sheet that has rows.

    Raises:
        DataError: the extra is not there, the file is damaged, or no sheet has rows.
    """
    names = _sheets(source)
    filled = {name: _first_rows(source, name) for name in names}
    filled = {name: rows for name, rows in filled.items() if rows}
    if not filled:
        raise DataError(f"{called(source.name)} is empty", "A table needs a header and at least one row.")
    sheet, rows = next(iter(filled.items()))
    notes, warnings = [], []
    others = [name for name in filled if name != sheet]
    if others:
        warnings.append(
            f"the sheet {sheet!r} is read, {', '.join(map(repr, others))} {'is' if len(others) == 1 else 'are'} not: "
            "move the one that is meant to the front, or save it as CSV"
        )
    width = max(sum(not _blank(value) for value in row) for _, row in rows)
    place = next(i for i, (_, row) in enumerate(rows) if sum(not _blank(value) for value in row) > width / 2)
    line, header = rows[place if place <= _MOST_TITLES else 0]
    if place:
        shown = " / ".join(" ".join(str(value) for value in row if not _blank(value)) for _, row in rows[:place])
        warnings.append(f"taken for a title above the header: {shown[:120]!r}")
    places = [i for i, value in enumerate(header) if not _blank(value)]
    before = places[0] - 1
    if before >= 0 and rows[place + 1 :] and all(not _blank(row[before]) for _, row in rows[place + 1 :]):
        places.insert(0, before)  # the names of the rows, as pandas writes them
    notes.append(f"sheet {sheet!r}")
    columns = ["" if _blank(header[i]) else str(header[i]).strip() for i in places]
    return Workbook(source, sheet, columns, line, places, tuple(notes), tuple(warnings))


def _first_rows(source: Source, sheet: str) -> list[tuple[int, list[Any]]]:
    found: list[tuple[int, list[Any]]] = []
    for line, row in _rows(source, sheet):
        if any(not _blank(value) for value in row):
            found.append((line, row))
        if len(found) == 50:
            break
    return found


def _sheets(source: Source) -> list[str]:
    with _book(source) as book:
        return [sheet.title for sheet in book.worksheets if sheet.sheet_state == "visible"]


def _rows(source: Source, sheet: str) -> Iterator[tuple[int, list[Any]]]:
    """(line from 1, values) of each row."""
    with _book(source) as book:
        for line, row in enumerate(book[sheet].iter_rows(values_only=True), 1):
            yield line, list(row)


@contextmanager
def _book(source: Source) -> Iterator[Any]:
    try:
        import openpyxl
    except ImportError:
        raise DataError(
            f"{called(source.name)} is an Excel workbook: reading it needs the extra excel",
            "pip install 'mmcli[excel]'; or save it as \"CSV UTF-8\" in the spreadsheet and give that.",
        ) from None
    with source.file.open("rb") as file:  # told by its bytes, whatever it is called
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except Exception as error:  # the library raises of any kind where a file is damaged
            raise DataError(
                f"{called(source.name)} is not a readable workbook: {error}", 'Save it anew, or as "CSV UTF-8".'
            ) from None
        try:
            yield book
        finally:
            book.close()


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _value(value: Any) -> Any:
    """A cell's value: whole numbers without a point, dates without a midnight that nobody wrote; errors are missing."""
    if isinstance(value, str) and value in _ERRORS:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, datetime) and value.time() == time(0):
        return date(value.year, value.month, value.day)
    return value
