"""predict: the best model so far on a new table of any size; every row comes back, in order."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TextIO

import pandas as pd

from mmcli.artifacts.lock import alone
from mmcli.errors import ConfigError, DataError
from mmcli.models import predictor, runners
from mmcli.models.predictor import Model
from mmcli.models.timing import Words
from mmcli.options.predict import Options
from mmcli.stages import Context, Outcome, say_of_table
from mmcli.tables.finding import STDIN
from mmcli.tables.formulas import guarded
from mmcli.tables.reading import Rows, Table, open_table
from mmcli.tables.source import called
from mmcli.tables.writing import SUFFIXES, CsvWriter, Writer, writer


def run(path: Path, options: Options, context: Context) -> Outcome:
    """Writes the table at `path` with prediction columns to `output`, and what could not be read beside it.

    Raises:
        ArtifactError: there is no fused model.
        DataError: the table cannot be read, or has none of the model's inputs.
    """
    _check_output(path, options.output)
    table = open_table(path, options.encoding, options.delimiter)
    say_of_table(table, context)
    loaded = predictor.load(options.model or context.root, context.device, context.precision, context.threads)
    missing = loaded.require_inputs(table.columns, called(path), context.console.warn)
    way = loaded.artifact.config.get("way", runners.TORCH)
    by = f"run as {way}" if way != runners.TORCH and not (options.embeddings or options.explain) else f"on {loaded.compute}"
    context.console.note(f"predict: {loaded.artifact.name}, {by}")
    if options.beam is not None:
        loaded.follow(options.beam)
    _check_wishes(loaded, options)
    words = Words(options.words, loaded.clock()) if options.words is not None else None
    if context.dry_run:
        context.console.note("dry run: nothing was written")
        return Outcome({"model": loaded.artifact.name, "absent": missing}, "")
    started = time.monotonic()
    name = Path("predictions.csv") if options.output == STDIN else options.output
    rejects = _Rejects(name.with_name(f"{name.stem}.rejects.csv"), options.raw)
    with nullcontext() if options.output == STDIN else alone(_until_whole(options.output), str(options.output)):
        rows, remarks, replaced, formulas = _predict(table, loaded, options, rejects, words)
    if words is not None and words.without:
        context.console.warn(
            f"{words.without:,} rows have no sound: their words are read off another column and have no times, the first: row "
            f"{words.first}"
        )
    seconds = time.monotonic() - started
    if rejects.first is not None:
        row, column, cell, reason = rejects.first
        context.console.warn(
            f"{rejects.count:,} cells cannot be read and count as absent, the first: row {row}, column {column!r}, {cell!r}: "
            f"{reason}; all are listed in {rejects.path}"
        )
    if replaced:
        context.console.warn(
            f"{called(path)} has {', '.join(map(repr, replaced))} already: replaced by the new predictions; "
            "rename them to keep both"
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
    return Outcome(
        {**data, "absent": missing, "replaced": replaced}, "" if options.output == STDIN else f"look at {options.output}"
    )


def _check_output(path: Path, output: Path) -> None:
    """Raises ConfigError if nothing can be written there."""
    if output != STDIN and SUFFIXES.get(output.suffix.lower()) is None:
        raise ConfigError(
            f"-o {output}: cannot tell a format from that suffix",
            f"Known: {', '.join(sorted(SUFFIXES))}; - for CSV on standard output.",
        )
    if output != STDIN and output.resolve() == path.resolve():
        raise ConfigError(f"-o {output} is the table itself", "Choose another name.")


def _check_wishes(loaded: Model, options: Options) -> None:
    """Raises ConfigError if the model has not what is asked for."""
    if options.explain and not loaded.has_weights:
        raise ConfigError(
            f"--explain: {loaded.artifact.name} fuses by {loaded.artifact.config['method']}, which has no weights",
            "Fuse by one that has, e.g. mmcli fuse --method gated, and name it with --model; see: mmcli list fusions"
            if loaded.task.outputs.decides or loaded.task.gives_embeddings
            else "No method has weights for such answers: leave it out.",
        )
    most = loaded.most_answers
    if options.nbest > most:
        if most == 1 and (loaded.task.outputs.decides or loaded.task.gives_embeddings):
            raise ConfigError(
                f"--nbest {options.nbest}: {loaded.artifact.name} answers with {loaded.task.outputs.words}: there is but one",
                "It is for targets that are texts.",
            )
        kept = "is greedy: it keeps one text" if most == 1 else f"keeps {most} texts"
        raise ConfigError(
            f"--nbest {options.nbest}: the search of {loaded.artifact.name} {kept} of a row",
            f"Ask for fewer, or preprocess with --set task.text.beam={options.nbest} and train anew.",
        )
    if options.sets and not loaded.conformal:
        raise ConfigError(
            f"--sets: {loaded.artifact.name} has no prediction sets",
            loaded.task.lacks("prediction sets") or "mmcli optimize makes them, where val has rows enough for the coverage.",
        )


def _predict(
    table: Table, loaded: Model, options: Options, rejects: _Rejects, words: Words | None
) -> tuple[int, dict[str, Counter[str]], list[str], int]:
    """In chunks, into a file that takes its name when it is whole; gives the number of rows, what was done to cells, which
    columns of the table were replaced, and how many cells were guarded as they were written."""
    out, temporary = _opened(options.output, table, options.raw)
    remarks: dict[str, Counter[str]] = {}
    replaced: dict[str, None] = {}
    rows = 0
    try:
        root = options.media_root or str(table.path.parent)
        parts = list[Rows]()
        for prediction in loaded.predict_chunks(
            _texts(table, parts),
            root,
            explain=options.explain,
            sets=options.sets,
            embeddings=options.embeddings,
            allow_missing=options.allow_missing,
            nbest=options.nbest,
            clock=words.clock if words else None,
        ):
            part = parts.pop()
            out.write(part, prediction.columns)
            replaced.update(dict.fromkeys(name for name in prediction.columns if name in part.frame.columns))
            rejects.write(prediction.rejects)
            if words:
                words.write(prediction.words)
            for column, found in prediction.remarks.items():
                remarks.setdefault(column, Counter()).update(found)
            rows += len(part.frame)
        if not rows:
            raise DataError(f"{called(table.path)} has a header but no rows", "There is nothing to predict.")
    except BaseException:
        out.close()
        rejects.close(keep=False)
        if words:
            words.close(keep=False)
        if temporary:
            temporary.unlink(missing_ok=True)
        raise
    out.close()
    rejects.close(keep=True)
    if words:
        words.close(keep=True)
    if temporary:
        temporary.replace(options.output)
    return rows, remarks, list(replaced), getattr(out, "guarded", 0)


def _texts(table: Table, parts: list[Rows]) -> Iterator[pd.DataFrame]:
    """The table's cells as text; what they come from is added to `parts`."""
    for part in table.parts():
        parts.append(part)
        yield part.frame


def _until_whole(output: Path) -> Path:
    """The name of a file until it is whole."""
    return output.with_name(f".{output.name}.partial")


def _opened(output: Path, table: Table, raw: bool) -> tuple[Writer, Path | None]:
    """What writes the predictions, and the name of the file until it is whole; none on standard output."""
    if output == STDIN:
        text = io.TextIOWrapper(sys.stdout.buffer, "utf-8", newline="")
        return CsvWriter(text, table, raw=raw, close=text.detach), None
    temporary = _until_whole(output)
    return writer(temporary, output.suffix.lower(), table, raw), temporary


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
