"""mmcli run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mmcli.cli import fuse as fuse_command
from mmcli.cli import optimize as optimize_command
from mmcli.cli import options as o
from mmcli.cli import preprocess as p
from mmcli.cli import train_encoder as train_command

NO_ARGS_IS_HELP = True
MODELS = "Models"

NoOptimize = Annotated[bool, typer.Option("--no-optimize", help="Leave the stage optimize out.", rich_help_panel=MODELS)]


def command(
    table: o.TableArgument,
    target: o.Target = None,
    task: o.Task = None,
    label_separator: o.LabelSeparator = None,
    input_: o.Input = None,
    ignore: o.Ignore = None,
    type_: o.Type = None,
    each: o.Each = False,
    split: o.Split = None,
    group: o.Group = None,
    id_: o.Id = None,
    val: o.Val = 0.15,
    test: o.Test = 0.15,
    media_root: o.MediaRoot = None,
    encoding: o.Encoding = None,
    delimiter: o.Delimiter = None,
    image_size: p.ImageSize = None,
    store: p.Store = None,
    exact: p.Exact = False,
    max_pixels: p.MaxPixels = None,
    vocab_size: p.VocabSize = None,
    max_tokens: p.MaxTokens = None,
    tokenizer: p.TokenizerFile = None,
    sample_rate: p.SampleRate = None,
    mels: p.Mels = None,
    max_seconds: p.MaxSeconds = None,
    frames: p.Frames = None,
    max_bad: p.MaxBad = "5%",
    strict: p.Strict = False,
    workers: p.Workers = 0,
    for_: p.For = None,
    arch: train_command.Arch = None,
    budget: train_command.RaceBudget = None,
    weights: train_command.Weights = None,
    tune: train_command.Tune = None,
    augment: train_command.Augment = None,
    unlabelled: train_command.Unlabelled = "ignore",
    folds: train_command.Folds = 0,
    method: fuse_command.Method = None,
    best_only: fuse_command.BestOnly = False,
    train_encoders: fuse_command.TrainEncoders = False,
    modality_dropout: fuse_command.ModalityDropout = None,
    seeds: fuse_command.Seeds = None,
    no_optimize: NoOptimize = False,
    goal: optimize_command.GoalOption = "balanced",
    time_budget: optimize_command.TimeBudget = "4m",
    trials: optimize_command.Trials = None,
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
    """Do it all: preprocess, train-encoder, fuse, optimize, evaluate. A second call does only what changed."""
    train_command.check_architectures(arch, weights)
    train_command.check_options(tune, augment, unlabelled)
    fuse_command.check_methods(method)
    columns = o.roles(
        target=target,
        task=task,
        each=each,
        inputs=input_,
        ignore=ignore,
        types=type_,
        split=split,
        group=group,
        id_column=id_,
        media_root=media_root,
    )
    context = o.begin(
        artifacts=artifacts,
        config=config,
        assignments=set_,
        device=device,
        precision=precision,
        threads=threads,
        seed=seed,
        quiet=quiet,
        trust=trust,
        force=force,
        dry_run=dry_run,
    )
    options = p.stage_options(
        columns=columns,
        encoding=encoding,
        delimiter=delimiter,
        val=val,
        test=test,
        image_size=image_size,
        store=store,
        exact=exact,
        max_pixels=max_pixels,
        vocab_size=vocab_size,
        max_tokens=max_tokens,
        tokenizer=tokenizer,
        sample_rate=sample_rate,
        mels=mels,
        max_seconds=max_seconds,
        frames=frames,
        label_separator=label_separator,
        max_bad=max_bad,
        strict=strict,
        workers=workers,
        for_=for_,
    )
    optimize_command.check_goal(goal)
    optimize_command.parse_time(time_budget)
    from mmcli.selection.race import Budget
    from mmcli.stages import evaluate, fuse, optimize, preprocess, train_encoder

    data = {}
    outcome = preprocess.run(table, options, context)
    data["preprocess"] = outcome.data
    if dry_run:
        o.end(replace(outcome, data=data), context, json_)
        return
    training = train_encoder.Options(
        architectures=tuple(arch or (train_encoder.AUTO,)),
        weights=weights,
        tune=tune,
        augment=augment,
        budget=Budget.parse(budget) if budget else Budget(),
        unlabelled=unlabelled == "use",
        folds=folds,
    )
    data["train-encoder"] = train_encoder.run(training, context).data
    fusing = fuse.Options(
        methods=tuple(method or ("gated",)),
        best_only=best_only,
        train_encoders=train_encoders,
        modality_dropout=modality_dropout,
        seeds=seeds,
    )
    data["fuse"] = fuse.run(fusing, context).data
    if not no_optimize:
        choices = optimize.Options(
            goal=optimize_command.check_goal(goal), time_budget=optimize_command.parse_time(time_budget), trials=trials
        )
        data["optimize"] = optimize.run(choices, context).data
    outcome = evaluate.run(evaluate.Options(), context)
    data["evaluate"] = outcome.data
    o.end(replace(outcome, data=data), context, json_)
