"""optimize: the best fused model becomes more accurate, better calibrated, faster and smaller; all that is tried is measured.

First accuracy: each optimization in turn proposes a model, which is kept only if val says so. Then cost: smaller models, and
other ways to run them, each with its val score, latency, size and memory on this machine. Of those that surely drop no more
than may be, the goal picks one. The result holds all weights, so that it stands alone.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mmcli import conformal, fusing, model, registry, running, tradeoff
from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact, Draft
from mmcli.dataset import Dataset
from mmcli.encoders import parameter_count
from mmcli.errors import ArtifactError, ConfigError, MmcliError, unknown
from mmcli.optimizations import Candidate, Optimization, Workbench
from mmcli.recipe import Recipe
from mmcli.reporting.metrics import shown
from mmcli.stages import Context, Outcome
from mmcli.tradeoff import Goal, Row
from mmcli.training import device
from mmcli.training.device import Compute
from mmcli.training.loop import CHECKPOINT, LOG

ACCURACY = ("search", "ensemble", "finetune", "calibrate")
SMALLER = ("member", "inputs", "prune", "distill")
RUNTIME = ("onnx", "quantize", "precision", "aot")
SHARES = {"search": 0.3, "ensemble": 0.35, "finetune": 0.5, "calibrate": 0.5, "inputs": 0.57, "prune": 0.64, "distill": 0.75}
"""Share of the time that is over when each step should end."""
TRIALS = 40
CANDIDATES = "candidates"
TABLE, FIGURE, RECIPE = "tradeoff.json", "tradeoff.png", "recipe.json"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    method: str | None = None
    """The fusion to start from; by default the best on val."""
    goal: Goal = "balanced"
    time_budget: float = 240.0
    """Seconds."""
    trials: int | None = None
    """Trials of the search in all; by default TRIALS, if there is time."""
    max_drop: float = 0.005
    """Share of the primary metric that may be lost for speed or size."""
    coverage: float = 0.9
    """Of the prediction sets."""
    ensemble: bool = True
    pick: str | None = None
    """The model to take, whatever the goal."""
    join: bool = False
    """Whether to add trials to a search that another process runs, and nothing else."""
    skip: tuple[str, ...] = ()
    """Steps to leave out."""


@dataclass
class _Work:
    """What one run gathers."""

    options: Options
    bench: Workbench
    draft: Draft
    ends: float
    """When the time is over, by time.monotonic()."""
    started: float = field(default_factory=time.monotonic)
    history: list[dict[str, Any]] = field(default_factory=list)
    steps: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    found: dict[str, tuple[Candidate, running.Runner]] = field(default_factory=dict)

    def at(self, name: str) -> Workbench:
        """The bench for one step: its own folder, seed and end."""
        folder = self.draft.path / name
        folder.mkdir(exist_ok=True)
        self.draft.volatile.add(f"{name}/{LOG}")
        seed = device.derive_seed(self.bench.seed, "optimize", name)
        share = SHARES.get(name, 1.0)
        deadline = self.started + share * (self.ends - self.started)
        seed = self.bench.seed if name in {"search", "ensemble"} else seed
        return replace(self.bench, folder=folder, seed=seed, deadline=deadline, extra={})


def run(options: Options, context: Context) -> Outcome:
    """Improves a fused model into `optimized/`.

    Raises:
        ArtifactError: there is no fused model that is complete and fresh.
        ConfigError: a step or a model is named that is not there.
    """
    dataset = Dataset.open(context.root)
    base = _base(options, context)
    wrong = [name for name in options.skip if name not in registry.parts("optimizations")]
    if wrong:
        raise ConfigError(f"--skip {wrong[0]}: {unknown('step', wrong[0], registry.parts('optimizations'))}")
    parts = {name: _part(name, context) for name in (*ACCURACY, *SMALLER, *RUNTIME) if name not in options.skip}
    if not options.ensemble:
        parts.pop("ensemble", None)
    settings = context.settings.for_stage("optimize")
    compute = device.choose(context.device, context.precision, context.threads)
    if compute.precision != "float32":
        parts.pop("precision", None)  # full precision is measured anyway
    said = {name: part.config.model_dump() for name, part in parts.items()}
    asked = [options.time_budget, options.trials, options.max_drop, options.coverage]
    work = store.digest([base.parent(), said, settings.values.get("training", {}), asked, context.seed, str(compute)])
    fingerprint = store.digest([work, options.goal, options.pick])
    context.console.note(f"optimize: from {base.name}, on {compute}; goal: {options.pick or options.goal}")
    if context.dry_run:
        context.console.note(f"dry run: would try {', '.join(parts)}, in {options.time_budget:.0f} s")
        return Outcome({"base": base.name, "steps": list(parts)}, "mmcli optimize")
    bench = _bench(base, dataset, settings, compute, options, context)
    if options.join:
        trials = bench.search().run(time.monotonic() + options.time_budget, options.trials, context.console)
        context.console.note(f"search: {len(trials)} trials are done")
        return Outcome({"trials": len(trials)}, "mmcli optimize")
    artifact = None if context.force else store.up_to_date(context.root, layout.OPTIMIZED, fingerprint)
    if artifact:
        context.console.note("optimized: up to date")
        return Outcome(artifact.metrics, "mmcli evaluate")
    before = None if context.force else _same_work(context.root, work)
    parents = dict(base.parent())
    for own in bench.encoders.values():
        parents |= own.parent()
    late: dict[str, Any] = {}
    config: dict[str, Any] = {**base.config, "base": base.name, "trained_encoders": True, "steps": said, "work": work}
    with store.writing(
        context.root,
        layout.OPTIMIZED,
        kind="optimized",
        command=context.command or "mmcli optimize",
        config=config | {"precision": compute.precision, "goal": options.goal},
        seed=context.seed,
        parents=parents,
        fingerprint=fingerprint,
        late=late,
    ) as draft:
        work_now = _Work(options, bench, draft, time.monotonic() + options.time_budget)
        if before is not None:
            _take_again(before, work_now, late)
        else:
            _optimize(parts, work_now, late)
        draft.metrics["seconds"] = round(time.monotonic() - work_now.started, 2)
    artifact = store.read(context.root, layout.OPTIMIZED, "optimized", "mmcli optimize")
    _say(artifact, dataset, context)
    return Outcome(artifact.metrics, "mmcli evaluate")


def _base(options: Options, context: Context) -> Artifact:
    if options.method:
        method = registry.canonical("fusions", options.method)
        made_by = f"mmcli fuse --method {method}"
        return store.require_fresh(store.read(context.root, layout.fusion(method), "fusion", made_by))
    fusions = model.fresh_fusions(context.root)
    if not fusions:
        stale = [layout.fusion(m) for m in layout.fusions(context.root)]
        raise ArtifactError(
            f"{', '.join(stale)} is out of date" if stale else f"there is no fused model in {context.root}",
            'Run "mmcli fuse" first, or name another folder with --artifacts.',
        )
    return fusions[0]


def _part(name: str, context: Context) -> Optimization:
    kind: type[Optimization] = registry.load("optimizations", name)
    return kind(context.settings.for_stage("optimize").part("optimizations", name))


def _bench(base: Artifact, dataset: Dataset, settings: Any, compute: Compute, options: Options, context: Context) -> Workbench:
    encoders = model.encoders_of(base)
    return Workbench(
        root=context.root,
        dataset=dataset,
        base=base,
        encoders=encoders,
        features={name: fusing.embeddings(own) for name, own in encoders.items()},
        heads={name: model.load_encoder(dataset, own).head for name, own in encoders.items()},
        fusions=tuple(model.fresh_fusions(context.root)),
        settings=settings,
        compute=compute,
        seed=context.seed,
        folder=context.root,
        console=context.console,
        trials=TRIALS if options.trials is None else options.trials,
        max_drop=options.max_drop,
    )


def _optimize(parts: Mapping[str, Optimization], work: _Work, late: dict[str, Any]) -> None:
    bench, task = work.bench, work.bench.dataset.task
    network = model.load_fused(bench.dataset, bench.base).to(bench.compute.device)
    fused = Candidate("fused", network, Recipe.of(bench.base))
    best = _more_accurate({n: p for n, p in parts.items() if n in ACCURACY}, fused, work)
    # What all are held against is the most accurate model in full precision: one row may turn by rounding alone.
    whole = replace(best, name=f"{best.name}, float32", way=running.FLOAT32)
    reference = _measure(whole if bench.compute.precision != "float32" else best, work)
    for candidate in {own.name: own for own in (best, fused) if own.name != reference.name}.values():
        _measure(candidate, work)
    sign = 1 if task.primary_higher_is_better else -1
    smaller: list[Candidate] = []
    for name in (name for name in SMALLER if name in parts):
        for candidate in _proposed(name, parts[name], best, work):
            _measure(candidate, work)
            smaller.append(candidate)
    _judge(reference, work)
    # Of the smaller models only those that may be picked are worth running in other ways: the fastest of them.
    usable = [c for c in smaller if next((row.allowed for row in work.rows if row.name == c.name), False)]
    usable.sort(key=lambda c: next(row.cost.p50_ms_1 for row in work.rows if row.name == c.name and row.cost is not None))
    for candidate in [best, *usable[:1]]:
        for name in (name for name in RUNTIME if name in parts):
            for other in _proposed(f"{name}", parts[name], candidate, work):
                _measure(other, work)
    _judge(reference, work)
    front = tradeoff.on_front(work.rows, sign)
    work.rows = [replace(row, front=here) for row, here in zip(work.rows, front, strict=True)]
    picked = _picked(work)
    for row in work.rows:
        if row.name in work.found and (row.front or row.name == picked):
            _keep_candidate(work.found[row.name][0], work.draft.path / CANDIDATES / layout.safe(row.name))
    candidate, runner = work.found[picked]
    _write(candidate, runner, work, late)
    for name in parts:
        if (work.draft.path / name).is_dir():
            _tidy(work.draft.path / name)


def _tidy(folder: Path) -> None:
    """Of a step's folder the log of training stays; checkpoints and graphs that were not kept go."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name in {CHECKPOINT} or path.suffix != ".csv":
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _more_accurate(parts: Mapping[str, Optimization], fused: Candidate, work: _Work) -> Candidate:
    """The optimizations of accuracy one after the other, each kept if val approves."""
    bench, task = work.bench, work.bench.dataset.task
    current, score = fused, bench.val_score(bench.val_outputs(fused.network))
    work.history.append({"step": "fused", "kept": True, "val": score})
    for name, part in parts.items():
        started = time.monotonic()
        own = work.at(name)
        reason = part.unfit(current, own) or ("" if not own.time_is_over() or name == "calibrate" else "no time was left")
        entry: dict[str, Any] = {"step": name, "kept": False, "val": score}
        if not reason:
            for proposed in part.proposals(current, own):
                after = bench.val_score(bench.val_outputs(proposed.network))
                entry |= {"val": after, "kept": part.improves(score, after, task)}
                if entry["kept"]:
                    current, score = replace(proposed, name="tuned"), after
        else:
            entry["reason"] = reason
        work.history.append({**entry, "seconds": round(time.monotonic() - started, 2)})
        work.steps[name] = own.extra
        if not entry["kept"] and not reason:
            work.history[-1]["reason"] = "val is no better"
    return current


