"""inspect: what the columns of a table were taken for, how surely and why; rows, splits, missing cells, examples, warnings."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.cells import cell_len, set_cell_size

from mmcli import registry, schema
from mmcli.config import Roles
from mmcli.errors import DataError
from mmcli.schema import Schema
from mmcli.stages import Context, Outcome
from mmcli.tables.reading import Table, open_table
from mmcli.tables.splitting import SPLITS, spelled_splits

EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    roles: Roles = field(default_factory=Roles)
    encoding: str | None = None
    delimiter: str | None = None


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
    tallies, targets, splits, rows = _count(table, found)
    warnings = _warnings(found, tallies, targets, splits, rows)
    context.console.note(f"{path}: {rows:,} rows, {len(table.columns)} columns, {_format(table)}")
    for line in found.announcements:
        context.console.note(line)
    _say(found, tallies, rows, context)
    classes = ", ".join(f"{name} {count:,}" for name, count in targets.most_common(12))
    more = f", and {len(targets) - 12} more" if len(targets) > 12 else ""
    context.console.note(f"target {found.target!r}: {len(targets)} classes: {classes}{more}")
    if splits:
        context.console.note("splits: " + ", ".join(f"{splits[name]:,} {name}" for name in SPLITS))
    for warning in warnings:
        context.console.warn(warning)
    data = {
        "rows": rows,
        "format": _format(table),
        "target": {"column": found.target, "classes": dict(targets)},
        "inputs": [
            {
                "column": item.name,
                "modality": item.modality,
                "confidence": item.confidence,
                "reason": item.reason,
                "missing": tallies[item.name].missing,
                "examples": tallies[item.name].examples,
            }
            for item in found.inputs
        ],
        "splits": dict(splits),
        "ignored": found.ignored,
        "warnings": warnings,
    }
    target = "" if options.roles.target else f" --target {shlex.quote(found.target)}"
    typed = context.command.replace(" inspect ", " preprocess ", 1) if " inspect " in context.command else ""
    return Outcome(data, f"{typed or f'mmcli preprocess {path}'}{target}")


def _count(table: Table, found: Schema) -> tuple[dict[str, _Tally], Counter[str], Counter[str], int]:
    tallies = {name: _Tally() for name in table.columns}
    files = {item.name for item in found.inputs if registry.load("modalities", item.modality).reads_files}
    targets: Counter[str] = Counter()
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
                if cell is not None and name in files and not (found.media_root / cell).exists():
                    tally.unreadable.append((int(row) + 1, cell))
        targets.update(cell for cell in chunk[found.target] if cell is not None)
        if found.split:
            splits.update(spelled_splits(chunk[found.split].tolist(), found.split))
        rows += len(chunk)
    return tallies, targets, splits, rows


def _warnings(found: Schema, tallies: dict[str, _Tally], targets: Counter[str], splits: Counter[str], rows: int) -> list[str]:
    warnings = []
    if len(targets) < 2:
        raise DataError(f"the target {found.target!r} has {len(targets)} class", "At least two are needed.")
    if tallies[found.target].missing:
        warnings.append(f"{tallies[found.target].missing} rows have no {found.target!r}: they are left out of training")
    if len(targets) > rows / 2:
        warnings.append(f"{found.target!r} has {len(targets)} classes in {rows} rows: is it the target?")
    rare = [name for name, count in targets.items() if count < 3]
    if rare:
        warnings.append(f"{len(rare)} classes have fewer than 3 rows, e.g. {rare[0]!r}: too few to train, validate and test")
    if found.split and not splits["test"]:
        warnings.append(f"column {found.split!r} names no test rows: evaluate will have nothing to show")
    for item in found.inputs:
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
    for item in found.inputs:
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
    context.console.table(["input", " taken for", "sure", "missing", " because", " examples"], lines)
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
