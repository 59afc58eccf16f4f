"""mmcli export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcli.cli.binding import bound
from mmcli.options.export import Options
from mmcli.options.made import require_fused, require_gallery

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome


@bound(Options, common=("artifacts", "config", "json", "quiet", "trust", "dry_run", "force"))
def command(options: Options, context: Context) -> Outcome:
    """Write the model for use without mmcli: the network, what it wants as input, and a script that runs it. Or a gallery."""
    if options.gallery is not None:
        require_gallery(context.root, options.gallery)
        from mmcli.stages.export import galleries

        return galleries.run(options.gallery, options, context)
    if options.model is None:
        require_fused(context.root)
    from mmcli.stages import export

    return export.run(options, context)
