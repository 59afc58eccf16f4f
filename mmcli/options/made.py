"""What earlier stages made, as far as flags must fit it: found wrong before torch is imported."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcli import registry
from mmcli.artifacts import layout
from mmcli.errors import ArtifactError, ConfigError, MmcliError, combine, unknown
from mmcli.options import faces
from mmcli.tables.finding import STDIN

if TYPE_CHECKING:
    from mmcli.options.columns import Roles
    from mmcli.tables.reading import Table


def schema_of(root: Path) -> dict[str, Any]:
    """What `preprocess` found in the table.

    Raises:
        ArtifactError: there is no preprocessed table, or its schema is no schema.
    """
    from mmcli.artifacts import store

    artifact = store.read(root, layout.PREPROCESS, "preprocess", "mmcli preprocess TABLE")
    schema: dict[str, Any] = artifact.json(layout.SCHEMA)
    with artifact.understood(layout.SCHEMA):
        roles, own = schema["roles"], ("inputs", "columns", "targets")
        names = [*(name for key in own for name in schema[key]), *roles["ignored"]]
        names += [roles[key] or "" for key in ("split", "group", "id")]
        if not isinstance(schema["inputs"], dict) or not all(isinstance(name, str) for name in names):
            raise ValueError("its inputs, columns, targets or roles are not what they should be")
    return schema


def wrong_inputs(root: Path, asked: Mapping[str, Iterable[str]]) -> list[MmcliError]:
    """Flag -> names of inputs: those that the preprocessed table lacks, as errors."""
    known = list(schema_of(root)["inputs"])
    return [
        ConfigError(f"{flag} {name}: {unknown('input', name, known)}" if flag else unknown("input", name, known))
        for flag, names in asked.items()
        for name in names
        if name not in known
    ]


def columns_of(root: Path) -> list[str]:
    """The columns of the table that was preprocessed."""
    schema = schema_of(root)
    roles = schema["roles"]
    own = [roles["split"], roles["group"], roles["id"], roles.get("weight")]
    known = [*schema["targets"], *schema["columns"], *own, *roles["ignored"]]
    return list(dict.fromkeys(name for name in known if name))


def require_fused(root: Path) -> None:
    """Raises ArtifactError where nothing was preprocessed under a root, or nothing fused, complete or not."""
    schema_of(root)
    if not layout.fusions(root):
        raise ArtifactError(
            f"there is no fused model in {root}", 'Run "mmcli fuse" first, or name another folder with --artifacts.'
        )


def require_gallery(root: Path, name: str) -> None:
    """Raises ArtifactError where there is no gallery of that name under a root, complete or not, naming those there are."""
    known = layout.galleries(root)
    if name not in known:
        there = f"There are: {', '.join(known)}." if known else f"Make it: mmcli enrol TABLE --gallery {shlex.quote(name)}"
        raise ArtifactError(f"there is no gallery {name!r} in {root}", there)


def check_roles(
    path: Path,
    encoding: str | None,
    delimiter: str | None,
    roles: Roles,
    time: str | None = None,
    contrast: Sequence[str] = (),
) -> None:
    """Raises an error that names all that is wrong with `roles`, and with columns to contrast texts with, by the header of the
    table at `path`."""
    from mmcli.tables.reading import open_table

    errors = [] if path == STDIN else wrong_names(open_table(path, encoding, delimiter), roles, time, contrast)
    if errors:
        raise combine(errors)


def wrong_names(table: Table, roles: Roles, time: str | None = None, contrast: Sequence[str] = ()) -> list[MmcliError]:
    """Every name in `roles`, and those of the columns of `time` and `contrast`, that is no column, no modality, no task or no
    folder, as errors that suggest the nearest."""
    from mmcli.media import addresses
    from mmcli.media import files as media

    flags: list[tuple[str, str | None]] = [("--split", roles.split), ("--group", roles.group), ("--id", roles.id)]
    flags += [("--split-by-time", time), ("--weight", roles.weight)]
    flags += [("--target", name) for name in roles.target] + [("--contrast", name) for name in contrast]
    flags += [("--input", name) for name in roles.inputs] + [("--ignore", name) for name in roles.ignore]
    flags += [("--type", name) for name in roles.types]
    flags += [("--share", name) for pair in roles.share.items() for name in pair]
    errors: list[MmcliError] = []
    for flag, name in flags:
        if name is not None:
            try:
                table.require(name, flag)
            except MmcliError as error:
                errors.append(error)
    try:
        own = faces.named(roles.face_boxes, roles.face_landmarks, roles.face_missing or faces.MISSING[0], table.columns)
        errors += faces.wrong(own, roles.target, roles.inputs)
    except ConfigError as error:
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
    taken = {"--target": roles.target, "--input": roles.inputs, "--split": (roles.split,), "--group": (roles.group,)}
    errors += [
        ConfigError(f"--weight {roles.weight} is also {flag}", "A column that says how much rows count says nothing else.")
        for flag, names in taken.items()
        if roles.weight in names and roles.weight
    ]
    if roles.media_root and not addresses.is_address(roles.media_root) and not media.exists(roles.media_root):
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
