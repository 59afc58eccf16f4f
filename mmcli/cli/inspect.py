"""mmcli inspect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcli.cli.binding import bound
from mmcli.options.columns import Source
from mmcli.options.inspect import Options
from mmcli.options.made import check_roles

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome

NO_ARGS_IS_HELP = True


@bound(Source, Options, common=("config", "set", "json", "quiet"), stage="inspect")
def command(source: Source, options: Options, context: Context) -> Outcome:
    """Show what the columns of a table were taken for, and what is wrong with it."""
    source.check()
    check_roles(source.table, options.encoding, options.delimiter, options.roles)
    from mmcli.stages import inspect

    return inspect.run(source.table, options, context)
