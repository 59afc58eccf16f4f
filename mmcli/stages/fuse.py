"""fuse: joins the columns' encoders by one method or several, and says whether it helped.

Trains on the cached embeddings, in seconds, or with `train_encoders` through the encoders. The best single column and the
linear baseline always stand beside the fused score.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mmcli import baselines, joint, model, registry
from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact, Draft
from mmcli.config import TrainingConfig
from mmcli.dataset import Dataset
from mmcli.encoders import parameter_count
from mmcli.errors import ArtifactError, ConfigError, MmcliError, combine, unknown
from mmcli.networks import FusedModel, FusionHead
from mmcli.reporting.metrics import shown
from mmcli.signals import Batch, Features
from mmcli.stages import Context, Outcome
from mmcli.training import device
from mmcli.training.data import Rows
from mmcli.training.device import Compute
from mmcli.training.loop import LOG, Job, Trained, outputs_of, train

TRAINING = {"epochs": 60, "learning_rate": 1e-3, "batch_size": 64, "weight_decay": 0.05, "patience": 15}
TRAINING_THROUGH = {"epochs": 30, "learning_rate": 1e-3, "batch_size": 64, "weight_decay": 0.05, "patience": 10}
ENCODER_RATE = 0.3
MOST_ENCODERS = 3
"""Encoders of an input that are fused, the best on val, where more are trained."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    methods: tuple[str, ...] = ("gated",)
    inputs: tuple[str, ...] = ()
    """Columns to fuse; by default all."""
    encoders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Input -> architectures, where not all that are trained."""
    best_only: bool = False
    """Of each input only the encoder that is best on val."""
    train_encoders: bool = False
    modality_dropout: float | None = None
    """While training, how often each input is taken away; by default as configured."""


@dataclass(frozen=True)
class _Plan:
    method: str
    config: Any
    training: TrainingConfig
    encoders: dict[str, Artifact]
    """By name: the input, with the architecture where the input has several."""
    fingerprint: str

    @property
    def name(self) -> str:
        return layout.fusion(self.method)


def run(options: Options, context: Context) -> Outcome:
    """Trains every method into `fusions/<method>/`.

    Raises:
        ConfigError: an unknown method or column.
        ArtifactError: a column has no trained encoder.
    """
    dataset = Dataset.open(context.root)
    methods = _check_names(options, dataset)
    encoders = _choose_encoders(options, dataset, context)
    plans = [_plan(method, encoders, options, context) for method in methods]
    precision = context.precision if context.precision != "auto" or options.train_encoders else "float32"
    compute = device.choose(context.device, precision)
    chosen = ", ".join(f"{name} ({', '.join(own)})" for name, own in _architectures(encoders).items())
    context.console.note(f"fuse: {chosen} on {compute}")
    if context.dry_run:
        context.console.note(f"dry run: would train {', '.join(plan.name for plan in plans)}")
        return Outcome({"methods": list(methods)}, "mmcli fuse --method gated")
    reference = baselines.ensure(dataset, list(_architectures(encoders)), context.console)
    made = [_make(plan, options, dataset, compute, context) for plan in plans]
    data = _say(made, encoders, reference, dataset, context)
    return Outcome(data, "mmcli optimize")


def _check_names(options: Options, dataset: Dataset) -> list[str]:
    errors: list[MmcliError] = []
    methods: list[str] = []
    for method in options.methods:
        try:
            methods.append(registry.resolve("fusions", method).name)
        except ConfigError as error:
            errors.append(ConfigError(f"--method {method}: {error.message}", error.remedy))
    for flag, names in (("--input", options.inputs), ("--encoder", options.encoders)):
        errors += [
            ConfigError(f"{flag} {name}: {unknown('input', name, dataset.inputs)}")
            for name in names
            if name not in dataset.inputs
        ]
    if errors:
        raise combine(errors)
    return list(dict.fromkeys(methods))


def _choose_encoders(options: Options, dataset: Dataset, context: Context) -> dict[str, Artifact]:
    """Every encoder that is trained and fresh, or those asked for: several views of one input are better than the best one."""
    chosen: dict[str, Artifact] = {}
    for name in options.inputs or dataset.inputs:
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


def _sources(encoders: Mapping[str, Artifact]) -> dict[str, str]:
    return {name: artifact.config["column"] for name, artifact in encoders.items()}


def _plan(method: str, encoders: dict[str, Artifact], options: Options, context: Context) -> _Plan:
    settings = context.settings.for_stage("fuse")
    config = settings.part("fusions", method)
    training = settings.training(**(TRAINING_THROUGH if options.train_encoders else TRAINING))
    if options.modality_dropout is not None:
        training = training.model_copy(update={"modality_dropout": options.modality_dropout})
    with torch.device("meta"):
        model.build_fusion(method, config.model_dump(), dict.fromkeys(encoders, 8))
    parents = {key: value for artifact in encoders.values() for key, value in artifact.parent().items()}
    said = [config.model_dump(), training.model_dump(), options.train_encoders]
    placed = [context.seed, context.device, context.precision]
    return _Plan(method, config, training, encoders, store.digest([parents, list(encoders), said, placed]))


def _make(plan: _Plan, options: Options, dataset: Dataset, compute: Compute, context: Context) -> Artifact:
    if not context.force and (found := store.up_to_date(context.root, plan.name, plan.fingerprint)):
        context.console.note(f"{plan.name}: up to date")
        return found
    with store.writing(
        context.root,
        plan.name,
        kind="fusion",
        command=context.command or f"mmcli fuse --method {plan.method}",
        config={
            "method": plan.method,
            "fusion": plan.config.model_dump(),
            "encoders": {
                name: {"input": a.config["column"], "architecture": a.config["architecture"], "encoder": a.config["encoder"]}
                for name, a in plan.encoders.items()
            },
            "trained_encoders": options.train_encoders,
            "training": plan.training.model_dump(),
            "precision": compute.precision,
        },
        seed=context.seed,
        parents={key: value for artifact in plan.encoders.values() for key, value in artifact.parent().items()},
        fingerprint=plan.fingerprint,
    ) as draft:
        started = time.monotonic()
        job = (_job_through if options.train_encoders else _job)(plan, dataset, compute, context, draft)
        trained = train(job, context.console)
        _keep(job, trained, options, dataset, draft)
        draft.metrics["seconds"] = round(time.monotonic() - started, 2)
    return store.read(context.root, plan.name, "fusion", "mmcli fuse")


def _seed(plan: _Plan, context: Context) -> int:
    seed = device.derive_seed(context.seed, "fuse", plan.method)
    device.seed_everything(seed)
    return seed


def _job(plan: _Plan, dataset: Dataset, compute: Compute, context: Context, draft: Draft) -> Job:
    """Trains F and the head on the embeddings that the encoders left."""
    seed = _seed(plan, context)
    features = {column: embeddings(artifact) for column, artifact in plan.encoders.items()}
    dims = {column: f.pooled.shape[1] for column, f in features.items()}
    fusion = model.build_fusion(plan.method, plan.config.model_dump(), dims)
    head = FusionHead(fusion, dataset.task.head(fusion.dim), dims, _sources(plan.encoders), plan.training.modality_dropout)
    head.start_absent(features, dataset.splits["train"])
    if plan.training.swap:
        head.swap_shares = {column: _swap_share(artifact, dataset) for column, artifact in plan.encoders.items()}
    head.to(compute.device)
    rows = Rows(features, dataset.targets, dataset.splits, {}).to(compute.device)

    def outputs(batch: Batch) -> Tensor:
        return head({name: f.float() for name, f in batch.inputs.items()}).outputs  # type: ignore[no-any-return]

    def loss(batch: Batch) -> Tensor:
        return dataset.task.loss(outputs(batch), batch.targets)

    return Job(
        module=head,
        outputs=outputs,
        loss=loss,
        rows=rows,
        task=dataset.task,
        config=plan.training,
        compute=compute,
        seed=seed,
        folder=draft.path,
        label=plan.name,
    )


def _job_through(plan: _Plan, dataset: Dataset, compute: Compute, context: Context, draft: Draft) -> Job:
    """Trains F, the head and the encoders, which start from their own training."""
    seed = _seed(plan, context)
    columns = {column: model.load_encoder(dataset, artifact) for column, artifact in plan.encoders.items()}
    encoders = {column: own.encoder for column, own in columns.items()}
    dims = {column: encoder.dim for column, encoder in encoders.items()}
    fusion = model.build_fusion(plan.method, plan.config.model_dump(), dims)
    fusion_head = FusionHead(
        fusion, dataset.task.head(fusion.dim), dims, _sources(plan.encoders), plan.training.modality_dropout
    )
    cached = {column: embeddings(artifact) for column, artifact in plan.encoders.items()}
    fusion_head.start_absent(cached, dataset.splits["train"])
    network = FusedModel(encoders, fusion_head)
    heads = {column: own.head for column, own in columns.items()}
    return joint.job(
        network,
        heads,
        dataset,
        plan.training,
        compute,
        seed=seed,
        folder=draft.path,
        label=plan.name,
        encoder_rate=ENCODER_RATE,
    )


def _swap_share(artifact: Artifact, dataset: Dataset) -> float:
    """How often a train row's features must be another's for the encoder's own score on train to fall to that on val.

    (score on train - score on val) / (score on train - score with all rows shuffled), from 0 to 0.9
    """
    outputs = tensors.load(artifact.file(model.EMBEDDINGS))["outputs"]
    task, primary = dataset.task, dataset.task.primary_metric
    train, val = dataset.splits["train"], dataset.splits["val"]
    shuffled = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    by_heart = task.score(outputs[train], dataset.targets[train])[primary]
    honest = task.score(outputs[val], dataset.targets[val])[primary]
    at_random = task.score(outputs[shuffled], dataset.targets[train])[primary]
    if abs(by_heart - at_random) < 1e-9:
        return 0.0
    return float(min(max((by_heart - honest) / (by_heart - at_random), 0.0), 0.9))


def embeddings(artifact: Artifact) -> Features:
    """The features that an encoder left of every row, float16."""
    named = tensors.load(artifact.file(model.EMBEDDINGS))
    return Features(named["pooled"], named["tokens"], named["mask"], named["present"])


def _keep(job: Job, trained: Trained, options: Options, dataset: Dataset, draft: Draft) -> None:
    draft.volatile.add(LOG)
    kept = job.module.network if options.train_encoders else job.module
    assert isinstance(kept, FusedModel | FusionHead)
    head = kept.fusion_head if isinstance(kept, FusedModel) else kept
    val = job.rows.splits["val"]
    dataset.task.settle(head.head, outputs_of(job, val), job.rows.targets[val])
    draft.tensors[model.WEIGHTS] = tensors.save(draft.path / model.WEIGHTS, kept.state_dict())
    everything = torch.arange(len(dataset.rows), device=job.compute.device)
    saved = {"outputs": outputs_of(job, everything)}
    draft.tensors[model.OUTPUTS] = tensors.save(draft.path / model.OUTPUTS, saved)
    index = dataset.splits["val"]
    draft.metrics.update(
        primary_metric=dataset.task.primary_metric,
        higher_is_better=dataset.task.primary_higher_is_better,
        val=dataset.task.score(saved["outputs"][index].cpu(), dataset.targets[index]),
        best_epoch=trained.best_epoch,
        epochs=len(trained.history),
        parameters=parameter_count(head),
    )


def _say(
    made: Sequence[Artifact], encoders: Mapping[str, Artifact], reference: Artifact, dataset: Dataset, context: Context
) -> dict[str, Any]:
    """The leaderboard on val, best first, with the references among its rows; and one sentence of verdict."""
    primary = dataset.task.primary_metric
    sign = 1 if dataset.task.primary_higher_is_better else -1
    scores: list[tuple[str, str, dict[str, Any]]] = []
    scores += [("fused", a.config["method"], a.metrics) for a in made]
    scores += [("column", f"{a.config['column']} ({a.config['architecture']})", a.metrics) for a in encoders.values()]
    scores += [("baseline", name, reference.metrics[name]) for name in baselines.names(dataset)]
    scores.sort(key=lambda score: sign * score[2]["val"][primary], reverse=True)
    rows = [
        [
            kind,
            name,
            shown(m["val"][primary]),
            shown(m["val"]["loss"]),
            _figure(m, "parameters"),
            _figure(m, "seconds"),
        ]
        for kind, name, m in scores
    ]
    context.console.table(["", " model", f"val {primary}", "val loss", "parameters", "seconds"], rows)
    best = {kind: next(s for s in scores if s[0] == kind) for kind in ("fused", "column", "baseline")}
    fused, single = (best[kind][2]["val"][primary] for kind in ("fused", "column"))
    linear = reference.metrics["linear"]["val"][primary]
    verdict = f"{best['fused'][1]}: val {primary} {shown(fused)}; best single column, {best['column'][1]}: {shown(single)}"
    verdict += f"; linear: {shown(linear)}"
    if sign * fused <= sign * max(single, linear, key=lambda value: sign * value):
        verdict += ". Fusion does not help here, so far"
    context.console.note(verdict)
    return {
        "fused": {a.config["method"]: a.metrics for a in made},
        "columns": {name: a.metrics["val"] for name, a in model.best_by_input(encoders).items()},
        "encoders": {name: a.metrics["val"] for name, a in encoders.items()},
        "baselines": {name: reference.metrics[name]["val"] for name in baselines.names(dataset)},
    }


def _figure(metrics: Mapping[str, Any], key: str) -> str:
    value = metrics.get(key)
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.1f}"
