"""search: the rows of a gallery that are most like those of a table, or like one row that is typed."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from mmcli.artifacts.lock import alone
from mmcli.errors import ConfigError, DataError
from mmcli.models import embedding, gallery
from mmcli.models.gallery import ID, NAME, Gallery
from mmcli.models.predictor import Model
from mmcli.options.search import Options
from mmcli.reporting.counts import agreed, counted, them
from mmcli.stages import Context, Outcome, say_of_table
from mmcli.tables.lines import Lines
from mmcli.tables.reading import Table, open_table
from mmcli.tables.rejected import Rejects
from mmcli.tables.source import called

COLUMNS = {"query": str, "rank": int, "id": str, "name": str, "similarity": float}
"""Of the lines that are written."""


def run(options: Options, context: Context) -> Outcome:
    """Writes a line for each hit of each row of a table; of one row that is typed, shows them.

    Raises:
        ArtifactError: there is no such gallery, it is damaged, or its model has changed.
        ConfigError: the model does not look at what was typed.
        DataError: the gallery is empty; the table, or what was typed, cannot be read.
    """
    compute = (context.device, context.precision, context.threads)
    held, loaded = gallery.with_model(context.root, options.gallery, options.model, compute, options.exact)
    held.require_rows()
    how = "exactly" if held.index is None else f"by an index with recall@10 {held.artifact.metrics[gallery.RECALL]:.3f}"
    context.console.note(f"{held.name}: {gallery.said(held.artifact.metrics)}, searched {how}")
    if options.table is None:
        return _of_one(held, loaded, options, context)
    return _of_table(options.table, held, loaded, options, context)


def _of_table(path: Path, held: Gallery, loaded: Model, options: Options, context: Context) -> Outcome:
    table = open_table(path, options.encoding, options.delimiter)
    say_of_table(table, context)
    if options.id is not None:
        table.require(options.id, "--id")
    embedding.require_columns(loaded, options.columns)
    looked = [name for name in table.columns if not options.columns or name in options.columns]
    absent = loaded.require_inputs(looked, called(path), (lambda _: None) if options.columns else context.console.warn)
    named = gallery.id_column(loaded, table.columns, options.id)
    output = options.output or Path("hits.csv")
    if output.resolve() == path.resolve():
        raise ConfigError(f"the hits would be written over the table itself, {output}", "Choose another name: -o FILE.")
    with alone(output.with_name(f".{output.name}.partial"), str(output)):
        return _written(table, path, named, output, absent, held, loaded, options, context)


def _written(
    table: Table,
    path: Path,
    named: str | None,
    output: Path,
    absent: list[str],
    held: Gallery,
    loaded: Model,
    options: Options,
    context: Context,
) -> Outcome:
    out = Lines(output, COLUMNS, options.raw)
    rejects = Rejects(output.with_name(f"{output.stem}.rejects.csv"), options.raw)
    queries, empty, remarks, least = 0, list[int](), dict[str, Counter[str]](), None
    try:
        root = options.media_root or str(path.parent)
        for part in embedding.embedded(loaded, table.chunks(), root, options.allow_missing, options.columns):
            rejects.write(part.rejects)
            least = part.least
            for column, said in part.remarks.items():
                remarks.setdefault(column, Counter()).update(said)
            cells = part.rows[named] if named is not None else part.rows.index + 1
            here = part.here.tolist()
            queries += len(here)
            empty += [int(row) + 1 for row, there in zip(part.rows.index, here, strict=True) if not there]
            asked = [str(cell or row + 1) for row, cell, there in zip(part.rows.index, cells, here, strict=True) if there]
            found = _hits(held, part.values[part.here], options.k)
            out.write([(own, *hit) for own, hits in zip(asked, found, strict=True) for hit in hits])
        if not queries:
            raise DataError(f"{called(path)} has a header but no rows", "There is nothing to look up.")
    except BaseException:
        out.close(keep=False)
        rejects.close(keep=False)
        raise
    out.close(keep=True)
    rejects.close(keep=True)
    _say(rejects, empty, remarks, context)
    context.console.note(f"{output}: {counted(out.count, 'hit')} of {counted(queries - len(empty), 'row')}")
    data = {"output": str(output), "queries": queries, "hits": out.count, "rejects": rejects.count, "empty": len(empty)}
    of = {"gallery": options.gallery, "model": loaded.artifact.name, "absent": absent, **_threshold(least, context)}
    return Outcome({**data, **of}, f"look at {shlex.quote(str(output))}")


def _threshold(least: float | None, context: Context) -> dict[str, float]:
    """Says from which similarity on the model takes two rows for one; nothing where val has settled that for none."""
    if least is None:
        return {}
    context.console.note(f"a similarity of {least:.3f} or more: taken for the same, by the threshold that val settled")
    return {"threshold": least}


def _hits(held: Gallery, queries: Any, k: int) -> Iterator[list[tuple[int, str, str, float]]]:
    """Of each query [n, D] the hits: rank, id, name, similarity."""
    found = held.search(queries, k)
    ids, names = held.rows[ID].to_numpy(), held.rows[NAME].to_numpy()
    for rows, alike in zip(found.rows.tolist(), found.similarities.tolist(), strict=True):
        yield [(rank, ids[row], names[row], round(own, 6)) for rank, (row, own) in enumerate(zip(rows, alike, strict=True), 1)]


def _say(rejects: Rejects, empty: list[int], remarks: dict[str, Counter[str]], context: Context) -> None:
    for column, said in remarks.items():
        for what, count in said.items():
            context.console.note(f"column {column!r}: {counted(count, 'cell')} {what}")
    if rejects.first is not None:
        row, column, cell, reason = rejects.first
        context.console.warn(
            f"{counted(rejects.count, 'cell')} cannot be read and {agreed(rejects.count, 'count')} as absent, the first: "
            f"row {row}, column {column!r}, {cell!r}: {reason}; all are listed in {rejects.path}"
        )
    if empty:
        none = f"{counted(len(empty), 'row')} {agreed(len(empty), 'have')} no hits"
        context.console.warn(f"{none}, since nothing of {them(len(empty))} can be read, the first: row {empty[0]}")


def _of_one(held: Gallery, loaded: Model, options: Options, context: Context) -> Outcome:
    row = _row(loaded, options)
    part = next(embedding.embedded(loaded, iter([pd.DataFrame([row], dtype=object)]), options.media_root or "."))
    if part.rejects:
        _, column, cell, why = part.rejects[0]
        raise DataError(f"{column} {cell}: {why}", "Look at the file.")
    if not bool(part.here.all()):
        raise DataError("what was typed says nothing to the model: it counts as missing", "Type something else.")
    hits = next(_hits(held, part.values, options.k))
    if options.output is not None:
        out = Lines(options.output, COLUMNS, options.raw)
        asked = ", ".join(str(cell) for cell in row.values())
        out.write([(asked, *hit) for hit in hits])
        out.close(keep=True)
    shown = [[str(rank), own, name, f"{alike:.4f}"] for rank, own, name, alike in hits]
    context.console.table(["rank", " id", " name", "similarity"], shown)
    data = {"gallery": options.gallery, "model": loaded.artifact.name, "query": row, **_threshold(part.least, context)}
    step = shlex.join(["mmcli", "predict", "TABLE", "--gallery", options.gallery])
    return Outcome({**data, "hits": [dict(zip(list(COLUMNS)[1:], hit, strict=True)) for hit in hits]}, step)


def _row(loaded: Model, options: Options) -> dict[str, str]:
    """Column -> cell of the row that was typed.

    Raises:
        ConfigError: the model does not look at such a column, or at several of that kind.
    """
    kinds = {name: own.modality for own in loaded.inputs.values() for name in own.members}
    told = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    row = dict(options.value)
    for column in row:
        if column not in kinds:
            raise ConfigError(f"--value {column}=...: {loaded.artifact.name} looks at no such column", f"It looks at: {told}.")
    for kind, cell in options.kinds.items():
        columns = [name for name, own in kinds.items() if own == kind]
        if len(columns) != 1:
            many = f"at several: {', '.join(columns)}" if columns else "at no such column"
            one = f"Say which: --value {shlex.quote(columns[0])}=CELL" if columns else ""
            remedy = one or f"It looks at: {told}; --value COL=CELL."
            raise ConfigError(f"--{kind}: {loaded.artifact.name} looks {many}", remedy)
        if columns[0] in row:
            raise ConfigError(f"--{kind} and --value both say what is in {columns[0]!r}", "Leave one out.")
        row[columns[0]] = cell
    return row
