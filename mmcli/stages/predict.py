"""predict: the best model so far on a new table of any size; every row comes back, in order."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from mmcli import model, running
from mmcli.errors import ConfigError, DataError
from mmcli.model import Model
from mmcli.stages import Context, Outcome
from mmcli.tables.formulas import guarded, guarded_frame
from mmcli.tables.reading import FORMATS, Table, open_table


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    output: Path = Path("predictions.csv")
    model: Path | None = None
    """A fusion's folder or `optimized`; by default the best under the artifacts root."""
    explain: bool = False
    """Whether the columns' weights are written too, one column each."""
    sets: bool = False
    """Whether prediction sets are written too."""
    embeddings: bool = False
    """Whether the fused features are written too."""
    raw: bool = False
    """Whether a CSV keeps cells that a spreadsheet would run as formulas."""
    media_root: str | None = None
    encoding: str | None = None
    delimiter: str | None = None


def run(path: Path, options: Options, context: Context) -> Outcome:
    """Writes the table at `path` with prediction columns to `output`, and what could not be read beside it.

    Raises:
        ArtifactError: there is no fused model.
        DataError: the table cannot be read, or has none of the model's inputs.
    """
    if FORMATS.get(options.output.suffix.lower()) is None:
        raise ConfigError(
            f"-o {options.output}: cannot tell a format from that suffix", f"Known: {', '.join(sorted(FORMATS))}."
        )
    if options.output.resolve() == path.resolve():
        raise ConfigError(f"-o {options.output} is the table itself", "Choose another name.")
    table = open_table(path, options.encoding, options.delimiter)
    loaded = model.load(options.model or context.root, context.device, context.precision, context.threads)
    missing = loaded.absent_columns(table.columns)
    if len(missing) == len(loaded.columns):
        raise DataError(
            f"{path} has none of the model's inputs: {', '.join(missing)}", f"Its columns: {', '.join(table.columns)}."
        )
    if missing:
        context.console.warn(f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}: absent in every row")
    way = loaded.artifact.config.get("way", running.TORCH)
    by = f"run as {way}" if way != running.TORCH and not (options.embeddings or options.explain) else f"on {loaded.compute}"
    context.console.note(f"predict: {loaded.artifact.name}, {by}")
    if options.explain and not loaded.has_weights:
        raise ConfigError(
            f"--explain: {loaded.artifact.name} fuses by {loaded.artifact.config['method']}, which has no weights",
            "Fuse by one that has, e.g. mmcli fuse --method gated, and name it with --model; see: mmcli list fusions",
        )
    if options.sets and not loaded.conformal:
        raise ConfigError(
            f"--sets: {loaded.artifact.name} has no prediction sets",
            "mmcli optimize makes them, where val has rows enough for the coverage.",
        )
    if context.dry_run:
        context.console.note("dry run: nothing was written")
        return Outcome({"model": loaded.artifact.name, "absent": missing}, "")
    started = time.monotonic()
    rejects = _Rejects(options.output.with_name(f"{options.output.stem}.rejects.csv"), options.raw)
    rows, remarks, formulas = _predict(table, loaded, options, rejects)
    seconds = time.monotonic() - started
    if rejects.first is not None:
        row, column, cell, reason = rejects.first
        context.console.warn(
            f"{rejects.count:,} cells cannot be read and count as absent, the first: row {row}, column {column!r}, {cell!r}: "
            f"{reason}; all are listed in {rejects.path}"
        )
    for column, found in remarks.items():
        for what, count in found.items():
            context.console.note(f"column {column!r}: {count:,} cells {what}")
    if formulas:
        context.console.note(
            f"{formulas:,} cells of {options.output} that a spreadsheet would run as formulas have an apostrophe before them; "
            "--raw leaves them as they are"
        )
    context.console.note(f"{rows:,} rows in {seconds:.1f} s ({rows / max(seconds, 1e-9):,.0f} rows/s)")
    data = {"output": str(options.output), "rows": rows, "rejects": rejects.count, "model": loaded.artifact.name}
    return Outcome({**data, "absent": missing}, f"look at {options.output}")


