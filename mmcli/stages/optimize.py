"""optimize: the best fused model becomes more accurate, better calibrated, and is measured before and after.

Each optimization in turn proposes a model; it is kept only if val says so. The result holds all weights, so that it stands
alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mmcli import model, registry
from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact, Draft
from mmcli.dataset import Dataset
from mmcli.encoders import parameter_count
from mmcli.errors import ArtifactError
from mmcli.networks import FusedModel
from mmcli.optimizations import Optimization, Workbench
from mmcli.reporting.metrics import shown
from mmcli.stages import Context, Outcome
from mmcli.training import device
from mmcli.training.device import Compute
from mmcli.training.loop import LOG

STEPS = ("finetune", "calibrate")
LATENCY_CALLS = 30


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    method: str | None = None
    """The fusion to start from; by default the best on val."""


def run(options: Options, context: Context) -> Outcome:
    """Improves a fused model into `optimized/`.

    Raises:
        ArtifactError: there is no fused model that is complete and fresh.
    """
    dataset = Dataset.open(context.root)
    base = _base(options, context)
    steps = {name: _optimization(name, context) for name in STEPS}
    settings = context.settings.for_stage("optimize")
    compute = device.choose(context.device, context.precision, context.threads)
    said = [{name: step.config.model_dump() for name, step in steps.items()}, settings.values.get("training", {})]
    fingerprint = store.digest([base.parent(), said, context.seed, context.device, context.precision])
    context.console.note(f"optimize: from {base.name}, on {compute}")
    if context.dry_run:
        context.console.note(f"dry run: would try {', '.join(steps)}")
        return Outcome({"base": base.name, "steps": list(steps)}, "mmcli optimize")
    artifact = None if context.force else store.up_to_date(context.root, layout.OPTIMIZED, fingerprint)
    if artifact:
        context.console.note("optimized: up to date")
        return Outcome(artifact.metrics, "mmcli evaluate")
    parents = base.parent()
    for own in model.encoders_of(base).values():
        parents |= own.parent()
    with store.writing(
        context.root,
        layout.OPTIMIZED,
        kind="optimized",
        command=context.command or "mmcli optimize",
        config={
            **base.config,
            "base": base.name,
            "trained_encoders": True,
            "steps": said[0],
            "precision": compute.precision,
        },
        seed=context.seed,
        parents=parents,
        fingerprint=fingerprint,
    ) as draft:
        started = time.monotonic()
        _optimize(base, steps, dataset, compute, context, draft)
        draft.metrics["seconds"] = round(time.monotonic() - started, 2)
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


def _optimization(name: str, context: Context) -> Optimization:
    kind: type[Optimization] = registry.load("optimizations", name)
    return kind(context.settings.for_stage("optimize").part("optimizations", name))


def _optimize(
    base: Artifact,
    steps: Mapping[str, Optimization],
    dataset: Dataset,
    compute: Compute,
    context: Context,
    draft: Draft,
) -> None:
    network = model.load_fused(dataset, base).to(compute.device)
    heads = {name: model.load_encoder(dataset, own).head for name, own in model.encoders_of(base).items()}
    primary, higher = dataset.task.primary_metric, dataset.task.primary_higher_is_better
    before = measured(network, dataset, compute)
    history: list[dict[str, Any]] = [{"step": "fused", "kept": True, **before}]
    current = before
    for name, step in steps.items():
        folder = draft.path / name
        folder.mkdir(exist_ok=True)
        draft.volatile.add(f"{name}/{LOG}")
        bench = Workbench(
            dataset,
            heads,
            context.settings.for_stage("optimize"),
            compute,
            device.derive_seed(context.seed, "optimize", name),
            folder,
            context.console,
        )
        reason = step.unfit(dataset.task)
        if reason:
            history.append({"step": name, "kept": False, "reason": reason, **current})
            continue
        proposed = step.apply(network, bench)
        after = measured(proposed, dataset, compute)
        kept = step.improves(current["val"], after["val"], primary, higher)
        history.append({"step": name, "kept": kept, **after})
        if kept:
            network, current = proposed, after
    draft.tensors[model.WEIGHTS] = tensors.save(draft.path / model.WEIGHTS, network.state_dict())
    everything = torch.arange(len(dataset.rows))
    outputs = {"outputs": model.outputs_for(network, dataset, everything, compute)}
    draft.tensors[model.OUTPUTS] = tensors.save(draft.path / model.OUTPUTS, outputs)
    draft.metrics.update(
        primary_metric=primary,
        higher_is_better=higher,
        val=current["val"],
        before=before,
        after=current,
        history=history,
        base=base.name,
    )


def measured(network: FusedModel, dataset: Dataset, compute: Compute) -> dict[str, Any]:
    """Val metrics, size and latency of a model, on this device."""
    val = dataset.splits["val"]
    scores = dataset.task.score(model.outputs_for(network, dataset, val, compute), dataset.targets[val])
    size = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    latency = {f"latency_ms_batch_{batch}": _latency_ms(network, dataset, compute, batch) for batch in (1, 32)}
    return {"val": scores, "size_mb": round(size / 1e6, 3), "parameters": parameter_count(network), **latency}


@torch.no_grad()
def _latency_ms(network: FusedModel, dataset: Dataset, compute: Compute, batch: int) -> float:
    """Median milliseconds of the forward pass on a batch of val rows that lie on the device."""
    index = dataset.splits["val"].repeat(batch)[:batch]
    columns = {name: dataset.column(name).select(index) for name in network.inputs}
    prepared = {name: column.to(compute.device) for name, column in network.prepare(columns).items()}
    rows = torch.arange(batch, device=compute.device)
    inputs = {name: column.gather(rows) for name, column in prepared.items()}
    network.eval()
    times = []
    with compute.autocast():
        for _ in range(LATENCY_CALLS):
            started = time.perf_counter()
            network(inputs)
            if compute.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
    return round(sorted(times[3:])[len(times[3:]) // 2] * 1e3, 3)


def _say(artifact: Artifact, dataset: Dataset, context: Context) -> None:
    primary = dataset.task.primary_metric
    rows = []
    for entry in artifact.metrics["history"]:
        kept = (
            "start"
            if entry["step"] == "fused"
            else "kept"
            if entry["kept"]
            else f"left: {entry.get('reason', 'val is no better')}"
        )
        rows.append(
            [
                entry["step"],
                kept,
                shown(entry["val"][primary]),
                shown(entry["val"]["loss"]),
                f"{entry['latency_ms_batch_1']:.1f}",
                f"{entry['latency_ms_batch_32']:.1f}",
                f"{entry['size_mb']:.1f}",
            ]
        )
    context.console.table(["step", " result", f"val {primary}", "val loss", "ms, 1 row", "ms, 32 rows", "MB"], rows)
