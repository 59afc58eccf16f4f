"""Where the faces on pictures are told: `[IMAGE=]COL`, in which COL may be the columns of each number, parted by commas."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mmcli.errors import ConfigError, MmcliError, did_you_mean
from mmcli.media import boxes as telling
from mmcli.media.boxes import Told

BOXES, LANDMARKS = "--face-boxes", "--face-landmarks"
MISSING = (telling.REJECT, telling.WHOLE, telling.DETECT)
_EXPECTED = {BOXES: (1, 4), LANDMARKS: (1, 4, 10)}


class Named(NamedTuple):
    """What one flag says."""

    picture: str | None
    """The column of the pictures; None where it is not named."""
    told: Told
    flag: str
    text: str


def named(boxes: Sequence[str], landmarks: Sequence[str], missing: str, columns: Sequence[str]) -> list[Named]:
    """What the flags say of a table with these columns.

    Raises:
        ConfigError: they name what is no column, or too few.
    """
    found = []
    for flag, texts in ((BOXES, boxes), (LANDMARKS, landmarks)):
        for text in texts:
            picture, own = _parted(text, columns)
            for name in [*([picture] if picture is not None else []), *own]:
                if name not in columns:
                    raise ConfigError(f"{flag} {text}: the table has no column {name!r}. {did_you_mean(name, columns)}")
            if len(own) not in _EXPECTED[flag]:
                counts = " or ".join(map(str, _EXPECTED[flag]))
                raise ConfigError(
                    f"{flag} {text} names {len(own)} columns, expected {counts}",
                    "One that holds all numbers, or one for each: --face-boxes x,y,width,height.",
                )
            found.append(Named(picture, Told(own, flag == LANDMARKS, missing), flag, text))
    return found


def _parted(text: str, columns: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """The pictures' column and those that tell; names may hold signs of equality and commas."""
    before, equals, after = text.partition("=")
    picture, rest = (before, after) if equals and text not in columns else (None, text)
    several = tuple(name.strip() for name in rest.split(","))
    return picture, (rest,) if rest in columns or len(several) == 1 else several


def wrong(found: Iterable[Named], target: Sequence[str], inputs: Sequence[str]) -> list[MmcliError]:
    """Where a column that tells of faces is to be something else, too, as errors."""
    return [
        ConfigError(
            f"{own.flag} {own.text}: {name!r} is also {flag}",
            "A column that tells where faces are is neither; leave it out there.",
        )
        for own in found
        for name in own.told.columns
        for flag, names in (("--target", target), ("--input", inputs))
        if name in names
    ]


def detectors(texts: Sequence[str]) -> dict[str, str]:
    """Column of pictures, or empty for all -> file, from `[IMAGE=]FILE`.

    Raises:
        ConfigError: there is no such file; a column is named twice.
    """
    from pathlib import Path

    found = dict[str, str]()
    for text in texts:
        column, equals, file = text.partition("=")
        if not equals or Path(text).is_file():
            column, file = "", text
        if not Path(file).is_file():
            raise ConfigError(f"--detector {text}: there is no file {file!r}", "Give an ONNX file with YuNet's outputs.")
        if column in found:
            what = f"of {column!r}" if column else "of all pictures"
            raise ConfigError(
                f"--detector {text}: the detector {what} is told already, {found[column]}",
                f"Name the column: --detector {shlex.quote(f'COL={file}')}",
            )
        found[column] = file
    return found
