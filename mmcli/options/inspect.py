"""What `inspect` is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from mmcli.options.columns import Delimiter, Encoding, Roles
from mmcli.options.flags import Flag

ROWS_OF_A_PAGE = 8


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    roles: Roles = field(default_factory=Roles)
    encoding: Encoding = None
    delimiter: Delimiter = None
    sample: Annotated[
        int, Flag("--sample", "Show so many rows as the model will see them, in a page.", min=0, metavar="ROWS")
    ] = 0
    html: Annotated[bool, Flag("--html", "Write that page; of eight rows, unless --sample says otherwise.")] = False
    output: Annotated[Path, Flag("--output", "Where that page goes.", short="-o")] = Path("inspect.html")

    @property
    def rows(self) -> int:
        """Rows of the page; 0 for no page."""
        return self.sample or (ROWS_OF_A_PAGE if self.html else 0)
