"""predict: the best model so far on a new table of any size; every row comes back, in order."""

from __future__ import annotations

import io
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from mmcli.artifacts.lock import alone
from mmcli.errors import ConfigError, DataError
from mmcli.exports.saying import Words
from mmcli.models import embedding, gallery, predictor, runners
from mmcli.models.gallery import Gallery
from mmcli.models.labels import Labels
from mmcli.models.predictor import Model
from mmcli.models.timing import Clock
from mmcli.options.predict import Options
from mmcli.reporting.counts import agreed, counted, them
from mmcli.stages import Context, Outcome, say_of_table
from mmcli.tables.finding import STDIN
from mmcli.tables.reading import Rows, Table, open_table
from mmcli.tables.rejected import Rejects
from mmcli.tables.source import called
from mmcli.tables.typed import Typed
from mmcli.tables.writing import SUFFIXES, CsvWriter, Writer, writer

Decode = Callable[[Any, Tensor], dict[str, list[Any]]]
"""What answers are called of a model's outputs, and of which rows anything is there."""


def run(path: Path, options: Options, context: Context) -> Outcome:
    """Writes the table at `path` with prediction columns to `output`, and what could not be read beside it.

    Raises:
        ArtifactError: there is no fused model.
        DataError: the table cannot be read, or has none of the model's inputs.
    """
    _check_output(path, options.output, options.words)
    table = open_table(path, options.encoding, options.delimiter)
    say_of_table(table, context)
    loaded, decode, besides = _loaded(options, context)
    looked = [name for name in table.columns if name != besides]
    missing = loaded.require_inputs(looked, called(path), context.console.warn if besides is None else lambda _: None)
    way = loaded.artifact.config.get("way", runners.TORCH)
    by = f"run as {way}" if way != runners.TORCH and not (options.embeddings or options.explain) else f"on {loaded.compute}"
    context.console.note(f"predict: {loaded.artifact.name}, {by}")
    if options.beam is not None:
        loaded.follow(options.beam)
    _check_wishes(loaded, options)
    said = None if options.words is None else (loaded.clock(), Words(options.words))
    if context.dry_run:
        context.console.note("dry run: nothing was written")
        return Outcome({"model": loaded.artifact.name, "absent": missing}, "")
    started = time.monotonic()
    name = Path("predictions.csv") if options.output == STDIN else options.output
    rejects = Rejects(name.with_name(f"{name.stem}.rejects.csv"), options.raw)
    with nullcontext() if options.output == STDIN else alone(_until_whole(options.output), str(options.output)):
        rows, remarks, replaced, formulas = _predict(table, loaded, options, rejects, said, decode, besides)
    if said is not None and said[1].without:
        context.console.warn(said[1].remark)
    seconds = time.monotonic() - started
    if rejects.first is not None:
        row, column, cell, reason = rejects.first
        context.console.warn(
            f"{counted(rejects.count, 'cell')} cannot be read and {agreed(rejects.count, 'count')} as absent, the first: "
            f"row {row}, column {column!r}, {cell!r}: {reason}; all are listed in {rejects.path}"
        )
    if replaced:
        context.console.warn(
            f"{called(path)} has {', '.join(map(repr, replaced))} already: replaced by the new predictions; "
            "rename them to keep both"
        )
    for column, found in remarks.items():
        for what, count in found.items():
            context.console.note(f"column {column!r}: {counted(count, 'cell')} {what}")
    if formulas:
        were = "it is" if formulas == 1 else "they are"
        context.console.note(
            f"{counted(formulas, 'cell')} of {options.output} that a spreadsheet would run as formulas "
            f"{agreed(formulas, 'have')} an apostrophe before {them(formulas)}; --raw leaves {them(formulas)} as {were}"
        )
    recognised = _told(decode, context)
    context.console.note(f"{counted(rows, 'row')} in {seconds:.1f} s ({rows / max(seconds, 1e-9):,.0f} rows/s)")
    data = {"output": str(options.output), "rows": rows, "rejects": rejects.count, "model": loaded.artifact.name}
    return Outcome(
        {**data, **recognised, "absent": missing, "replaced": replaced},
        "" if options.output == STDIN else f"look at {shlex.quote(str(options.output))}",
    )


def _told(decode: Decode | None, context: Context) -> dict[str, Any]:
    """Says how many rows a gallery knows, where one was looked in; and gives it as data."""
    if not isinstance(decode, _Recognised):
        return {}
    context.console.note(decode.said)
    return {"threshold": decode.least, "accepted": decode.accepted, "unknown": decode.unknown}