def _proposed(name: str, part: Optimization, candidate: Candidate, work: _Work) -> Iterator[Candidate]:
    """What an optimization proposes; what does not work here, or has no time left, is a row with the reason."""
    own = work.at(name)
    # The most accurate model as a graph is worth half a minute more: nothing else makes it as much faster at no loss.
    late = time.monotonic() > work.ends and not (name == "onnx" and candidate.name in {"tuned", "fused"})
    reason = part.unfit(candidate, own) or ("no time was left" if late else "")
    if reason:
        if not any(row.name == name and row.reason == reason for row in work.rows):
            work.rows.append(Row(name, name, reason=reason))
        return
    proposals, any_yet = part.proposals(candidate, own), False
    while True:
        try:
            proposed = next(proposals, None)
        except (RuntimeError, MmcliError, NotImplementedError) as error:
            work.rows.append(Row(name, name, reason=running.why_not(error)))
            return
        if proposed is None:
            work.steps.setdefault(name, own.extra)
            if not any_yet:
                work.rows.append(Row(name, name, reason="nothing can go: val would drop too much"))
            return
        any_yet = True
        yield proposed


def _measure(candidate: Candidate, work: _Work) -> Row:
    """Runs a model on val and for its cost; a failure is a row with the reason."""
    bench = work.bench
    val = bench.dataset.splits["val"]
    try:
        if candidate.file is not None:
            candidate.file.parent.mkdir(parents=True, exist_ok=True)
            signals = running.batch_of(candidate.network, bench.dataset, 4, bench.compute)
            running.write(candidate.way, candidate.network, signals, candidate.file)
        own = running.runner(candidate.way, candidate.network, bench.compute, candidate.file)
        columns = {name: bench.dataset.column(name).select(val) for name in candidate.network.inputs}
        outputs = own.outputs(columns, bench.compute.device)
        cost = running.cost(own, bench.dataset, bench.compute)
    except (RuntimeError, MmcliError, NotImplementedError, ValueError, TypeError, AttributeError) as error:
        row = Row(candidate.name, candidate.way, reason=running.why_not(error))
        work.rows.append(row)
        return row
    score = bench.val_score(outputs)
    row = Row(candidate.name, candidate.way, score[bench.dataset.task.primary_metric], score["loss"], cost=cost)
    row.extra["val"] = score
    row.extra["parameters"] = parameter_count(candidate.network)
    work.found[candidate.name] = (candidate, own)
    work.rows.append(row)
    bench.extra[candidate.name] = outputs
    return row


