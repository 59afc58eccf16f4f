"""mmcli enrol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcli.cli.binding import bound
from mmcli.options.common import Common
from mmcli.options.enrol import Options
from mmcli.options.made import require_fused, require_gallery

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome

NO_ARGS_IS_HELP = True


@bound(Options, without={Common: ("set",)})
def command(options: Options, context: Context) -> Outcome:
    """Keep the rows of a table in a gallery, as vectors to search; --force begins it anew."""
    if options.remove:
        require_gallery(context.root, options.gallery)
    elif options.model is None:
        require_fused(context.root)
    from mmcli.stages import enrol

    return enrol.run(options, context)
