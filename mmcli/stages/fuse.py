"""fuse: joins the columns' encoders by one method or several, and says whether it helped.

Trains on the cached embeddings, in seconds, from several seeds whose outputs are averaged, or with `train_encoders` through the
encoders. The best single column and the linear baseline always stand beside the fused score.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mmcli import baselines, fusing, joint, leaderboard, model, registry
from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact, Draft
from mmcli.config import TrainingConfig
from mmcli.dataset import Dataset
from mmcli.encoders import parameter_count
from mmcli.errors import ArtifactError, ConfigError, MmcliError, combine, unknown
from mmcli.leaderboard import Entry, Ranked
from mmcli.networks import FusedModel, FusionHead, Heads, settle
from mmcli.reporting.metrics import shown
from mmcli.signals import Features
from mmcli.stages import Context, Outcome
from mmcli.training import device
from mmcli.training.device import Compute
from mmcli.training.loop import LOG, Trained, train

TRAINING = {"epochs": 60, "learning_rate": 1e-3, "batch_size": 64, "weight_decay": 0.05, "patience": 15}
TRAINING_THROUGH = {"epochs": 30, "learning_rate": 1e-3, "batch_size": 64, "weight_decay": 0.05, "patience": 10}
ENCODER_RATE = 0.3
MOST_ENCODERS = 3
"""Encoders of an input that are fused, the best on val, where more are trained."""
ALL = "all"
SEEDS = 3
SIDE_BY_SIDE = 4
"""Methods from which on it pays to train some in another process."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    methods: tuple[str, ...] = ("gated",)
    """`all` stands for every method there is."""
    inputs: tuple[str, ...] = ()
    """Columns to fuse; by default all."""
    encoders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Input -> architectures, where not all that are trained."""
    best_only: bool = False
    """Of each input only the encoder that is best on val."""
    train_encoders: bool = False
    modality_dropout: float | None = None
    """While training, how often each input is taken away; by default as configured."""
    align: float | None = None
    """Weight of the contrastive loss between columns, where encoders train too."""
    seeds: int | None = None
    """Fusions trained from as many seeds, and averaged; by default SEEDS, and 1 through the encoders."""
    order: tuple[str, ...] = ()
    """Inputs in the order in which methods that care for it read them."""
    explain: bool = False
    """Whether to show the columns' mean weights."""
    workers: int = 0
    """Processes that train methods side by side; 0 for one a core."""
    board: bool = True
    """Whether the leaderboard is written."""


@dataclass(frozen=True)
class _Plan:
    method: str
    config: Any
    training: TrainingConfig
    encoders: dict[str, Artifact]
    """By name: the input, with the architecture where the input has several."""
    seeds: tuple[int, ...]
    out_of_fold: bool
    command: str
    fingerprint: str

    @property
    def name(self) -> str:
        return layout.fusion(self.method)

    @property
    def sources(self) -> dict[str, str]:
        return {name: artifact.config["column"] for name, artifact in self.encoders.items()}

    @property
    def parents(self) -> dict[str, str]:
        return {key: value for artifact in self.encoders.values() for key, value in artifact.parent().items()}


def run(options: Options, context: Context) -> Outcome:
    """Trains every method into `fusions/<method>/`, and ranks them in `leaderboard/`.

    Raises:
        ConfigError: an unknown method or column, or a method that does not fit these columns and targets.
        ArtifactError: a column has no trained encoder.
    """
    dataset = Dataset.open(context.root)
    methods = _check_names(options, dataset)
    encoders = _choose_encoders(options, dataset, context)
    plans, refused = _plans(methods, encoders, dataset, options, context)
    compute = _compute(options, context)
    chosen = ", ".join(f"{name} ({', '.join(own)})" for name, own in _architectures(encoders).items())
    context.console.note(f"fuse: {chosen} on {compute}")
    if context.dry_run:
        context.console.note(f"dry run: would train {', '.join(plan.name for plan in plans)}")
        return Outcome({"methods": [plan.method for plan in plans]}, "mmcli fuse --method gated")
    reference = baselines.ensure(dataset, list(_architectures(encoders)), context.console)
    with _side_by_side(plans, options, context) as own:
        for plan in own:
            _make(plan, options, dataset, compute, context)
    made = [_make(plan, options, dataset, compute, context, say=False) for plan in plans]
    data = _say(made, refused, encoders, reference, dataset, options, context)
    return Outcome(data, "mmcli optimize")


