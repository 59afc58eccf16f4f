"""optimize: the best fused model becomes more accurate, better calibrated, faster and smaller; all that is tried is measured.

First accuracy: each optimization in turn proposes a model, which is kept only if val says so. Then cost: smaller models, and
other ways to run them, each with its val score, latency, size and memory on this machine. Of those that surely drop no more
than may be, the goal picks one. The result holds all weights, so that it stands alone.
"""

from __future__ import annotations

import shlex
import time
from importlib.util import find_spec
from typing import Any

from mmcli import registry
from mmcli.artifacts import layout, store
from mmcli.artifacts.store import Artifact
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.errors import ArtifactError, ConfigError, unknown
from mmcli.jobs import fusion as fusion_job
from mmcli.models import loading
from mmcli.models.folds import Folds
from mmcli.optimizations import Optimization, Workbench
from mmcli.options.optimize import Options
from mmcli.reporting.counts import agreed, counted
from mmcli.stages import Context, Outcome
from mmcli.stages.optimize.candidates import measured_before, refuse_unknown, take_again
from mmcli.stages.optimize.steps import take_steps
from mmcli.stages.optimize.work import ACCURACY, RUNTIME, SMALLER, TRIALS, Work
from mmcli.stages.optimize.writing import measured, say
from mmcli.training import device
from mmcli.training.device import Compute

__all__ = ["Options", "bench_for", "run", "steps_of"]


def run(options: Options, context: Context) -> Outcome:
    """Improves a fused model into `optimized/`.

    Raises:
        ArtifactError: there is no fused model that is complete and fresh.
        ConfigError: a step or a model is named that is not there.
    """
    dataset = Dataset.open(context.root)
    base = _base(options, context)
    settings = context.settings.for_stage("optimize")
    compute = device.choose(context.device, context.precision, context.threads)
    parts = _parts(options, compute, context, decides=dataset.task.outputs.decides)
    said = {name: part.config.model_dump() for name, part in parts.items()}
    sources = filter(None, (registry.source_digest(type(part)) for part in parts.values()))
    absent = sorted(name for part in parts.values() for name in part.packages if find_spec(name) is None)
    origin = store.digest([base.parent(), context.seed, str(compute)])
    work = store.digest([origin, settings.values.get("training", {}), options.time_budget, options.trials, *sources, *absent])
    choice = [options.goal, options.pick, options.max_drop, options.coverage]
    fingerprint = store.digest([work, said, *choice])
    context.console.note(f"optimize: from {base.name}, on {compute}; goal: {options.pick or options.goal}")
    if context.dry_run:
        context.console.note(f"dry run: would try {', '.join(parts)}, in {options.time_budget:.0f} s")
        return Outcome({"base": base.name, "steps": list(parts)}, "mmcli optimize")
    bench = bench_for(base, dataset, settings, compute, options, context)
    if options.join:
        trials = bench.search().run(time.monotonic() + options.time_budget, options.trials, context.console)
        context.console.note(f"search: {counted(len(trials), 'trial')} {agreed(len(trials), 'are')} done")
        return Outcome({"trials": len(trials)}, "mmcli optimize")
    artifact = None if context.force else store.up_to_date(context.root, layout.OPTIMIZED, fingerprint)
    if artifact:
        refuse_unknown(options.pick, measured(artifact))
        context.console.note("optimized: up to date")
        return Outcome(artifact.metrics, "mmcli evaluate")
    _make(bench, parts, {"origin": origin, "work": work, "steps": said}, fingerprint, options, context)
    artifact = store.read(context.root, layout.OPTIMIZED, "optimized", "mmcli optimize")
    say(artifact, dataset, context, options.max_drop)
    refuse_unknown(options.pick, measured(artifact))
    model = loading.best(context.root).name
    if model == layout.FOLDED:
        context.console.warn(
            f"the model stays {model}, the average of folds, and what was optimized of it has made room for this: predict "
            f"--model {shlex.quote(str(artifact.path))} takes this one, mmcli optimize makes that again, mmcli run TABLE "
            "--folds none leaves the average out"
        )
    return Outcome(artifact.metrics, "mmcli evaluate")


def _make(
    bench: Workbench,
    parts: dict[str, Optimization],
    asked: dict[str, Any],
    fingerprint: str,
    options: Options,
    context: Context,
) -> None:
    """Takes the steps, or picks among what they gave before, into the artifact; `asked` is what decides whether that serves."""
    before, done = _done_before(asked, options, context)
    parents = {key: value for own in (bench.base, *bench.encoders.values()) for key, value in own.parent().items()}
    if bench.folds is not None:
        context.console.note(f"models are judged by {len(bench.judged):,} rows of train and val, out of fold")
    late: dict[str, Any] = {}
    config: dict[str, Any] = {**bench.base.config, "base": bench.base.name, "trained_encoders": True, **done}
    with store.writing(
        context.root,
        layout.OPTIMIZED,
        kind="optimized",
        command=context.command or "mmcli optimize",
        config=config | {"precision": bench.compute.precision, "goal": options.goal},
        seed=context.seed,
        parents=parents,
        fingerprint=fingerprint,
        late=late,
        anew=context.force,
    ) as draft:
        work_now = Work(options, bench, draft, time.monotonic() + options.time_budget)
        if before is not None:
            take_again(before, asked["steps"], work_now, late)
        else:
            take_steps(parts, work_now, late)
        draft.metrics["seconds"] = round(time.monotonic() - work_now.started, 2)


