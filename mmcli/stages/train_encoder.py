"""train-encoder: one sub-model for each input column, trained with its own head; the best on val is used by fuse.

For each encoder the weights, the learning curve and the embeddings of every row are kept, so that fusing costs seconds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcli import model, registry
from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact, Draft
from mmcli.config import TrainingConfig
from mmcli.dataset import Dataset
from mmcli.encoders import parameter_count
from mmcli.errors import ConfigError, MmcliError, combine, unknown
from mmcli.inputs import Input
from mmcli.networks import ColumnModel
from mmcli.reporting.metrics import shown
from mmcli.signals import Batch, Column, Features
from mmcli.stages import Context, Outcome
from mmcli.training import device
from mmcli.training.data import Rows
from mmcli.training.device import Compute
from mmcli.training.loop import LOG, Job, outputs_of, train

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    columns: tuple[str, ...] = ()
    architectures: tuple[str, ...] = (AUTO,)
    tokens: int = 16
    """Most tokens kept of a row among the embeddings; longer ones are averaged in runs."""


@dataclass(frozen=True)
class _Candidate:
    column: str
    architecture: str
    config: Any
    training: TrainingConfig
    fingerprint: str

    @property
    def name(self) -> str:
        return layout.encoder(self.column, self.architecture)


def run(options: Options, context: Context) -> Outcome:
    """Trains the candidates of every column into `encoders/<column>/<architecture>/`.

    Raises:
        ConfigError: an unknown column or architecture, or one that does not take the column's signals.
        ArtifactError: there is no preprocessed table.
    """
    dataset = Dataset.open(context.root)
    _check_names(options, dataset)
    columns = options.columns or tuple(dataset.inputs)
    candidates = [c for column in columns for c in _candidates(column, options, dataset, context)]
    compute = device.choose(context.device, context.precision)
    if context.dry_run:
        context.console.note("dry run: would train " + ", ".join(c.name for c in candidates))
        return Outcome({"candidates": [c.name for c in candidates]}, "mmcli train-encoder")
    context.console.note(f"train-encoder: {len(candidates)} encoders on {compute}")
    made = [_make(candidate, options, dataset, compute, context) for candidate in candidates]
    kept = {column: model.fresh_encoders(context.root, column)[0].name for column in columns}
    _say(made, kept, dataset, context)
    data = {artifact.name: {"kept": artifact.name in kept.values(), **artifact.metrics} for artifact in made}
    return Outcome({"encoders": data}, "mmcli fuse --method gated")


def _check_names(options: Options, dataset: Dataset) -> None:
    errors: list[MmcliError] = [
        ConfigError(unknown("input", column, dataset.inputs)) for column in options.columns if column not in dataset.inputs
    ]
    for architecture in options.architectures:
        if architecture != AUTO:
            try:
                registry.resolve("encoders", architecture)
            except ConfigError as error:
                errors.append(ConfigError(f"--arch {architecture}: {error.message}", error.remedy))
    if errors:
        raise combine(errors)


def _candidates(column: str, options: Options, dataset: Dataset, context: Context) -> list[_Candidate]:
    found = dataset.input(column)
    kind = found.spec.kind
    names: list[str] = []
    for architecture in options.architectures:
        if architecture == AUTO:
            names += found.fitting_encoders
        elif options.columns or kind in registry.load("encoders", architecture).kinds:
            names.append(registry.canonical("encoders", architecture))
    if not names:
        raise ConfigError(
            f"none of --arch {', '.join(options.architectures)} takes the input {column!r}, a {kind}",
            f"Add --arch {found.fitting_encoders[0]}, or name the columns to train: mmcli train-encoder COL --arch NAME.",
        )
    return [_candidate(column, name, found, options, dataset, context) for name in dict.fromkeys(names)]


def _candidate(column: str, name: str, found: Input, options: Options, dataset: Dataset, context: Context) -> _Candidate:
    settings = context.settings.for_stage("train-encoder")
    config = settings.part("encoders", name)
    training = settings.training(**registry.resolve("encoders", name).literals.get("TRAINING", {}))
    with torch.device("meta"):  # says at once whether the two fit
        model.build_encoder(name, config.model_dump(), found.spec)
    parent = dataset.artifact.parent(column)
    said = [config.model_dump(), training.model_dump(), options.tokens, context.seed, context.device, context.precision]
    return _Candidate(column, name, config, training, store.digest([parent, said]))


def _make(candidate: _Candidate, options: Options, dataset: Dataset, compute: Compute, context: Context) -> Artifact:
    if not context.force and (found := store.up_to_date(context.root, candidate.name, candidate.fingerprint)):
        context.console.note(f"{candidate.name}: up to date")
        return found
    with store.writing(
        context.root,
        candidate.name,
        kind="encoder",
        command=context.command or f"mmcli train-encoder {candidate.column} --arch {candidate.architecture}",
        config={
            "column": candidate.column,
            "architecture": candidate.architecture,
            "encoder": candidate.config.model_dump(),
            "training": candidate.training.model_dump(),
            "precision": compute.precision,
        },
        seed=context.seed,
        parents=dataset.artifact.parent(candidate.column),
        fingerprint=candidate.fingerprint,
    ) as draft:
        _train(candidate, options, dataset, compute, context, draft)
        score = f"val {dataset.task.primary_metric} {shown(draft.metrics['val'][dataset.task.primary_metric])}"
        context.console.note(f"{candidate.name}: {score} in {draft.metrics['seconds']:.1f} s")
    return model.read_encoder(context.root, candidate.column, candidate.architecture)


def _train(candidate: _Candidate, options: Options, dataset: Dataset, compute: Compute, context: Context, draft: Draft) -> None:
    started = time.monotonic()
    name, column = candidate.architecture, candidate.column
    found = dataset.input(column)
    seed = device.derive_seed(context.seed, column, name)
    device.seed_everything(seed)
    encoder = model.build_encoder(name, candidate.config.model_dump(), found.spec)
    network = ColumnModel(encoder, dataset.task.head(encoder.dim))
    prepared = encoder.prepare(dataset.column(column))
    encoder.fit(prepared.select(dataset.splits["train"]))
    network.to(compute.device)
    rows = _rows(column, prepared, found, candidate.training, dataset).to(compute.device)

    def outputs(batch: Batch) -> Tensor:
        result: Tensor = network(batch.inputs[column])
        return result

    def loss(batch: Batch) -> Tensor:
        found = outputs(batch)
        members = len(found) // len(batch.targets)
        return dataset.task.loss(found, batch.targets.repeat(members, *[1] * (batch.targets.dim() - 1)))

    job = Job(
        module=network,
        outputs=outputs,
        loss=loss,
        rows=rows,
        task=dataset.task,
        config=candidate.training,
        compute=compute,
        seed=seed,
        folder=draft.path,
        label=candidate.name,
    )
    encoder.apart = True
    trained = train(job, context.console)
    encoder.apart = False
    draft.volatile.add(LOG)
    val = dataset.splits["val"].to(compute.device)
    dataset.task.settle(network.head, outputs_of(job, val), rows.targets[val])
    everything = torch.arange(len(prepared), device=compute.device)
    embeddings = _embed(job, encoder, column, everything, options.tokens)
    embeddings["outputs"] = outputs_of(job, everything)
    draft.tensors[model.EMBEDDINGS] = tensors.save(draft.path / model.EMBEDDINGS, embeddings)
    draft.tensors[model.WEIGHTS] = tensors.save(draft.path / model.WEIGHTS, network.state_dict())
    scores = {
        split: dataset.task.score(embeddings["outputs"][index].cpu(), dataset.targets[index])
        for split, index in dataset.splits.items()
        if split != "test"
    }
    draft.metrics.update(
        primary_metric=dataset.task.primary_metric,
        higher_is_better=dataset.task.primary_higher_is_better,
        val=scores["val"],
        train={dataset.task.primary_metric: scores["train"][dataset.task.primary_metric]},
        best_epoch=trained.best_epoch,
        epochs=len(trained.history),
        parameters=parameter_count(encoder),
        seconds=round(time.monotonic() - started, 2),
    )


def _rows(column: str, prepared: Column, found: Input, training: TrainingConfig, dataset: Dataset) -> Rows:
    augment = {column: found.augment} if training.augment != "none" and found.varies else {}
    return Rows({column: prepared}, dataset.targets, dataset.splits, augment)


@torch.no_grad()
def _embed(job: Job, encoder: torch.nn.Module, column: str, index: Tensor, tokens: int) -> dict[str, Tensor]:
    """Pooled features and at most `tokens` tokens of the rows `index`, float16."""
    job.module.eval()
    parts: list[Features] = []
    with job.compute.autocast():
        for batch in job.rows.in_order(index, 256):
            features = encoder(batch.inputs[column])
            short, mask = bounded_tokens(features.tokens.float(), features.mask, tokens)
            parts.append(Features(features.pooled.half().cpu(), short.half().cpu(), mask.cpu(), features.present.cpu()))
    mask = torch.cat([part.mask for part in parts])
    longest = max(int(mask.sum(1).max()), 1) if len(mask) else 1
    return {
        "pooled": torch.cat([part.pooled for part in parts]),
        "tokens": torch.cat([part.tokens for part in parts])[:, :longest].clone(),
        "mask": mask[:, :longest].clone(),
        "present": torch.cat([part.present for part in parts]),
    }


def bounded_tokens(tokens_BTD: Tensor, mask_BT: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """At most `limit` tokens a row, [B, limit, D]: longer rows are averaged over `limit` runs of nearly equal length."""
    rows, _, width = tokens_BTD.shape
    place = mask_BT.cumsum(1) - 1
    length = mask_BT.sum(1, keepdim=True)
    run = torch.where(length > limit, place * limit // length.clamp(min=1), place)
    run = torch.where(mask_BT, run, limit)  # padding goes to a run of its own, which is cut off
    sums = tokens_BTD.new_zeros(rows, limit + 1, width).scatter_add_(1, run[..., None].expand_as(tokens_BTD), tokens_BTD)
    counts = tokens_BTD.new_zeros(rows, limit + 1).scatter_add_(1, run, torch.ones_like(run, dtype=tokens_BTD.dtype))
    return (sums / counts.clamp(min=1)[..., None])[:, :limit], counts[:, :limit] > 0


def _say(made: Sequence[Artifact], kept: dict[str, str], dataset: Dataset, context: Context) -> None:
    primary = dataset.task.primary_metric
    rows = []
    for artifact in made:
        metrics = artifact.metrics
        rows.append(
            [
                artifact.config["column"],
                artifact.config["architecture"] + (" *" if artifact.name in kept.values() else ""),
                shown(metrics["val"][primary]),
                shown(metrics["train"][primary]),
                f"{metrics['best_epoch']}/{metrics['epochs']}",
                f"{metrics['parameters']:,}",
                f"{metrics['seconds']:.1f}",
            ]
        )
    header = ["input", " encoder", f"val {primary}", f"train {primary}", "best epoch", "parameters", "seconds"]
    context.console.table(header, rows)
    context.console.note("* best on val for its input; fuse takes the best three of each input (--best-only: this one)")
