"""All that is decided of a table before any work: schema, task, splits, the options of each modality, and the fingerprint.

Makes a `Plan`; whoever has one writes tensors and says what was decided. Knows no artifacts under construction and no console.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmcli import registry
from mmcli.artifacts import store
from mmcli.config.settings import Settings
from mmcli.data import schema, sharding, targets
from mmcli.data.dataset import target_columns
from mmcli.data.options import Options
from mmcli.data.schema import Schema
from mmcli.errors import ConfigError, DataError, MmcliError, combine, unknown
from mmcli.tables.reading import Table, open_table
from mmcli.tables.splitting import SPLITS, TRAIN, UNLABELLED, VAL, carve_val, check_splits, draw_splits, spelled_splits
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
            "columns": {
                item.name: {
                    "modality": item.modality,
                    "reason": item.reason,
                    "shards": -(-len(self.rows) // registry.load("modalities", item.modality).shard_rows),
                }
                for item in found.columns
            },
            "inputs": found.inputs,
            "roles": {"split": found.split, "group": found.group, "id": found.id, "ignored": found.ignored},
            "rows": len(self.rows),
        }


def plan(path: Path, options: Options, settings: Settings, seed: int) -> Plan:
    """The plan for the table at `path`; `settings` are those of all stages.

    Raises:
        ConfigError, DataError: a flag, a name, a target or a split that cannot be; as many as can be told at once.
    """
    errors = _wrong_shares(options)
    table = open_table(path, options.encoding, options.delimiter)
    errors += schema.wrong_names(table, options.roles)
    if errors:
        raise combine(errors)
    found = schema.infer(table, options.roles)
    own = settings.for_stage("preprocess")
    configs = _modality_configs(found, options, settings)
    rows, media = _scan(table, found)
    cells = targets.cells_of(rows, found.targets)
    kind, task_config, why = targets.choose(cells, found.targets, options.roles.task, own, options.task_options)
    notes, warnings = [*found.announcements, *([why] if why else [])], list[str]()
    labelled = _labelled(rows, found, kind, task_config, notes, warnings)
    rows["split"] = _split(rows, labelled, found, kind, task_config, options, seed, notes)
    task = _fit_task(rows, found, kind, task_config)
    config = {
        "table": str(path),
        "schema": {**asdict(found), "announcements": []},
        "modalities": {name: config.model_dump() for name, config in configs.items()},
        "for": options.encoders,
        "task": {"name": registry.name_of(type(task)), "config": task.config.model_dump()},
        "val": options.val,
        "test": options.test,
        "max_bad": 0.0 if options.strict else options.max_bad,
    }
    contents = [store.file_digest(path), table.encoding, table.delimiter, media]
    sources = [registry.source_digest(own) for own in (kind, *(registry.load("modalities", c.modality) for c in found.columns))]
    fingerprint = store.digest([config, seed, contents, *filter(None, sources)])
    return Plan(table, found, rows, task, configs, fingerprint, config, notes, warnings)


def _wrong_shares(options: Options) -> list[MmcliError]:
    shares = (("--val", options.val), ("--test", options.test), ("--max-bad", options.max_bad))
    return [
        ConfigError(f"{flag} {share}: expected a share from 0 to below 1, e.g. 0.15")
        for flag, share in shares
        if not 0 <= share < 1
    ]


def _modality_configs(found: Schema, options: Options, settings: Settings) -> dict[str, Any]:
    """Column -> the options of its modality: defaults, what a pretrained encoder wants, the config file, flags."""
    for unused in sorted(set(options.modality_options) - {item.modality for item in found.columns}):
        flags = ", ".join(options.modality_options[unused])
        raise ConfigError(f"the option {flags} is for {unused} columns, the table has none", "Leave it out.")
    taken, own = _taken_over(found, options, settings), settings.for_stage("preprocess")
    configs = {}
    for item in found.columns:
        config = own.part("modalities", item.modality, **taken.get(item.name, {}))
        said = options.modality_options.get(item.modality, {})
        configs[item.name] = type(config)(**{**config.model_dump(), **said})
    return configs


def _taken_over(found: Schema, options: Options, settings: Settings) -> dict[str, dict[str, Any]]:
    """Column -> the options of its modality that a pretrained encoder wants.

    Raises:
        ConfigError: there is no such column or kind of column, the encoder is for another kind, or a flag contradicts it.
    """
    own = settings.for_stage("train-encoder")
    wanted: dict[str, dict[str, Any]] = {}
    for name, encoder in options.encoders.items():
        columns = [item for item in found.columns if name in {item.name, item.modality}]
        if not columns:
            known = {part for item in found.columns for part in (item.name, item.modality)}
            raise ConfigError(f"--for {name}={encoder}: {unknown('column or modality', name, known)}")
        registry.trust(encoder)
        kind = registry.load("encoders", encoder)
        wants = kind.preprocessing(own.part("encoders", encoder))
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


def _labelled(rows: pd.DataFrame, found: Schema, kind: type[Task], config: Any, notes: list[str], warnings: list[str]) -> Any:
    """bool [N]: the rows that can be learnt from, each checked by itself."""
    cells = targets.cells_of(rows, found.targets)
    labelled = np.array([kind.is_labelled(config, row) for row in cells])
    dropped = int((~labelled).sum())
    if dropped:
        first = rows["row"][~labelled].tolist()[:5]
        warnings.append(
            f"{dropped} of {len(rows)} rows have no {' or '.join(map(repr, found.targets))} and are left out of training (rows "
            f"{', '.join(map(str, first))}{', ...' if dropped > 5 else ''}); all are listed in {DROPPED}"
        )
    empty = sum(None in row for row, here in zip(cells, labelled, strict=True) if here)
    if empty:
        notes.append(f"{empty} rows have an empty {found.targets[0]!r}: taken as having none of the labels")
    for row, own, here in zip(rows["row"], cells, labelled, strict=True):
        if here:
            _at_row(int(row), "", functools.partial(kind.check, config, found.targets, own))
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
    strata = kind.strata(config, targets.cells_of(usable, found.targets))
    if found.split:
        names = spelled_splits(rows["given_split"].tolist(), found.split)
        kept = [name for name, here in zip(names, labelled, strict=True) if here]
        if VAL not in kept:
            notes.append(f"column {found.split!r} names no val rows: {options.val:.0%} of train are taken for it")
            kept = carve_val(kept, strata, groups, options.val, seed)
    else:
        kept = draw_splits(strata, groups, options.val, options.test, seed)
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
