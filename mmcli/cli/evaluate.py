"""mmcli evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcli.cli import options as o

Slice = Annotated[
    list[str] | None,
    typer.Option("--slice", help="Also tell the score by each value of this column of the table. Repeat.", metavar="COL"),
]
Quick = Annotated[bool, typer.Option("--quick", help="Leave out the curves under noise and the test for interactions.")]
Compare = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--compare", help="Set two evaluations side by side, and write nothing else.", metavar="A B", show_default=False
    ),
]


def command(
    slices: Slice = None,
    quick: Quick = False,
    compare: Compare = None,
    artifacts: o.Artifacts = Path("artifacts"),
    config: o.ConfigFile = None,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    threads: o.Threads = 0,
    seed: o.Seed = 0,
    json_: o.Json = False,
    quiet: o.Quiet = False,
    trust: o.Trust = None,
    dry_run: o.DryRun = False,
    force: o.Force = False,
) -> None:
    """Prove it on the test split: metrics with intervals, baselines, what matters, what to trust, a report."""
    context = o.begin(
        artifacts=artifacts,
        config=config,
        device=device,
        precision=precision,
        threads=threads,
        seed=seed,
        quiet=quiet,
        trust=trust,
        force=force,
        dry_run=dry_run,
    )
    if compare is not None:
        from mmcli.stages import compare as comparing

        o.end(comparing.run(*compare, context), context, json_)
        return
    from mmcli.stages import evaluate

    o.end(evaluate.run(evaluate.Options(slices=tuple(slices or ()), quick=quick), context), context, json_)
