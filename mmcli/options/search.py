"""What `search` is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from mmcli.errors import ConfigError
from mmcli.media import addresses
from mmcli.options.columns import AllowMissing, Delimiter, Encoding, FetchTimeout, MediaRoot
from mmcli.options.common import Common
from mmcli.options.flags import Flag
from mmcli.options.gallery import Gallery, IdColumn, OwnModel, SomeColumns
from mmcli.tables.finding import require_file

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
"""What hits may be written as."""


def _values(texts: list[str]) -> dict[str, str]:
    found = dict[str, str]()
    for text in texts:
        column, equals, value = text.partition("=")
        if not equals or not column or not value:
            raise ConfigError(f"--value {text!r} is not of the form COL=CELL.", "E.g. --value photo=q.png")
        if column in found:
            raise ConfigError(f"--value: {column!r} is given twice", "A row has one cell of each column.")
        found[column] = value
    return found


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"-o {path}: cannot tell a format from that suffix", f"Known: {', '.join(FORMATS)}.")
    return path


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    gallery: Gallery
    table: Annotated[
        Path | None,
        Flag("", "A table of rows to look up. Or one row, by the options below.", metavar="TABLE", show_default=False),
    ] = None
    k: Annotated[int, Flag("--top", "How many rows of the gallery to tell of each.", short="-k", metavar="K", min=1)] = 5
    output: Annotated[
        Path | None,
        Flag(
            "--output",
            "Where to write a line for each hit: .csv, .tsv, .jsonl or .parquet. Default: hits.csv; of one row, the console.",
            short="-o",
            parse=_output,
            show_default=False,
        ),
    ] = None
    image: Annotated[str | None, Flag("--image", "Look up a picture.", metavar="FILE")] = None
    text: Annotated[str | None, Flag("--text", "Look up a text.", metavar="TEXT")] = None
    audio: Annotated[str | None, Flag("--audio", "Look up a recording.", metavar="FILE")] = None
    value: Annotated[
        Mapping[str, str],
        Flag(
            "--value",
            "Look up a row with that cell in that column, of any kind. Repeat.",
            metavar="COL=CELL",
            many=True,
            parse=_values,
        ),
    ] = field(default_factory=dict)
    exact: Annotated[bool, Flag("--exact", "Look at all rows, though the gallery has an index.")] = False
    id: IdColumn = None
    columns: SomeColumns = ()
    raw: Annotated[
        bool, Flag("--raw", "Leave cells of a CSV that a spreadsheet would run as formulas without an apostrophe.")
    ] = False
    model: OwnModel = None
    allow_missing: AllowMissing = False
    media_root: MediaRoot = None
    encoding: Encoding = None
    delimiter: Delimiter = None
    fetch_timeout: FetchTimeout = 10.0

    @property
    def kinds(self) -> dict[str, str]:
        """Modality -> the cell of one row to look up."""
        told = {"image": self.image, "text": self.text, "audio": self.audio}
        return {kind: cell for kind, cell in told.items() if cell is not None}

    def beside(self, common: Common) -> None:  # noqa: ARG002 - as all options are asked
        """Looks at what the options say together.

        Raises:
            ConfigError: there is nothing to look up, or both a table and a row.
            DataError: there is no such table.
        """
        addresses.wait(self.fetch_timeout)
        one = bool(self.kinds or self.value)
        if one and self.table is not None:
            raise ConfigError(f"both a table, {self.table}, and a row of its own are to be looked up", "Leave one out.")
        if not one and self.table is None:
            raise ConfigError("there is nothing to look up", "Give a table, or --image, --text, --audio or --value COL=CELL.")
        table_only = {
            "--column": self.columns,
            "--id": self.id,
            "--allow-missing": self.allow_missing,
            "--encoding": self.encoding,
            "--delimiter": self.delimiter,
        }
        idle = [flag for flag, value in table_only.items() if value]
        if one and idle:
            raise ConfigError(f"{idle[0]} is for a table, and one row is looked up", "Leave it out.")
        if self.table is not None:
            require_file(self.table)
