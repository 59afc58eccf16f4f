"""Tables of delimited text: which delimiter, where the header is, and the records below it, each checked.

Understands what programs put around a table: `sep=;` in the first line, title lines above the header, delimiters at the end of
every line. Whatever is passed over is told.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mmcli.errors import DataError
from mmcli.tables.numbers import is_number
from mmcli.tables.source import Source, called

csv.field_size_limit(sys.maxsize)  # one huge cell is no reason to fail
DELIMITERS = ",\t;|"
_SEP = re.compile(r"\ufeff?\"?sep=(.)\"?\s*", re.IGNORECASE)
_SAMPLED = 50
_LOOKED_AT = 20
"""Records that tell whether the header lacks a field."""
_MOST_TITLES = 20


@dataclass(frozen=True)
class Delimited:
    """How a table of delimited text is to be read."""

    source: Source
    encoding: str
    delimiter: str
    columns: list[str]
    header: int
    """Records up to and with the header."""
    extra: int
    """Nameless fields at the end of the lines, empty in all of them."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def records(self) -> Iterator[list[str]]:
        """The fields of each row.

        Raises:
            DataError: naming the row and line of what cannot be read.
        """
        width = len(self.columns)
        with self.source.unpacking(), self.source.text(self.encoding) as file:
            reader = csv.reader(file, delimiter=self.delimiter, strict=True)
            row = 0
            try:
                skipped = list(islice((record for record in reader if record), self.header))
                assert len(skipped) == self.header
                for record in reader:
                    if len(record) != width:
                        fitted = self._fitted(record, row + 1, reader.line_num)
                        if fitted is None:
                            continue
                        record = fitted
                    row += 1
                    if "\0" in self.delimiter.join(record):
                        raise self._nul(record, row, reader.line_num)
                    yield record
            except csv.Error as error:
                raise DataError(
                    f"{called(self.source.name)}, row {row + 1} (line {reader.line_num}): {error}",
                    'A quote is probably left open or not doubled: write "" for a quote inside a quoted field.',
                ) from None

    def _fitted(self, record: list[str], row: int, line: int) -> list[str] | None:
        """A record of another length without its empty fields at the end; None for a blank line."""
        width = len(self.columns)
        if not record or (len(record) == 1 and not record[0].strip()):
            return None
        where = f"{called(self.source.name)}, row {row} (line {line})"
        beyond = record[width:]
        if self.extra and 0 < len(beyond) <= self.extra:
            place = next((place for place, cell in enumerate(beyond, width + 1) if cell.strip()), None)
            if place is None:
                return record[:width]
            raise DataError(
                f"{where} has {record[place - 1][:40]!r} in field {place}, which has no name in the header",
                "Give every column a name, or empty that field.",
            )
        raise DataError(
            f"{where} has {len(record)} fields, the header has {width + self.extra}",
            f"It begins {self.delimiter.join(record)[:60]!r}. Quote fields that hold the delimiter "
            f"{self.delimiter!r}, or give another with --delimiter.",
        )

    def _nul(self, record: list[str], row: int, line: int) -> DataError:
        name, cell = next((name, cell) for name, cell in zip(self.columns, record, strict=True) if "\0" in cell)
        return DataError(
            f"{called(self.source.name)}, row {row} (line {line}), column {name!r} holds a NUL byte: {cell[:40]!r}",
            "The file is damaged, or is UTF-16 without a mark: then give --encoding utf-16.",
        )


def look(source: Source, suffix: str, encoding: str, delimiter: str | None) -> Delimited:
    """How the table is to be read, by its first records; the delimiter as told, or the likeliest.

    Raises:
        DataError: there is no header.
    """
    told, notes, warnings = _sep_line(source, encoding), list[str](), list[str]()
    first = 1 if told else 0
    if told:
        notes.append(f'the line "sep={told}" at the beginning is no row')
    own = delimiter or told or ("\t" if suffix in {".tsv", ".tab"} else _likeliest(source, encoding))
    records = _sample(source, encoding, own)[first:]
    if not records:
        raise DataError(f"{called(source.name)} is empty", "A table needs a header and at least one row.")
    width = _width(records)
    titles = 0 if _lacks_a_name(records) else _titles(records, width, source, warnings)
    names = [*([""] if _lacks_a_name(records[titles:]) else []), *(name.strip() for name in records[titles])]
    extra = _extra(names, records[titles + 1 :], width)
    if extra:
        names = names[: len(names) - _blank_end(names)]
        fields = "an empty field" if extra == 1 else f"{extra} empty fields"
        notes.append(f"lines end with {fields} without a name: left out")
    if len(names) > 1 and all(map(_is_number, names)):
        warnings.append(
            f"the header is {own.join(names)[:60]!r}: if that is a row, write a line with the names of the columns above it"
        )
    return Delimited(source, encoding, own, names, first + titles + 1, extra, tuple(notes), tuple(warnings))


