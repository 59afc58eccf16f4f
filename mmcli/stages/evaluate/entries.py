"""Who stands in the proof: the best model, what it was made from, each input alone, baselines; each with its test scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from mmcli.artifacts import layout, store
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.models import forward, loading
from mmcli.options.evaluate import Options
from mmcli.proof import baselines, telling
from mmcli.proof.report import Entry
from mmcli.reporting.metrics import Interval
from mmcli.stages import Context
from mmcli.training import device


@dataclass(frozen=True)
class Case:
    """What is evaluated."""

    best: Artifact
    fused: Artifact
    """The single pipeline that it is or comes of."""
    folded: Artifact | None
    """The average of folds that it is or comes of."""
    refit: Artifact | None
    """The one pipeline of all labelled rows beside that."""
    columns: Mapping[str, Artifact]
    """Of each input the best encoder."""
    reference: Artifact
    dataset: Dataset
    options: Options
    context: Context
    started: float
    """When the evaluation began, by time.monotonic()."""
    contrast: Mapping[str, Sequence[str]]
    """Columns of texts that the right ones are set against: their cells of the test rows."""


def under(best: Artifact) -> tuple[Artifact, Artifact | None]:
    """The fusion that the best model is or was made from, and the average of folds where one stands between."""
    if best.manifest["kind"] == "fusion":
        return best, None
    if best.config["base"] == layout.FOLDED:
        best = store.read(best.root, layout.FOLDED, "folded", "mmcli run TABLE --folds")
    fused = store.read(best.root, best.config["base"], "fusion", "mmcli fuse")
    return fused, best if best.manifest["kind"] == "folded" else None


def entries_of(case: Case) -> list[Entry]:
    """Every model and baseline on the test rows, the best model first; and the best model without each of its inputs."""
    best, fused, columns, dataset, context = case.best, case.fused, case.columns, case.dataset, case.context
    test = dataset.splits["test"]
    targets, groups = dataset.targets[test], dataset.groups(test)

    untold = dataset.task.untold(targets)

    def entry(kind: str, name: str, outputs: Any, what: str) -> Entry:
        scores = dataset.task.intervals(outputs, targets, context.seed, groups, more=True)
        scores = {name: own for name, own in scores.items() if name not in untold}
        return Entry(kind, name, outputs, what, scores)

    entries = []
    if best.manifest["kind"] == "optimized":
        what = f"{best.metrics['picked']}: {best.config['method']} of {', '.join(loading.inputs_of(best))}"
        entries.append(entry("optimized", best.name, kept(best, dataset, test), what))
    if case.folded is not None:
        what = f"average of {len(case.folded.metrics['folds'])} folds of {case.folded.config['method']}"
        entries.append(entry("folded", case.folded.name, kept(case.folded, dataset, test), what))
    if case.refit is not None:
        what = (
            f"one pipeline, {case.refit.config['method']}, trained on all {case.refit.metrics['rows']:,} rows of train and val"
        )
        entries.append(entry("refit", case.refit.name, kept(case.refit, dataset, test), what))
    what = f"{fused.config['method']} fusion of {', '.join(loading.inputs_of(fused))}"
    entries.append(entry("fused", fused.config["method"], kept(fused, dataset, test), what))
    for column, artifact in columns.items() if not dataset.task.aligns_columns else ():  # one alone finds nothing
        what = f"this input alone ({layout.short(artifact.config['architecture'])})"
        file = loading.kept_file(artifact, loading.EMBEDDINGS)
        own = entry("column", column, kept(artifact, dataset, test, file), what)
        if telling.cannot_know(dataset.task, artifact):
            own = replace(own, what=f"{what}: {telling.note(own.scores[dataset.task.primary_metric])}")
        entries.append(own)
    outputs = baselines.outputs(case.reference, dataset)
    for name in baselines.names(case.reference):
        own = dataset.task.outputs.gather(outputs[name], test)
        what = dataset.task.baseline_words.get(name) or baselines.described(name)
        entries.append(entry("baseline", name, own, what))
    read = loading.inputs_of(best)
    taken = read if len(read) > 1 and not dataset.task.aligns_columns else []
    taken = taken + [member for name in read if dataset.input(name).joined for member in dataset.input(name).members]
    if taken:
        compute = device.choose(context.device, context.precision, context.threads)
        network = loading.load_fused(dataset, best).to(compute.device)
        with context.console.progress("evaluate: without each input", len(taken)) as progress:
            for name in taken:
                absent = forward.outputs_for(network, dataset, test, compute, absent=[name])
                entries.append(entry("without", name, absent, f"{best.name} with {name} absent"))
                progress.advance(name)
    return entries


def given_away(entries: Sequence[Entry], case: Case) -> str:
    """The warning where inputs tell alone what they cannot know; else empty."""
    found: dict[str, tuple[str, Interval]] = {}
    for own in entries:
        if own.kind == "column" and telling.cannot_know(case.dataset.task, case.columns[own.name]):
            short = layout.short(case.columns[own.name].config["architecture"])
            found = telling.best_of(found, own.name, short, own.scores[case.dataset.task.primary_metric])
    return telling.warning(found, case.dataset.task.primary_metric, "test")


def kept(artifact: Artifact, dataset: Dataset, index: Tensor, file: str = loading.OUTPUTS) -> Any:
    """A model's outputs for the rows `index`."""
    return dataset.task.outputs.gather(loading.outputs(artifact, dataset, file), index)
