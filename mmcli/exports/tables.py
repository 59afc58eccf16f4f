"""The user's CSV, read row by row with nothing guessed: a byte-order mark or UTF-8, a comma or what the header is parted by."""

from __future__ import annotations

import codecs
import contextlib
import csv
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mmcli.reporting.counts import agreed, counted, them
from mmcli.tables.formulas import guarded

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
DELIMITERS = ",\t;|"


class TableError(ValueError):
    """A table that cannot be read: what was found, where, and what to do."""


@dataclass(frozen=True)
class Table:
    """A table on disk, of which only the header is held."""

    path: Path
    encoding: str
    delimiter: str
    columns: list[str]

    def batches(self, rows: int) -> Iterator[list[list[str]]]:
        """Its records, so many at a time.

        Raises:
            TableError: naming the row and line of what cannot be read.
        """
        batch: list[list[str]] = []
        for record in self._records():
            batch.append(record)
            if len(batch) == rows:
                yield batch
                batch = []
        if batch:
            yield batch

    def _records(self) -> Iterator[list[str]]:
        csv.field_size_limit(sys.maxsize)
        with self.path.open(encoding=self.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter, strict=True)
            row = 0
            try:
                next(record for record in reader if record)  # the header
                for record in filter(None, reader):
                    row += 1
                    where = f"{self.path}, row {row} (line {reader.line_num})"
                    if len(record) != len(self.columns):
                        fields = f"{len(record)} fields, the header has {len(self.columns)}"
                        raise TableError(
                            f"{where} has {fields}: quote fields that hold {self.delimiter!r}, or give --delimiter"
                        )
                    yield record
            except csv.Error as error:
                raise TableError(
                    f"{self.path}, row {row + 1} (line {reader.line_num}): {error}; is a quote left open?"
                ) from None
            except UnicodeDecodeError as error:
                raise TableError(_not_so(self.path, self.encoding, error)) from None


def open_table(path: Path, encoding: str = "", delimiter: str = "") -> Table:
    """The table at `path`.

    Raises:
        TableError: there is none, or its header cannot be read.
    """
    if not path.is_file():
        raise TableError(f"{path}: there is no such file")
    if path.suffix.lower() in {".parquet", ".pq", ".jsonl", ".ndjson", ".json", ".xlsx"}:
        raise TableError(f"{path}: only CSV and TSV are read here; write the table as one")
    with path.open("rb") as file:
        head = file.read(4)
    encoding = encoding or next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8")
    if not delimiter:
        delimiter = "\t" if path.suffix.lower() in {".tsv", ".tab"} else _delimiter(path, encoding)
    columns = [name.strip() for name in _header(path, encoding, delimiter.replace("\\t", "\t"))]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise TableError(f"{path}: the column {twice!r} stands {columns.count(twice)} times in the header; rename all but one")
    return Table(path, encoding, delimiter.replace("\\t", "\t"), columns)


def _header(path: Path, encoding: str, delimiter: str) -> list[str]:
    try:
        with path.open(encoding=encoding, newline="") as file:
            found = next(filter(None, csv.reader(file, delimiter=delimiter)), None)
    except UnicodeDecodeError as error:
        raise TableError(_not_so(path, encoding, error)) from None
    except LookupError:
        raise TableError(f"--encoding {encoding}: no such encoding; e.g. utf-8, gb18030, latin-1") from None
    except (csv.Error, TypeError) as error:
        raise TableError(f"{path}: its header cannot be read ({error})") from None
    if found is None:
        raise TableError(f"{path} is empty: a table needs a header and at least one row")
    return found


def _delimiter(path: Path, encoding: str) -> str:
    """The one that cuts the header into the most fields; a comma if none does."""
    return max(DELIMITERS, key=lambda mark: (len(_header(path, encoding, mark)), mark == ","))


def _not_so(path: Path, encoding: str, error: UnicodeDecodeError) -> str:
    found = error.object[error.start : error.start + 4]
    return f"{path}: the bytes {found!r} are not {encoding}; give --encoding, e.g. gb18030 or latin-1"


def cell(text: str) -> str | None:
    """A field as the model takes it: blank ones are missing."""
    return text if text.strip() else None


def delimiter(output: Path | None, table: Table) -> str:
    """By the name of what is written; what goes to standard output looks like the table."""
    if output is None:
        return table.delimiter
    return "\t" if output.suffix.lower() in {".tsv", ".tab"} else ","


@contextlib.contextmanager
def opened(output: Path | None, table: Table) -> Iterator[TextIO]:
    """The file to write, which takes its name when it is whole; or standard output.

    Raises:
        TableError: it is the table itself.
    """
    if output is None:
        with open(sys.stdout.fileno(), "w", encoding="utf-8", newline="", closefd=False) as file:
            yield file
        return
    if output.resolve() == table.path.resolve():
        raise TableError(f"--output {output} is the table itself: choose another name")
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.partial")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def write(file: TextIO, records: Iterable[Iterable[Any]], delimiter: str, raw: bool = False) -> int:
    """Adds records to an open file; gives how many texts have an apostrophe before them, since a spreadsheet would run them as
    formulas: those that are `raw` stay."""
    out, count = csv.writer(file, delimiter=delimiter, lineterminator="\n"), 0
    for record in records:
        cells = list(record)
        safe = cells if raw else [guarded(cell) if isinstance(cell, str) else cell for cell in cells]
        count += sum(new is not old for new, old in zip(safe, cells, strict=True))
        out.writerow(safe)
    return count


def remark(count: int, output: Path | None) -> str:
    """What is to be said of so many apostrophes."""
    where = "standard output" if output is None else str(output)
    return (
        f"{counted(count, 'cell')} of {where} that a spreadsheet would run as formulas {agreed(count, 'have')} an apostrophe "
        f"before {them(count)}; --raw leaves {them(count)} as {'it is' if count == 1 else 'they are'}"
    )
