"""inspect: what the columns of a table were taken for, how surely and why; rows, splits, missing cells, examples, warnings."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size

from mmcli import registry
from mmcli.artifacts import store
from mmcli.config.settings import Settings
from mmcli.data import damaged, preview, schema, sharding, targets, weighing
from mmcli.data import warnings as warnings_of
from mmcli.data.schema import InputColumn, Schema
from mmcli.data.survey import Survey
from mmcli.media import addresses
from mmcli.media import files as media
from mmcli.modalities import Modality
from mmcli.options.inspect import Options
from mmcli.reporting.counts import agreed, counted, them
from mmcli.stages import Context, Outcome, say_of_table
from mmcli.tables import missing
from mmcli.tables.finding import STDIN
from mmcli.tables.names import tidy
from mmcli.tables.reading import Table, open_table
from mmcli.tables.splitting import SPLITS, UNLABELLED, spelled_splits, train_or_other
from mmcli.tables.weights import weights
from mmcli.tasks import Cells, Task

EXAMPLES = 3


@dataclass
class _Tally:
    """One column, counted over the whole table."""

    missing: int = 0
    examples: list[str] = field(default_factory=list)
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    """(row, cell) of files that are not there."""


def run(path: Path, options: Options, context: Context) -> Outcome:
    """Reads the table once and reports; writes nothing.

    Raises:
        DataError: whatever `preprocess` would raise of the table and its columns.
    """
    roles = options.roles
    table = replace(open_table(path, options.encoding, options.delimiter), na=missing.spellings(roles.na))
    say_of_table(table, context)
    found = schema.infer(table, roles)
    table = replace(table, faces=found.faces)
    context.settings.refuse_unused("modalities", [column.modality for column in found.columns], "inspect")
    tallies, cells, given, survey, told = _count(table, found, roles.keep_na)
    rows, splits = survey.rows, Counter(given)
    notes = [*found.announcements, *warnings_of.of_words(survey)]
    if not roles.keep_na:
        cells, said = targets.without_missing_words(cells, found.targets)
        notes += said
    settings = context.settings.for_stage("preprocess", "inspect")
    kind, config, why = targets.choose(cells, found.targets, roles.task, settings, roles.task_options, found.decimal)
    config = kind.suited(config, [item.modality for item in found.columns])
    settings.refuse_unused("tasks", [registry.name_of(kind)], "inspect")
    targets.check_shared(kind, found.shares, found.kinds)
    weighing.check(kind, found.weight)
    here = [kind.is_labelled(config, own) for own in cells]
    labelled = [(row, own) for row, (own, told) in enumerate(zip(cells, here, strict=True), 1) if told]
    targets.check(kind, config, found.targets, labelled)
    if found.weight:
        weights([told[row - 1] for row, _ in labelled], [row for row, _ in labelled], found.weight)
    usable = [own for _, own in labelled]
    notes += targets.without_labels(usable, found.targets)
    notes += [] if roles.task else targets.suggested(kind, usable, found.shares, found.targets, found.kinds)
    task = kind.fit(config, usable, found.targets).over(found.kinds)
    warnings = _warnings(found, usable, tallies, rows) + _damaged(found, table, settings)
    warnings += targets.doubts(kind, usable, found.targets)
    warnings += warnings_of.of_table(found, survey, kind, usable, _held(given, here), here, table.head(schema.SAMPLE_ROWS))
    strata = Counter(kind.strata(config, usable)) if kind.has_classes else Counter()
    context.console.note(f"{path}: {counted(rows, 'row')}, {counted(len(table.columns), 'column')}, {table.described}")
    for line in [*notes, *([why] if why else [])]:
        context.console.note(line)
    _say(found, tallies, rows, context)
    _say_target(found, task, strata, splits, context)
    for warning in warnings:
        context.console.warn(warning)
    data = {
        "rows": rows,
        "format": table.described,
        "task": registry.name_of(kind),
        "target": {"columns": found.targets, "summary": task.summary(), "classes": dict(strata)},
        "columns": [_described(item, tallies[item.name]) for item in found.columns],
        "inputs": found.inputs,
        "shares": found.shares,
        "splits": dict(splits),
        "ignored": found.ignored,
        "warnings": [*table.warnings, *warnings],
    }
    data |= {"page": str(_write_page(table, found, options, context))} if options.rows else {}
    target = f" --target {shlex.quote(found.targets[0])}" if found.targets and not options.roles.target else ""
    typed = "mmcli preprocess FILE" if path == STDIN else _as_preprocess(context.command)
    return Outcome(data, f"{typed or f'mmcli preprocess {shlex.quote(str(path))}'}{target}")


def _held(given: Sequence[str], labelled: Sequence[bool]) -> list[str] | None:
    """The split that each row is in, as `preprocess` has it, where a column names them."""
    return [split if own else UNLABELLED for split, own in zip(given, labelled, strict=True)] if given else None


def _say_target(found: Schema, task: Task, strata: Counter[str], splits: Counter[str], context: Context) -> None:
    """Which columns are joined, what is predicted, and which rows are for what."""
    for name, columns in found.inputs.items():
        if len(columns) > 1:
            context.console.note(f"input {name!r}: {', '.join(columns)}, in one encoder (--each for one each)")
    for reader, owner in found.shares.items():
        context.console.note(f"input {reader!r} reads the encoder of {owner!r}")
    classes = ", ".join(f"{name} {count:,}" for name, count in strata.most_common(12))
    more = f", and {len(strata) - 12} more" if len(strata) > 12 else ""
    target = f"target {', '.join(map(repr, found.targets))}" if found.targets else "no target"
    context.console.note(f"{target}: {task.summary()}{': ' if classes else ''}{classes}{more}")
    if splits:
        context.console.note("splits: " + ", ".join(f"{splits[name]:,} {name}" for name in SPLITS))


def _described(item: InputColumn, tally: _Tally) -> dict[str, Any]:
    """A column as JSON tells it."""
    said = {"column": item.name, "modality": item.modality, "confidence": item.confidence, "reason": item.reason}
    return {**said, "missing": tally.missing, "examples": tally.examples}


def _as_preprocess(command: str) -> str:
    """The command as typed, for the next stage: without what is inspect's own."""
    words, kept = iter(shlex.split(command)), list[str]()
    for word in words:
        if word in {"--sample", "-o", "--output"}:
            next(words, None)
        elif word not in {"--html", "--json", "-q", "--quiet"} and not word.startswith(("--sample=", "--output=")):
            kept.append("preprocess" if word == "inspect" else word)
    return shlex.join(kept) if "preprocess" in kept else ""


