"""What the user says of a table and of its columns."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from mmcli import registry
from mmcli.errors import ConfigError
from mmcli.media import addresses
from mmcli.options import faces
from mmcli.options.flags import Flag, one_of
from mmcli.options.target import COLUMNS, Asked
from mmcli.tables.finding import require_file

READING, FACES = "Reading the table", "Faces on pictures"

MediaRoot = Annotated[
    str | None,
    Flag(
        "--media-root",
        "Where media paths start: a folder, or an address such as s3://bucket. Default: the table's folder.",
        metavar="DIR",
        panel=READING,
    ),
]


AllowMissing = Annotated[
    bool, Flag("--allow-missing", "Go on although most files of a column are not there: they count as missing.")
]


def _head(name: str) -> str:
    registry.trust(name)
    registry.resolve("heads", name)
    return name


def encoders_by_input(texts: list[str]) -> dict[str, list[str]]:
    """Input -> architectures, from `photo=cnn`.

    Raises:
        ConfigError: a text is not of that form.
    """
    encoders: dict[str, list[str]] = {}
    for text in texts:
        column, equals, architecture = text.rpartition("=")
        if not equals:
            raise ConfigError(f"--encoder {text!r} is not of the form NAME=ARCH.", "E.g. --encoder photo=cnn")
        encoders.setdefault(column, []).append(architecture)
    return encoders


Head = Annotated[
    str | None,
    Flag(
        "--head",
        "What makes answers of features (see mmcli list heads), or FILE.py. Default: what goes with the target.",
        metavar="NAME",
        complete="heads",
        parse=_head,
    ),
]
Encoding = Annotated[str | None, Flag("--encoding", "Text encoding. Default: detected.", metavar="NAME", panel=READING)]
Delimiter = Annotated[str | None, Flag("--delimiter", "Of a CSV. Default: detected.", metavar="CHAR", panel=READING)]


def _face_missing(text: str) -> str:
    return one_of("--face-missing", "way", text, faces.MISSING)


def _types(texts: list[str]) -> dict[str, str]:
    """Column -> modality.

    Raises:
        ConfigError: a --type that is not COL=MODALITY, a file that is not there.
    """
    pairs = {}
    for text in texts:
        column, equals, modality = text.rpartition("=")
        if not equals or not column:
            raise ConfigError(f"--type {text!r} is not of the form COL=MODALITY.", "E.g. --type notes=text")
        registry.trust(modality)
        pairs[column] = modality
    return pairs


def _shares(texts: list[str]) -> dict[str, str]:
    """Reader -> owner.

    Raises:
        ConfigError: a --share that is not COL=COL, or a column that would read two encoders.
    """
    pairs = dict[str, str]()
    for text in texts:
        reader, equals, owner = text.partition("=")
        if not equals or not reader or not owner:
            raise ConfigError(f"--share {text!r} is not of the form COL=COL.", "E.g. --share image_b=image_a")
        if pairs.setdefault(reader, owner) != owner:
            raise ConfigError(
                f"--share: {reader!r} cannot read two encoders, those of {pairs[reader]!r} and {owner!r}",
                f"Share all three: --share {shlex.quote(f'{reader}={pairs[reader]}')} "
                f"--share {shlex.quote(f'{owner}={pairs[reader]}')}",
            )
    return pairs


FetchTimeout = Annotated[
    float,
    Flag(
        "--fetch-timeout",
        "Seconds for which a web server that a cell names is waited for.",
        metavar="SECONDS",
        panel=COLUMNS,
        envvar="MMCLI_FETCH_TIMEOUT",
        min=0.1,
        max=3600,
    ),
]


@dataclass(frozen=True, kw_only=True)
class Source:
    """The table that a command reads."""

    table: Annotated[
        Path,
        Flag("", "The table: .csv, .tsv, .json, .jsonl, .parquet or .xlsx.", metavar="TABLE", show_default=False),
    ]

    fetch_timeout: FetchTimeout = 10.0

    def check(self) -> None:
        """Lets servers be waited for as long as was said.

        Raises:
            DataError: before anything that reads is imported, where there is no such file.
        """
        require_file(self.table)
        addresses.wait(self.fetch_timeout)


@dataclass(frozen=True, kw_only=True)
class Roles(Asked):
    """What the user says of the columns; empty means: find out."""

    inputs: Annotated[
        tuple[str, ...],
        Flag(
            "--input",
            "A column to learn from. Repeat. Default: all.",
            short="-i",
            metavar="COL",
            panel=COLUMNS,
            complete="columns",
        ),
    ] = ()
    ignore: Annotated[
        tuple[str, ...], Flag("--ignore", "A column to leave out. Repeat.", metavar="COL", panel=COLUMNS, complete="columns")
    ] = ()
    types: Annotated[
        Mapping[str, str],
        Flag(
            "--type",
            "What a column is, where it was taken for something else: a modality, or FILE.py with one. Repeat.",
            metavar="COL=MODALITY",
            panel=COLUMNS,
            many=True,
            parse=_types,
        ),
    ] = field(default_factory=dict)
    each: Annotated[bool, Flag("--each", "One encoder for each number and category, not one for all.", panel=COLUMNS)] = False
    share: Annotated[
        Mapping[str, str],
        Flag(
            "--share",
            "The first column reads the encoder of the second, and is preprocessed as it is: image_b=image_a. Repeat. Default: "
            "columns called x_a and x_b, x_1 and x_2, left_x and right_x.",
            metavar="COL=COL",
            panel=COLUMNS,
            many=True,
            parse=_shares,
        ),
    ] = field(default_factory=dict)
    no_share: Annotated[bool, Flag("--no-share", "An encoder of its own for every input.", panel=COLUMNS)] = False
    split: Annotated[
        str | None,
        Flag(
            "--split",
            "The column that holds train, val or test. Default: one called split or with such cells, else drawn.",
            metavar="COL",
            panel=COLUMNS,
            complete="columns",
        ),
    ] = None
    group: Annotated[
        str | None,
        Flag(
            "--group",
            "Rows that share its value never straddle splits that are drawn, nor folds.",
            metavar="COL",
            panel=COLUMNS,
            complete="columns",
        ),
    ] = None
    weight: Annotated[
        str | None,
        Flag(
            "--weight",
            "How much each row counts, in learning and in scores: a column of numbers from 0 up, which is no input.",
            metavar="COL",
            panel=COLUMNS,
            complete="columns",
        ),
    ] = None
    id: Annotated[
        str | None, Flag("--id", "The column that names a row.", metavar="COL", panel=COLUMNS, complete="columns")
    ] = None
    face_boxes: Annotated[
        tuple[str, ...],
        Flag(
            faces.BOXES,
            "The column that holds the box of the face on each picture, [x, y, w, h] in pixels, or x,y,w,h: a column for each. "
            "Repeat for each column of pictures.",
            metavar="[IMAGE=]COL",
            panel=FACES,
        ),
    ] = ()
    face_landmarks: Annotated[
        tuple[str, ...],
        Flag(
            faces.LANDMARKS,
            "The column that holds where the eyes are, [[x, y], [x, y]], or eyes, nose and corners of the mouth: faces are "
            "aligned by them. Repeat.",
            metavar="[IMAGE=]COL",
            panel=FACES,
        ),
    ] = ()
    face_missing: Annotated[
        str | None,
        Flag(
            "--face-missing",
            "Where these tell nothing of a picture: reject, whole (take it all) or detect (by the detector). Default: reject.",
            metavar="WAY",
            panel=FACES,
            parse=_face_missing,
            complete=faces.MISSING,
        ),
    ] = None
    media_root: MediaRoot = None
    na: Annotated[
        tuple[str, ...],
        Flag("--na", "Cells that mean missing, in every column. Repeat.", metavar="TEXT", panel=READING),
    ] = ()
    keep_na: Annotated[
        bool, Flag("--keep-na", "Among numbers and dates, do not take NA, null, ?, - and the like for missing.", panel=READING)
    ] = False
