"""The picked model as the artifact, with the table of all that was tried, and what is said of it."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mmcli.artifacts import layout, tensors
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.encoders import parameter_count
from mmcli.models import conformal, folds, loading, runners
from mmcli.optimizations import Candidate
from mmcli.reporting.console import Console
from mmcli.reporting.counts import counted
from mmcli.reporting.metrics import shown
from mmcli.selection import tradeoff
from mmcli.selection.tradeoff import Row
from mmcli.stages import Context
from mmcli.stages.optimize.work import FIGURE, TABLE, Work, judged_outputs


def write(candidate: Candidate, own: runners.Runner, work: Work, late: dict[str, Any]) -> None:
    """The picked model as the artifact: weights, outputs for every row, the table of what was tried, and its plots."""
    draft, bench = work.draft, work.bench
    dataset, task = bench.dataset, bench.dataset.task
    draft.tensors[loading.WEIGHTS] = tensors.save(draft.path / loading.WEIGHTS, candidate.network.state_dict())
    if candidate.file is not None:
        for file in runners.files_of(candidate.file):
            shutil.copyfile(file, draft.path / file.name)
    outputs = own.outputs({name: dataset.column(name) for name in candidate.network.inputs}, bench.compute.device)
    if bench.folds is not None:  # of rows that a member knows only those speak that do not
        outputs[bench.judged] = judged_outputs(candidate, own, bench)
        draft.tensors[folds.FILE] = tensors.save(draft.path / folds.FILE, bench.folds.save())
    draft.tensors[loading.OUTPUTS] = tensors.save(draft.path / loading.OUTPUTS, task.outputs.save(outputs))
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
    draft.measured |= {"before", "after", "history", "steps", runners.COMPILED_HERE}
    table = {"metric": task.primary_metric, "picked": row.name, "reference": work.reference}
    draft.write_json(TABLE, {**table, "rows": [r.as_dict() for r in work.rows]})
    draft.metrics.update(
        primary_metric=task.primary_metric,
        higher_is_better=task.primary_higher_is_better,
        val=task.score(task.outputs.gather(outputs, val), dataset.targets[val]),
        picked=row.name,
        way=candidate.way,
        before=_summary(fused),
        after=_summary(row),
        history=work.history,
        steps=work.steps,
        base=bench.base.name,
        conformal=conformal.fit(
            task, task.outputs.gather(outputs, bench.judged), dataset.targets[bench.judged], work.options.coverage
        ),
        parameters=parameter_count(candidate.network),
    )
    with Console().drawing("a plot beside the optimized model"):
        _draw(work, row.name)


def _summary(row: Row) -> dict[str, Any]:
    return {"val": row.extra["val"], "parameters": row.extra["parameters"], **(asdict(row.cost) if row.cost else {})}


def _draw(work: Work, picked: str) -> None:
    from mmcli.reporting import plots  # matplotlib takes a second to import

    task, folder = work.bench.dataset.task, work.draft.path
    plots.tradeoff(tradeoff.points(work.rows, picked), task.primary_metric, folder / FIGURE)
    found = work.steps.get("search", {})
    scores = [own["score"] for own in found.get("history", []) if own["score"] is not None]
    if len(scores) > 1:
        file = folder / "search-history.png"
        plots.history(scores, task.primary_metric, task.primary_higher_is_better, file)
    if found.get("importances"):
        plots.importances(found["importances"], folder / "search-importances.png")
    work.draft.volatile.update({"search-history.png", "search-importances.png"})


def measured(artifact: Artifact) -> list[Row]:
    """All models that were tried for an optimised one."""
    return tradeoff.told(artifact)[1]


def say(artifact: Artifact, dataset: Dataset, context: Context, max_drop: float) -> None:
    """The table of steps, the table of models, what was picked, and what else could be."""
    primary, metrics = dataset.task.primary_metric, artifact.metrics
    rows = []
    for entry in metrics["history"]:
        said = "start" if entry["step"] == "fused" else "kept" if entry["kept"] else f"left: {entry['reason']}"
        own = metrics["steps"].get(entry["step"], {})
        detail = _detail(entry["step"], own)
        seconds = f"{entry['seconds']:.0f}" if "seconds" in entry else ""
        rows.append([entry["step"], said, detail, shown(entry["val"][primary]), shown(entry["val"]["loss"]), seconds])
    context.console.table(["accuracy", " result", " what", f"val {primary}", "val loss", "s"], rows)
    tried, picked = measured(artifact), metrics["picked"]
    header, cells = tradeoff.table(tried, primary, picked)
    refit = loading.fresh_refit(context.root) if metrics["base"] == layout.FOLDED else None
    context.console.table(header, [*cells, *([] if refit is None else [tradeoff.unjudged(layout.REFIT, refit.metrics)])])
    if refit is not None:
        context.console.note(
            f"{layout.REFIT} is one pipeline, trained on all {refit.metrics['rows']:,} rows, so that they cannot judge it: its "
            f"score is {_known(refit)}; predict --model {shlex.quote(str(refit.path))} takes it"
        )
    for said in tradeoff.left_out(tried):
        context.console.note(f"not run: {said}")
    before, after = metrics["before"], metrics["after"]
    faster = before["p50_ms_1"] / max(after["p50_ms_1"], 1e-9)
    context.console.note(
        f"picked {metrics['picked']!r}: val {primary} {shown(before['val'][primary])} -> {shown(after['val'][primary])}, "
        f"one row in {before['p50_ms_1']:.2f} -> {after['p50_ms_1']:.2f} ms ({faster:.1f} times as fast), "
        f"{before['size_mb']:.1f} -> {after['size_mb']:.1f} MB"
    )
    worse = [name for name in (primary, "loss") if _fell(name, before["val"], after["val"], dataset)]
    if worse:
        lost = ", ".join(f"{name} {shown(before['val'][name])} -> {shown(after['val'][name])}" for name in worse)
        context.console.warn(f"{picked!r} is worse on val than the model before optimizing in {lost}")
    elif others := tradeoff.worse_than_before(metrics, dataset.task.metrics):
        context.console.note(f"it was picked by {primary}; by other measures val is worse than before: {'; '.join(others)}")
    doubtful = tradeoff.unproven(tried, picked, max_drop)
    if doubtful is not None:
        reads, seen = ", ".join(doubtful.extra["encoders"]), tried_on(artifact, dataset)
        context.console.note(
            f"{doubtful.name!r} ({reads}) takes {tradeoff.latency(doubtful):.2f} ms and is level on val, whose {seen:,} rows "
            f"are too few to show that it drops no more than {100 * max_drop:g}%: "
            f'--pick "{doubtful.name}" takes it, --max-drop allows more'
        )
    found = metrics["conformal"]
    if found:
        context.console.note(f"prediction sets are made to hold the truth in {found['coverage']:.0%} of rows: predict --sets")
    context.console.note(f"the models tried: {artifact.path / TABLE}, {artifact.path / FIGURE}")


def _known(refit: Artifact) -> str:
    """What its score is."""
    return "that of val alone" if refit.metrics["val"] else "the mean of single folds' on rows they were not trained on"


def tried_on(artifact: Artifact, dataset: Dataset) -> int:
    """How many rows models were judged by."""
    found = folds.Folds.of(artifact, dataset)
    return len(dataset.splits["val"] if found is None else found.judged(dataset))


def _fell(name: str, before: Mapping[str, float], after: Mapping[str, float], dataset: Dataset) -> bool:
    """Whether a metric is worse after, by more than rounding to other ways to compute makes of it."""
    sign = 1 if dataset.task.metrics.get(name, False) else -1
    visible = shown(after[name]) != shown(before[name])
    return visible and sign * (after[name] - before[name]) < -1e-3 * abs(before[name])


def _detail(step: str, found: Mapping[str, Any]) -> str:
    """What a step did, in a few words."""
    if step == "search" and found:
        return f"{counted(found['trials'], 'trial')}, {found['pruned']} stopped early"
    if step == "ensemble" and found:
        fused = any(name.startswith("fusions/") for name in found["members"])
        return counted(len(found["members"]), "model") + (", the fused one among them" if fused else "")
    if step == "finetune" and "share" in found:
        return f"after {counted(found['epochs'], 'epoch')}, {found['share']:.0%} of the way to the new weights"
    return str(found.get("method", ""))
