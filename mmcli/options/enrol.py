"""What `enrol` is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from mmcli.errors import ConfigError
from mmcli.media import addresses
from mmcli.options.columns import AllowMissing, Delimiter, Encoding, FetchTimeout, MediaRoot
from mmcli.options.common import Common
from mmcli.options.flags import Flag
from mmcli.options.gallery import Gallery, IdColumn, OwnModel, SomeColumns
from mmcli.options.target import COLUMNS
from mmcli.tables.finding import STDIN, require_file

Vectors = Literal["float16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    gallery: Gallery
    tables: Annotated[
        tuple[Path, ...],
        Flag("", "Tables of rows to keep: .csv, .tsv, .json, .jsonl, .parquet or .xlsx.", metavar="TABLE", show_default=False),
    ] = ()
    replace: Annotated[bool, Flag("--replace", "Rows whose id is there already take the place of those.")] = False
    remove: Annotated[
        tuple[str, ...],
        Flag("--remove", "Take out the row of that id, or all rows of that name; without a table. Repeat.", metavar="ID"),
    ] = ()
    index: Annotated[
        bool,
        Flag("--index", "Make an index too, which searches many rows faster and may miss some: its recall is measured."),
    ] = False
    vectors: Annotated[
        Vectors | None,
        Flag(
            "--vectors",
            "How numbers are kept: int8 takes half the room, what it misses is measured. Default: float16; or as it was begun.",
            show_default=False,
        ),
    ] = None
    name: Annotated[
        str | None,
        Flag(
            "--name",
            "The column that says whom or what a row is of. Default: the target.",
            metavar="COL",
            panel=COLUMNS,
            complete="columns",
            show_default=False,
        ),
    ] = None
    id: IdColumn = None
    columns: SomeColumns = ()
    model: OwnModel = None
    allow_missing: AllowMissing = False
    media_root: MediaRoot = None
    encoding: Encoding = None
    delimiter: Delimiter = None
    fetch_timeout: FetchTimeout = 10.0

    def beside(self, common: Common) -> None:
        """Looks at what the options say together.

        Raises:
            ConfigError: there is nothing to enrol, or both to enrol and to remove.
            DataError: there is no such table.
        """
        addresses.wait(self.fetch_timeout)
        beside = {
            "a table": self.tables,
            "--replace": self.replace,
            "--index": self.index,
            "--vectors": self.vectors,
            "--force": common.force,
            "--id": self.id,
            "--name": self.name,
            "--column": self.columns,
            "--model": self.model,
            "--allow-missing": self.allow_missing,
            "--media-root": self.media_root,
            "--encoding": self.encoding,
            "--delimiter": self.delimiter,
        }
        idle = [flag for flag, value in beside.items() if value]
        if self.remove and idle:
            raise ConfigError(f"--remove takes rows out: {idle[0]} has nothing to do there", "Do one, then the other.")
        if not self.remove and not self.tables:
            raise ConfigError("there is nothing to enrol", "Give a table, or --remove ID.")
        if len(set(self.tables)) < len(self.tables):
            raise ConfigError("a table is given twice", "Give each once.")
        for table in self.tables:
            if table == STDIN:
                raise ConfigError(
                    "- (standard input) will not do: a gallery names what it came from", "Save it as a file first."
                )
            require_file(table)
