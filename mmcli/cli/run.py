"""mmcli run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmcli.cli.binding import bound
from mmcli.options import evaluate as evaluating
from mmcli.options import fuse as fusing
from mmcli.options import optimize as optimizing
from mmcli.options import preprocess as preprocessing
from mmcli.options import train_encoder as training
from mmcli.options.columns import Source
from mmcli.options.made import check_roles
from mmcli.options.run import LEFT_OUT, SETTINGS, STAGES, Options, of_stage, with_late

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome

NO_ARGS_IS_HELP = True
BOUNDED = "bounds training; reading the table, the baselines and the proof take what they take"
"""What a time for all of it holds, said before and after."""


@bound(Source, *STAGES, without=LEFT_OUT)
def command(
    source: Source,
    table: preprocessing.Options,
    encoders: training.Options,
    fusion: fusing.Options,
    options: Options,
    choices: optimizing.Options,
    proof: evaluating.Options,
    context: Context,
) -> Outcome:
    """Do it all: preprocess, train-encoder, fuse, optimize, evaluate. A second call does only what changed."""
    source.check()
    encoders.check()
    options.check(choices)
    check_roles(source.table, table.encoding, table.delimiter, table.roles, table.split_by_time, proof.contrast)
    table = _not_learnt_from(proof.contrast, table, context)
    from mmcli.stages import evaluate, folds, fuse, optimize, train_encoder
    from mmcli.training import device

    compute = device.choose(context.device, context.precision, context.threads)  # one that is not here ends it before any work
    context = replace(context, settings=context.settings.of_command("run").over(SETTINGS.get(options.preset, {})))
    fusion, choices = replace(fusion, batch_size=fusion.batch_size or None), of_stage(choices, options)
    context.settings.refuse_unused("fusions", fuse.methods_of(with_late(of_stage(fusion, options), options.folds or 1)), "fuse")
    steps = [] if options.no_optimize else optimize.steps_of(choices, compute)
    context.settings.refuse_unused("optimizations", steps, "optimize")
    data, started = {}, time.monotonic()
    if options.whole is not None:
        context.console.note(f"--time-budget {options.whole:g} s {BOUNDED}")
    outcome, count = _preprocessed(source, table, options, proof, context)
    data["preprocess"] = outcome.data
    refit = options.refit and count > 1
    if refit:
        folds.check_refit(fusion, context)
    if context.dry_run:
        return replace(outcome, data=data)
    parts = count + 1 + refit  # the first one has the races too
    share, of_fold = (1.0, 1.0) if count == 1 else (2 / parts, 1 / parts)
    data["train-encoder"] = train_encoder.run(of_stage(encoders, options, share), context).data
    fusion = with_late(of_stage(fusion, options, share), count)
    data["fuse"] = fuse.run(fusion, context).data
    if count > 1:
        in_fold = of_stage(encoders, options, of_fold), of_stage(fusion, options, of_fold)
        data["folds"] = _in_folds(count, options.keep_val, refit, *in_fold, context)
    elif options.folds == 1:
        folds.leave_out(context)
    else:
        folds.said_of(context)
    if not options.no_optimize:
        data["optimize"] = optimize.run(choices, context).data
    outcome = evaluate.run(proof, context)
    data["evaluate"] = outcome.data
    _say_of_time(time.monotonic() - started, options, context)
    return replace(outcome, data=data)


def _not_learnt_from(columns: Sequence[str], table: preprocessing.Options, context: Context) -> preprocessing.Options:
    """The options, by which columns that texts are held against are no inputs, unless inputs are named, or
    they are said to be something."""
    roles = table.roles
    taken = {*roles.target, *roles.ignore, *roles.types, *roles.share, roles.id, roles.group, roles.split, roles.weight}
    own = [] if roles.inputs else [name for name in columns if name not in taken]
    for name in own:
        context.console.note(f"{name!r} is no input, since --contrast holds answers against it")
    return replace(table, roles=replace(roles, ignore=(*roles.ignore, *own))) if own else table


def _preprocessed(
    source: Source, table: preprocessing.Options, options: Options, proof: evaluating.Options, context: Context
) -> tuple[Outcome, int]:
    """The first stage, and how many folds there are to be. What no table could be dealt into is refused before it writes."""
    from mmcli.proof import contrast
    from mmcli.stages import folds, preprocess

    def count_of(planned: Mapping[str, Any]) -> int:
        contrast.check_told(planned, proof.contrast)
        return folds.count_of(options.folds, options.preset, planned, table.split_by_time)

    outcome = preprocess.run(source.table, table, replace(context, to_the_end=True), count_of)
    count = count_of(outcome.data)
    count = count if context.dry_run else folds.feasible(count, options.folds is not None, options.keep_val, context)
    if count > 1:
        why = "" if options.folds else ", since labelled rows are few (--folds none for a single pipeline)"
        context.console.note(f"{count} folds of train and val: the model is to be their average{why}")
    if options.refit and count == 1:
        context.console.note("no refit: there are no folds to say for how long")
    return outcome, count


def _say_of_time(took: float, options: Options, context: Context) -> None:
    if options.whole is not None and took > options.whole:
        context.console.warn(f"all of it took {took:.0f} s, --time-budget was {options.whole:g} s: it {BOUNDED}")


def _in_folds(
    count: int, keep_val: bool, refit: bool, encoders: training.Options, fusion: fusing.Options, context: Context
) -> dict[str, Any]:
    """The further folds, as many at a time as there are cores, with what the root has come to; then their average, and the
    refit."""
    from mmcli.cli import folding
    from mmcli.stages import folds, fuse

    folds.deal(count, keep_val, context)
    taken = folds.taken_over(fuse.methods_of(fusion), context)
    encoders = taken.training(encoders)
    fusion = replace(fusion, methods=taken.methods, encoders=taken.encoders, board=False)
    folding.train(range(2, count + 1), count, encoders, fusion, context)
    data = folds.run(count, keep_val, taken, context).data
    if not refit:
        return data
    from mmcli.stages import train_encoder

    taken, own = folds.deal_refit(count, keep_val, taken, context)
    train_encoder.run(encoders, own)
    fuse.run(replace(fusion, methods=taken.methods), own)
    folds.say_of_time(0, context)
    return {**data, "refit": folds.refit(count, keep_val, context).data}
