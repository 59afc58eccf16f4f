"""fuse: joins the columns' encoders by one method or several, and says whether it helped.

Trains on the cached embeddings, in seconds, from several seeds whose outputs are averaged, or with `train_encoders` through the
encoders. The best single column and the linear baseline always stand beside the fused score.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mmcli import registry
from mmcli.artifacts import layout, store
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.errors import ArtifactError, ConfigError, MmcliError, combine
from mmcli.models import loading
from mmcli.options.fuse import ALL, Options
from mmcli.proof import baselines
from mmcli.stages import Context, Outcome
from mmcli.stages.fuse.board import say
from mmcli.stages.fuse.plans import Plan, plan_all, side_by_side, within
from mmcli.stages.fuse.training import make
from mmcli.training import device
from mmcli.training.device import Compute

__all__ = ["Options", "methods_of", "run"]


def run(options: Options, context: Context, times: float = 1.0) -> Outcome:
    """Trains every method into `fusions/<method>/`, and ranks them in `leaderboard/`, in so many `times` what the options give
    of time: see `train_encoder.run`.

    Raises:
        ConfigError: an unknown method or column, or a method that does not fit these columns and targets.
        ArtifactError: a column has no trained encoder.
    """
    options.foresee(context.root)
    dataset = Dataset.open(context.root)
    methods = methods_of(options, dataset.task.default_fusion)
    encoders = _choose_encoders(options, dataset, context)
    context.settings.refuse_unused("fusions", methods, "fuse")
    plans, refused = plan_all(methods, encoders, dataset, options, context)
    context.settings.refuse_unused("heads", [plan.head["name"] for plan in plans if plan.reads_features], "fuse")
    compute = _compute(options, context)
    chosen = ", ".join(f"{name} ({', '.join(own)})" for name, own in _architectures(encoders).items())
    lead = (
        f"; {next(iter(_architectures(encoders)))} leads, since it is read step by step (--order)"
        if _led(plans, dataset)
        else ""
    )
    context.console.note(f"fuse: {chosen} on {compute}{lead}")
    if context.dry_run:
        context.console.note(f"dry run: would train {', '.join(plan.name for plan in plans)}")
        return Outcome({"methods": [plan.method for plan in plans]}, f"mmcli fuse --method {methods[0]}")
    # Where val has been learnt from too, nothing shows what a plain model adds: the refit of folds has none beside F.
    alone = context.fixed is not None and not options.board
    inputs = list(_architectures(encoders))
    reference = None if alone else baselines.ensure(dataset, inputs, context.console, within=within(options))
    solved = {} if reference is None or context.fixed is not None else baselines.models(reference, dataset)
    with side_by_side(plans, options, context) as own:
        seconds = options.time_budget and times * options.time_budget / max(len(own), 1)
        for plan in own:
            make(replace(plan, seconds=seconds), solved, options, dataset, compute, context)
    made = [make(plan, solved, options, dataset, compute, context, say=False) for plan in plans]
    if reference is None or not options.board:
        return Outcome({"fused": {layout.short(own.config["method"]): own.metrics for own in made}}, "")
    data = say(made, refused, encoders, reference, dataset, options, context)
    return Outcome(data, "mmcli optimize")


def _led(plans: Sequence[Plan], dataset: Dataset) -> bool:
    """Whether a method has the steps of one of several columns as the lead, and it matters of which."""
    kinds = [registry.load("fusions", plan.method) for plan in plans if len(plan.encoders) > 1]
    return any(kind.memory == "lead" and (kind.order_sensitive or dataset.task.tokens == "whole") for kind in kinds)


def _compute(options: Options, context: Context) -> Compute:
    """On embeddings: full precision, and on a CPU one thread, so that several methods may train at once with the same bits."""
    precision = context.precision if context.precision != "auto" or options.train_encoders else "float32"
    compute = device.choose(context.device, precision, context.threads)
    return compute if options.train_encoders else replace(compute, threads=1)


def methods_of(options: Options, *defaults: str) -> list[str]:
    """The methods asked for, or the default; while the target is not known, those of all tasks.

    Raises:
        ConfigError: one is unknown.
    """
    errors: list[MmcliError] = []
    methods: list[str] = []
    for method in (
        options.methods or defaults or {registry.load("tasks", own).default_fusion for own in registry.parts("tasks")}
    ):
        if method == ALL:
            methods += registry.parts("fusions")
            continue
        try:
            registry.trust(method)
            methods.append(registry.canonical("fusions", method))
        except ConfigError as error:
            errors.append(ConfigError(f"--method {method}: {error.message}", error.remedy))
    if errors:
        raise combine(errors)
    return list(dict.fromkeys(methods))


def _choose_encoders(options: Options, dataset: Dataset, context: Context) -> dict[str, Artifact]:
    """Every encoder that is trained and fresh, or those asked for: several views of one input are better than the best one."""
    chosen: dict[str, Artifact] = {}
    names = options.inputs or tuple(dataset.inputs)
    for name in sorted(names, key=lambda name: _place(name, options, dataset, context)):
        if name in options.encoders:
            for architecture in options.encoders[name]:
                registry.trust(architecture)
            asked = dict.fromkeys(registry.canonical("encoders", architecture) for architecture in options.encoders[name])
            own = [store.require_fresh(loading.read_encoder(context.root, name, architecture)) for architecture in asked]
        else:
            own = loading.fresh_encoders(context.root, name)[: 1 if options.best_only else loading.most_fused(dataset.task)]
        if not own:
            owner = dataset.owner(name)
            old = any(other == owner for other, _ in layout.encoders(context.root))
            raise ArtifactError(
                f"the input {name!r} has no trained encoder" + (" that is up to date" if old else ""),
                f'Run "mmcli train-encoder {shlex.quote(owner)}" first.',
            )
        for artifact in sorted(own, key=lambda artifact: str(artifact.name)):
            chosen[name if len(own) == 1 else f"{name}/{layout.short(artifact.config['architecture'])}"] = artifact
    return chosen


def _place(name: str, options: Options, dataset: Dataset, context: Context) -> tuple[int, float]:
    """Where an input comes: as told; else, of answers that are read step by step, the best on val first, since it leads."""
    if name in options.order:
        return options.order.index(name), 0.0
    own = loading.fresh_encoders(context.root, name) if dataset.task.tokens == "whole" else []
    if not own:
        return len(options.order), 0.0
    sign = -1 if dataset.task.primary_higher_is_better else 1
    return len(options.order), sign * float(own[0].metrics["val"][dataset.task.primary_metric])


def _architectures(encoders: Mapping[str, Artifact]) -> dict[str, list[str]]:
    """Input -> the architectures of its encoders."""
    found: dict[str, list[str]] = {}
    for artifact in encoders.values():
        found.setdefault(artifact.config["column"], []).append(layout.short(artifact.config["architecture"]))
    return found