def _predict(table: Table, loaded: Model, options: Options, rejects: _Rejects) -> tuple[int, dict[str, Counter[str]], int]:
    """In chunks, into a file that takes its name when it is whole; gives the number of rows, what was done to cells that were
    read, and how many were guarded as they were written."""
    temporary = options.output.with_name(f".{options.output.name}.partial")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    kind = FORMATS[options.output.suffix.lower()]
    writer = _WRITERS[kind](temporary, options.output.suffix.lower())
    remarks: dict[str, Counter[str]] = {}
    rows = formulas = 0
    try:
        root = options.media_root or str(table.path.parent)
        for prediction in loaded.predict_chunks(
            table.chunks(), root, explain=options.explain, sets=options.sets, embeddings=options.embeddings
        ):
            frame, found = (prediction.frame, 0) if options.raw or kind != "csv" else guarded_frame(prediction.frame)
            writer.write(frame)
            formulas += found
            rejects.write(prediction.rejects)
            for column, done in prediction.remarks.items():
                remarks.setdefault(column, Counter()).update(done)
            rows += len(prediction.frame)
        if not rows:
            raise DataError(f"{table.path} has a header but no rows", "There is nothing to predict.")
    except BaseException:
        writer.close()
        rejects.close(keep=False)
        temporary.unlink(missing_ok=True)
        raise
    writer.close()
    rejects.close(keep=True)
    temporary.replace(options.output)
    return rows, remarks, formulas


class _Rejects:
    """What could not be read, written as it comes: a file beside the predictions, there only if there is any."""

    def __init__(self, path: Path, raw: bool) -> None:
        self.path = path
        self._raw = raw
        self.first: tuple[int, str, str, str] | None = None
        self.count = 0
        self._temporary = path.with_name(f".{path.name}.partial")
        self._file: TextIO | None = None

    def write(self, rejects: Sequence[tuple[int, str, str, str]]) -> None:
        if not rejects:
            return
        if self._file is None:
            self.first = rejects[0]
            self._file = self._temporary.open("w", encoding="utf-8", newline="")
            csv.writer(self._file, lineterminator="\n").writerow(("row", "column", "path", "reason"))
        safe = rejects if self._raw else [(row, *map(guarded, cells)) for row, *cells in rejects]
        csv.writer(self._file, lineterminator="\n").writerows(safe)
        self.count += len(rejects)

    def close(self, keep: bool) -> None:
        """Gives the file its name, or takes it away; one of an earlier call goes."""
        if self._file is not None:
            self._file.close()
        if self._file is not None and keep:
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)
            if keep:
                self.path.unlink(missing_ok=True)


class _Writer(Protocol):
    def __init__(self, path: Path, suffix: str) -> None: ...
    def write(self, frame: pd.DataFrame) -> None: ...
    def close(self) -> None: ...


class _Csv:
    def __init__(self, path: Path, suffix: str) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._delimiter = "\t" if suffix in {".tsv", ".tab"} else ","
        self._header = True

    def write(self, frame: pd.DataFrame) -> None:
        frame.to_csv(
            self._file,
            index=False,
            header=self._header,
            sep=self._delimiter,
            quoting=csv.QUOTE_MINIMAL,
            lineterminator="\n",
        )
        self._header = False

    def close(self) -> None:
        self._file.close()


class _JsonLines:
    def __init__(self, path: Path, suffix: str) -> None:  # noqa: ARG002 - one dialect
        self._file = path.open("w", encoding="utf-8")

    def write(self, frame: pd.DataFrame) -> None:
        frame.to_json(self._file, orient="records", lines=True, force_ascii=False)

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, suffix: str) -> None:  # noqa: ARG002 - one dialect
        self._path = path
        self._writer: Any = None

    def write(self, frame: pd.DataFrame) -> None:
        # The cells of the table are text, whatever a chunk holds; a chunk without any must not change the schema.
        texts = {name: pa.string() for name in frame.columns if frame[name].dtype == object}
        table = pa.Table.from_pandas(frame, preserve_index=False)
        table = table.cast(pa.schema([(f.name, texts.get(f.name, f.type)) for f in table.schema]))
        if self._writer is None:
            self._writer = pyarrow.parquet.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


_WRITERS: dict[str, type[_Writer]] = {"csv": _Csv, "jsonl": _JsonLines, "parquet": _Parquet}
