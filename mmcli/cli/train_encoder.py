"""mmcli train-encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcli.cli import options as o

Columns = Annotated[
    list[str] | None,
    typer.Argument(help="Columns to train encoders for. Default: every input.", metavar="[COL]...", show_default=False),
]
Arch = Annotated[
    list[str] | None,
    typer.Option(
        "--arch",
        help="An architecture (see mmcli list encoders), or auto: the sensible ones. Repeat.",
        metavar="NAME",
        autocompletion=o.complete_names("encoders"),
    ),
]
Tokens = Annotated[int, typer.Option("--tokens", help="Most tokens kept of a row among the embeddings.", min=1)]


def command(
    columns: Columns = None,
    arch: Arch = None,
    tokens: Tokens = 16,
    artifacts: o.Artifacts = Path("artifacts"),
    config: o.ConfigFile = None,
    set_: o.Set = None,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    seed: o.Seed = 0,
    json_: o.Json = False,
    quiet: o.Quiet = False,
    dry_run: o.DryRun = False,
    force: o.Force = False,
) -> None:
    """Train one sub-model per column: a CNN for pictures, an RNN or n-grams for text."""
    context = o.begin(
        artifacts=artifacts,
        config=config,
        assignments=set_,
        stage="train-encoder",
        device=device,
        precision=precision,
        seed=seed,
        quiet=quiet,
        force=force,
        dry_run=dry_run,
    )
    check_architectures(arch)
    from mmcli.stages import train_encoder

    options = train_encoder.Options(
        columns=tuple(columns or ()), architectures=tuple(arch or (train_encoder.AUTO,)), tokens=tokens
    )
    o.end(train_encoder.run(options, context), context, json_)


def check_architectures(names: list[str] | None) -> None:
    """Raises ConfigError for an unknown architecture, before torch is imported."""
    from mmcli import registry

    for name in names or ():
        if name != "auto":
            registry.resolve("encoders", name)
