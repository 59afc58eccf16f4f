"""All that is decided of a table before any work: schema, task, splits, the options of each modality, and the fingerprint.

Makes a `Plan`; whoever has one writes tensors and says what was decided. Knows no artifacts under construction and no console.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmcli import registry
from mmcli.artifacts import store
from mmcli.config.settings import Settings
from mmcli.data import schema, sharding, skew, targets, warnings, weighing
from mmcli.data.configured import modality_configs
from mmcli.data.dataset import cells_of, target_columns
from mmcli.data.schema import Schema
from mmcli.data.survey import Survey
from mmcli.errors import ConfigError, DataError, MmcliError, combine
from mmcli.options import made
from mmcli.options.preprocess import Options
from mmcli.reporting.counts import agreed, counted, them
from mmcli.tables import missing, typed
from mmcli.tables.finding import STDIN
from mmcli.tables.moments import moments
from mmcli.tables.names import tidy
from mmcli.tables.numbers import study
from mmcli.tables.reading import Table, open_table
from mmcli.tables.splitting import (
    SPLITS,
    TEST,
    TRAIN,
    UNLABELLED,
    VAL,
    carve_val,
    check_splits,
    draw_splits,
    spelled_splits,
    split_by_time,
    train_or_other,
)
from mmcli.tasks import Task

DROPPED = "dropped.csv"
"""Where the rows without a target are listed."""


@dataclass(frozen=True)
class Plan:
    """What was decided."""

    table: Table
    schema: Schema
    rows: pd.DataFrame
    """row, id, split, and each target's cells."""
    task: Task
    modalities: dict[str, Any]
    """Column -> the options of its modality."""
    fingerprint: str
    config: dict[str, Any]
    """What the manifest says of it."""
    types: dict[str, str]
    """Target -> the type of its values in the table, where predictions are some of them."""
    notes: list[str] = field(default_factory=list)
    """What was chosen without being told, in order."""
    warnings: list[str] = field(default_factory=list)
    """What the user may not have meant."""

    @property
    def task_name(self) -> str:
        return registry.name_of(type(self.task))

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each split, and those without a target."""
        counts = self.rows["split"].value_counts()
        return {name: int(counts.get(name, 0)) for name in (*SPLITS, UNLABELLED)}

    def in_split(self, split: str) -> Any:
        """bool [N]."""
        return (self.rows["split"] == split).to_numpy()

    def described(self) -> dict[str, Any]:
        """The schema as it goes to disk."""
        found = self.schema
        return {
            "targets": found.targets,
            **({"types": self.types} if self.types else {}),
            "columns": {
                item.name: {
                    "modality": item.modality,
                    "reason": item.reason,
                    "shards": -(-len(self.rows) // registry.load("modalities", item.modality).shard_rows),
                }
                for item in found.columns
            },
            "inputs": found.inputs,
            **({"shares": found.shares} if found.shares else {}),
            **({"faces": {name: own.as_dict() for name, own in found.faces.items()}} if found.faces else {}),
            "roles": {
                "split": found.split,
                "group": found.group,
                "id": found.id,
                **({"weight": found.weight} if found.weight else {}),
                "ignored": found.ignored,
            },
            "na": sorted(self.table.na),
            "rows": len(self.rows),
        }


def plan(path: Path, options: Options, settings: Settings, seed: int, needs_test: bool = False) -> Plan:
    """The plan for the table at `path`; `settings` are those of all stages. Without test rows there is none if it `needs_test`.

    Raises:
        ConfigError, DataError: a flag, a name, a target or a split that cannot be; as many as can be told at once.
    """
    errors = _wrong_shares(options)
    if path == STDIN:
        raise ConfigError(
            "preprocess reads its table several times, and later stages read it again: - (standard input) will not do",
            "Save it as a file first: ... > data.csv",
        )
    roles = options.roles
    table = replace(open_table(path, options.encoding, options.delimiter), na=missing.spellings(roles.na))
    errors += made.wrong_names(table, roles, options.split_by_time)
    if errors:
        raise combine(errors)
    found = schema.infer(table, roles)
    table = replace(table, faces=found.faces)
    own = settings.for_stage("preprocess")
    configs = modality_configs(found, options, settings)
    _check_order(found, options)
    rows, media, survey = _scan(table, found, roles.keep_na, options.split_by_time)
    tidied = _tidy(rows, found)
    notes, doubts = [*table.notes, *found.announcements, *warnings.of_words(survey)], [*table.warnings, *found.warnings]
    if not roles.keep_na:
        cells, said = targets.without_missing_words(cells_of(rows, found.targets), found.targets)
        rows[target_columns(found.targets)] = pd.DataFrame(cells, index=rows.index, dtype=object)
        notes += said
    cells = cells_of(rows, found.targets)
    kind, task_config, why = targets.choose(cells, found.targets, roles.task, own, roles.task_options, found.decimal)
    task_config = kind.suited(task_config, [item.modality for item in found.columns])
    settings.refuse_unused("tasks", [registry.name_of(kind)], "preprocess")
    targets.check_shared(kind, found.shares, found.kinds)
    weighing.check(kind, found.weight)
    notes += [*([why] if why else []), *(tidied if kind.has_classes else [])]
    labelled = _labelled(rows, found, kind, task_config, notes, doubts)
    rows["split"] = _split(rows, labelled, found, kind, task_config, options, seed, notes)
    notes += weighing.weigh(rows, found.weight)
    doubts += _doubts_of_time(options.split_by_time, found)
    found = _usable(found, table, survey, rows, roles.each, doubts)
    usable = [row for row, here in zip(cells, labelled, strict=True) if here]
    notes += [] if roles.task else targets.suggested(kind, usable, found.shares, found.targets, found.kinds)
    doubts += targets.doubts(kind, usable, found.targets)
    targets.check_shared(kind, found.shares, found.kinds)
    doubts += warnings.of_table(found, survey, kind, usable, rows["split"].tolist(), labelled, table.head(schema.SAMPLE_ROWS))
    if needs_test and TEST not in set(rows["split"]):
        raise DataError(f"no row of {path} is test: run would have nothing to show in the end", warnings.NO_TEST_ROWS)
    task_config, scaled = skew.settled(kind, task_config, table, found, rows, seed)
    notes += scaled
    task = _fit_task(rows, found, kind, task_config)
    configs = {item.name: configs[item.name] for item in found.columns}
    config = _told(path, table, found, configs, task, options)
    contents = [store.file_digest(path), table.encoding, table.delimiter, media]
    files = {getattr(own, option, "") for own in configs.values() for option in ("detector", "tokenizer")}
    contents += [store.file_digest(Path(file)) for file in sorted(files - {""}) if Path(file).is_file()]
    sources = [registry.source_digest(own) for own in (kind, *(registry.load("modalities", c.modality) for c in found.columns))]
    types = typed.of_columns(table, found.targets, task.items or task.answers, bool(task.items))
    fingerprint = store.digest([config, seed, contents, *filter(None, [*sources, types])])
    return Plan(table, found, rows, task, configs, fingerprint, config, types, notes, doubts)


def _told(path: Path, table: Table, found: Schema, configs: dict[str, Any], task: Task, options: Options) -> dict[str, Any]:
    """What the manifest says of a plan."""
    told: dict[str, Any] = {**asdict(found), "announcements": [], "warnings": []}
    return {
        "table": str(path),
        "schema": {key: own for key, own in told.items() if own or key not in {"shares", "weight", "faces"}},
        "na": [sorted(table.na), options.roles.keep_na],
        "modalities": {name: config.model_dump() for name, config in configs.items()},
        "for": options.encoders,
        "task": {"name": registry.name_of(type(task)), "config": task.config.model_dump()},
        "val": options.val,
        "test": options.test,
        **({"split_by_time": options.split_by_time} if options.split_by_time else {}),
        "max_bad": 0.0 if options.strict else options.max_bad,
    }


def _wrong_shares(options: Options) -> list[MmcliError]:
    shares = (("--val", options.val), ("--test", options.test), ("--max-bad", options.max_bad))
    return [
        ConfigError(f"{flag} {share}: expected a share from 0 to below 1, e.g. 0.15")
        for flag, share in shares
        if not 0 <= share < 1
    ]


def _check_order(found: Schema, options: Options) -> None:
    """Raises ConfigError where splits are to be drawn by time, and something else divides the rows."""
    if options.split_by_time is None:
        return
    other = f"the column {found.split!r} tells the splits" if found.split else ""
    other = other or (f"the rows of a {found.group!r} are to stay together" if found.group else "")
    if other:
        name = shlex.quote(found.split or found.group or "")
        raise ConfigError(f"--split-by-time {options.split_by_time}: {other}", f"Drop one: --ignore {name}")


def _scan(table: Table, found: Schema, keep_na: bool, time: str | None) -> tuple[pd.DataFrame, str, Survey]:
    """The columns with a role, a digest of the size and time of every media file named, and what the inputs hold."""
    roles = {"id": found.id, "group": found.group, "given_split": found.split, "when": time, "weight": found.weight}
    roles |= dict(zip(target_columns(found.targets), found.targets, strict=True))
    kinds = {c.name: registry.load("modalities", c.modality) for c in found.columns}
    media = [name for name, kind in kinds.items() if kind.reads_files]
    wanted = list(dict.fromkeys([*(name for name in roles.values() if name), *kinds]))
    survey = Survey(found, keep_na)
    parts, stamps = [], []
    for chunk in table.chunks(columns=wanted):
        part = {role: chunk[name] for role, name in roles.items() if name}
        parts.append(pd.DataFrame(part, index=chunk.index))
        given = chunk[found.split].tolist() if found.split else None
        survey.add(chunk, None if given is None else [train_or_other(cell) for cell in given])
        files = {
            name: (chunk[name].tolist(), sharding.resolved(chunk[name].tolist(), found.media_root, kinds[name]))
            for name in media
        }
        stamps.append(store.digest([sharding.file_stamps(*files[name], kinds[name]) for name in media]))
    rows = pd.concat(parts)
    rows.insert(0, "row", range(1, len(rows) + 1))
    if found.id is None:
        rows["id"] = rows["row"].astype(str)
    return rows, store.digest(stamps), survey


def _usable(found: Schema, table: Table, survey: Survey, rows: pd.DataFrame, each: bool, doubts: list[str]) -> Schema:
    """The schema without the inputs that hold nothing to learn from in train, each of which is told.

    Raises:
        DataError: none is left.
    """
    train = (rows["split"] == TRAIN).to_numpy()
    kept = []
    for item in found.columns:
        present, constant = survey.present(item.name)[train], survey.constant(item.name)
        if not present.any():
            doubts.append(f"column {item.name!r} has no value in any train row: left out")
        elif constant is not None and present.all():
            doubts.append(f"column {item.name!r} is {constant[:30]!r} in every train row: left out")
        else:
            kept.append(item)
    if not kept:
        names = ", ".join(repr(item.name) for item in found.columns)
        raise DataError(
            f"no input has anything to learn from in train: {names}", "Check --split, or name other columns with --input."
        )
    gone = {item.name for item in found.columns} - {item.name for item in kept}
    ignored = [name for name in table.columns if name in gone or name in found.ignored]
    shares = {reader: owner for reader, owner in found.shares.items() if not {reader, owner} & gone}
    faces = {name: told for name, told in found.faces.items() if name not in gone}
    inputs = schema.grouped(kept, table, each, shares)
    return replace(found, columns=kept, inputs=inputs, ignored=ignored, shares=shares, faces=faces)


def _tidy(rows: pd.DataFrame, found: Schema) -> list[str]:
    """Takes the blanks around the names of targets and groups away and composes their letters; says of which."""
    said = []
    for role in [*target_columns(found.targets), *(["group"] if found.group else [])]:
        before = rows[role].tolist()
        rows[role] = pd.Series(
            [(tidy(cell) or None) if cell is not None else None for cell in before], rows.index, dtype=object
        )
        changed = [(old, new) for old, new in zip(before, rows[role], strict=True) if old != new]
        if changed:
            name = dict(zip(target_columns(found.targets), found.targets, strict=True)).get(role, found.group)
            old, new = changed[0]
            said.append(
                f"{counted(len(changed), 'cell')} of {name!r} {agreed(len(changed), 'have')} blanks around "
                f"{them(len(changed))} or other marks: {old!a} is taken as {new!r}"
            )
    return said


def _labelled(rows: pd.DataFrame, found: Schema, kind: type[Task], config: Any, notes: list[str], warnings: list[str]) -> Any:
    """bool [N]: the rows that can be learnt from, each checked by itself."""
    cells = cells_of(rows, found.targets)
    labelled = np.array([kind.is_labelled(config, row) for row in cells])
    dropped = int((~labelled).sum())
    if dropped:
        first = rows["row"][~labelled].tolist()[:5]
        warnings.append(
            f"{dropped} of {len(rows)} rows {agreed(dropped, 'have')} no {' or '.join(map(repr, found.targets))} and "
            f"{agreed(dropped, 'are')} left out of training (row{'s' * (dropped > 1)} {', '.join(map(str, first))}"
            f"{', ...' if dropped > 5 else ''}); all are listed in {DROPPED}"
        )
    notes += targets.without_labels([row for row, here in zip(cells, labelled, strict=True) if here], found.targets)
    checked = ((int(row), own) for row, own, here in zip(rows["row"], cells, labelled, strict=True) if here)
    targets.check(kind, config, found.targets, checked)
    return labelled


def _split(
    rows: pd.DataFrame,
    labelled: Any,
    found: Schema,
    kind: type[Task],
    config: Any,
    options: Options,
    seed: int,
    notes: list[str],
) -> list[str]:
    """Each row's split, as its column tells or drawn; rows without a target have none."""
    usable = rows[labelled]
    groups = usable["group"].fillna("").tolist() if found.group else None
    strata = kind.strata(config, cells_of(usable, found.targets))
    if options.split_by_time:
        column = options.split_by_time
        kept = split_by_time(moments(usable["when"].tolist(), usable["row"].tolist(), column), options.val, options.test)
        input_too = any(item.name == column for item in found.columns)
        last = kept.count(TEST)
        notes.append(
            f"split by {column!r}: the last {counted(last, 'row')} {agreed(last, 'are')} test, the {kept.count(VAL):,} before "
            f"{them(last)} val"
            + (f"; it is an input, too (--ignore {shlex.quote(column)} to leave it out)" if input_too else "")
        )
    elif found.split:
        names = spelled_splits(rows["given_split"].tolist(), found.split)
        kept = [name for name, here in zip(names, labelled, strict=True) if here]
        if VAL not in kept:
            notes.append(f"column {found.split!r} names no val rows: {options.val:.0%} of train are taken for it")
            kept = carve_val(kept, strata, groups, options.val, seed)
    else:
        kept = draw_splits(strata, groups, options.val, options.test, seed)
    few = len(set(groups)) if groups is not None and not found.split else 0
    why = f": the {counted(few, 'group')} of {found.group!r} {agreed(few, 'are')} too few to fill every split" if few else ""
    if options.split_by_time:
        why = f": rows of one {options.split_by_time!r} are not divided, and the last ones are many: a larger --test and --val"
    if VAL not in kept and kind.has_classes and not why:
        _check_classes(strata, usable, found)
    check_splits(kept, options.val, why)
    drawn = iter(kept)
    return [next(drawn) if here else UNLABELLED for here in labelled]