def _compute(options: Options, context: Context) -> Compute:
    """On embeddings: full precision, and on a CPU one thread, so that several methods may train at once with the same bits."""
    precision = context.precision if context.precision != "auto" or options.train_encoders else "float32"
    compute = device.choose(context.device, precision, context.threads)
    return compute if options.train_encoders else replace(compute, threads=1)


def _check_names(options: Options, dataset: Dataset) -> list[str]:
    errors: list[MmcliError] = []
    methods: list[str] = []
    for method in options.methods:
        if method == ALL:
            methods += registry.parts("fusions")
            continue
        try:
            methods.append(registry.canonical("fusions", method))
        except ConfigError as error:
            errors.append(ConfigError(f"--method {method}: {error.message}", error.remedy))
    for flag, names in (("--input", options.inputs), ("--encoder", options.encoders), ("--order", options.order)):
        errors += [
            ConfigError(f"{flag} {name}: {unknown('input', name, dataset.inputs)}")
            for name in names
            if name not in dataset.inputs
        ]
    if options.train_encoders and (options.seeds or 1) > 1:
        errors.append(ConfigError("--seeds is for fusing on embeddings; with --train-encoders train each seed by itself", ""))
    if errors:
        raise combine(errors)
    return list(dict.fromkeys(methods))


def _choose_encoders(options: Options, dataset: Dataset, context: Context) -> dict[str, Artifact]:
    """Every encoder that is trained and fresh, or those asked for: several views of one input are better than the best one."""
    chosen: dict[str, Artifact] = {}
    names = options.inputs or tuple(dataset.inputs)
    for name in sorted(names, key=lambda name: options.order.index(name) if name in options.order else len(options.order)):
        if name in options.encoders:
            asked = dict.fromkeys(registry.canonical("encoders", architecture) for architecture in options.encoders[name])
            own = [store.require_fresh(model.read_encoder(context.root, name, architecture)) for architecture in asked]
        else:
            own = model.fresh_encoders(context.root, name)[: 1 if options.best_only else MOST_ENCODERS]
        if not own:
            old = any(other == name for other, _ in layout.encoders(context.root))
            raise ArtifactError(
                f"the input {name!r} has no trained encoder" + (" that is up to date" if old else ""),
                f'Run "mmcli train-encoder {name}" first.',
            )
        for artifact in sorted(own, key=lambda artifact: str(artifact.name)):
            chosen[name if len(own) == 1 else f"{name}/{artifact.config['architecture']}"] = artifact
    return chosen


def _architectures(encoders: Mapping[str, Artifact]) -> dict[str, list[str]]:
    """Input -> the architectures of its encoders."""
    found: dict[str, list[str]] = {}
    for artifact in encoders.values():
        found.setdefault(artifact.config["column"], []).append(artifact.config["architecture"])
    return found


def _plans(
    methods: Sequence[str], encoders: dict[str, Artifact], dataset: Dataset, options: Options, context: Context
) -> tuple[list[_Plan], list[Entry]]:
    """What is to be trained; of all methods, those that cannot be are rows of the leaderboard with their reason."""
    plans, refused = [], []
    for method in methods:
        try:
            plans.append(_plan(method, encoders, dataset, options, context))
        except ConfigError as error:
            if ALL not in options.methods:
                raise
            refused.append(Entry("refused", method, None, reason=" ".join(filter(None, (error.message, error.remedy)))))
    return plans, refused


