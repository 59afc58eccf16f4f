"""preprocess: a table becomes normalised tensors and token ids on disk, split into train, val and test.

The table is read three times in chunks, never whole: once for the columns with a role, once by the modalities that learn from
the train split, once to transform.
"""

from __future__ import annotations

import csv
import functools
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmcli import registry, schema, sharding, targets
from mmcli.artifacts import layout, store
from mmcli.artifacts.store import Artifact, Draft
from mmcli.config import Roles
from mmcli.dataset import ROWS, SCHEMA, TASK, modality_file, target_columns
from mmcli.errors import ArtifactError, ConfigError, DataError, MmcliError, combine, unknown
from mmcli.modalities import Modality
from mmcli.schema import Schema
from mmcli.sharding import Sharded
from mmcli.stages import Context, Outcome
from mmcli.tables.reading import Table, open_table
from mmcli.tables.splitting import SPLITS, TRAIN, UNLABELLED, VAL, carve_val, check_splits, draw_splits, spelled_splits
from mmcli.tasks import Task

REJECTS = "rejects.csv"
DROPPED = "dropped.csv"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    roles: Roles = field(default_factory=Roles)
    encoding: str | None = None
    delimiter: str | None = None
    val: float = 0.15
    test: float = 0.15
    max_bad: float = 0.05
    strict: bool = False
    workers: int = 0
    modality_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Options given by flags, by modality: they win over the config file."""
    encoders: dict[str, str] = field(default_factory=dict)
    """Column or modality -> the pretrained encoder whose tokenizer, size and normalisation are taken over."""
    task_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The same by task."""


@dataclass(frozen=True)
class _Plan:
    """All that is decided before any heavy work."""

    table: Table
    schema: Schema
    rows: pd.DataFrame
    """row, id, split, and each target's cells."""
    task: Task
    modalities: dict[str, Any]
    """Column -> the options of its modality."""
    fingerprint: str
    config: dict[str, Any]


def run(path: Path, options: Options, context: Context) -> Outcome:
    """Preprocesses the table at `path` into `preprocess/`.

    Raises:
        ConfigError, DataError: see the docs of the command; nothing has been written then but the rejects.
    """
    plan = _plan(path, options, context)
    for line in plan.schema.announcements:
        context.console.note(line)
    _say_schema(plan, context)
    if context.dry_run:
        context.console.note("dry run: nothing was written")
        return Outcome(_summary(plan, None), f"mmcli preprocess {path}")
    artifact = None if context.force else store.up_to_date(context.root, layout.PREPROCESS, plan.fingerprint)
    if artifact:
        context.console.note(f"preprocess: up to date ({artifact.path})")
        return Outcome(_summary(plan, artifact), "mmcli train-encoder")
    started = time.monotonic()
    with store.writing(
        context.root,
        layout.PREPROCESS,
        kind="preprocess",
        command=context.command or f"mmcli preprocess {path}",
        config=plan.config,
        seed=context.seed,
        parents={},
        fingerprint=plan.fingerprint,
    ) as draft:
        _write(plan, options, context, draft)
    artifact = store.read(context.root, layout.PREPROCESS, "preprocess", "mmcli preprocess TABLE")
    size = sum(entry["bytes"] for entry in artifact.manifest["files"].values())
    seconds = time.monotonic() - started
    context.console.note(
        f"preprocess: {len(plan.rows):,} rows in {seconds:.1f} s ({len(plan.rows) / seconds:,.0f} rows/s), "
        f"{size / 1e6:.1f} MB in {artifact.path}"
    )
    return Outcome(_summary(plan, artifact), "mmcli train-encoder")


