"""mmcli search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcli.cli.binding import bound
from mmcli.options.common import Common
from mmcli.options.made import require_gallery
from mmcli.options.search import Options

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome

NO_ARGS_IS_HELP = True


@bound(Options, without={Common: ("set", "seed", "force", "dry_run")})
def command(options: Options, context: Context) -> Outcome:
    """Look up rows of a table, or one picture, text or recording, in a gallery: the most alike of what was enrolled."""
    require_gallery(context.root, options.gallery)
    from mmcli.stages import search

    return search.run(options, context)
