"""mmcli preprocess."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcli.cli.binding import bound
from mmcli.options.columns import Source
from mmcli.options.common import Common
from mmcli.options.made import check_roles
from mmcli.options.preprocess import Options

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome

NO_ARGS_IS_HELP = True


@bound(Source, Options, without={Common: ("device", "precision", "threads", "trust")}, stage="preprocess")
def command(source: Source, options: Options, context: Context) -> Outcome:
    """Turn a table into normalised tensors and token ids on disk."""
    source.check()
    check_roles(source.table, options.encoding, options.delimiter, options.roles, options.split_by_time)
    from mmcli.stages import preprocess

    return preprocess.run(source.table, options, context)