def _plan(path: Path, options: Options, context: Context) -> _Plan:
    shares = (("--val", options.val), ("--test", options.test), ("--max-bad", options.max_bad))
    errors: list[MmcliError] = [
        ConfigError(f"{flag} {share}: expected a share from 0 to below 1, e.g. 0.15")
        for flag, share in shares
        if not 0 <= share < 1
    ]
    table = open_table(path, options.encoding, options.delimiter)
    errors += schema.wrong_names(table, options.roles)
    if errors:
        raise combine(errors)
    found = schema.infer(table, options.roles)
    for unused in sorted(set(options.modality_options) - {item.modality for item in found.columns}):
        flags = ", ".join(options.modality_options[unused])
        raise ConfigError(f"the option {flags} is for {unused} columns, the table has none", "Leave it out.")
    rows, media = _scan(table, found)
    settings = context.settings.for_stage("preprocess")
    cells = targets.cells_of(rows, found.targets)
    kind, task_config, why = targets.choose(cells, found.targets, options.roles.task, settings, options.task_options)
    found.announcements.extend([why] if why else [])
    rows["split"] = _split(rows, found, kind, task_config, options, context)
    task = _fit_task(rows, found, kind, task_config)
    taken = _taken_over(found, options, context)
    configs = {item.name: _modality_config(item.modality, taken.get(item.name, {}), options, context) for item in found.columns}
    config = {
        "table": str(path),
        "schema": {**asdict(found), "announcements": []},
        "modalities": {name: config.model_dump() for name, config in configs.items()},
        "for": options.encoders,
        "task": {"name": _task_name(task), "config": task.config.model_dump()},
        "val": options.val,
        "test": options.test,
        "max_bad": 0.0 if options.strict else options.max_bad,
    }
    contents = [store.file_digest(path), table.encoding, table.delimiter, media]
    return _Plan(table, found, rows, task, configs, store.digest([config, context.seed, contents]), config)


def _taken_over(found: Schema, options: Options, context: Context) -> dict[str, dict[str, Any]]:
    """Column -> the options of its modality that a pretrained encoder wants.

    Raises:
        ConfigError: there is no such column or kind of column, the encoder is for another kind, or a flag contradicts it.
    """
    settings = context.settings.for_stage("train-encoder")
    wanted: dict[str, dict[str, Any]] = {}
    for name, encoder in options.encoders.items():
        columns = [item for item in found.columns if name in {item.name, item.modality}]
        if not columns:
            known = {part for item in found.columns for part in (item.name, item.modality)}
            raise ConfigError(f"--for {name}={encoder}: {unknown('column or modality', name, known)}")
        registry.trust(encoder)
        kind = registry.load("encoders", encoder)
        wants = kind.preprocessing(settings.part("encoders", encoder))
        for item in columns:
            if item.modality not in wants:
                what = " and ".join(wants) or "nothing in particular"
                raise ConfigError(f"--for {name}={encoder}: column {item.name!r} is {item.modality}, the encoder is for {what}")
            said = options.modality_options.get(item.modality, {})
            for option, value in wants[item.modality].items():
                if option in said and said[option] != value:
                    raise ConfigError(
                        f"--for {name}={encoder} wants {option} = {value}, a flag says {said[option]}", "Drop one."
                    )
            wanted[item.name] = wants[item.modality]
    return wanted


def _scan(table: Table, found: Schema) -> tuple[pd.DataFrame, str]:
    """The columns with a role, and a digest of the size and time of every media file named."""
    roles = {"id": found.id, "group": found.group, "given_split": found.split}
    roles |= dict(zip(target_columns(found.targets), found.targets, strict=True))
    kinds = {c.name: registry.load("modalities", c.modality) for c in found.columns}
    media = [name for name, kind in kinds.items() if kind.reads_files]
    wanted = list(dict.fromkeys([name for name in roles.values() if name] + media))
    parts, stamps = [], []
    for chunk in table.chunks(columns=wanted):
        part = {role: chunk[name] for role, name in roles.items() if name}
        parts.append(pd.DataFrame(part, index=chunk.index))
        files = {
            name: (chunk[name].tolist(), sharding.resolved(chunk[name].tolist(), found.media_root, kinds[name]))
            for name in media
        }
        stamps.append(store.digest([sharding.file_stamps(*files[name], kinds[name]) for name in media]))
    rows = pd.concat(parts)
    rows.insert(0, "row", range(1, len(rows) + 1))
    if found.id is None:
        rows["id"] = rows["row"].astype(str)
    return rows, store.digest(stamps)


