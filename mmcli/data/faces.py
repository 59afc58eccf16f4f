"""Which columns tell where the faces on the pictures of others are, or that a detector is to find them. Knows no pixels."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmcli.errors import ConfigError, unknown
from mmcli.media.boxes import DETECT, Told
from mmcli.modalities.image import check_detector
from mmcli.options.faces import Named

if TYPE_CHECKING:
    from mmcli.data.schema import Schema
    from mmcli.options.preprocess import Options

PICTURES = "image"
"""The modality whose columns have faces."""


def of_columns(named: Sequence[Named], kinds: Mapping[str, str], said: list[str]) -> dict[str, Told]:
    """Column of pictures -> what tells of its faces, which is announced; `kinds` are the inputs with their modality.

    Raises:
        ConfigError: there is no such column of pictures, or several, none of which is named.
    """
    pictures = [name for name, kind in kinds.items() if kind == PICTURES]
    found = dict[str, Told]()
    for own in named:
        picture = own.picture
        if picture is None:
            if len(pictures) != 1:
                which = f"there are {', '.join(pictures)}" if pictures else "the table has no column of pictures"
                first = f"{(pictures or ['IMAGE'])[0]}={own.text}"
                raise ConfigError(f"{own.flag} {own.text}: of which pictures? {which}", f"E.g. {own.flag} {shlex.quote(first)}")
            picture = pictures[0]
        if picture not in pictures:
            what = f"is {kinds[picture]}" if picture in kinds else "is no input"
            raise ConfigError(
                f"{own.flag} {own.text}: {picture!r} {what}", f"Columns of pictures: {', '.join(pictures) or 'none'}."
            )
        if picture in found:
            raise ConfigError(
                f"{own.flag} {own.text}: the faces of {picture!r} are told by {', '.join(found[picture].columns)} already",
                "Drop one.",
            )
        found[picture] = own.told
        what = "landmarks of" if own.told.points else "boxes around"
        names = ", ".join(map(repr, own.told.columns))
        said.append(f"faces: {names} hold{'s' * (len(own.told.columns) == 1)} the {what} those on {picture!r}; no input")
    return found


def with_detectors(found: Schema, options: Options) -> dict[str, str]:
    """Column of pictures -> the file that finds faces on it.

    Raises:
        ConfigError: there is no such column; a detector or a flag would have nothing to do, or is missing.
    """
    detectors, missing = options.detectors, options.roles.face_missing
    pictures = [item.name for item in found.columns if item.modality == PICTURES]
    for name in detectors:
        if name and name not in pictures:
            raise ConfigError(f"--detector {name}=...: {unknown('column of pictures', name, pictures)}")
    if "" in detectors and not pictures:
        raise ConfigError("--detector: the table has no column of pictures", "Leave it out.")
    files = {name: detectors.get(name, detectors.get("", "")) for name in pictures}
    asked = {name: file for name, file in files.items() if file}
    for name, told in found.faces.items():
        if name in asked and told.missing != DETECT:
            raise ConfigError(
                f"column {name!r}: {', '.join(told.columns)} tells where its faces are, the detector has nothing to do",
                "Drop one; or let it look where they tell nothing: --face-missing detect.",
            )
        if name not in asked and told.missing == DETECT:
            raise ConfigError(f"--face-missing detect: column {name!r} has no detector", "Name one: --detector FILE.onnx")
    if missing and not found.faces:
        raise ConfigError(f"--face-missing {missing}: no column tells where faces are", "Leave it out, or add --face-boxes.")
    said = options.modality_options.get(PICTURES, {})
    if "detector_score" in said and not asked:
        raise ConfigError("--detector-score: there is no detector", "Leave it out, or add --detector FILE.onnx.")
    if "face_margin" in said and not asked and not found.faces:
        raise ConfigError("--face-margin: nothing tells where faces are", "Leave it out, or add --face-boxes COL.")
    for file in dict.fromkeys(asked.values()):
        check_detector(file)
    return asked


def told_in(schema: Mapping[str, Any]) -> dict[str, Told]:
    """Column of pictures -> what tells of its faces, from a schema on disk.

    Raises:
        ValueError: it is not told as it should be.
    """
    return {name: Told.from_dict(own) for name, own in schema.get("faces", {}).items()}