def _done_before(asked: dict[str, Any], options: Options, context: Context) -> tuple[Artifact | None, dict[str, Any]]:
    """The models that are there already and serve, and what was done for them; else none, and what is asked for."""
    found = None if context.force else measured_before(context.root, **asked, pick=options.pick)
    if found is None:
        return None, asked
    context.console.note("optimize: picked from what was measured before (--force makes and measures all anew)")
    return found, {key: found.config[key] for key in asked}


def _base(options: Options, context: Context) -> Artifact:
    if options.method:
        registry.trust(options.method)
        method = registry.canonical("fusions", options.method)
        made_by = f"mmcli fuse --method {method}"
        return store.require_fresh(store.read(context.root, layout.fusion(method), "fusion", made_by))
    # A search that is joined is one over fusions of embeddings: an average of folds has none.
    fusions = loading.fresh_fusions(context.root) if options.join else loading.fresh_models(context.root)
    if not fusions:
        stale = [layout.fusion(m) for m in layout.fusions(context.root)]
        raise ArtifactError(
            f"{', '.join(stale)} is out of date" if stale else f"there is no fused model in {context.root}",
            'Run "mmcli fuse" first, or name another folder with --artifacts.',
        )
    return fusions[0]


def _parts(options: Options, compute: Compute, context: Context, decides: bool) -> dict[str, Optimization]:
    """The steps that are taken, in order."""
    wanted, settings = steps_of(options, compute), context.settings.for_stage("optimize")
    settings.refuse_unused("optimizations", wanted, "optimize")
    parts = {name: registry.load("optimizations", name)(settings.part("optimizations", name)) for name in wanted}
    if decides and not options.only:
        parts = {name: part for name, part in parts.items() if part.for_decisions}
    idle = settings.typed_under("training", "optimize")
    if idle and not options.join and not any(part.trains for part in parts.values()):
        said = f"--set {idle[0]}: none of the steps that are taken trains: {', '.join(parts)}"
        raise ConfigError(said, "Leave it out, or take one that does.")
    return parts


def steps_of(options: Options, compute: Compute) -> list[str]:
    """The names of the steps that are taken, in order.

    Raises:
        ConfigError: one is unknown, or of no family.
    """
    known = registry.parts("optimizations")
    wrong = [name for name in options.skip if name not in known]
    if wrong:
        raise ConfigError(f"--skip {wrong[0]}: {unknown('step', wrong[0], known)}")
    skipped = {*options.skip, *(() if options.ensemble else ("ensemble",))}
    if options.only:
        skipped |= set(known) - set(options.only)
    if compute.precision != "float32":
        skipped.add("precision")  # full precision is measured anyway
    others = [name for name in known if name not in {*ACCURACY, *SMALLER, *RUNTIME}]
    for name in options.more:
        registry.trust(name)
        others.append(registry.canonical("optimizations", name))
    # What others have brought comes before what ends its family: calibration is that of the weights which are kept.
    by_family: dict[str, list[str]] = {"accuracy": [], "smaller": [], "runtime": []}
    for name in dict.fromkeys(others):
        family = getattr(registry.load("optimizations", name), "family", None)
        if family not in by_family:
            raise ConfigError(f"{name}: its family is {family!r}", f"Expected one of {', '.join(by_family)}.")
        by_family[family].append(name)
    accuracy = [*ACCURACY[:-1], *by_family["accuracy"], *ACCURACY[-1:]]
    names = [*accuracy, *SMALLER, *by_family["smaller"], *RUNTIME, *by_family["runtime"]]
    return [name for name in names if name not in skipped]


def bench_for(
    base: Artifact, dataset: Dataset, settings: Settings, compute: Compute, options: Options, context: Context
) -> Workbench:
    """What the steps may work with, starting from a fusion."""
    folds = Folds.of(base, dataset)
    encoders = loading.encoders_of(base) if folds is None else {}  # of folds there are too many, and none is needed
    return Workbench(
        root=context.root,
        dataset=dataset,
        base=base,
        encoders=encoders,
        features={name: fusion_job.embeddings(own, dataset) for name, own in encoders.items()},
        heads={name: loading.load_encoder(dataset, own).head for name, own in encoders.items()},
        fusions=tuple(loading.fresh_fusions(context.root)),
        settings=settings,
        compute=compute,
        seed=context.seed,
        folder=context.root,
        console=context.console,
        trials=TRIALS if options.trials is None else options.trials,
        max_drop=options.max_drop,
        anew=context.force,
        folds=folds,
    )