def _write_page(table: Table, found: Schema, options: Options, context: Context) -> Path:
    """Rows spread over the first ones of the table, as the model will see them; what is learnt is learnt on those read here."""
    head = table.head(schema.SAMPLE_ROWS)
    places = [round(i * (len(head) - 1) / max(options.rows - 1, 1)) for i in range(min(options.rows, len(head)))]
    settings = context.settings.for_stage("preprocess", "inspect")
    shown: list[list[dict[str, Any]]] = [[] for _ in places]
    for column in found.columns:
        kind: type[Modality] = registry.load("modalities", column.modality)
        cells = head[column.name].tolist()
        known = [cell for cell in sharding.resolved(cells, found.media_root, kind) if cell is not None]
        fitted = kind.fit(settings.part("modalities", column.modality, **column.options), known)
        own = [cells[place] for place in places]
        for row, view in zip(shown, preview.views(fitted, column.name, column.modality, own, found.media_root), strict=True):
            row.append(view)
    rows = [
        {
            "number": place + 1,
            "target": ", ".join(f"{name}: {head[name].tolist()[place] or 'none'}" for name in found.targets),
            "cells": cells,
        }
        for place, cells in zip(places, shown, strict=True)
    ]
    seen = f"{counted(len(rows), 'row')} as the model will see {them(len(rows))}"
    subtitle = f"{seen}, drawn from the tensors; preprocessing learnt on {counted(len(head), 'row')}."
    store.write_atomic(options.output, preview.page(f"What is seen of {table.path.name}", subtitle, rows).encode())
    context.console.note(f"{seen}: {options.output}")
    return options.output