def _plan(method: str, encoders: dict[str, Artifact], dataset: Dataset, options: Options, context: Context) -> _Plan:
    settings = context.settings.for_stage("fuse")
    info = registry.resolve("fusions", method)
    config = settings.part("fusions", method)
    if options.order and not info.literals.get("ABOUT", {}).get("ordered") and ALL not in options.methods:
        raise ConfigError(f"--order: the method {method} does not look at the order of the columns", "Leave it out.")
    defaults = TRAINING_THROUGH if options.train_encoders else {**TRAINING, **info.literals.get("TRAINING", {})}
    training = settings.training(**defaults)
    if options.align is not None:
        training = training.model_copy(update={"align": options.align})
    together = [key for key in ("balance", "anchor", "align") if getattr(training, key)]
    if together and not options.train_encoders:
        raise ConfigError(
            f"{', '.join(together)}: for encoders and fusion that train together", "Add --train-encoders, or leave it out."
        )
    if options.modality_dropout is not None:
        training = training.model_copy(update={"modality_dropout": options.modality_dropout})
    with torch.device("meta"):
        model.build_fusion(method, config.model_dump(), dict.fromkeys(encoders, 8), dataset.task.decision)
    out_of_fold = bool(info.literals.get("NEEDS_FOLDS"))
    without = [artifact.config["column"] for artifact in encoders.values() if not artifact.config.get("folds")]
    if out_of_fold and without:
        raise ConfigError(
            f"{method} learns from out-of-fold predictions, which the encoders of {', '.join(dict.fromkeys(without))} lack",
            "Run: mmcli train-encoder --folds 5",
        )
    count = options.seeds or (1 if options.train_encoders else SEEDS)
    plan = _Plan(method, config, training, encoders, tuple(context.seed + i for i in range(count)), out_of_fold, "", "")
    said = [config.model_dump(), training.model_dump(), options.train_encoders, plan.seeds]
    fingerprint = store.digest([plan.parents, list(encoders), said, context.device, context.precision])
    return replace(plan, command=_command(method, options, context), fingerprint=fingerprint)


def _command(method: str, options: Options, context: Context) -> str:
    """What makes this fusion alone."""
    words = ["mmcli", "fuse", "--method", method, *_flags(options)]
    return " ".join([*words, *(["--seed", str(context.seed)] if context.seed else [])])


def _flags(options: Options) -> list[str]:
    flags = [word for name in options.inputs for word in ("--input", name)]
    flags += [word for name, own in options.encoders.items() for one in own for word in ("--encoder", f"{name}={one}")]
    flags += [word for name in options.order for word in ("--order", name)]
    flags += ["--best-only"] if options.best_only else []
    flags += ["--train-encoders"] if options.train_encoders else []
    flags += [] if options.align is None else ["--align", str(options.align)]
    flags += [] if options.seeds is None else ["--seeds", str(options.seeds)]
    return flags + ([] if options.modality_dropout is None else ["--modality-dropout", str(options.modality_dropout)])


