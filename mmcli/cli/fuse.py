"""mmcli fuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcli.cli.binding import bound
from mmcli.options.fuse import Options

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome


@bound(Options, stage="fuse")
def command(options: Options, context: Context) -> Outcome:
    """Join the columns: Output = F(Input_1 .. Input_n), and say whether it helps."""
    options.foresee(context.root)
    from mmcli.stages import fuse

    return fuse.run(options, context)
