"""How a gallery is named, and what all commands that use one are told of the rows that go with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mmcli.artifacts import layout
from mmcli.errors import ConfigError
from mmcli.options.flags import Flag
from mmcli.options.target import COLUMNS


def gallery_name(text: str) -> str:
    """The name itself.

    Raises:
        ConfigError: it cannot be a folder's.
    """
    if not text.strip() or "/" in text or layout.safe(text) != text:
        raise ConfigError(
            f"--gallery {text!r} cannot be a name: it is that of a folder under galleries/",
            "Use letters, digits, blanks, - and _.",
        )
    return text


Gallery = Annotated[str, Flag("--gallery", "Its name.", metavar="NAME", parse=gallery_name)]
IdColumn = Annotated[
    str | None,
    Flag(
        "--id",
        "The column that names a row. Default: that of the preprocessed table, one called id, or the only one of files; "
        "else the number of the row.",
        metavar="COL",
        panel=COLUMNS,
        complete="columns",
        show_default=False,
    ),
]
SomeColumns = Annotated[
    tuple[str, ...],
    Flag(
        "--column",
        "A column that the model looks at, to look at it alone. Repeat. Default: all that are there.",
        metavar="COL",
        panel=COLUMNS,
        complete="columns",
    ),
]
OwnModel = Annotated[
    Path | None,
    Flag(
        "--model",
        "A fusion's folder or artifacts/optimized. Default: the model of the gallery; of a new one the best so far.",
        show_default=False,
    ),
]