def _judge(reference: Row, work: _Work) -> None:
    """Compares each row with the most accurate model, in pairs."""
    bench, targets = work.bench, work.bench.dataset.targets[work.bench.dataset.splits["val"]]
    best: Tensor = bench.extra[reference.name]
    for place, row in enumerate(work.rows):
        if row.cost is None or row.gain is not None:
            continue
        gain = bench.dataset.task.gain(bench.extra[row.name], best, targets, bench.seed)
        safe = row.name == reference.name or tradeoff.allowed(gain, reference.score, work.options.max_drop)
        work.rows[place] = replace(row, gain=gain, allowed=safe)


def _picked(work: _Work) -> str:
    """The name of the model that is taken."""
    sign = 1 if work.bench.dataset.task.primary_higher_is_better else -1
    if work.options.pick is None:
        return tradeoff.pick(work.rows, work.options.goal, sign).name
    runnable = [row.name for row in work.rows if row.cost is not None]
    if work.options.pick not in runnable:
        raise ConfigError(f"--pick {work.options.pick}: {unknown('model', work.options.pick, runnable)}")
    row = next(row for row in work.rows if row.name == work.options.pick)
    if not row.allowed:
        work.bench.console.warn(f"{row.name} may drop more than --max-drop allows; it was picked by name")
    return row.name


