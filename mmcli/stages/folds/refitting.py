"""One pipeline trained on all labelled rows, once folds are joined: what val would decide is what the folds have come to.

No row is left that could judge it, so nothing is chosen by rows that it knows: how long encoders and F train, how often F's
features are swapped, how a linear model is joined and what the columns' own decisions count are means over the folds; its
temperature and thresholds are those of the folds' out-of-fold outputs, which are of single pipelines too.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact, Draft
from mmcli.data.dataset import Dataset
from mmcli.encoders import parameter_count
from mmcli.jobs import fusion as fusion_job
from mmcli.models import forward, loading, plain, runners
from mmcli.models.calibration import temperature
from mmcli.models.networks import FusedModel, settle
from mmcli.models.recipe import Recipe
from mmcli.reporting.metrics import shown
from mmcli.stages import Context, Outcome
from mmcli.stages.folds.dealing import folds_of
from mmcli.stages.folds.joining import fusion_of
from mmcli.training import device
from mmcli.training.device import Compute
from mmcli.training.fixed import Fixed

SOLVED = plain.TERMS
"""Members of folds that the refit has none of."""


def fixed_by(fused: Mapping[int, Artifact]) -> Fixed:
    """What the folds' fusions of one method, by number, have come to; of epochs the mean, rounded."""
    encoders = {number: loading.encoders_of(own) for number, own in fused.items()}
    by_name: dict[str, dict[str, Any]] = {}
    for name, first in encoders[1].items():
        each = [own[name].metrics for own in encoders.values()]
        linear = [own["linear"] for own in each if "linear" in own]
        by_name[first.name] = {"epochs": rounded([own["best_epoch"] for own in each])}
        if linear:
            middle = sorted(own["strength"] for own in linear)[(len(linear) - 1) // 2]
            factors = {key: fmean(own[key] for own in linear) for key in ("solved", "trained")}
            by_name[first.name]["linear"] = {"strength": middle, **factors}
    swap: dict[str, list[float]] = {name: [] for name in encoders[1]}
    for number, artifact in fused.items():
        dataset = Dataset.open(artifact.root)
        for name, own in encoders[number].items():
            swap[name].append(fusion_job.swap_share(fusion_job.embeddings(own, dataset), dataset))
    epochs = rounded([epoch for own in fused.values() for epoch in own.metrics["best_epochs"]])
    return Fixed(by_name, epochs, {name: fmean(own) for name, own in swap.items()}, beside_of(list(fused.values())))


def sound(folded: Artifact, count: int, context: Context) -> dict[int, Artifact]:
    """By number, the folds' fusions of the method that they were joined by, but for folds that went wrong: they have no say."""
    numbers = [number for number in range(1, count + 1) if number not in folded.metrics["wrong"]]
    return {number: fusion_of(number, folded.config["method"], context) for number in numbers}


def rounded(epochs: Sequence[int]) -> int:
    """The mean, halves up, and at least one."""
    return max(math.floor(fmean(epochs) + 0.5), 1)


def beside_of(fused: Sequence[Artifact]) -> dict[str, Any] | None:
    """How the columns' decisions count beside F, if they do in most folds: means over these, of temperatures by their
    logarithms."""
    having = [own for own in fused if "beside" in own.metrics]
    if 2 * len(having) <= len(fused):
        return None
    told = [own.metrics["beside"] for own in having]
    weights = [tensors.of(own, loading.WEIGHTS) for own in having]
    members = [f"members.{len(own.config['seeds'])}" for own in having]
    preference = torch.stack([own[f"{name}.fusion.preference"] for own, name in zip(weights, members, strict=True)])
    # Solved members that came in later have divided it, as all that was there before, by what was found for them.
    later = [math.prod(own.metrics[key]["temperature"] for key in SOLVED if key in own.metrics) for own in having]
    warm = [float(own[f"{name}.temperature"]) / cool for own, name, cool in zip(weights, members, later, strict=True)]
    return {
        "share": fmean(own["share"] for own in told),
        "temperature": math.exp(fmean(math.log(own["temperature"]) for own in told)),
        "own_temperature": math.exp(fmean(map(math.log, warm))),
        "preference": preference.mean(0).tolist(),
    }


def refit(count: int, keep_val: bool, context: Context) -> Outcome:
    """Makes `refit/` of the pipeline in `folds/refit`: whole, with the temperature and thresholds of the folds.

    Raises:
        ArtifactError: the folds or that pipeline are not complete.
    """
    dataset = Dataset.open(context.root)
    folded = store.require_fresh(store.read(context.root, layout.FOLDED, "folded", loading.WHOLE[layout.FOLDED]))
    method = folded.config["method"]
    own = fusion_of(0, method, context)
    compute = device.choose(context.device, context.precision, context.threads)
    parents = dataset.artifact.parent() | folded.parent() | own.parent(fold=0)
    for encoder in loading.encoders_of(own).values():
        parents |= encoder.parent(fold=0)
    fingerprint = store.digest([parents, count, keep_val, context.seed, str(compute)])
    found = None if context.force else store.up_to_date(context.root, layout.REFIT, fingerprint)
    if found is None:
        of_row = folds_of(dataset, count, keep_val, context.seed)
        of_row[dataset.splits["val"]] = 1  # where it is kept too: the first fold has not been trained on it
        fused = sound(folded, count, context)
        if any(key in own.metrics for own in fused.values() for key in SOLVED):
            context.console.warn(
                "refit: folds hold a linear model, trees or TabICL beside F, which it has not: its temperature, thresholds and "
                "score are theirs, and fit it less well (--set fuse.training.decisions=false for folds without)"
            )
        found = _made(own, fused, of_row, folded, parents, fingerprint, keep_val, dataset, compute, context)
    else:
        context.console.note(f"{layout.REFIT}: up to date")
    _say(found, folded, context)
    return Outcome(found.metrics, "mmcli evaluate")


def _made(
    own: Artifact,
    fused: Mapping[int, Artifact],
    of_row: Tensor,
    folded: Artifact,
    parents: Mapping[str, str],
    fingerprint: str,
    keep_val: bool,
    dataset: Dataset,
    compute: Compute,
    context: Context,
) -> Artifact:
    """The pipeline's model as an artifact of the root, which stands alone."""
    started, recipe = time.monotonic(), Recipe.of(own)
    recipe = replace(recipe, encoders={name: {**said, "fold": 0} for name, said in recipe.encoders.items()})
    with store.writing(
        context.root,
        layout.REFIT,
        kind="refit",
        command=context.command or loading.WHOLE[layout.REFIT],
        config={
            **own.config,
            "encoders": recipe.encoders,
            "trained_encoders": True,
            "precision": compute.precision,
            "base": folded.name,
            "recipe": recipe.as_dict(),
            "keep_val": keep_val,
        },
        seed=context.seed,
        parents=parents,
        fingerprint=fingerprint,
        anew=context.force,
    ) as draft:
        network = loading.load_fused(Dataset.open(own.root), own).to(compute.device)
        _settle(network, fused, of_row, dataset)
        outputs = forward.outputs_for(network, dataset, torch.arange(len(dataset.rows)), compute)
        draft.tensors[loading.WEIGHTS] = tensors.save(draft.path / loading.WEIGHTS, network.state_dict())
        draft.tensors[loading.OUTPUTS] = tensors.save(draft.path / loading.OUTPUTS, dataset.task.outputs.save(outputs))
        _tell(network, outputs, own, fused, keep_val, dataset, compute, draft)
        draft.metrics["seconds"] = round(time.monotonic() - started, 2)
    return store.read(context.root, layout.REFIT, "refit", loading.WHOLE[layout.REFIT])


def _settle(network: FusedModel, fused: Mapping[int, Artifact], of_row: Tensor, dataset: Dataset) -> None:
    """Sets what it decides by and its temperature, from what each fold answers to the rows that it was not trained on, each
    fold's own temperature taken off."""
    task, index = dataset.task, torch.isin(of_row, torch.tensor(list(fused))).nonzero()[:, 0]
    found = torch.zeros_like(loading.outputs(fused[1], dataset))
    for number, own in fused.items():
        rows = of_row == number
        found[rows] = loading.outputs(own, dataset)[rows] * tensors.of(own, loading.WEIGHTS)["temperature"]
    raw, right = found[index], dataset.targets[index]
    head = network.fusion_head
    settle(head, raw, right)
    head.temperature.fill_(1.0)
    if not task.lacks("calibration"):
        decide = task.decision_head()
        task.settle(decide, raw, right)
        head.temperature.fill_(temperature(decide(raw[:, : task.decision.width]), right, task))


def _tell(
    network: FusedModel,
    outputs: Tensor,
    own: Artifact,
    fused: Mapping[int, Artifact],
    keep_val: bool,
    dataset: Dataset,
    compute: Compute,
    draft: Draft,
) -> None:
    """What it may be worth, which no row that it knows says; what it costs, and how long it was trained."""
    task, val = dataset.task, dataset.splits["val"]
    rows = len(dataset.splits["train"]) + (0 if keep_val else len(val))
    encoders = loading.encoders_of(own).values()
    draft.measured.add("cost")
    draft.metrics.update(
        primary_metric=task.primary_metric,
        higher_is_better=task.primary_higher_is_better,
        val=task.score(outputs[val], dataset.targets[val]) if keep_val else {},
        estimated=fmean(fold.metrics["val"][task.primary_metric] for fold in fused.values()),
        rows=rows,
        epochs={str(encoder.name): encoder.metrics["epochs"] for encoder in encoders},
        fusion_epochs=own.metrics["best_epochs"],
        parameters=parameter_count(network),
        cost=asdict(runners.cost(runners.runner(runners.TORCH, network, compute, None), dataset, compute)),
    )


def _say(found: Artifact, folded: Artifact, context: Context) -> None:
    metrics, average = found.metrics, folded.metrics["cost"]["average"]
    primary, cost = metrics["primary_metric"], metrics["cost"]
    known = f"val {primary} {shown(metrics['val'][primary])}" if metrics["val"] else "no row of val is left to judge it"
    context.console.note(
        f"refit: one pipeline, trained on all {metrics['rows']:,} rows: {known}; single folds have on average {primary} "
        f"{shown(metrics['estimated'])} on rows that they were not trained on; one row in {cost['p50_ms_1']:.2f} ms where the "
        f"average takes {average['p50_ms_1']:.2f}, {cost['size_mb']:.1f} MB where it takes {average['size_mb']:.1f}: predict "
        f"--model {shlex.quote(str(found.path))} takes it"
    )