def _split(rows: pd.DataFrame, found: Schema, kind: type[Task], config: Any, options: Options, context: Context) -> list[str]:
    cells = targets.cells_of(rows, found.targets)
    labelled = np.array([kind.is_labelled(config, row) for row in cells])
    dropped = int((~labelled).sum())
    if dropped:
        first = rows["row"][~labelled].tolist()[:5]
        context.console.warn(
            f"{dropped} of {len(rows)} rows have no {' or '.join(map(repr, found.targets))} and are left out of training (rows "
            f"{', '.join(map(str, first))}{', ...' if dropped > 5 else ''}); all are listed in {DROPPED}"
        )
    empty = sum(None in row for row, here in zip(cells, labelled, strict=True) if here)
    if empty:
        context.console.note(f"{empty} rows have an empty {found.targets[0]!r}: taken as having none of the labels")
    for row, own, here in zip(rows["row"], cells, labelled, strict=True):
        if here:
            _at_row(int(row), "", functools.partial(kind.check, config, found.targets, own))
    usable = rows[labelled]
    groups = usable["group"].fillna("").tolist() if found.group else None
    strata = kind.strata(config, [row for row, here in zip(cells, labelled, strict=True) if here])
    if found.split:
        names = spelled_splits(rows["given_split"].tolist(), found.split)
        kept = [name for name, here in zip(names, labelled, strict=True) if here]
        if VAL not in kept:
            context.console.note(f"column {found.split!r} names no val rows: {options.val:.0%} of train are taken for it")
            kept = carve_val(kept, strata, groups, options.val, context.seed)
    else:
        kept = draw_splits(strata, groups, options.val, options.test, context.seed)
    check_splits(kept, options.val)
    drawn = iter(kept)
    return [next(drawn) if here else UNLABELLED for here in labelled]


def _fit_task(rows: pd.DataFrame, found: Schema, kind: type[Task], config: Any) -> Task:
    cells = targets.cells_of(rows, found.targets)
    of_split = {split: [row for row, name in zip(cells, rows["split"], strict=True) if name == split] for split in SPLITS}
    task = kind.fit(config, of_split[TRAIN], found.targets)
    for split in SPLITS[1:]:
        try:
            task.encode(of_split[split])
        except DataError:
            for row, name, own in zip(rows["row"], rows["split"], cells, strict=True):
                if name == split:
                    _at_row(int(row), f" ({split})", functools.partial(task.encode, [own]))
            raise
    return task


def _at_row(row: int, where: str, look: Callable[[], object]) -> None:
    """Names the row in the error of a look at its target."""
    try:
        look()
    except DataError as error:
        raise DataError(f"row {row}{where}: {error.message}", error.remedy) from None


def _task_name(task: Task) -> str:
    return type(task).__module__.rpartition(".")[2]


def _modality_config(name: str, taken_over: Mapping[str, Any], options: Options, context: Context) -> Any:
    config = context.settings.for_stage("preprocess").part("modalities", name, **taken_over)
    return type(config)(**{**config.model_dump(), **options.modality_options.get(name, {})})


def _write(plan: _Plan, options: Options, context: Context, draft: Draft) -> None:
    found = plan.schema
    modalities = {item.name: _fit(plan, item.name, item.modality) for item in found.columns}
    for item in found.columns:
        state = {"modality": item.modality, "state": modalities[item.name].state()}
        draft.write_json(modality_file(item.name), state)
    made = sharding.write_shards(
        plan.table,
        len(plan.rows),
        modalities,
        found.media_root,
        draft=draft,
        previous=_previous(context),
        workers=options.workers,
        console=context.console,
    )
    _write_csv(draft.path / REJECTS, ["row", "column", "path", "reason"], made.rejects)
    dropped = plan.rows[plan.rows["split"] == UNLABELLED]
    reasons = [[row, f"no {' or '.join(found.targets)}"] for row in dropped["row"]]
    _write_csv(draft.path / DROPPED, ["row", "reason"], reasons)
    _judge(plan, made, context, draft)
    kept = ["row", "id", "split", *target_columns(found.targets), *(["group"] if found.group else [])]
    plan.rows[kept].to_parquet(draft.path / ROWS, index=False)
    draft.write_json(SCHEMA, _schema_json(plan))
    draft.write_json(TASK, {"task": _task_name(plan.task), "state": plan.task.state()})
    # What an encoder of one input depends on: adding an input leaves the others' encoders fresh.
    folders = {name: [f"columns/{layout.safe(column)}/" for column in columns] for name, columns in found.inputs.items()}
    draft.parts.update({name: [ROWS, TASK, *own] for name, own in folders.items()})
    draft.metrics.update(_counts(plan), rejects=len(made.rejects))


