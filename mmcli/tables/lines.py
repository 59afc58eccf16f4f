"""Lines of named cells, written as they come to a file that takes its name when all are there. Knows not what they say."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from mmcli.reporting import strict
from mmcli.tables.formulas import guarded


class Lines:
    """A .csv, .tsv, .jsonl or .parquet file."""

    def __init__(self, path: Path, kinds: Mapping[str, type], raw: bool = False) -> None:
        """`kinds` are the columns, each of str, int or float; `raw`: a CSV keeps what a spreadsheet would run."""
        self.path = path
        self.count = 0
        """Lines that were written."""
        self._names, self._raw = list(kinds), raw
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = path.with_name(f".{path.name}.partial")
        suffix = path.suffix.lower()
        self._write, self._close = self._parquet(kinds) if suffix == ".parquet" else self._text(suffix)

    def _text(self, suffix: str) -> tuple[Callable[[Sequence[Sequence[Any]]], None], Callable[[], None]]:
        file = self._temporary.open("w", encoding="utf-8", newline="")
        if suffix == ".jsonl":

            def objects(lines: Sequence[Sequence[Any]]) -> None:
                for line in lines:
                    file.write(strict.text(dict(zip(self._names, line, strict=True))) + "\n")

            return objects, file.close
        out = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
        out.writerow(self._names)

        def rows(lines: Sequence[Sequence[Any]]) -> None:
            out.writerows(lines if self._raw else [[_safe(cell) for cell in line] for line in lines])

        return rows, file.close

    def _parquet(self, kinds: Mapping[str, type]) -> tuple[Callable[[Sequence[Sequence[Any]]], None], Callable[[], None]]:
        of = {str: pa.string(), int: pa.int64(), float: pa.float64()}
        schema = pa.schema([(name, of[kind]) for name, kind in kinds.items()])
        out = pyarrow.parquet.ParquetWriter(self._temporary, schema)

        def rows(lines: Sequence[Sequence[Any]]) -> None:
            columns = zip(*lines, strict=True) if lines else [()] * len(schema)
            arrays = [pa.array(cells, field.type) for cells, field in zip(columns, schema, strict=True)]
            out.write_table(pa.Table.from_arrays(arrays, schema=schema))

        return rows, out.close

    def write(self, lines: Sequence[Sequence[Any]]) -> None:
        """Adds lines, each with a cell for every column."""
        self._write(lines)
        self.count += len(lines)

    def close(self, keep: bool) -> None:
        """Gives the file its name, or takes it away."""
        self._close()
        if keep:
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)


def _safe(cell: Any) -> Any:
    return guarded(cell) if isinstance(cell, str) else cell
