"""mmcli status."""

from __future__ import annotations

from pathlib import Path

from mmcli.cli import options as o


def command(artifacts: o.Artifacts = Path("artifacts"), json_: o.Json = False) -> None:
    """Show the artifacts, their state and scores, and what to run next."""
    context = o.begin(artifacts=artifacts)
    from mmcli.stages import status

    o.end(status.run(context), context, json_)
