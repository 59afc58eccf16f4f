"""What the columns of a table are: target, inputs with their modality, and the columns with a role.

Owns the choice of the target and of the modalities, each with its reason; `inspect` prints it, `preprocess` obeys it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mmcli import registry
from mmcli.config import Roles
from mmcli.errors import ConfigError, DataError, MmcliError, combine, unknown
from mmcli.modalities import Guess, Modality
from mmcli.tables.reading import Table
from mmcli.tables.splitting import names_splits

TARGET_NAMES = ("label", "target", "class", "y")
SAMPLE_ROWS = 2000


@dataclass(frozen=True)
class Input:
    """One input column and what it was taken for."""

    name: str
    modality: str
    confidence: float
    reason: str


@dataclass(frozen=True)
class Schema:
    """What each column is for."""

    target: str
    inputs: list[Input]
    split: str | None
    group: str | None
    id: str | None
    ignored: list[str]
    media_root: Path
    announcements: list[str]
    """What was chosen without being told."""


def infer(table: Table, roles: Roles) -> Schema:
    """The schema of a table, from what the user says and a sample of its first rows.

    Raises:
        ConfigError, DataError: every wrong column name and type in one go; then what cannot be an input.
    """
    errors = wrong_names(table, roles)
    if errors:
        raise combine(errors)
    sample = table.head(SAMPLE_ROWS)
    if sample.empty:
        raise DataError(f"{table.path} has a header but no rows", "A table needs at least one row to a class and split.")
    said: list[str] = []
    target = roles.target or _default_target(table, said)
    split = roles.split or _default_split(sample, {target, *roles.inputs, *roles.ignore}, said)
    row_id = roles.id or _default_id(sample, {target, *roles.inputs, *roles.ignore}, said)
    taken = {target, split, roles.group, row_id, *roles.ignore}
    names = list(roles.inputs) or [name for name in table.columns if name not in taken]
    if not names:
        raise DataError(f"{table.path} has no input column beside the target {target!r}", "Name some with --input.")
    media_root = roles.media_root or table.path.parent
    inputs, empty = [], []
    for name in names:
        cells = [cell for cell in sample[name] if cell is not None]
        if cells or name in roles.types:
            inputs.append(_input(name, cells, roles.types.get(name), media_root))
        elif name in roles.inputs:
            raise DataError(f"--input {name}: its first {len(sample)} cells are all empty", "Leave it out.")
        else:
            empty.append(name)
            said.append(f"column {name!r} is empty: ignored")
    _check_media(inputs, sample, media_root)
    used = {target, split, roles.group, row_id, *(i.name for i in inputs)}
    ignored = [name for name in table.columns if name not in used]
    return Schema(target, inputs, split, roles.group, row_id, ignored, media_root, said)


def wrong_names(table: Table, roles: Roles) -> list[MmcliError]:
    """Every name in `roles` that is no column, no modality or no folder, as errors that suggest the nearest."""
    flags = [("--target", roles.target), ("--split", roles.split), ("--group", roles.group), ("--id", roles.id)]
    flags += [("--input", name) for name in roles.inputs] + [("--ignore", name) for name in roles.ignore]
    flags += [("--type", name) for name in roles.types]
    errors: list[MmcliError] = []
    for flag, name in flags:
        if name is not None:
            try:
                table.require(name, flag)
            except DataError as error:
                errors.append(error)
    known = registry.parts("modalities")
    errors += [
        ConfigError(f"--type {column}={kind}: {unknown('modality', kind, known)}")
        for column, kind in roles.types.items()
        if kind not in known
    ]
    if roles.target and roles.target in roles.inputs:
        errors.append(ConfigError(f"--target {roles.target} is also an --input", "A model would only copy it."))
    if roles.media_root and not roles.media_root.is_dir():
        errors.append(ConfigError(f"--media-root {roles.media_root}: there is no such folder"))
    return errors


def _default_target(table: Table, said: list[str]) -> str:
    lower = {name.lower(): name for name in reversed(table.columns)}
    for name in TARGET_NAMES:
        if name in lower:
            said.append(f"target: {lower[name]!r}, by its name (--target to choose another)")
            return lower[name]
    last = table.columns[-1]
    said.append(f"target: {last!r}, the last column (--target to choose another)")
    return last


def _default_split(sample: pd.DataFrame, taken: set[str], said: list[str]) -> str | None:
    if "split" in sample.columns and "split" not in taken and names_splits(list(sample["split"])):
        said.append("split: the column 'split' (--split to choose another)")
        return "split"
    return None


def _default_id(sample: pd.DataFrame, taken: set[str], said: list[str]) -> str | None:
    for name in sample.columns:
        if name.lower() in {"id", "row_id", "uid"} and name not in taken and sample[name].is_unique:
            said.append(f"id: {name!r}, not an input (--id to choose another, --input {name} to use it)")
            return str(name)
    return None


def _input(name: str, cells: Sequence[str], told: str | None, media_root: Path) -> Input:
    if told:
        return Input(name, told, 1.0, "as told by --type")
    guesses: dict[str, Guess] = {}
    for modality in registry.parts("modalities"):
        kind: type[Modality] = registry.load("modalities", modality)
        guesses[modality] = kind.sniff(cells, media_root)
    best = max(guesses, key=lambda modality: guesses[modality].confidence)
    return Input(name, best, guesses[best].confidence, guesses[best].reason)


def _check_media(inputs: list[Input], sample: pd.DataFrame, media_root: Path) -> None:
    """A column of paths of which none is there is a wrong folder, not a column of absent cells."""
    for item in inputs:
        if not registry.load("modalities", item.modality).reads_files:
            continue
        cells = [cell for cell in sample[item.name] if cell is not None]
        if cells and not any((media_root / cell).exists() for cell in cells[:200]):
            raise DataError(
                f"column {item.name!r}: none of the first {len(cells[:200])} files is there; the first would be "
                f"{media_root / cells[0]}",
                "Give the folder that the paths start from with --media-root.",
            )