def _doubts_of_time(column: str | None, found: Schema) -> list[str]:
    """That rows are split by what is to be predicted."""
    if column not in found.targets:
        return []
    return [f"--split-by-time {column} is the target: all that val and test hold lies beyond what train has"]


def _check_classes(strata: Sequence[str], usable: pd.DataFrame, found: Schema) -> None:
    """Refuses classes most of which have one row, which is kept to train on, so that none is left for val."""
    classes = len(set(strata))
    if 2 * classes <= len(strata):
        return
    cells = cells_of(usable, found.targets)
    numbers = study(str(cell) for row in cells for cell in row).share >= 0.9
    raise DataError(
        f"the target {found.targets[0]!r} has {classes:,} different values in {len(strata):,} rows: as classes most have one "
        "row, which is kept to train on, and no row is left for val",
        "Numbers are for --task regression." if numbers else "Choose another --target, or give its classes more rows.",
    )


def _fit_task(rows: pd.DataFrame, found: Schema, kind: type[Task], config: Any) -> Task:
    cells = cells_of(rows, found.targets)
    of_split = {split: [row for row, name in zip(cells, rows["split"], strict=True) if name == split] for split in SPLITS}
    task = kind.fit(config, of_split[TRAIN], found.targets)
    task = task.over(found.kinds)
    if kind.new_classes_after_train:
        task = task.admitting([cell for split in SPLITS[1:] for cell in of_split[split]])
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