def _fit(plan: _Plan, column: str, kind: str) -> Modality:
    modality: type[Modality] = registry.load("modalities", kind)
    train = (plan.rows["split"] == TRAIN).to_numpy()

    def cells() -> Iterator[str]:
        for chunk in plan.table.chunks(columns=[column]):
            part = [cell for cell, in_train in zip(chunk[column], train[chunk.index], strict=True) if in_train]
            yield from (cell for cell in sharding.resolved(part, plan.schema.media_root, modality) if cell is not None)

    try:
        return modality.fit(plan.modalities[column], cells())
    except DataError as error:
        raise DataError(
            f"column {column!r}, taken for {kind}: {error.message}", error.remedy or "Say what it is with --type."
        ) from None


def _previous(context: Context) -> Artifact | None:
    if context.force or not store.exists(context.root, layout.PREPROCESS):
        return None
    try:
        return store.read(context.root, layout.PREPROCESS, "preprocess", "")
    except ArtifactError:
        return None


def _judge(plan: _Plan, made: Sharded, context: Context, draft: Draft) -> None:
    for column, notes in made.remarks.items():
        for remark, count in notes.items():
            context.console.note(f"column {column!r}: {count:,} cells {remark}")
    for column, bad in Counter(reject[1] for reject in made.rejects).items():
        share = bad / len(plan.rows)
        row, _, cell, reason = next(reject for reject in made.rejects if reject[1] == column)
        example = f"row {row}, column {column!r}, {cell!r}: {reason}"
        if share > plan.config["max_bad"]:
            raise DataError(
                f"{bad} of {len(plan.rows)} cells of column {column!r} ({share:.1%}) cannot be read; the first: {example}",
                f"All are listed in {draft.path / REJECTS}. Mend or remove them, "
                + ("leave out --strict" if not plan.config["max_bad"] else f"or allow more with --max-bad {share:.2f}")
                + ".",
            )
        context.console.warn(f"{bad} cells of column {column!r} cannot be read and count as absent; {example}")


def _write_csv(path: Path, header: list[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    store.write_atomic(path, text.getvalue().encode())


def _schema_json(plan: _Plan) -> dict[str, Any]:
    found = plan.schema
    return {
        "targets": found.targets,
        "columns": {
            item.name: {
                "modality": item.modality,
                "reason": item.reason,
                "shards": -(-len(plan.rows) // registry.load("modalities", item.modality).shard_rows),
            }
            for item in found.columns
        },
        "inputs": found.inputs,
        "roles": {"split": found.split, "group": found.group, "id": found.id, "ignored": found.ignored},
        "rows": len(plan.rows),
    }


def _counts(plan: _Plan) -> dict[str, int]:
    counts = plan.rows["split"].value_counts()
    return {name: int(counts.get(name, 0)) for name in (*SPLITS, UNLABELLED)}


def _say_schema(plan: _Plan, context: Context) -> None:
    counts = _counts(plan)
    lines = [(item.name, item.modality, item.reason) for item in plan.schema.columns]
    context.console.table(["column", " taken for", " because"], lines)
    for name, columns in plan.schema.inputs.items():
        if len(columns) > 1:
            context.console.note(f"input {name!r}: {', '.join(columns)}, in one encoder (--each for one each)")
    shown = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS)
    names = ", ".join(map(repr, plan.schema.targets))
    context.console.note(f"{len(plan.rows):,} rows: {shown}; target {names}: {plan.task.summary()}")


def _summary(plan: _Plan, artifact: Artifact | None) -> dict[str, Any]:
    return {
        "artifact": str(artifact.path) if artifact else None,
        "task": _task_name(plan.task),
        "target": "+".join(plan.schema.targets),
        "inputs": plan.schema.inputs,
        "columns": {item.name: item.modality for item in plan.schema.columns},
        "rows": _counts(plan),
        "rejects": artifact.metrics["rejects"] if artifact else None,
    }