def detect_delimiter(source: Source | Path, encoding: str) -> str:
    """The delimiter that cuts the first records into the same number of fields, more than one; a comma if none does."""
    name = source.name if isinstance(source, Source) else source
    if Path(name).suffix.lower() in {".tsv", ".tab"}:
        return "\t"
    return _likeliest(source if isinstance(source, Source) else Source(source, source), encoding)


def _likeliest(source: Source, encoding: str) -> str:
    """A header in the first line counts before the number of fields: text above it is rarer than commas in numbers."""
    best, rank = ",", (False, 1)
    for delimiter in DELIMITERS:
        records = _sample(source, encoding, delimiter)
        width = _width(records)
        own = (width > 1 and len(records[0]) >= width, width)
        if width > 1 and own > rank:
            best, rank = delimiter, own
    return best


def _sample(source: Source, encoding: str, delimiter: str) -> list[list[str]]:
    with source.unpacking(), source.text(encoding) as file:
        return list(islice((record for record in csv.reader(file, delimiter=delimiter) if record), _SAMPLED))


def _sep_line(source: Source, encoding: str) -> str:
    """The delimiter that a first line of `sep=;` tells Excel."""
    with source.unpacking(), source.text(encoding) as file:
        found = _SEP.fullmatch(file.readline(20))
    return found[1] if found else ""


def _width(records: list[list[str]]) -> int:
    """The number of fields that nearly all records have, those above the first such one aside; 1 if they differ."""
    lengths = [len(record) for record in records if not (len(record) == 1 and not record[0].strip())]
    common = Counter(lengths).most_common(1)
    if not common:
        return 1
    width = common[0][0]
    body = lengths[lengths.index(width) :]
    if len(lengths) - len(body) > _MOST_TITLES or body.count(width) < 0.9 * len(body):
        return 1
    return width


def _lacks_a_name(records: list[list[str]]) -> bool:
    """Whether the rows have one field more than the header, which the last of them fills: R writes the names of rows so.

    A single word above two fields names the second only where that is a number: else it may be a title.
    """
    width, rows = len(records[0]) + 1, records[1 : _LOOKED_AT + 1]
    if not rows or any(len(row) != width or not row[-1].strip() for row in rows):
        return False
    if width > 2:
        return sum(bool(cell.strip()) for cell in records[0]) == width - 1
    return bool(records[0][0].strip()) and " " not in records[0][0].strip() and _is_number(rows[0][-1])


def _titles(records: list[list[str]], width: int, source: Source, warnings: list[str]) -> int:
    """How many records stand above the header: lines of which at most half the fields are filled, and comments (`# ...`).

    Raises:
        DataError: what stands below them is no header.
    """
    filled = [0 if record[0].startswith("# ") else sum(bool(cell.strip()) for cell in record) for record in records]
    place = next((i for i, count in enumerate(filled) if count > max(1, width / 2)), 0)
    if width == 1 or place == 0 or place > _MOST_TITLES:
        return 0
    shown = " / ".join(" ".join(" ".join(record).split()) for record in records[:place])
    header = records[place]
    one_word = width == 2 and place == 1 and " " not in shown  # it may name the second column, of rows with names
    if one_word or any(map(_is_number, header)):
        raise DataError(
            f"{called(source.name)}: there seems to be no header with the names of all {width} columns: the first line is "
            f"{shown[:80]!r}, the first with {len(header)} fields {', '.join(header)[:60]!r}",
            "Write the names of the columns in a line above the rows, one to a field.",
        )
    lines = f"{place} lines" if place > 1 else "the line"
    warnings.append(f"{lines} above the header taken for a title: {shown[:120]!r}; the header: {', '.join(header)[:80]!r}")
    return place


def _extra(names: list[str], rows: list[list[str]], width: int) -> int:
    """Nameless fields at the end of header or rows, empty in all rows seen."""
    blank = _blank_end(names)
    named = len(names) - blank
    most = max([len(names), *(len(row) for row in rows)])
    if named == 0 or most == named or (not blank and width <= named):
        return 0
    if any(cell.strip() for row in rows for cell in row[named:]):
        return 0
    return most - named


def _blank_end(names: list[str]) -> int:
    return next((i for i, name in enumerate(reversed(names)) if name), len(names))


def _is_number(cell: str) -> bool:
    """Whether a field of a header is rather a value: `100 m` may be a name."""
    return is_number(cell) and not any(char.isalpha() for char in cell)
