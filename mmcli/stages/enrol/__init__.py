"""enrol: rows of tables as vectors in a gallery, which keeps what it held unless it is told otherwise."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from mmcli.artifacts import layout, store
from mmcli.errors import ArtifactError, ChangedError, ConfigError, DataError, unknown
from mmcli.models import embedding, gallery, loading, predictor
from mmcli.models.gallery import ID, NAME, Gallery
from mmcli.models.predictor import Model
from mmcli.options.enrol import Options
from mmcli.reporting.counts import agreed, counted
from mmcli.stages import Context, Outcome, say_of_table
from mmcli.stages.enrol.rows import LONGEST, New, Source, check_ids, embed, joined, lines
from mmcli.stages.enrol.writing import again, kind_of, writing
from mmcli.tables.reading import open_table
from mmcli.tables.source import called


def run(options: Options, context: Context) -> Outcome:
    """Embeds the rows of the tables by the gallery's model, or a new one's by the best, and keeps them; or takes rows out.

    Raises:
        ArtifactError: there is no model, the gallery is damaged, or it is of a model that has changed.
        BusyError: another process is writing the gallery.
        ConfigError: the model gives no unit vectors, or a column is not there.
        DataError: a table cannot be read, an id is there already, or there is nothing to enrol or to remove.
    """
    return _remove(options, context) if options.remove else _enrol(options, context)


def _enrol(options: Options, context: Context) -> Outcome:
    old, loaded = _held(options, context)
    columns = _columns(old, loaded, options)
    _require_kind(old, options)
    name = layout.gallery(options.gallery)
    sources = [_source(path, loaded, columns, options, context) for path in options.tables]
    by = ", ".join(sorted({f"column {own.id!r}" if own.id else "number" for own in sources}))
    context.console.note(f"enrol: {loaded.artifact.name}, on {loaded.compute}; rows are named by {by}")
    check_ids(sources, old, options)
    if context.dry_run:
        context.console.note(f"dry run: {name} was not written")
        return Outcome({"gallery": options.gallery, "model": loaded.artifact.name}, context.command)
    with writing(options, context, old, loaded.artifact.parent(), loaded.artifact.name, options.tables) as (draft, late):
        old = _again(old, options, context)  # as it is now that nobody else can write it
        known = check_ids(sources, old, options)
        new = New()
        for source in sources:
            embed(source, loaded, options, columns, new)
        kind = kind_of(options, old)
        rows, vectors = joined(old, new, name, kind)
        held = set(rows[ID]) | set(rows[NAME])
        removed = [] if old is None else [own for own in old.artifact.config["removed"] if own not in held]
        late |= {"width": vectors.shape[1], "removed": removed}
        if new.rejects or new.left_out:
            store.write_atomic(draft.path / gallery.REJECTS, lines(sorted(new.rejects + new.left_out)))
        indexed = options.index or (old is not None and bool(old.artifact.config["index"]))
        gallery.write(draft, rows, vectors, context.seed, indexed)
        if kind == gallery.INT8:
            before = None if old is None else old.artifact.metrics.get(gallery.OF_INT8)
            draft.metrics[gallery.OF_INT8] = gallery.kept_by_eight(torch.cat(new.vectors), context.seed, before)
        enrolled = sum(map(len, new.rows))
        replaced = len(known & {own for part in new.rows for own in part[ID]})
        draft.metrics |= {"enrolled": enrolled, "replaced": replaced, "left_out": len(new.left_out)}
        figures = dict(draft.metrics)
    instead = f", {replaced:,} of them in place of others" if replaced else ""
    _say(new, context, root=context.root / name)
    return _told(figures, options, context, f"{counted(enrolled, 'row')} enrolled{instead}")


def _held(options: Options, context: Context) -> tuple[Gallery | None, Model]:
    """The gallery, where there is one that is not begun anew, and the model by which to enrol."""
    compute = (context.device, context.precision, context.threads)
    there = store.exists(context.root, layout.gallery(options.gallery))
    if there and not context.force:
        old, loaded = gallery.with_model(context.root, options.gallery, options.model, compute)
        best = loading.best(context.root).name if options.model is None else loaded.artifact.name
        if best != loaded.artifact.name:
            context.console.note(f"{old.name} stays with {loaded.artifact.name}; {best} is the better by now: {_anew(old)}")
        return old, loaded
    loaded = predictor.load(options.model or context.root, *compute)
    embedding.require_vectors(loaded)
    if loaded.artifact.root.resolve() != context.root.resolve():
        raise ConfigError(f"--model {options.model} does not lie in {context.root}", "Name its root with --artifacts.")
    if there:
        _warn_of_removed(options, context)
    return None, loaded


def _anew(old: Gallery) -> str:
    name = old.name.partition("/")[2]
    return f'to change over: "{again(old.artifact.config, name, old.artifact.root, model=False)} --force"'


def _warn_of_removed(options: Options, context: Context) -> None:
    """Says what had been taken out of the gallery that is begun anew: the tables may hold it."""
    with suppress(ArtifactError):  # of its manifest alone: its other files may be damaged
        name = layout.gallery(options.gallery)
        removed = store.read(context.root, name, gallery.KIND, context.command).config["removed"]
        if removed:
            context.console.warn(
                f"from galleries/{options.gallery} as it was {', '.join(map(repr, removed[:5]))}"
                f"{', ...' * (len(removed) > 5)} had been removed: what the tables hold of that is there again"
            )


def _again(old: Gallery | None, options: Options, context: Context) -> Gallery | None:
    """The gallery as it was read.

    Raises:
        ChangedError: another process has written it since; what was decided is of the old one, and is to be decided anew.
    """
    if context.force:
        return None
    there = store.exists(context.root, layout.gallery(options.gallery))
    now = gallery.read(context.root, options.gallery) if there else None
    if (now and now.artifact.hash) != (old and old.artifact.hash):
        raise ChangedError(f"another process has changed galleries/{options.gallery} meanwhile", "Do it once more.")
    return now


def _columns(old: Gallery | None, loaded: Model, options: Options) -> list[str]:
    """Those that are looked at: of a gallery that is there, as it was begun.

    Raises:
        ConfigError: other ones are asked for, or the model looks at no such column.
    """
    embedding.require_columns(loaded, options.columns)
    begun = list(options.columns) if old is None else list(old.artifact.config["columns"])
    if options.columns and sorted(begun) != sorted(options.columns):
        raise ConfigError(
            f"--column {' '.join(options.columns)}: {old and old.name} was begun with {', '.join(begun) or 'all columns'}",
            "Leave --column out, or take another --gallery.",
        )
    return begun


def _require_kind(old: Gallery | None, options: Options) -> None:
    """Raises ConfigError where vectors are to be kept otherwise than those that are there."""
    if old is not None and options.vectors not in {None, gallery.kind_of(old.artifact.config)}:
        raise ConfigError(
            f"--vectors {options.vectors}: {old.name} was begun with {gallery.kind_of(old.artifact.config)}",
            "Leave --vectors out, take another --gallery, or begin this one anew with all of its tables: --force.",
        )


def _source(path: Path, loaded: Model, columns: list[str], options: Options, context: Context) -> Source:
    table = open_table(path, options.encoding, options.delimiter)
    say_of_table(table, context)
    for flag, column in (("--id", options.id), ("--name", options.name)):
        if column is not None:
            table.require(column, flag)
    looked = [name for name in table.columns if not columns or name in columns]
    loaded.require_inputs(looked, called(path), (lambda _: None) if columns else context.console.warn)
    return Source(
        table,
        gallery.id_column(loaded, table.columns, options.id),
        gallery.name_column(loaded, table.columns, options.name),
    )


def _remove(options: Options, context: Context) -> Outcome:
    """Takes rows out, by their id or their name."""
    found = gallery.read(context.root, options.gallery)
    gone, counts = _gone(found, options)
    if context.dry_run:
        context.console.note(f"dry run: {counted(len(gone), 'row')} would be removed from {found.name}")
        return Outcome({"gallery": options.gallery, "removed": counts}, context.command)
    parents, model = found.artifact.manifest["parents"], found.artifact.config["model"]
    with writing(options, context, found, parents, model, ()) as (draft, late):
        found = _again(found, options, context) or found
        gone, counts = _gone(found, options)
        kept = [place for place in range(len(found.rows)) if place not in gone]
        late["removed"] = [*dict.fromkeys([*found.artifact.config["removed"], *options.remove])]
        rows, vectors = found.rows.iloc[kept], found.vectors[torch.tensor(kept, dtype=torch.int64)]
        gallery.write(draft, rows, vectors, context.seed, bool(found.artifact.config["index"]))
        draft.metrics |= {"removed": counts}
        if gallery.OF_INT8 in found.artifact.metrics:
            draft.metrics[gallery.OF_INT8] = found.artifact.metrics[gallery.OF_INT8]
        figures = dict(draft.metrics)
    each = ", ".join(f"{count:,} of {own!r}" for own, count in counts.items())
    return _told(figures, options, context, f"{counted(len(gone), 'row')} removed ({each})")


def _gone(found: Gallery, options: Options) -> tuple[set[int], dict[str, int]]:
    """The places of the rows to be removed, and how many each id or name has.

    Raises:
        DataError: one is neither.
    """
    gone, counts = set[int](), dict[str, int]()
    for own in options.remove:
        here = ((found.rows[ID] == own) | (found.rows[NAME] == own)).to_numpy().nonzero()[0].tolist()
        if not here:
            near = unknown("id or name", own, [*found.rows[ID], *found.rows[NAME]])
            raise DataError(f"--remove {own}: {found.name} has no such row: {near}", "Nothing was removed.")
        gone |= set(here)
        counts[own] = len(here)
    return gone, counts


def _say(new: New, context: Context, root: Path) -> None:
    """What could not be read, and what was not kept."""
    warn: Callable[[str], None] = context.console.warn
    if new.rejects:
        row, column, cell, why = new.rejects[0]
        warn(
            f"{counted(len(new.rejects), 'cell')} cannot be read and {agreed(len(new.rejects), 'count')} as absent, the first: "
            f"row {row}, column {column!r}, {cell!r}: {why}; all are listed in {root / gallery.REJECTS}"
        )
    if new.left_out:
        row, _, own, why = new.left_out[0]
        warn(
            f"{counted(len(new.left_out), 'row')} {agreed(len(new.left_out), 'are')} left out, the first: row {row}, {own!r}: "
            f"{why}; all are listed in {root / gallery.REJECTS}"
        )
    for column, found in new.remarks.items():
        for what, count in found.items():
            context.console.note(f"column {column!r}: {counted(count, 'cell')} {what}")
    for column, count in new.long.items():
        short = f"{agreed(count, 'are')} no short text (of {LONGEST:,} characters)"
        context.console.note(f"column {column!r}: {counted(count, 'cell')} {short}: not kept")


def _told(figures: dict[str, object], options: Options, context: Context, done: str) -> Outcome:
    name = layout.gallery(options.gallery)
    context.console.note(f"{name}: {done}; {gallery.said(figures)} in all")
    measured = figures.get(gallery.OF_INT8)
    if isinstance(measured, dict) and "enrolled" in figures:
        context.console.note(f"int8: {_of_int8(measured)}")
    if gallery.RECALL in figures:
        context.console.note(f"recall@10 of the index, on rows of its own: {figures[gallery.RECALL]:.3f}")
    data = {key: value for key, value in figures.items() if key != gallery.MADE_HERE}
    return Outcome({"gallery": options.gallery, **data}, shlex.join(["mmcli", "search", "--gallery", options.gallery, "TABLE"]))


def _of_int8(measured: dict[str, Any]) -> str:
    """What eight bits miss, in words."""
    if not measured:
        return "half the size; there are too few rows to measure what it misses"
    share = f"{measured[gallery.RECALL]:.1%} of the 10 nearest are those of float16, half the size"
    return f"{share}; measured on {measured['drawn']:,} of {measured['among']:,} rows"