def _count(
    table: Table, found: Schema, keep_na: bool
) -> tuple[dict[str, _Tally], list[tuple[str | None, ...]], list[str], Survey, list[str | None]]:
    """Each column's tally, the target cells, the splits that a column tells, what the inputs hold, and the cells of weights."""
    tallies = {name: _Tally() for name in table.columns}
    kinds: dict[str, type[Modality]] = {c.name: registry.load("modalities", c.modality) for c in found.columns}
    files = {name: kind for name, kind in kinds.items() if kind.reads_files}
    cells: list[tuple[str | None, ...]] = []
    splits, told = list[str](), list[str | None]()
    survey = Survey(found, keep_na)
    for chunk in table.chunks():
        for name in table.columns:
            tally = tallies[name]
            for row, cell in zip(chunk.index, chunk[name], strict=True):
                if cell is not None and len(tally.examples) < EXAMPLES and cell not in tally.examples:
                    tally.examples.append(media.shown(cell))
                if cell is not None and name in files and files[name].names_file(cell) and not media.names_none(cell):
                    where = media.resolve(cell, found.media_root)
                    there = addresses.is_far(where) or media.exists(where)
                    tally.unreadable += [] if there else [(int(row) + 1, cell)]
        own = [[cell and (tidy(cell) or None) for cell in chunk[name]] for name in found.targets]
        cells += zip(*own, strict=True) if own else [()] * len(chunk)
        given = chunk[found.split].tolist() if found.split else None
        splits += given or []
        told += chunk[found.weight].tolist() if found.weight else []
        survey.add(chunk, None if given is None else [train_or_other(cell) for cell in given])
    for item in found.columns:
        tallies[item.name].missing = int((~survey.present(item.name)).sum())
    return tallies, cells, spelled_splits(splits, found.split) if found.split else [], survey, told


def _warnings(found: Schema, labelled: Cells, tallies: dict[str, _Tally], rows: int) -> list[str]:
    """Of targets and files that are not there, which `preprocess` tells as it meets them; and what the schema doubts."""
    warnings = [*found.warnings]
    if len(labelled) < rows:
        name = " or ".join(map(repr, found.targets))
        without = rows - len(labelled)
        warnings.append(f"{counted(without, 'row')} {agreed(without, 'have')} no {name}: left out of training")
    for item in found.columns:
        tally = tallies[item.name]
        if tally.unreadable:
            row, cell = tally.unreadable[0]
            warnings.append(
                f"{counted(len(tally.unreadable), 'file')} of column {item.name!r} {agreed(len(tally.unreadable), 'are')} not "
                f"there, the first: row {row}, {cell!r}"
            )
    return warnings


def _damaged(found: Schema, table: Table, settings: Settings) -> list[str]:
    """Of files of the first rows that cannot be read."""
    kinds = {item.name: registry.load("modalities", item.modality) for item in found.columns}
    files = [item for item in found.columns if kinds[item.name].reads_files]
    head, said = table.head(schema.SAMPLE_ROWS if files else 1), list[str]()
    for item in files:
        config = settings.part("modalities", item.modality, **item.options)
        said += damaged.tried(item.name, kinds[item.name], config, head[item.name].tolist(), found.media_root)
    return said


def _say(found: Schema, tallies: dict[str, _Tally], rows: int, context: Context) -> None:
    lines = []
    for item in found.columns:
        tally = tallies[item.name]
        example = _short("; ".join(" ".join(cell.split()) for cell in tally.examples))
        lines.append(
            [
                item.name,
                item.modality,
                f"{item.confidence:.0%}",
                f"{tally.missing / max(rows, 1):.0%}",
                item.reason,
                example,
            ]
        )
    context.console.table(["column", " taken for", "sure", "missing", " because", " examples"], lines)
    if found.ignored:
        context.console.note(f"not used: {', '.join(found.ignored)}")


def _short(text: str, width: int = 34) -> str:
    """At most `width` columns of a terminal, where a Chinese character takes two."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"
