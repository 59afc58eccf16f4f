"""inspect: what the columns of a table were taken for, how surely and why; rows, splits, missing cells, examples, warnings."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size

from mmcli import registry
from mmcli.artifacts import store
from mmcli.data import preview, schema, sharding, targets
from mmcli.data.roles import Roles
from mmcli.data.schema import Schema
from mmcli.media import files as media
from mmcli.modalities import Modality
from mmcli.stages import Context, Outcome
from mmcli.tables.reading import Table, open_table
from mmcli.tables.splitting import SPLITS, spelled_splits
from mmcli.tasks import Cells, Task

EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    roles: Roles = field(default_factory=Roles)
    encoding: str | None = None
    delimiter: str | None = None
    task_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Options given by flags, by task."""
    sample: int = 0
    """Rows to show as the model will see them, in a page."""
    page: Path = Path("inspect.html")
    """Where that page goes."""


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
    table = open_table(path, options.encoding, options.delimiter)
    found = schema.infer(table, options.roles)
    tallies, cells, splits, rows = _count(table, found)
    settings = context.settings.for_stage("preprocess", "inspect")
    kind, config, why = targets.choose(cells, found.targets, options.roles.task, settings, options.task_options)
    labelled = [row for row in cells if kind.is_labelled(config, row)]
    task = kind.fit(config, labelled, found.targets)
    warnings = _warnings(found, task, labelled, tallies, splits, rows)
    context.console.note(f"{path}: {rows:,} rows, {len(table.columns)} columns, {_format(table)}")
    for line in [*found.announcements, *([why] if why else [])]:
        context.console.note(line)
    _say(found, tallies, rows, context)
    for name, columns in found.inputs.items():
        if len(columns) > 1:
            context.console.note(f"input {name!r}: {', '.join(columns)}, in one encoder (--each for one each)")
    strata = Counter(kind.strata(config, labelled)) if kind.has_classes else Counter()
    classes = ", ".join(f"{name} {count:,}" for name, count in strata.most_common(12))
    more = f", and {len(strata) - 12} more" if len(strata) > 12 else ""
    names = ", ".join(map(repr, found.targets))
    context.console.note(f"target {names}: {task.summary()}{': ' if classes else ''}{classes}{more}")
    if splits:
        context.console.note("splits: " + ", ".join(f"{splits[name]:,} {name}" for name in SPLITS))
    for warning in warnings:
        context.console.warn(warning)
    data = {
        "rows": rows,
        "format": _format(table),
        "task": registry.name_of(kind),
        "target": {"columns": found.targets, "summary": task.summary(), "classes": dict(strata)},
        "columns": [
            {
                "column": item.name,
                "modality": item.modality,
                "confidence": item.confidence,
                "reason": item.reason,
                "missing": tallies[item.name].missing,
                "examples": tallies[item.name].examples,
            }
            for item in found.columns
        ],
        "inputs": found.inputs,
        "splits": dict(splits),
        "ignored": found.ignored,
        "warnings": warnings,
    }
    if options.sample:
        data["page"] = str(_write_page(table, found, options, context))
    target = "" if options.roles.target else f" --target {shlex.quote(found.targets[0])}"
    typed = _as_preprocess(context.command)
    return Outcome(data, f"{typed or f'mmcli preprocess {path}'}{target}")


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
    places = [round(i * (len(head) - 1) / max(options.sample - 1, 1)) for i in range(min(options.sample, len(head)))]
    settings = context.settings.for_stage("preprocess", "inspect")
    shown: list[list[dict[str, Any]]] = [[] for _ in places]
    for column in found.columns:
        kind: type[Modality] = registry.load("modalities", column.modality)
        cells = head[column.name].tolist()
        known = [cell for cell in sharding.resolved(cells, found.media_root, kind) if cell is not None]
        fitted = kind.fit(settings.part("modalities", column.modality), known)
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
    subtitle = f"{len(rows)} rows as the model will see them, drawn from the tensors; preprocessing learnt on {len(head)} rows."
    store.write_atomic(options.page, preview.page(f"What is seen of {table.path.name}", subtitle, rows).encode())
    context.console.note(f"{len(rows)} rows as the model will see them: {options.page}")
    return options.page


def _count(table: Table, found: Schema) -> tuple[dict[str, _Tally], list[tuple[str | None, ...]], Counter[str], int]:
    tallies = {name: _Tally() for name in table.columns}
    kinds: dict[str, type[Modality]] = {c.name: registry.load("modalities", c.modality) for c in found.columns}
    files = {name: kind for name, kind in kinds.items() if kind.reads_files}
    cells: list[tuple[str | None, ...]] = []
    splits: Counter[str] = Counter()
    rows = 0
    for chunk in table.chunks():
        for name in table.columns:
            tally = tallies[name]
            for row, cell in zip(chunk.index, chunk[name], strict=True):
                if cell is None:
                    tally.missing += 1
                elif len(tally.examples) < EXAMPLES and cell not in tally.examples:
                    tally.examples.append(cell)
                if cell is not None and name in files and files[name].names_file(cell):
                    there = media.is_address(found.media_root) or media.exists(media.resolve(cell, found.media_root))
                    tally.unreadable += [] if there else [(int(row) + 1, cell)]
        cells += chunk[found.targets].itertuples(index=False, name=None)
        if found.split:
            splits.update(spelled_splits(chunk[found.split].tolist(), found.split))
        rows += len(chunk)
    return tallies, cells, splits, rows


def _warnings(
    found: Schema, task: Task, labelled: Cells, tallies: dict[str, _Tally], splits: Counter[str], rows: int
) -> list[str]:
    warnings = []
    name = " or ".join(map(repr, found.targets))
    if len(labelled) < rows:
        warnings.append(f"{rows - len(labelled)} rows have no {name}: they are left out of training")
    if task.has_classes:
        classes = Counter(str(cell) for (cell,) in labelled)
        if len(classes) > rows / 2:
            warnings.append(f"{name} has {len(classes)} classes in {rows} rows: is it the target?")
        rare = [label for label, count in classes.items() if count < 3]
        if rare:
            warnings.append(
                f"{len(rare)} classes have fewer than 3 rows, e.g. {rare[0]!r}: too few to train, validate and test"
            )
    if found.split and not splits["test"]:
        warnings.append(f"column {found.split!r} names no test rows: evaluate will have nothing to show")
    for item in found.columns:
        tally = tallies[item.name]
        if tally.unreadable:
            row, cell = tally.unreadable[0]
            warnings.append(
                f"{len(tally.unreadable)} files of column {item.name!r} are not there, the first: row {row}, {cell!r}"
            )
        if tally.missing > rows / 2:
            warnings.append(f"column {item.name!r} is empty in {tally.missing / rows:.0%} of the rows")
    return warnings


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


def _format(table: Table) -> str:
    if table.format == "csv":
        names = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
        return f"CSV in {table.encoding}, fields separated by {names.get(table.delimiter, repr(table.delimiter))}"
    return {"parquet": "Parquet", "jsonl": f"JSON Lines in {table.encoding}"}[table.format]
