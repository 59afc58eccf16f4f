"""What the columns of a table are: target, inputs with their modality, and the columns with a role.

Owns the choice of the target and of the modalities, each with its reason; `inspect` prints it, `preprocess` obeys it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from mmcli import registry
from mmcli.data import inputs
from mmcli.data.roles import Roles
from mmcli.errors import ConfigError, DataError, MmcliError, combine, unknown
from mmcli.media import files as media
from mmcli.modalities import Guess, Modality
from mmcli.tables.reading import Table
from mmcli.tables.splitting import WORDS, names_splits

TARGET_NAMES = ("label", "target", "class", "y")
SAMPLE_ROWS = 2000
_LOOKED_FOR = 200
_IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{24,64}", re.IGNORECASE)
_NUMBERED = re.compile(r"([^\W\d]+[-_:/#]?|)0*(\d+)")


@dataclass(frozen=True)
class InputColumn:
    """One input column and what it was taken for."""

    name: str
    modality: str
    confidence: float
    reason: str


@dataclass(frozen=True)
class Schema:
    """What each column is for."""

    targets: list[str]
    columns: list[InputColumn]
    inputs: dict[str, list[str]]
    """Input -> its columns."""
    split: str | None
    group: str | None
    id: str | None
    ignored: list[str]
    media_root: str
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
    told = {*roles.target, *roles.inputs, *roles.ignore}
    split = roles.split or _default_split(sample, told, said)
    row_id = roles.id or _default_id(sample, told, said)
    targets = list(roles.target) or [_default_target(table, {split, row_id, roles.group, *told}, said)]
    taken = {*targets, split, roles.group, row_id, *roles.ignore}
    media_root = roles.media_root or str(table.path.parent)
    columns = []
    for name in roles.inputs or [name for name in table.columns if name not in taken]:
        column = _column(name, sample, roles, media_root, said)
        if column:
            columns.append(column)
    if not columns:
        raise DataError(f"{table.path} has no input column beside the target {targets[0]!r}", "Name some with --input.")
    _check_media(columns, sample, media_root)
    used = {*targets, split, roles.group, row_id, *(c.name for c in columns)}
    ignored = [name for name in table.columns if name not in used]
    joins = {c.name: registry.load("modalities", c.modality).joins for c in columns}
    groups = inputs.group(joins, table.columns, roles.each)
    return Schema(targets, columns, groups, split, roles.group, row_id, ignored, media_root, said)


def wrong_names(table: Table, roles: Roles) -> list[MmcliError]:
    """Every name in `roles` that is no column, no modality, no task or no folder, as errors that suggest the nearest."""
    flags: list[tuple[str, str | None]] = [("--split", roles.split), ("--group", roles.group), ("--id", roles.id)]
    flags += [("--target", name) for name in roles.target]
    flags += [("--input", name) for name in roles.inputs] + [("--ignore", name) for name in roles.ignore]
    flags += [("--type", name) for name in roles.types]
    errors: list[MmcliError] = []
    for flag, name in flags:
        if name is not None:
            try:
                table.require(name, flag)
            except DataError as error:
                errors.append(error)
    for column, kind in roles.types.items():
        errors += _wrong_part("modalities", kind, f"--type {column}={kind}:")
    if roles.task:
        errors += _wrong_part("tasks", roles.task, "--task")
    errors += [
        ConfigError(f"--target {name} is also an --input", "A model would only copy it.")
        for name in roles.target
        if name in roles.inputs
    ]
    if roles.media_root and not media.exists(roles.media_root):
        errors.append(ConfigError(f"--media-root {roles.media_root}: there is no such folder"))
    return errors


def _wrong_part(room: str, name: str, flag: str) -> list[MmcliError]:
    """What is wrong with a part's name, or with the file that it names."""
    if registry.in_file(name):
        try:
            registry.load(room, name)
        except ConfigError as error:
            return [ConfigError(f"{flag} {error.message}", error.remedy)]
    elif name not in registry.parts(room):
        return [ConfigError(f"{flag} {unknown(registry.ROOMS[room], name, registry.parts(room))}")]
    return []


def _default_target(table: Table, taken: set[str | None], said: list[str]) -> str:
    """By its name, else the last column that has no other role.

    Raises:
        DataError: every column has one.
    """
    free = [name for name in table.columns if name not in taken]
    if not free:
        raise DataError(f"{table.path} has no column left to predict", "Name one with --target.")
    lower = {name.lower(): name for name in reversed(free)}
    for name in TARGET_NAMES:
        if name in lower:
            said.append(f"target: {lower[name]!r}, by its name (--target to choose another)")
            return lower[name]
    rest = "" if free[-1] == table.columns[-1] else " that has no other role"
    said.append(f"target: {free[-1]!r}, the last column{rest} (--target to choose another)")
    return free[-1]


