"""mmcli evaluate."""

from __future__ import annotations

from pathlib import Path

from mmcli.cli import options as o


def command(
    artifacts: o.Artifacts = Path("artifacts"),
    config: o.ConfigFile = None,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    threads: o.Threads = 0,
    seed: o.Seed = 0,
    json_: o.Json = False,
    quiet: o.Quiet = False,
    dry_run: o.DryRun = False,
    force: o.Force = False,
) -> None:
    """Prove it on the test split: metrics with intervals, baselines, ablations, a report."""
    context = o.begin(
        artifacts=artifacts,
        config=config,
        device=device,
        precision=precision,
        threads=threads,
        seed=seed,
        quiet=quiet,
        force=force,
        dry_run=dry_run,
    )
    from mmcli.stages import evaluate

    o.end(evaluate.run(context), context, json_)
