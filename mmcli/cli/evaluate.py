"""mmcli evaluate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcli.cli.binding import bound
from mmcli.options.common import Common
from mmcli.options.evaluate import Options

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome


@bound(Options, without={Common: ("set",)})
def command(options: Options, context: Context) -> Outcome:
    """Prove it on the test split: metrics with intervals, baselines, what matters, a report; or score a new table."""
    options.check()
    options.foresee(context.root)
    if options.new is not None:
        from mmcli.stages import score

        return score.run(options.new, options, context)
    if options.compare is not None:
        from mmcli.stages import compare

        return compare.run(*options.compare, context)
    from mmcli.stages import evaluate

    return evaluate.run(options, context)