def _default_split(sample: pd.DataFrame, taken: set[str], said: list[str]) -> str | None:
    """The column called split, in any case.

    Raises:
        DataError: its cells name no splits.
    """
    name = next((name for name in sample.columns if name.strip().lower() == "split" and name not in taken), None)
    if name is None:
        return None
    cells = list(sample[name])
    if not names_splits(cells):
        wrong = sorted(set(cells), key=lambda cell: names_splits([cell]))
        raise DataError(
            f"column {name!r} does not name splits: it holds {', '.join(map(repr, wrong[:3]))}",
            f"Expected {WORDS}. If it is something else: --input {name} to learn from it, --target or --ignore {name}.",
        )
    numbered = ", 0 train, 1 val, 2 test" if set(cells) <= {"0", "1", "2"} else ""
    said.append(f"split: the column {name!r}{numbered} (--split to choose another, --ignore {name} to draw splits)")
    return str(name)


def _default_id(sample: pd.DataFrame, taken: set[str], said: list[str]) -> str | None:
    for name in sample.columns:
        if name.lower() in {"id", "row_id", "uid"} and name not in taken and sample[name].is_unique:
            said.append(f"id: {name!r}, not an input (--id to choose another, --input {name} to use it)")
            return str(name)
    return None


def _column(name: str, sample: pd.DataFrame, roles: Roles, media_root: str, said: list[str]) -> InputColumn | None:
    """What a column is as an input; None, announced, where it is empty, names the rows or never varies."""
    cells = [cell for cell in sample[name] if cell is not None]
    if name in roles.types:
        return InputColumn(name, registry.canonical("modalities", roles.types[name]), 1.0, "as told by --type")
    if not cells and name in roles.inputs:
        raise DataError(f"--input {name}: its first {len(sample)} cells are all empty", "Leave it out.")
    if not cells:
        said.append(f"column {name!r} is empty: ignored")
        return None
    if name not in roles.inputs:
        useless = _ids(cells) or _constant(cells, sample)
        if useless:
            said.append(f"column {name!r} {useless}: ignored (--input {name} to use it)")
            return None
    guesses: dict[str, Guess] = {}
    for modality in registry.parts("modalities"):
        kind: type[Modality] = registry.load("modalities", modality)
        guesses[modality] = kind.sniff(cells, media_root)
    best = max(guesses, key=lambda modality: guesses[modality].confidence)
    return InputColumn(name, best, guesses[best].confidence, guesses[best].reason)


def _ids(cells: Sequence[str]) -> str:
    """Why a column names its rows rather than describes them; empty where it does not."""
    if len(cells) < 20 or len(set(cells)) < len(cells):
        return ""
    if all(_IDS.fullmatch(cell.strip()) for cell in cells):
        return f"holds ids ({cells[0][:13]}...)"
    matches = [_NUMBERED.fullmatch(cell.strip()) for cell in cells]
    if all(matches):
        prefixes = {match[1] for match in matches if match}
        numbers = [int(match[2]) for match in matches if match]
        # Numbers one after the other are a count of rows; with a prefix (user_17) gaps do not matter.
        if len(prefixes) == 1 and (prefixes != {""} or all(b - a == 1 for a, b in pairwise(numbers))):
            return f"numbers the rows ({cells[0]}, {cells[1]}, ...)"
    return ""


def _constant(cells: Sequence[str], sample: pd.DataFrame) -> str:
    if len(cells) == len(sample) > 1 and len(set(cells)) == 1:
        return f"is {cells[0][:30]!r} in all of the first {len(sample)} rows"
    return ""


def _check_media(columns: list[InputColumn], sample: pd.DataFrame, media_root: str) -> None:
    """A column of paths of which none is there is a wrong folder, not a column of absent cells."""
    for item in columns:
        kind: type[Modality] = registry.load("modalities", item.modality)
        cells = [cell for cell in sample[item.name] if cell is not None and kind.names_file(cell)]
        looked = cells[:_LOOKED_FOR]
        if looked and not any(media.exists(media.resolve(cell, media_root)) for cell in looked):
            raise DataError(
                f"column {item.name!r}: none of the first {len(looked)} files is there; the first would be "
                f"{media.resolve(looked[0], media_root)}",
                "Give the folder that the paths start from with --media-root.",
            )
