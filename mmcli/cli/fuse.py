"""mmcli fuse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcli.cli import options as o
from mmcli.errors import ConfigError

Method = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        help="A fusion method (see mmcli list fusions), FILE.py:CLASS for one of your own, or all. Repeat. Default: gated.",
        metavar="NAME",
        autocompletion=o.complete_names("fusions"),
    ),
]
Inputs = Annotated[
    list[str] | None, typer.Option("--input", "-i", help="An input to fuse. Repeat. Default: all.", metavar="NAME")
]
Encoder = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder", help="An encoder to take for an input. Repeat. Default: all that are trained.", metavar="NAME=ARCH"
    ),
]
BestOnly = Annotated[
    bool, typer.Option("--best-only", help="Only the best encoder of each input: smaller and faster, seldom as good.")
]
TrainEncoders = Annotated[
    bool, typer.Option("--train-encoders", help="Train through the encoders too: slower, sometimes better.")
]

ModalityDropout = Annotated[
    float | None,
    typer.Option(
        "--modality-dropout",
        help="How often each input of a training row is taken away, to learn to do without. Default: 0.",
        min=0.0,
        max=0.9,
        metavar="SHARE",
    ),
]
Align = Annotated[
    float | None,
    typer.Option(
        "--align", help="With --train-encoders: weight of a loss that brings a row's columns together. Default: 0.", min=0.0
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", help="Fusions trained from as many seeds, their outputs averaged. Default: 3.", min=1, max=50),
]
Order = Annotated[
    list[str] | None,
    typer.Option("--order", help="Inputs in the order in which sequential, film and conv take them. Repeat.", metavar="NAME"),
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Show how much of each column enters, on average and by class, where gates tell.")
]
Side = Annotated[
    int, typer.Option("--workers", help="Processes that train methods side by side; 0: one a core. Same result.", min=0)
]
Board = Annotated[bool, typer.Option("--board/--no-board", help="Whether to write the leaderboard.", hidden=True)]


def command(
    method: Method = None,
    input_: Inputs = None,
    encoder: Encoder = None,
    best_only: BestOnly = False,
    train_encoders: TrainEncoders = False,
    modality_dropout: ModalityDropout = None,
    align: Align = None,
    seeds: Seeds = None,
    order: Order = None,
    explain: Explain = False,
    workers: Side = 0,
    board: Board = True,
    artifacts: o.Artifacts = Path("artifacts"),
    config: o.ConfigFile = None,
    set_: o.Set = None,
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
    """Join the columns: Output = F(Input_1 .. Input_n), and say whether it helps."""
    check_methods(method)
    context = o.begin(
        artifacts=artifacts,
        config=config,
        assignments=set_,
        stage="fuse",
        device=device,
        precision=precision,
        threads=threads,
        seed=seed,
        quiet=quiet,
        trust=trust,
        force=force,
        dry_run=dry_run,
    )
    encoders: dict[str, list[str]] = {}
    for text in encoder or []:
        column, equals, architecture = text.rpartition("=")
        if not equals:
            raise ConfigError(f"--encoder {text!r} is not of the form NAME=ARCH.", "E.g. --encoder photo=cnn")
        encoders.setdefault(column, []).append(architecture)
    from mmcli.stages import fuse

    options = fuse.Options(
        methods=tuple(method or ("gated",)),
        inputs=tuple(input_ or ()),
        encoders=encoders,
        best_only=best_only,
        train_encoders=train_encoders,
        modality_dropout=modality_dropout,
        align=align,
        seeds=seeds,
        order=tuple(order or ()),
        explain=explain,
        workers=workers,
        board=board,
    )
    o.end(fuse.run(options, context), context, json_)


def check_methods(names: list[str] | None) -> None:
    """Raises ConfigError for an unknown method, before torch is imported."""
    from mmcli import registry

    for name in names or ():
        if name != "all":
            registry.trust(name)
            registry.resolve("fusions", name)