def _keep_candidate(candidate: Candidate, folder: Path) -> None:
    """All that it takes to pick it later."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors.save(folder / model.WEIGHTS, candidate.network.state_dict())
    store.write_atomic(folder / RECIPE, json.dumps({"recipe": candidate.recipe.as_dict(), "way": candidate.way}).encode())
    if candidate.file is not None:
        shutil.copy2(candidate.file, folder / candidate.file.name)


def _same_work(root: Path, work: str) -> Artifact | None:
    """The optimised model that is there, if the same work was done for it, whatever was picked."""
    if not store.exists(root, layout.OPTIMIZED):
        return None
    found = store.read(root, layout.OPTIMIZED, "optimized", "mmcli optimize")
    return found if found.config.get("work") == work else None


def _take_again(before: Artifact, work: _Work, late: dict[str, Any]) -> None:
    """Picks another of the models that were measured before: nothing is trained, nothing measured anew."""
    table = before.json(TABLE)
    work.rows += [Row.from_dict(entry) for entry in table["rows"]]
    work.history = before.metrics["history"]
    work.steps = before.metrics["steps"]
    name = _picked(work)
    shutil.copytree(before.path / CANDIDATES, work.draft.path / CANDIDATES, dirs_exist_ok=True)
    folder = work.draft.path / CANDIDATES / layout.safe(name)
    if not (folder / RECIPE).is_file():
        raise ConfigError(
            f"--pick {name}: its weights were not kept, since others are as good in all", "Add --force to make it again."
        )
    said = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    recipe = Recipe.of(replace(before, manifest={**before.manifest, "config": {"recipe": said["recipe"]}}))
    network = recipe.build(work.bench.dataset, tensors.load(folder / model.WEIGHTS)).to(work.bench.compute.device)
    file = folder / running.FILES[said["way"]] if said["way"] in running.FILES else None
    candidate = Candidate(name, network, recipe, said["way"], file)
    _write(candidate, running.runner(said["way"], network, work.bench.compute, file), work, late)


def _write(candidate: Candidate, own: running.Runner, work: _Work, late: dict[str, Any]) -> None:
    """The picked model as the artifact: weights, outputs for every row, the table of what was tried, and its plots."""
    draft, bench = work.draft, work.bench
    dataset, task = bench.dataset, bench.dataset.task
    draft.tensors[model.WEIGHTS] = tensors.save(draft.path / model.WEIGHTS, candidate.network.state_dict())
    if candidate.file is not None:
        shutil.copy2(candidate.file, draft.path / candidate.file.name)
    outputs = own.outputs({name: dataset.column(name) for name in candidate.network.inputs}, bench.compute.device)
    draft.tensors[model.OUTPUTS] = tensors.save(draft.path / model.OUTPUTS, {"outputs": outputs})
    val = dataset.splits["val"]
    row = next(row for row in work.rows if row.name == candidate.name)
    fused = next((row for row in work.rows if row.name == "fused"), row)
    late |= {
        "recipe": candidate.recipe.as_dict(),
        "encoders": candidate.recipe.encoders,
        "method": candidate.recipe.methods,
        "way": candidate.way,
        "picked": candidate.name,
    }
    draft.volatile.update({TABLE, FIGURE})
    draft.write_json(TABLE, {"metric": task.primary_metric, "picked": row.name, "rows": [r.as_dict() for r in work.rows]})
    draft.metrics.update(
        primary_metric=task.primary_metric,
        higher_is_better=task.primary_higher_is_better,
        val=task.score(outputs[val], dataset.targets[val]),
        picked=row.name,
        way=candidate.way,
        before=_summary(fused),
        after=_summary(row),
        history=work.history,
        steps=work.steps,
        base=bench.base.name,
        conformal=conformal.fit(task, outputs[val], dataset.targets[val], work.options.coverage),
        parameters=parameter_count(candidate.network),
    )
    _draw(work, row.name)


def _summary(row: Row) -> dict[str, Any]:
    return {"val": row.extra["val"], "parameters": row.extra["parameters"], **(asdict(row.cost) if row.cost else {})}


def _draw(work: _Work, picked: str) -> None:
    from mmcli.reporting import plots  # matplotlib takes a second to import

    task, folder = work.bench.dataset.task, work.draft.path
    points = []
    for row in work.rows:
        if row.cost is not None:
            kind = "picked" if row.name == picked else "front" if row.front else "allowed" if row.allowed else "other"
            points.append((row.name, row.score, row.cost.p50_ms_1, row.cost.size_mb, kind))
    plots.tradeoff(points, task.primary_metric, folder / FIGURE)
    found = work.steps.get("search", {})
    scores = [own["score"] for own in found.get("history", []) if own["score"] is not None]
    if len(scores) > 1:
        file = folder / "search-history.png"
        plots.history(scores, task.primary_metric, task.primary_higher_is_better, file)
    if found.get("importances"):
        plots.importances(found["importances"], folder / "search-importances.png")
    work.draft.volatile.update({"search-history.png", "search-importances.png"})


def _say(artifact: Artifact, dataset: Dataset, context: Context) -> None:
    primary, metrics = dataset.task.primary_metric, artifact.metrics
    rows = []
    for entry in metrics["history"]:
        said = "start" if entry["step"] == "fused" else "kept" if entry["kept"] else f"left: {entry['reason']}"
        own = metrics["steps"].get(entry["step"], {})
        detail = _detail(entry["step"], own)
        seconds = f"{entry['seconds']:.0f}" if "seconds" in entry else ""
        rows.append([entry["step"], said, detail, shown(entry["val"][primary]), shown(entry["val"]["loss"]), seconds])
    context.console.table(["accuracy", " result", " what", f"val {primary}", "val loss", "s"], rows)
    table = artifact.json(TABLE)
    measured = [Row.from_dict(entry) for entry in table["rows"]]
    context.console.table(*tradeoff.table(measured, primary, table["picked"]))
    before, after = metrics["before"], metrics["after"]
    faster = before["p50_ms_1"] / max(after["p50_ms_1"], 1e-9)
    context.console.note(
        f"picked {metrics['picked']!r}: val {primary} {shown(before['val'][primary])} -> {shown(after['val'][primary])}, "
        f"one row in {before['p50_ms_1']:.2f} -> {after['p50_ms_1']:.2f} ms ({faster:.1f} times as fast), "
        f"{before['size_mb']:.1f} -> {after['size_mb']:.1f} MB"
    )
    found = metrics["conformal"]
    if found:
        context.console.note(f"prediction sets are made to hold the truth in {found['coverage']:.0%} of rows: predict --sets")
    context.console.note(f"the models tried: {artifact.path / TABLE}, {artifact.path / FIGURE}")


def _detail(step: str, found: Mapping[str, Any]) -> str:
    """What a step did, in a few words."""
    if step == "search" and found:
        return f"{found['trials']} trials, {found['pruned']} stopped early"
    if step == "ensemble" and found:
        return f"{sum(found['members'].values())} models of {len(found['members'])} trials"
    if step == "finetune" and found:
        return f"{found['epochs']} epochs, {found['share']:.0%} of the way"
    return str(found.get("method", ""))
