"""mmcli predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcli.cli.binding import bound
from mmcli.options.columns import Source
from mmcli.options.common import Common
from mmcli.options.made import require_fused, require_gallery
from mmcli.options.predict import Options

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome

NO_ARGS_IS_HELP = True


@bound(Source, Options, without={Common: ("set", "seed", "force")})
def command(source: Source, options: Options, context: Context) -> Outcome:
    """Predict a new table: the same rows, with prediction and probability columns."""
    source.check()
    if options.model is None:
        require_fused(context.root)
    if options.gallery is not None:
        require_gallery(context.root, options.gallery)
    from mmcli.stages import predict

    return predict.run(source.table, options, context)