@contextmanager
def _side_by_side(plans: Sequence[_Plan], options: Options, context: Context) -> Iterator[list[_Plan]]:
    """The plans for this process, while others make the rest of them; what those fail at is made here afterwards, and fails
    with its message."""
    due = [p for p in plans if context.force or not store.up_to_date(context.root, p.name, p.fingerprint)]
    cores = min(options.workers or context.threads or os.cpu_count() or 1, len(due))
    alone = cores < 2 or options.train_encoders or len(due) < SIDE_BY_SIDE or device.choose(context.device).device.type != "cpu"
    if alone or context.force:
        yield due
        return
    command = [sys.executable, "-m", "mmcli", "fuse", "--artifacts", str(context.root), *_flags(options), "--quiet"]
    command += ["--workers", "1", "--no-board", "--seed", str(context.seed), "--device", context.device]
    command += ["--precision", context.precision]
    for key, value in _flat(context.settings.for_stage("fuse").values):
        command += ["--set", f"{key}={json.dumps(value)}"]
    groups = [[plan.method for plan in due[place::cores]] for place in range(1, cores)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen(
            [*command, *(word for method in group for word in ("--method", method))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        for group in groups
    ]
    try:
        yield due[::cores]
        for child in children:
            child.wait()
    finally:
        for child in children:
            child.kill()
            child.wait()


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of the settings that fusing looks at."""
    for key, value in values.items():
        if not prefix and key not in {"fusion", "training"}:
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _make(plan: _Plan, options: Options, dataset: Dataset, compute: Compute, context: Context, *, say: bool = True) -> Artifact:
    found = store.up_to_date(context.root, plan.name, plan.fingerprint)
    if found and not (context.force and say):
        if not say:
            return found
        context.console.note(f"{plan.name}: up to date")
        return found
    with store.writing(
        context.root,
        plan.name,
        kind="fusion",
        command=plan.command,
        config={
            "method": plan.method,
            "fusion": plan.config.model_dump(),
            "encoders": {
                name: {"input": a.config["column"], "architecture": a.config["architecture"], "encoder": a.config["encoder"]}
                for name, a in plan.encoders.items()
            },
            "trained_encoders": options.train_encoders,
            "training": plan.training.model_dump(),
            "seeds": list(plan.seeds),
            "precision": compute.precision,
        },
        seed=context.seed,
        parents=plan.parents,
        fingerprint=plan.fingerprint,
    ) as draft:
        started = time.monotonic()
        (_train_through if options.train_encoders else _train)(plan, dataset, compute, context, draft)
        draft.metrics["seconds"] = round(time.monotonic() - started, 2)
    return store.read(context.root, plan.name, "fusion", plan.command)


def _head(plan: _Plan, dims: Mapping[str, int], dataset: Dataset) -> FusionHead:
    """F and its head for encoders of those widths, freshly initialised."""
    config, training = plan.config.model_dump(), plan.training
    return model.build_head(
        plan.method, config, dims, plan.sources, dataset.task, training.modality_dropout, decisions=training.decisions
    )


def _train(plan: _Plan, dataset: Dataset, compute: Compute, context: Context, draft: Draft) -> None:
    """Trains F and its head on the embeddings, from each seed; keeps all of them, to be averaged."""
    features = {name: fusing.embeddings(artifact) for name, artifact in plan.encoders.items()}
    taught = features
    if plan.out_of_fold:
        taught = {name: fusing.embeddings(artifact, out_of_fold=True) for name, artifact in plan.encoders.items()}
    dims = {name: own.pooled.shape[1] for name, own in features.items()}
    shares = {name: fusing.swap_share(own, dataset) for name, own in features.items()}
    members: list[FusionHead] = []
    scores, val = [], dataset.splits["val"]
    trained: list[Trained] = []
    for seed in plan.seeds:
        own_seed = device.derive_seed(seed, "fuse", plan.method)
        device.seed_everything(own_seed)
        head = _head(plan, dims, dataset)
        head.swap_shares = shares if plan.training.swap and not plan.out_of_fold else {}
        folder = draft.path / f"seed-{seed}"
        folder.mkdir(exist_ok=True)
        draft.volatile.add(f"seed-{seed}/{LOG}")
        label = plan.name if len(plan.seeds) == 1 else f"{plan.name}, seed {seed}"
        job = fusing.job(head, taught, dataset, plan.training, compute, seed=own_seed, folder=folder, label=label)
        trained.append(train(job, context.console))
        own = fusing.settled(head, features, dataset, compute)["outputs"][val]
        scores.append(dataset.task.score(own, dataset.targets[val])[dataset.task.primary_metric])
        members.append(head)
    heads = model.averaged(members)
    saved = fusing.settled(heads, features, dataset, compute)
    draft.tensors[model.WEIGHTS] = tensors.save(draft.path / model.WEIGHTS, heads.state_dict())
    _keep(heads, saved, scores, trained, _latency_ms(heads, features, compute), dataset, draft)


def _train_through(plan: _Plan, dataset: Dataset, compute: Compute, context: Context, draft: Draft) -> None:
    """Trains F, the head and the encoders, which start from their own training."""
    seed = device.derive_seed(plan.seeds[0], "fuse", plan.method)
    device.seed_everything(seed)
    columns = {name: model.load_encoder(dataset, artifact) for name, artifact in plan.encoders.items()}
    encoders = {name: own.encoder for name, own in columns.items()}
    dims = {name: encoder.dim for name, encoder in encoders.items()}
    head = _head(plan, dims, dataset)
    cached = {name: fusing.embeddings(artifact) for name, artifact in plan.encoders.items()}
    head.start_absent(cached, dataset.splits["train"])
    heads = {name: own.head for name, own in columns.items()}
    network = FusedModel(encoders, head, copy.deepcopy(heads) if head.reads_outputs else None)
    job = joint.job(
        network,
        heads,
        dataset,
        plan.training,
        compute,
        seed=seed,
        folder=draft.path,
        label=plan.name,
        encoder_rate=ENCODER_RATE,
        teachers=cached,
    )
    draft.volatile.add(LOG)
    trained = train(job, context.console)
    everything, val = torch.arange(len(dataset.rows)), dataset.splits["val"]
    outputs = model.outputs_for(network, dataset, everything, compute)
    settle(dataset.task, head, outputs[val], dataset.targets[val])
    saved = {"outputs": model.outputs_for(network, dataset, everything, compute)}
    draft.tensors[model.WEIGHTS] = tensors.save(draft.path / model.WEIGHTS, network.state_dict())
    score = trained.val[dataset.task.primary_metric]
    _keep(head, saved, [score], [trained], _latency_ms(head, cached, compute), dataset, draft)


@torch.no_grad()
def _latency_ms(heads: Heads, features: Mapping[str, Features], compute: Compute) -> float:
    """Median milliseconds of F and its head on 32 rows whose embeddings are there."""
    rows = len(next(iter(features.values())).present)
    index = torch.arange(32) % rows
    batch = {name: own.gather(index).float().to(compute.device) for name, own in features.items()}
    times = []
    with compute.threading():
        for _ in range(15):
            started = time.perf_counter()
            heads(batch)
            if compute.device.type == "cuda":
                torch.cuda.synchronize(compute.device)
            times.append(time.perf_counter() - started)
    return round(sorted(times)[len(times) // 2] * 1e3, 3)


def _keep(
    heads: Heads,
    saved: Mapping[str, Tensor],
    scores: Sequence[float],
    trained: Sequence[Trained],
    latency_ms: float,
    dataset: Dataset,
    draft: Draft,
) -> None:
    draft.tensors[model.OUTPUTS] = tensors.save(draft.path / model.OUTPUTS, saved)
    val = dataset.splits["val"]
    draft.metrics.update(
        primary_metric=dataset.task.primary_metric,
        higher_is_better=dataset.task.primary_higher_is_better,
        val=dataset.task.score(saved["outputs"][val], dataset.targets[val]),
        seeds=list(scores),
        best_epochs=[own.best_epoch for own in trained],
        soups=[own.soup for own in trained],
        parameters=parameter_count(heads),
        latency_ms=latency_ms,
    )


def _say(
    made: Sequence[Artifact],
    refused: Sequence[Entry],
    encoders: Mapping[str, Artifact],
    reference: Artifact,
    dataset: Dataset,
    options: Options,
    context: Context,
) -> dict[str, Any]:
    """The leaderboard on val, best first, with the references among its rows; and one sentence of verdict."""
    val, task = dataset.splits["val"], dataset.task
    entries = [_entry("fused", layout.short(a.config["method"]), a, model.OUTPUTS, val) for a in made]
    for artifact in encoders.values():
        name = f"{artifact.config['column']} ({artifact.config['architecture']})"
        entries.append(_entry("column", name, artifact, model.EMBEDDINGS, val))
    known = baselines.outputs(reference)
    entries += [Entry("baseline", name, known[name][val]) for name in baselines.names(reference)]
    ranked = leaderboard.rank([*entries, *refused], dataset.targets[val], task, context.seed)
    said = leaderboard.verdict(ranked, task)
    header, rows = leaderboard.table(ranked, task.primary_metric)
    context.console.table(header, rows)
    for entry in refused:
        context.console.note(f"{entry.name} was left out: {entry.reason}")
    context.console.note(said)
    if options.board:
        _write_board(ranked, said, made, dataset, context)
    data = {
        "fused": {layout.short(a.config["method"]): a.metrics for a in made},
        "columns": {name: a.metrics["val"] for name, a in model.best_by_input(encoders).items()},
        "encoders": {name: a.metrics["val"] for name, a in encoders.items()},
        "baselines": {name: reference.metrics[name]["val"] for name in baselines.names(reference)},
        "leaderboard": leaderboard.as_json(ranked, said, task),
    }
    if options.explain:
        data["weights"] = {a.config["method"]: _explain(a, dataset, context) for a in made}
    return data


def _entry(kind: str, name: str, artifact: Artifact, file: str, val: Tensor) -> Entry:
    found = artifact.metrics
    seeds = tuple(found.get("seeds", ()))
    outputs = tensors.load(artifact.file(file))["outputs"][val].float()
    return Entry(kind, name, outputs, seeds, found["parameters"], found["seconds"], found.get("latency_ms"))


def _write_board(ranked: Sequence[Ranked], said: str, made: Sequence[Artifact], dataset: Dataset, context: Context) -> None:
    from mmcli.reporting import plots  # matplotlib takes a second to import

    parents = {key: value for artifact in made for key, value in artifact.parent().items()}
    task = dataset.task
    fingerprint = store.digest([parents, said, [row.entry.name for row in ranked]])
    if store.up_to_date(context.root, layout.LEADERBOARD, fingerprint):
        return
    with store.writing(
        context.root,
        layout.LEADERBOARD,
        kind="leaderboard",
        command=context.command or "mmcli fuse --method all",
        config={"methods": [artifact.config["method"] for artifact in made]},
        seed=context.seed,
        parents=parents,
        fingerprint=fingerprint,
    ) as draft:
        draft.write_json("leaderboard.json", leaderboard.as_json(ranked, said, task))
        text = leaderboard.markdown(*leaderboard.table(ranked, task.primary_metric), said)
        store.write_atomic(draft.path / "leaderboard.md", text.encode())
        shown_rows = [(row.entry.name, row.entry.kind, row.score) for row in ranked if row.score is not None]
        plots.leaderboard(shown_rows, task.primary_metric, draft.path / "leaderboard.png", split="val")
    context.console.note(f"the leaderboard: {context.root / layout.LEADERBOARD}/leaderboard.md, .json, .png")


def _explain(artifact: Artifact, dataset: Dataset, context: Context) -> dict[str, Any]:
    """The columns' mean weights over val rows, of all and by class."""
    method, names = artifact.config["method"], list(artifact.config["encoders"])
    found = tensors.load(artifact.file(model.OUTPUTS)).get("weights")
    if found is None:
        context.console.note(f"{method} has no weights to show")
        return {}
    val = dataset.splits["val"]
    groups = {"all rows": val}
    if dataset.task.has_classes:
        strata = dataset.task.strata(dataset.task.config, [dataset.cells[i] for i in val.tolist()])
        groups |= {name: val[torch.tensor([own == name for own in strata])] for name in sorted(set(strata))}
    means = {group: found[index].mean(0).tolist() for group, index in groups.items()}
    rows = [[group, str(len(groups[group])), *(shown(value) for value in own)] for group, own in means.items()]
    context.console.table([f"weights of {method}", "rows", *names], rows)
    context.console.note("weights say how much of a column entered, not how much it mattered: for that see evaluate")
    return {group: dict(zip(names, own, strict=True)) for group, own in means.items()}
