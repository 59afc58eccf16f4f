"""What the columns of a table are: target, inputs with their modality, and the columns with a role.

Owns the choice of the target and of the modalities, each with its reason; `inspect` prints it, `preprocess` obeys it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import pandas as pd

from mmcli import registry
from mmcli.data import deciding, faces, inputs, shares
from mmcli.data import roles as naming
from mmcli.errors import ConfigError, DataError, combine
from mmcli.media import addresses, looking
from mmcli.media import files as media
from mmcli.media.boxes import REJECT, Told
from mmcli.media.looking import Look
from mmcli.modalities import Guess, Modality
from mmcli.options import faces as face_options
from mmcli.options import made
from mmcli.options.columns import Roles
from mmcli.reporting.counts import counted
from mmcli.tables import missing
from mmcli.tables.cells import BYTES
from mmcli.tables.numbers import study
from mmcli.tables.reading import Table

TARGET_NAMES = ("label", "target", "class", "y")
SAMPLE_ROWS = 2000
_LOOKED_FOR = 200
_ASKED_FOR = 3
"""Addresses of other machines that are tried before work begins."""
_ASKED_BY = 10
"""Different categories from which on they are words to look for, where the columns of a row belong together."""
_TYPES = "--type {0}=image, {0}=audio or {0}=video"
_IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{24,64}", re.IGNORECASE)
_NUMBERED = re.compile(r"([^\W\d]+[-_:/#]?|)0*(\d+)")


@dataclass(frozen=True)
class InputColumn:
    """One input column and what it was taken for."""

    name: str
    modality: str
    confidence: float
    reason: str
    options: dict[str, Any] = field(default_factory=dict)
    """Of its modality, where the other columns of the table decide them."""


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
    warnings: list[str] = field(default_factory=list)
    """What the user may not have meant."""
    decimal: str = ""
    """The mark before decimals that the columns prove together, for those that prove none."""
    shares: dict[str, str] = field(default_factory=dict)
    """Input -> the input whose modality and encoder it reads."""
    weight: str | None = None
    """The column that says how much each row counts."""
    faces: dict[str, Told] = field(default_factory=dict)
    """Column of pictures -> the columns that tell where its faces are."""

    @property
    def kinds(self) -> dict[str, str]:
        """Input -> its modality; tabular where it joins several columns."""
        own = {item.name: item.modality for item in self.columns}
        return {n: own[members[0]] if len(members) == 1 else inputs.TABULAR for n, members in self.inputs.items()}


def infer(table: Table, roles: Roles) -> Schema:
    """The schema of a table, from what the user says and a sample of its first rows.

    Raises:
        ConfigError, DataError: every wrong column name and type in one go; then what cannot be an input.
    """
    errors = made.wrong_names(table, roles)
    if errors:
        raise combine(errors)
    sample = table.head(SAMPLE_ROWS)
    if sample.empty:
        raise DataError(f"{table.path} has a header but no rows", "A table needs at least one row to a class and split.")
    if roles.target and not _wants_target(roles):
        raise ConfigError(
            f"--target {roles.target[0]}: --task {roles.task} learns from the columns themselves, and has no target",
            "Leave --target out; --ignore takes a column out that is to take no part.",
        )
    named = face_options.named(roles.face_boxes, roles.face_landmarks, roles.face_missing or REJECT, table.columns)
    roles = replace(roles, ignore=(*roles.ignore, *(name for each in named for name in each.told.columns)))
    own = naming.find(table, sample, roles)
    said, doubts = own.said, list[str]()
    told = {*roles.inputs, *roles.ignore}
    targets = list(roles.target)
    if not targets and _wants_target(roles):
        targets = [_default_target(table, sample, own.taken, told, said, roles)]
    taken = {*targets, *own.taken, *roles.ignore}
    decimal = _decimal(table, sample, [name for name in table.columns if name not in own.taken])
    media_root = roles.media_root or str(table.path.parent)
    columns = []
    for name in roles.inputs or [name for name in table.columns if name not in taken]:
        column = _column(name, sample, roles, media_root, said, doubts, decimal)
        if column:
            columns.append(column)
    if not columns:
        beside = f" beside the target {targets[0]!r}" if targets else ""
        raise DataError(f"{table.path} has no input column{beside}", "Name some with --input.")
    _check_media(columns, sample, media_root, table.encoding)
    uses = {**{item.name: "an input" for item in columns}, **dict.fromkeys(targets, "the target")}
    doubts += naming.splits_with_blanks(table, sample, own, roles, uses)
    used = {*targets, own.split, own.group, own.id, own.weight, *(c.name for c in columns)}
    ignored = [name for name in table.columns if name not in used]
    shared = _shares(columns, roles, said)
    groups = grouped(columns, table, roles.each, shared)
    of_pictures = faces.of_columns(named, {item.name: item.modality for item in columns}, said)
    roles_of = (own.split, own.group, own.id)
    return Schema(
        targets, columns, groups, *roles_of, ignored, media_root, said, doubts, decimal, shared, own.weight, of_pictures
    )


def _shares(columns: Sequence[InputColumn], roles: Roles, said: list[str]) -> dict[str, str]:
    """Which columns read the encoder of another, as told or as their names tell, which is announced."""
    if roles.share and roles.no_share:
        raise ConfigError("--share and --no-share contradict each other", "Drop one.")
    alone = roles.each or _compares(roles)
    joins = {item.name: registry.load("modalities", item.modality).joins and not alone for item in columns}
    found = shares.find({item.name: item.modality for item in columns}, joins, roles.share, look=not roles.no_share)
    if not roles.share and not roles.no_share and not _wants_target(roles):
        found |= shares.of_one_kind({item.name: item.modality for item in columns}, found)
    for owner in [] if roles.share else dict.fromkeys(found.values()):
        readers = ", ".join(repr(name) for name, own in found.items() if own == owner)
        by = "by their names" if _wants_target(roles) else "as pictures that belong together"
        said.append(f"{owner!r} and {readers} share one encoder, {by} (--no-share for one each)")
    return found


def _wants_target(roles: Roles) -> bool:
    """Whether the task, where one is told, learns from a target."""
    wants: bool = registry.load("tasks", roles.task).needs_target if roles.task else True
    return wants


def _compares(roles: Roles) -> bool:
    """Whether the task, where one is told, compares columns that share an encoder: those of a form do by themselves then."""
    compares: bool = registry.load("tasks", roles.task).compares_columns if roles.task else False
    return compares


def _called(roles: Roles) -> Sequence[str]:
    """What the target of the task that is told is called by most."""
    names: Sequence[str] = registry.load("tasks", roles.task).target_names if roles.task else ()
    return (*names, *TARGET_NAMES)


def grouped(
    columns: Sequence[InputColumn], table: Table, each: bool, shared: Mapping[str, str] = MappingProxyType({})
) -> dict[str, list[str]]:
    """Input -> its columns; those that share an encoder are inputs of their own."""
    alone = {*shared, *shared.values()}
    joins = {item.name: registry.load("modalities", item.modality).joins and item.name not in alone for item in columns}
    return inputs.group(joins, table.columns, each)


def _decimal(table: Table, sample: pd.DataFrame, names: Sequence[str]) -> str:
    """The mark before decimals that columns of numbers prove; a comma where semicolons part the fields and nothing speaks
    against it; empty if nothing tells."""
    marks = set()
    for name in names:
        found = study(missing.without([cell for cell in sample[name] if cell is not None and len(cell) < 40]))
        if found.share >= 0.9 and found.proven:
            marks.add(found.proven)
    if len(marks) == 1:
        return marks.pop()
    return "," if not marks and table.format == "csv" and table.delimiter == ";" else ""


def _default_target(table: Table, sample: pd.DataFrame, taken: set[str], told: set[str], said: list[str], roles: Roles) -> str:
    """By its name, else the last column that has no other role and does not number the rows; that which the task that is told
    can learn, where the last is none and another is.

    Raises:
        DataError: every column has one.
    """
    free = [name for name in table.columns if name not in taken and name not in told]
    if not free or (len(free) == 1 and taken and not told):
        others = ", ".join(name for name in table.columns if name in taken)
        raise DataError(
            f"{table.path} has no column left to predict" + (f" but {free[0]!r}, and none to learn from" if free else ""),
            "Name one with --target." + (f" These have a role of their own unless they are named: {others}." if others else ""),
        )
    lower = {name.lower(): name for name in reversed(free)}
    for name in _called(roles):
        if name in lower:
            said.append(f"target: {lower[name]!r}, by its name (--target to choose another)")
            return lower[name]
    cells = {name: [cell for cell in sample[name] if cell is not None] for name in reversed(free)}
    able = [name for name, own in cells.items() if not _ids(own)] or [free[-1]]
    last = able[0]
    if roles.task and _compares(roles):
        kind = registry.load("tasks", roles.task)
        likeness = {name: kind.sniff(registry.config_of(kind)(), [(c,) for c in cells[name]] or [("",)]) for name in able}
        fits = next((name for name in able if likeness[name].confidence > 0), last)
        if fits != last:
            said.append(f"target: {fits!r}, the last column of {likeness[fits].reason} (--target to choose another)")
            return fits
    rest = "" if last == table.columns[-1] else " that has no other role"
    said.append(f"target: {last!r}, the last column{rest} (--target to choose another)")
    return last


def _column(
    name: str, sample: pd.DataFrame, roles: Roles, media_root: str, said: list[str], doubts: list[str], decimal: str
) -> InputColumn | None:
    """What a column is as an input; None, announced, where it is empty, names the rows or never varies."""
    cells = [cell for cell in sample[name] if cell is not None]
    if name in roles.types:
        return InputColumn(name, registry.canonical("modalities", roles.types[name]), 1.0, "as told by --type")
    if not cells and name in roles.inputs:
        raise DataError(f"--input {name}: nothing is in its first {counted(len(sample), 'cell')}", "Leave it out.")
    if not cells:
        said.append(f"column {name!r} is empty: ignored")
        return None
    looked = looking.look(cells, media_root)
    if name not in roles.inputs:
        useless = ("" if looked.are_files else _ids(cells)) or _constant(cells, sample)
        if useless:
            said.append(f"column {name!r} {useless}: ignored (--input {shlex.quote(name)} to use it)")
            return None
    guesses = _guesses(cells, media_root, roles.keep_na)
    best = max(guesses, key=lambda modality: guesses[modality].confidence)
    distinct = {cell for cell in cells if any(map(str.isalpha, cell))}
    if best == "category" and not _wants_target(roles) and len(distinct) >= _ASKED_BY:
        best, why = "text", f"{len(distinct)} different words, by which other columns are found, new ones too"
        guesses[best] = Guess(guesses["category"].confidence, why)
    reads = registry.load("modalities", best).reads_files
    if not reads and any(cell.startswith(BYTES) for cell in cells):
        if name in roles.inputs:
            raise DataError(
                f"--input {name} holds bytes that are neither text in UTF-8 nor media", "Write them as text or files."
            )
        said.append(f"column {name!r} holds bytes that are neither text in UTF-8 nor media: ignored")
        return None
    unread = _unread(name, cells, looked, media_root) if not reads and best in {"text", "category"} else ""
    if unread:
        if name in roles.inputs:
            raise DataError(unread, f"To learn from the names themselves: --type {shlex.quote(f'{name}=text')}.")
        said.append(f"{unread}: ignored (--type {shlex.quote(f'{name}=text')} to learn from the names themselves)")
        return None
    said += _on_files(name, cells, looked, media_root, reads)
    options = deciding.decided(name, best, guesses, sample[name].tolist(), said, doubts, decimal)
    return InputColumn(name, best, guesses[best].confidence, guesses[best].reason, options)


def _guesses(cells: Sequence[str], media_root: str, keep_na: bool) -> dict[str, Guess]:
    """What each modality says of cells, without words such as NA where it passes over them."""
    others = cells if keep_na else missing.without(cells)
    guesses: dict[str, Guess] = {}
    for modality in registry.parts("modalities"):
        kind: type[Modality] = registry.load("modalities", modality)
        guesses[modality] = kind.sniff(others if kind.passes_missing_words else cells, media_root)
    return guesses


def _unread(name: str, cells: Sequence[str], looked: Look, media_root: str) -> str:
    """Of a column whose cells are nothing but names of files that are not read; empty where they are something else."""
    if looked.are_paths:
        return _holding(name, looked)
    if looked.found:
        return ""
    ends, whole = looking.named_unread(cells), looking.without_suffix(cells, media_root)
    if whole:
        return (
            f"column {name!r} names files without their suffix, {media.shown(cells[0])!r} for {whole} (write it to read them)"
        )
    return f"column {name!r} names files that are not read ({ends}), e.g. {media.shown(cells[0])!r}" if ends else ""


def _holding(name: str, looked: Look) -> str:
    """What the files are that a column's cells name."""
    cell, _, kind = looked.found[0]
    kinds = ", ".join(dict.fromkeys(kind for _, _, kind in looked.found))
    what = "files whose text is not read" if kind == "text" else f"files that are not read ({kinds})"
    return f"column {name!r} names {what}, e.g. {media.shown(cell)!r}"


