"""mmcli optimize."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcli.cli.binding import bound
from mmcli.options.optimize import Options

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome


@bound(Options, stage="optimize")
def command(options: Options, context: Context) -> Outcome:
    """Make the fused model more accurate, better calibrated, faster and smaller; measure the trade and pick."""
    options.check(context.root)
    from mmcli.stages import optimize

    return optimize.run(options, context)
