"""preprocess: a table becomes normalised tensors and token ids on disk, split into train, val and test.

The table is read three times in chunks, never whole: once for the columns with a role, once by the modalities that learn from
the train split, once to transform.
"""

from __future__ import annotations

import csv
import io
import math
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcli import registry
from mmcli.artifacts import layout, store
from mmcli.artifacts.store import Artifact, Draft
from mmcli.data import plan as plans
from mmcli.data import sharding
from mmcli.data.dataset import ROWS, TASK, modality_file, parts_of, target_columns
from mmcli.data.plan import DROPPED, Plan
from mmcli.data.sharding import Sharded
from mmcli.errors import ArtifactError, ConfigError, DataError
from mmcli.modalities import Modality
from mmcli.options.preprocess import Options
from mmcli.pretrained import licences
from mmcli.pretrained.licences import Origin
from mmcli.reporting.counts import agreed, counted
from mmcli.stages import Context, Outcome
from mmcli.tables.splitting import SPLITS, TRAIN, UNLABELLED

REJECTS = "rejects.csv"


def run(
    path: Path, options: Options, context: Context, check: Callable[[Mapping[str, Any]], object] = lambda _: None
) -> Outcome:
    """Preprocesses the table at `path` into `preprocess/`. What is planned is shown to `check` before anything is written.

    Raises:
        ConfigError, DataError: see the docs of the command; nothing has been written then but the rejects.
    """
    plan = plans.plan(path, options, context.settings, context.seed, context.to_the_end)
    for line in plan.notes:
        context.console.note(line)
    for line in plan.warnings:
        context.console.warn(line)
    _say_schema(plan, context)
    artifact = None if context.force else store.up_to_date(context.root, layout.PREPROCESS, plan.fingerprint)
    if artifact is None:
        _refuse_another_table(plan, context)
    check(_summary(plan, None))
    if context.dry_run:
        context.console.note("dry run: nothing was written")
        return Outcome(_summary(plan, None), context.command or f"mmcli preprocess {shlex.quote(str(path))}")
    if artifact:
        context.console.note(f"preprocess: up to date ({artifact.path})")
        return Outcome(_summary(plan, artifact), "mmcli train-encoder")
    started = time.monotonic()
    with store.writing(
        context.root,
        layout.PREPROCESS,
        kind="preprocess",
        command=context.command or f"mmcli preprocess {shlex.quote(str(path))}",
        config=plan.config,
        seed=context.seed,
        parents={},
        fingerprint=plan.fingerprint,
        anew=context.force,
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


def _refuse_another_table(plan: Plan, context: Context) -> None:
    """Raises ConfigError if models of another table lie there, which would be lost."""
    previous = _previous(context)
    if previous is None or not layout.encoders(context.root):
        return
    old, new = Path(str(previous.config.get("table", ""))), plan.table.path
    if old.is_file() and new.is_file():
        same = old.samefile(new) or store.file_digest(old) == store.file_digest(new)
    else:
        same = old.name == new.name  # the table was moved
    if same:
        return
    raise ConfigError(
        f"{context.root} holds models of another table: {old}, not {new}",
        "Keep them and choose another folder: -a DIR; or begin anew with this table: --force.",
    )


def _write(plan: Plan, options: Options, context: Context, draft: Draft) -> None:
    found = plan.schema
    _check_names(plan, draft)
    own = {item.name: _fit(plan, item.name, item.modality) for item in found.columns if item.name not in found.shares}
    modalities = {item.name: own[found.shares.get(item.name, item.name)] for item in found.columns}
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
    dropped = plan.rows[plan.in_split(UNLABELLED)]
    reasons = [[row, f"no {' or '.join(found.targets)}"] for row in dropped["row"]]
    _write_csv(draft.path / DROPPED, ["row", "reason"], reasons)
    _judge(plan, made, context, draft)
    kept = ["row", "id", "split", *target_columns(found.targets)]
    kept += [role for role, name in (("group", found.group), ("weight", found.weight)) if name]
    plan.rows[kept].to_parquet(draft.path / ROWS, index=False)
    draft.write_json(layout.SCHEMA, plan.described())
    draft.write_json(TASK, {"task": plan.task_name, "state": plan.task.state()})
    draft.parts.update(parts_of({"inputs": found.inputs, "shares": found.shares}))
    draft.metrics.update(plan.counts, rejects=len(made.rejects))
    _say_detectors(plan, context, draft)


def _say_detectors(plan: Plan, context: Context, draft: Draft) -> None:
    """Whose the files are that find faces, and under which licence."""
    files = dict.fromkeys(own.detector for own in plan.modalities.values() if getattr(own, "detector", ""))
    found = [Origin(Path(file).name, licences.licence(Path(file))) for file in files]
    for own in found:
        context.console.note(f"weights of others: {own.name}, which finds faces, licence: {own.licence}")
    if found:
        draft.metrics[licences.OTHERS] = [own.as_dict() for own in found]


def _check_names(plan: Plan, draft: Draft) -> None:
    """Refuses columns whose folders would be one where the file system takes `T` for `t`."""
    same = layout.same_where_case_does_not_count([item.name for item in plan.schema.columns])
    if same and draft.path.with_name(draft.path.name.swapcase()).exists():
        raise DataError(
            f"the columns {same[0]!r} and {same[1]!r} differ in case alone: one file name on the file system of {draft.path}",
            "Rename one.",
        )


def _fit(plan: Plan, column: str, kind: str) -> Modality:
    """Learnt from the train cells of the column, and of those that share its encoder."""
    readers = [column, *(reader for reader, owner in plan.schema.shares.items() if owner == column)]
    modality: type[Modality] = registry.load("modalities", kind)
    train = plan.in_split(TRAIN)

    def cells() -> Iterator[str]:
        for chunk in plan.table.chunks(columns=readers):
            for name in readers:
                part = [cell for cell, in_train in zip(chunk[name], train[chunk.index], strict=True) if in_train]
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


KEEPS_MORE = {"audio": "--max-seconds", "text": "--max-tokens"}
"""Modality -> the flag by which less of a cell is cut off."""


def _judge(plan: Plan, made: Sharded, context: Context, draft: Draft) -> None:
    modalities = {own.name: own.modality for own in plan.schema.columns}
    for column, notes in made.remarks.items():
        for remark, count in notes.items():
            line = f"column {column!r}: {counted(count, 'cell')} {remark}"
            flag = KEEPS_MORE.get(modalities.get(column, ""), "") if remark.startswith("cut to") else ""
            if not any(said.startswith(line) for said in plan.notes):  # words such as NA were told before
                context.console.note(f"{line} ({flag} keeps more)" if flag else line)
    for column, bad in Counter(reject[1] for reject in made.rejects).items():
        share = bad / len(plan.rows)
        row, _, cell, reason = next(reject for reject in made.rejects if reject[1] == column)
        example = f"row {row}, column {column!r}, {cell!r}: {reason}"
        if share > plan.config["max_bad"]:
            more = math.ceil(100 * share - 1e-9) / 100
            raise DataError(
                f"{bad} of {len(plan.rows)} cells of column {column!r} ({share:.1%}) cannot be read; the first: {example}",
                f"All are listed in {draft.path / REJECTS}. Mend or remove them, "
                + ("leave out --strict" if not plan.config["max_bad"] else f"or allow more with --max-bad {more:.2f}")
                + ".",
            )
        context.console.warn(
            f"{counted(bad, 'cell')} of column {column!r} cannot be read and {agreed(bad, 'count')} as absent; {example}"
        )


def _write_csv(path: Path, header: list[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    store.write_atomic(path, text.getvalue().encode())


def _say_schema(plan: Plan, context: Context) -> None:
    counts = plan.counts
    lines = [(item.name, item.modality, item.reason) for item in plan.schema.columns]
    context.console.table(["column", " taken for", " because"], lines)
    for name, columns in plan.schema.inputs.items():
        if len(columns) > 1:
            context.console.note(f"input {name!r}: {', '.join(columns)}, in one encoder (--each for one each)")
    for reader, owner in plan.schema.shares.items():
        context.console.note(f"input {reader!r} reads the encoder of {owner!r}")
    shown = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS)
    names = ", ".join(map(repr, plan.schema.targets))
    target = f"target {names}" if names else "no target"
    context.console.note(f"{len(plan.rows):,} rows: {shown}; {target}: {plan.task.summary()}")


def _summary(plan: Plan, artifact: Artifact | None) -> dict[str, Any]:
    return {
        "artifact": str(artifact.path) if artifact else None,
        "task": plan.task_name,
        "target": "+".join(plan.schema.targets),
        "inputs": plan.schema.inputs,
        "columns": {item.name: item.modality for item in plan.schema.columns},
        "rows": plan.counts,
        "rejects": artifact.metrics["rejects"] if artifact else None,
    }
