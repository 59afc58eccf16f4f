"""mmcli status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from mmcli.cli.binding import bound
from mmcli.options.flags import Flag

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    history: Annotated[bool, Flag("--history", "List all that was made here, also what was replaced since.")] = False


@bound(Options, common=("artifacts", "json"))
def command(options: Options, context: Context) -> Outcome:
    """Show the artifacts, their state and scores, and what to run next."""
    from mmcli.stages import status

    return status.history(context) if options.history else status.run(context)