def _loaded(options: Options, context: Context) -> tuple[Model, Decode | None, str | None]:
    """The model; where a gallery is to be looked in, or labels are told, what makes answers by it; and the column of the table
    that is not looked at then.

    Raises:
        ArtifactError: there is no such model or gallery, or the two are not of each other.
        DataError: the gallery is empty.
    """
    compute = (context.device, context.precision, context.threads)
    if options.gallery is None:
        loaded = predictor.load(options.model or context.root, *compute)
        if not options.labels:
            return loaded, None, None
        told = Labels(loaded, options.labels, options.template, options.label_column)
        return loaded, told.decode, told.column
    held, loaded = gallery.with_model(context.root, options.gallery, options.model, compute)
    held.require_rows()
    context.console.note(f"{held.name}: {gallery.said(held.artifact.metrics)}")
    return loaded, _Recognised(held, options.threshold), None


@dataclass
class _Recognised:
    """Answers by a gallery, counted."""

    held: Gallery
    threshold: float | None
    least: float | None = None
    """The similarity from which on a row is accepted; None where the model has none."""
    accepted: int = 0
    unknown: int = 0

    def __call__(self, outputs: Any, here: Tensor) -> dict[str, list[Any]]:
        found = self.held.decode(outputs, here, self.threshold)
        self.least = embedding.threshold_of(outputs) if self.threshold is None else self.threshold
        self.accepted += sum(found.get("_accepted", ()))
        self.unknown += int(here.sum()) - sum(found.get("_accepted", ()))
        return found

    @property
    def said(self) -> str:
        """What came of it, in words."""
        if self.least is None:
            return "the model has no threshold: no row is accepted or unknown. To set one: --threshold"
        by = "settled on val" if self.threshold is None else "by --threshold"
        many = f"{counted(self.accepted, 'row')} {agreed(self.accepted, 'are')}"
        accepted = f"{many} accepted, with a similarity of {self.least:.3f} or more ({by})"
        return f"{accepted}; {self.unknown:,} {agreed(self.unknown, 'are')} unknown"


def _check_output(path: Path, output: Path, words: Path | None) -> None:
    """Raises ConfigError if nothing can be written there."""
    if output != STDIN and SUFFIXES.get(output.suffix.lower()) is None:
        raise ConfigError(
            f"-o {output}: cannot tell a format from that suffix",
            f"Known: {', '.join(sorted(SUFFIXES))}; - for CSV on standard output.",
        )
    for flag, own in (("-o", output), ("--words", words)):
        if own is not None and own != STDIN and own.resolve() == path.resolve():
            raise ConfigError(f"{flag} {own} is the table itself", "Choose another name.")


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
    table: Table,
    loaded: Model,
    options: Options,
    rejects: Rejects,
    said: tuple[Clock, Words] | None,
    decode: Decode | None,
    besides: str | None,
) -> tuple[int, dict[str, Counter[str]], list[str], int]:
    """In chunks, into a file that takes its name when it is whole; gives the number of rows, what was done to cells, which
    columns of the table were replaced, and how many cells were guarded as they were written."""
    out, temporary = _opened(options.output, table, options.raw, loaded.types if decode is None else {})
    clock, words = said or (None, None)
    remarks: dict[str, Counter[str]] = {}
    replaced: dict[str, None] = {}
    rows = 0
    try:
        root = options.media_root or str(table.path.parent)
        parts = list[Rows]()
        for prediction in loaded.predict_chunks(
            _texts(table, parts, besides),
            root,
            explain=options.explain,
            sets=options.sets,
            embeddings=options.embeddings,
            allow_missing=options.allow_missing,
            nbest=options.nbest,
            clock=clock,
            decode=decode,
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
        out.close()  # here, since the disk may be full only then
    except BaseException:
        with suppress(OSError):
            out.close()
        if temporary:
            temporary.unlink(missing_ok=True)
        rejects.close(keep=False)
        if words:
            words.close(keep=False)
        raise
    rejects.close(keep=True)
    if words:
        words.close(keep=True)
    if temporary:
        temporary.replace(options.output)
    return rows, remarks, list(replaced), getattr(out, "guarded", 0)


def _texts(table: Table, parts: list[Rows], besides: str | None) -> Iterator[pd.DataFrame]:
    """The table's cells as text, without the column that is not looked at; what they come from is added to `parts`."""
    for part in table.parts():
        parts.append(part)
        yield part.frame if besides is None else part.frame.drop(columns=besides, errors="ignore")


def _until_whole(output: Path) -> Path:
    """The name of a file until it is whole."""
    return output.with_name(f".{output.name}.partial")


def _opened(output: Path, table: Table, raw: bool, types: Mapping[str, Typed]) -> tuple[Writer, Path | None]:
    """What writes the predictions, and the name of the file until it is whole; none on standard output."""
    if output == STDIN:
        text = io.TextIOWrapper(sys.stdout.buffer, "utf-8", newline="")
        return CsvWriter(text, table, raw=raw, close=text.detach), None
    temporary = _until_whole(output)
    return writer(temporary, output.suffix.lower(), table, raw, types), temporary
