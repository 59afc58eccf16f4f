"""mmcli optimize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcli.cli import options as o

Method = Annotated[
    str | None,
    typer.Option("--method", "-m", help="The fusion to start from. Default: the best on val.", metavar="NAME"),
]


def command(
    method: Method = None,
    artifacts: o.Artifacts = Path("artifacts"),
    config: o.ConfigFile = None,
    set_: o.Set = None,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    threads: o.Threads = 0,
    seed: o.Seed = 0,
    json_: o.Json = False,
    quiet: o.Quiet = False,
    dry_run: o.DryRun = False,
    force: o.Force = False,
) -> None:
    """Make the fused model more accurate and better calibrated; keep only what val approves."""
    context = o.begin(
        artifacts=artifacts,
        config=config,
        assignments=set_,
        stage="optimize",
        device=device,
        precision=precision,
        threads=threads,
        seed=seed,
        quiet=quiet,
        force=force,
        dry_run=dry_run,
    )
    from mmcli.cli.fuse import check_methods

    check_methods([method] if method else None)
    from mmcli.stages import optimize

    o.end(optimize.run(optimize.Options(method=method), context), context, json_)
