"""The leaderboard on val, with the references among its rows, and its one sentence of verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.models import loading
from mmcli.options.fuse import Options
from mmcli.proof import baselines
from mmcli.proof import telling as gives_away
from mmcli.reporting.metrics import Interval, shown
from mmcli.selection import leaderboard
from mmcli.selection.leaderboard import Entry, Ranked
from mmcli.stages import Context


def say(
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
    entries = [_entry("fused", layout.short(a.config["method"]), a, loading.OUTPUTS, dataset) for a in made]
    telling: dict[str, tuple[str, Interval]] = {}
    for artifact in encoders.values() if not task.aligns_columns else ():  # one alone finds nothing
        column, short = artifact.config["column"], layout.short(artifact.config["architecture"])
        own = _entry("column", f"{column} ({short})", artifact, loading.kept_file(artifact, loading.EMBEDDINGS), dataset)
        if gives_away.cannot_know(task, artifact):
            score = task.intervals(own.outputs, dataset.targets[val], context.seed, dataset.groups(val))[task.primary_metric]
            telling = gives_away.best_of(telling, column, short, score)
            own = replace(own, note=gives_away.note(score))
        entries.append(own)
    known = baselines.outputs(reference, dataset)
    entries += [Entry("baseline", name, task.outputs.gather(known[name], val)) for name in baselines.names(reference)]
    ranked = leaderboard.rank([*entries, *refused], dataset.targets[val], task, context.seed)
    rival = None
    if task.compares_columns:
        rival = leaderboard.over_reference(ranked, dataset.targets[val], task, context.seed, dataset.groups(val))
    alone = len({own.config["column"] for own in encoders.values()}) == 1
    said = leaderboard.verdict(ranked, task, rival, alone=alone)
    told = ranked if options.all else leaderboard.shortened(ranked, task)
    context.console.table(*leaderboard.table(told, task.primary_metric))
    if len(told) < len(ranked):
        context.console.note(f"{len(ranked) - len(told)} more: --all, or the leaderboard's files")
    for entry in refused:
        context.console.note(f"{entry.name} was left out: {entry.reason}")
    context.console.note(said)
    if warning := gives_away.warning(telling, task.primary_metric, "val"):
        context.console.warn(warning)
    _write_board(ranked, said, made, dataset, context)
    data = {
        "fused": {layout.short(a.config["method"]): a.metrics for a in made},
        "columns": {name: loading.alone(a) for name, a in loading.best_by_input(encoders).items()},
        "encoders": {name: a.metrics["val"] for name, a in encoders.items()},
        "baselines": {name: reference.metrics[name]["val"] for name in baselines.names(reference)},
        "leaderboard": leaderboard.as_json(ranked, said, task),
    }
    if options.explain:
        data["weights"] = {a.config["method"]: _explain(a, dataset, context) for a in made}
    return data


def _entry(kind: str, name: str, artifact: Artifact, file: str, dataset: Dataset) -> Entry:
    found = artifact.metrics
    seeds = tuple(found.get("seeds", ()))
    outputs = dataset.task.outputs.gather(loading.outputs(artifact, dataset, file), dataset.splits["val"])
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
        # What is written tells how long methods took; the hash is of their order and their scores.
        draft.volatile |= {"leaderboard.json", "leaderboard.md", "leaderboard.png"}
        told = leaderboard.as_json(ranked, said, task)
        clock = {"seconds", "latency_ms"}
        draft.metrics["rows"] = [{key: value for key, value in row.items() if key not in clock} for row in told["rows"]]
        draft.write_json("leaderboard.json", told)
        text = leaderboard.markdown(*leaderboard.table(ranked, task.primary_metric), said)
        store.write_atomic(draft.path / "leaderboard.md", text.encode())
        shown_rows = [(row.entry.name, row.entry.kind, row.score) for row in ranked if row.score is not None]
        with context.console.drawing("leaderboard.png"):
            plots.leaderboard(shown_rows, task.primary_metric, draft.path / "leaderboard.png", split="val")
    context.console.note(f"the leaderboard: {context.root / layout.LEADERBOARD}/leaderboard.md, .json, .png")


def _explain(artifact: Artifact, dataset: Dataset, context: Context) -> dict[str, Any]:
    """The columns' mean weights over val rows, of all and by class."""
    method, names = artifact.config["method"], list(artifact.config["encoders"])
    found = tensors.of(artifact, loading.OUTPUTS).get("weights")
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
