"""mmcli train-encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcli.cli import options as o

PRETRAINED, LITTLE, SPEED = "Pretrained networks", "Little data", "Memory and speed"

Columns = Annotated[
    list[str] | None,
    typer.Argument(help="Columns to train encoders for. Default: every input.", metavar="[COL]...", show_default=False),
]
Arch = Annotated[
    list[str] | None,
    typer.Option(
        "--arch",
        help="An architecture (see mmcli list encoders), or auto: the sensible ones race. Repeat to compare.",
        metavar="NAME",
        autocompletion=o.complete_names("encoders"),
    ),
]
Tokens = Annotated[int, typer.Option("--tokens", help="Most tokens kept of a row among the embeddings.", min=1)]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="Where networks of torchvision, timm and hf start: none (at random), default (the published weights, "
        "downloaded if need be), or a safetensors file or folder.",
        metavar="none|default|PATH",
        rich_help_panel=PRETRAINED,
    ),
]
Tune = Annotated[
    str | None,
    typer.Option(
        "--tune",
        help="What trains of a pretrained network: full, head (nothing of it, fast), last-2 (its last two blocks), lora.",
        metavar="HOW",
        rich_help_panel=PRETRAINED,
    ),
]
Augment = Annotated[
    str | None,
    typer.Option(
        "--augment",
        help="Random changes to training inputs: none, light (default) or strong.",
        metavar="HOW",
        rich_help_panel=LITTLE,
    ),
]
Unlabelled = Annotated[
    str,
    typer.Option(
        "--unlabelled",
        help="What rows without a target are for: ignore, or use, for a self-supervised warm start.",
        metavar="HOW",
        rich_help_panel=LITTLE,
    ),
]
RaceBudget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        help="With --arch auto: how long the encoders of an input train before losers are stopped: 60s, 2m, or a number of "
        "epochs. Default: a fifth of theirs.",
        metavar="TIME|EPOCHS",
    ),
]


Folds = Annotated[
    int,
    typer.Option(
        "--folds",
        help="Train each encoder on as many folds as well: predictions of train rows it has not seen, for --method stacking.",
        min=0,
        max=20,
        rich_help_panel=LITTLE,
    ),
]
BatchSize = Annotated[
    str | None,
    typer.Option(
        "--batch-size",
        help="Rows in one step: a number, or auto: the most that fit into memory. Default: the encoder's own.",
        metavar="N|auto",
        rich_help_panel=SPEED,
    ),
]
Profile = Annotated[
    bool,
    typer.Option(
        "--profile",
        help="Write a trace of some steps of each encoder, and say where their time goes.",
        rich_help_panel=SPEED,
    ),
]


def command(
    columns: Columns = None,
    arch: Arch = None,
    budget: RaceBudget = None,
    weights: Weights = None,
    tune: Tune = None,
    augment: Augment = None,
    unlabelled: Unlabelled = "ignore",
    folds: Folds = 0,
    tokens: Tokens = 16,
    batch_size: BatchSize = None,
    profile: Profile = False,
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
    """Train one sub-model per column: a CNN for pictures, an RNN or n-grams for text."""
    check_architectures(arch, weights)
    context = o.begin(
        artifacts=artifacts,
        config=config,
        assignments=set_,
        stage="train-encoder",
        device=device,
        precision=precision,
        threads=threads,
        seed=seed,
        quiet=quiet,
        trust=trust,
        force=force,
        dry_run=dry_run,
    )
    check_options(tune, augment, unlabelled)
    parse_batch_size(batch_size)
    if folds == 1:
        from mmcli.errors import ConfigError

        raise ConfigError("--folds 1 leaves nothing to train on", "Use 2 or more, e.g. --folds 5, or leave it out.")
    from mmcli.selection.race import Budget
    from mmcli.stages import train_encoder

    options = train_encoder.Options(
        columns=tuple(columns or ()),
        architectures=tuple(arch or (train_encoder.AUTO,)),
        tokens=tokens,
        weights=weights,
        tune=tune,
        augment=augment,
        budget=Budget.parse(budget) if budget else Budget(),
        unlabelled=unlabelled == "use",
        folds=folds,
        batch_size=parse_batch_size(batch_size),
        profile=profile,
    )
    o.end(train_encoder.run(options, context), context, json_)


def parse_batch_size(text: str | None) -> int | None:
    """Rows in one step, 0 for as many as fit, None for the default.

    Raises:
        ConfigError: it is neither a number nor auto.
    """
    if text is None or text == "auto":
        return None if text is None else 0
    if not text.isdecimal() or int(text) < 1:
        from mmcli.errors import ConfigError

        raise ConfigError(f"--batch-size {text}: expected a number of rows, or auto", "E.g. --batch-size 128")
    return int(text)


def check_options(tune: str | None, augment: str | None, unlabelled: str) -> None:
    """Raises ConfigError for a value that is none of those there are, before torch is imported."""
    from mmcli.config import validate
    from mmcli.errors import ConfigError, unknown
    from mmcli.pretrained.config import BackboneConfig

    if tune is not None:
        validate(BackboneConfig, {"tune": tune}, "--tune")
    for flag, value, known in (
        ("--augment", augment, ["none", "light", "strong"]),
        ("--unlabelled", unlabelled, ["ignore", "use"]),
    ):
        if value is not None and value not in known:
            raise ConfigError(f"{flag} {value}: {unknown('value', value, known)}")


def check_architectures(names: list[str] | None, weights: str | None = None) -> None:
    """Raises ConfigError for an unknown architecture or weights that cannot be had, before torch is imported."""
    from mmcli import registry
    from mmcli.pretrained import hub

    for name in names or ():
        if name == "auto":
            continue
        registry.trust(name)
        part, variant = registry.resolve("encoders", name).name, registry.variant_of("encoders", name)
        if part == "hf" and variant and hub.local(variant) is None:
            hub.fetch(variant)
        if part == "timm" and variant and weights == "default":
            hub.expect_timm(variant)
    if weights not in {None, "none", "default"}:
        hub.local(f"{weights}" if "/" in str(weights) else f"./{weights}")
