"""What `evaluate` is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcli.options.flags import Flag


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    slices: Annotated[
        tuple[str, ...],
        Flag("--slice", "Also tell the score by each value of this column of the table. Repeat.", metavar="COL"),
    ] = ()
    """Besides those found."""
    quick: Annotated[bool, Flag("--quick", "Leave out the curves under noise and the test for interactions.")] = False
    """Those run the encoders, or many pairs of rows."""
    compare: Annotated[
        tuple[Path, Path] | None,
        Flag("--compare", "Set two evaluations side by side, and write nothing else.", metavar="A B", show_default=False),
    ] = None
