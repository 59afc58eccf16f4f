"""mmcli status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcli.cli.binding import bound

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome


@bound(common=("artifacts", "json"))
def command(context: Context) -> Outcome:
    """Show the artifacts, their state and scores, and what to run next."""
    from mmcli.stages import status

    return status.run(context)