def _on_files(name: str, cells: Sequence[str], looked: Look, media_root: str, reads: bool) -> list[str]:
    """What a user must know of the files that a column names."""
    if reads:
        several = next((cell for cell in cells if media.is_several(cell, media_root)), "")
        said = f"column {name!r} has cells that name several files, e.g. {several[:80]!r}: the first is taken"
        return [said] if several else []
    seen = [cell for cell, family, _ in looked.found if family not in {"", "other"}]
    if seen:
        return [f"column {name!r}: some cells name media, e.g. {media.shown(seen[0])!r} ({_TYPES.format(name)} to read them)"]
    if looked.are_files:
        return [f"{_holding(name, looked)}: the names are taken as words"]
    if not looked.found and looking.look(cells, ".").are_paths:
        return [f"column {name!r} names files that are there, but not under {media_root} (--media-root . to read them)"]
    if sum(addresses.is_far(cell.strip()) for cell in cells) > len(cells) / 2:
        return [f"column {name!r} holds addresses, taken as words ({_TYPES.format(name)} to fetch what is there)"]
    return []


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


_LETTERS = " If letters of the path are wrong, the table is not in {}: name its encoding with --encoding."


def _check_media(columns: list[InputColumn], sample: pd.DataFrame, media_root: str, encoding: str) -> None:
    """A column of paths of which none is there is a wrong folder, not a column of absent cells."""
    for item in columns:
        kind: type[Modality] = registry.load("modalities", item.modality)
        cells = [c for c in sample[item.name] if c is not None and kind.names_file(c) and not media.names_none(c)]
        paths = [media.resolve(cell, media_root) for cell in cells[:_LOOKED_FOR]]
        if any(map(addresses.is_far, paths)):
            paths = paths[:_ASKED_FOR]
        if not paths or any(map(media.exists, paths)):
            continue
        if addresses.is_address(paths[0]):
            why = addresses.trouble(paths[0])
            raise DataError(
                f"column {item.name!r}: none of the first {len(paths)} addresses can be read; the first: {why}",
                f"Try the address by itself; --ignore {item.name} leaves the column out.",
            )
        here = media_root != "." and looking.look(cells, ".").are_files
        raise DataError(
            f"column {item.name!r}: none of the first {len(paths)} files is there; the first would be {paths[0]}",
            "Give the folder that the paths start from with --media-root"
            + (": they are under the working directory, --media-root ." if here else ".")
            + ("" if encoding.startswith("utf") or paths[0].isascii() else _LETTERS.format(encoding)),
        )
