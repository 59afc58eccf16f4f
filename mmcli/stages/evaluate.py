"""evaluate: the proof. Every model and baseline on the test split with intervals, what each input is worth, a report.

The test split is looked at here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor

from mmcli import __version__, baselines, model
from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact, Draft
from mmcli.dataset import Dataset, target_columns
from mmcli.errors import DataError
from mmcli.reporting import html, plots
from mmcli.reporting.metrics import Interval, shown
from mmcli.stages import Context, Outcome
from mmcli.training import device

METRICS = "metrics.json"
REPORT = "report.html"
PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class _Entry:
    """One model on the test split."""

    kind: str
    """fused, optimized, column, baseline or without."""
    name: str
    outputs: Tensor
    what: str
    scores: dict[str, Interval]

    @property
    def label(self) -> str:
        return self.name if self.kind in {"column", "baseline"} else self.kind


def run(context: Context) -> Outcome:
    """Evaluates what there is into `evaluation/`.

    Raises:
        ArtifactError: there is no fused model.
        DataError: there are no test rows.
    """
    dataset = Dataset.open(context.root)
    best = model.best(context.root)
    fused = _fusion_under(best, context)
    if not len(dataset.splits["test"]):
        raise DataError("the table has no test rows", "Preprocess with --test 0.15, or a --split column that names some.")
    encoders = model.encoders_of(fused)
    columns = model.best_by_input(encoders)
    reference = baselines.ensure(dataset, list(columns), context.console)
    parents = dict(best.parent()) | dict(fused.parent()) | dict(reference.parent())
    for artifact in encoders.values():
        parents |= artifact.parent()
    fingerprint = store.digest([parents, context.seed, __version__])
    if context.dry_run:
        context.console.note(f"dry run: would evaluate {best.name}")
        return Outcome({"model": best.name}, "mmcli evaluate")
    found = None if context.force else store.up_to_date(context.root, layout.EVALUATION, fingerprint)
    if found:
        context.console.note("evaluation: up to date")
    else:
        with store.writing(
            context.root,
            layout.EVALUATION,
            kind="evaluation",
            command=context.command or "mmcli evaluate",
            config={"model": best.name, "fused": fused.name},
            seed=context.seed,
            parents=parents,
            fingerprint=fingerprint,
        ) as draft:
            entries = _entries(best, fused, columns, reference, dataset, context)
            _write(entries, best, fused, columns, dataset, context, draft)
        found = store.read(context.root, layout.EVALUATION, "evaluation", "mmcli evaluate")
    summary = found.json(METRICS)
    _say(summary, context)
    return Outcome(summary, f"open {found.path / REPORT}")


def _fusion_under(best: Artifact, context: Context) -> Artifact:
    """The fusion that the best model is or was made from."""
    if best.manifest["kind"] == "fusion":
        return best
    return store.read(context.root, best.config["base"], "fusion", "mmcli fuse")


def _entries(
    best: Artifact,
    fused: Artifact,
    columns: Mapping[str, Artifact],
    reference: Artifact,
    dataset: Dataset,
    context: Context,
) -> list[_Entry]:
    test = dataset.splits["test"]
    targets = dataset.targets[test]

    def entry(kind: str, name: str, outputs: Tensor, what: str) -> _Entry:
        return _Entry(kind, name, outputs, what, dataset.task.intervals(outputs, targets, context.seed))

    entries = []
    if best is not fused:
        kept = [step["step"] for step in best.metrics["history"] if step["kept"] and step["step"] != "fused"]
        what = f"the fused model after {', '.join(kept)}" if kept else "the fused model: no optimization helped"
        entries.append(entry("optimized", best.name, _kept_outputs(best, model.OUTPUTS)[test], what))
    what = f"{fused.config['method']} fusion of {', '.join(columns)}"
    entries.append(entry("fused", fused.config["method"], _kept_outputs(fused, model.OUTPUTS)[test], what))
    for column, artifact in columns.items():
        what = f"this input alone ({artifact.config['architecture']})"
        entries.append(entry("column", column, _kept_outputs(artifact, model.EMBEDDINGS)[test], what))
    outputs = baselines.outputs(reference)
    described = {"linear": "a linear model on the same inputs"}
    for name in baselines.names(dataset):
        what = described.get(name, f"the {name} of the train targets, whatever the inputs")
        entries.append(entry("baseline", name, outputs[name][test], what))
    taken = list(columns) if len(columns) > 1 else []
    taken += [member for name in columns if dataset.input(name).joined for member in dataset.input(name).members]
    if taken:
        compute = device.choose(context.device, context.precision, context.threads)
        network = model.load_fused(dataset, best).to(compute.device)
        with context.console.progress("evaluate: without each input", len(taken)) as progress:
            for name in taken:
                absent = model.outputs_for(network, dataset, test, compute, absent=[name])
                entries.append(entry("without", name, absent, f"{best.name} with {name} absent"))
                progress.advance(name)
    return entries


def _kept_outputs(artifact: Artifact, file: str) -> Tensor:
    return tensors.load(artifact.file(file))["outputs"]


def _write(
    entries: list[_Entry],
    best: Artifact,
    fused: Artifact,
    columns: Mapping[str, Artifact],
    dataset: Dataset,
    context: Context,
    draft: Draft,
) -> None:
    task, test = dataset.task, dataset.splits["test"]
    primary = task.primary_metric
    top = entries[0]
    sign = 1 if task.primary_higher_is_better else -1

    def key(entry: _Entry) -> float:
        return sign * entry.scores[primary].value

    single = max((e for e in entries if e.kind == "column"), key=key)
    linear = next(e for e in entries if e.name == "linear" and e.kind == "baseline")
    targets = dataset.targets[test]
    gains = {
        "best_column": task.gain(top.outputs, single.outputs, targets, context.seed),
        "linear": task.gain(top.outputs, linear.outputs, targets, context.seed),
    }
    verdict = _verdict(top, single, linear, gains, primary, task.primary_higher_is_better)
    summary = {
        "task": type(task).__module__.rpartition(".")[2],
        "primary_metric": primary,
        "target": dataset.target,
        "model": best.name,
        "verdict": verdict,
        "best_column": single.name,
        "inputs": {name: list(dataset.input(name).members) for name in columns},
        "test": _nested(entries),
        "gain": {name: gain.as_dict() for name, gain in gains.items()},
    }
    draft.write_json(METRICS, summary)
    _predictions(top, dataset).to_parquet(draft.path / PREDICTIONS, index=False)
    page = _report(entries, summary, best, fused, columns, dataset, draft)
    store.write_atomic(draft.path / REPORT, page.encode())
    draft.metrics.update(test={entry.label: entry.scores[primary].as_dict() for entry in entries if entry.kind != "without"})


def _nested(entries: list[_Entry]) -> dict[str, Any]:
    test: dict[str, Any] = {}
    plural = {"column": "columns", "baseline": "baselines", "without": "without"}
    for entry in entries:
        scores = {name: interval.as_dict() for name, interval in entry.scores.items()}
        if entry.kind in plural:
            test.setdefault(plural[entry.kind], {})[entry.name] = scores
        else:
            test[entry.kind] = scores
    return test


def _verdict(top: _Entry, single: _Entry, linear: _Entry, gains: Mapping[str, Interval], metric: str, higher: bool) -> str:
    name = metric.replace("_", " ")
    said = (
        f"On {top.scores[metric].n} test rows the {top.label} model reaches {name} {top.scores[metric]}; the best single "
        f"input, {single.name}, {single.scores[metric]}; a linear model on the same inputs {linear.scores[metric]}. "
    )
    gain, over_linear = gains["best_column"], gains["linear"]
    better = "higher" if higher else "lower"
    change = f"{name} {better} by {shown(gain.value)}, 95% interval {shown(gain.low)} to {shown(gain.high)}, same rows for both"
    if gain.low > 0:
        said += f"Fusing helps ({change})."
    elif gain.value > 0:
        said += f"Fusing seems to help, but within the noise of so few rows ({change})."
    else:
        said += f"Fusing does not help here ({change}): use {single.name} alone, or give more rows."
    if over_linear.value <= 0:
        said += f" The linear model is as good or better (by {shown(-over_linear.value)})."
    return said


def _predictions(top: _Entry, dataset: Dataset) -> pd.DataFrame:
    rows = dataset.rows.iloc[dataset.splits["test"].numpy()]
    targets = dataset.schema["targets"]
    names = dict(zip(target_columns(targets), targets, strict=True))
    decoded = {f"{dataset.target}_predicted{name}": cells for name, cells in dataset.task.decode(top.outputs).items()}
    frame = rows[["row", "id", *names]].rename(columns=names).reset_index(drop=True)
    return frame.assign(**decoded)


def _report(
    entries: list[_Entry],
    summary: Mapping[str, Any],
    best: Artifact,
    fused: Artifact,
    columns: Mapping[str, Artifact],
    dataset: Dataset,
    draft: Draft,
) -> str:
    task = dataset.task
    primary = task.primary_metric
    ranked = [entry for entry in entries if entry.kind != "without"]
    sign = 1 if task.primary_higher_is_better else -1
    ranked.sort(key=lambda entry: -sign * entry.scores[primary].value)
    drawn, captions = _plots(entries, ranked, dataset, draft)
    test = dataset.splits["test"]
    return html.render(
        "report.html.j2",
        {
            "title": f"Predicting {dataset.target}",
            "subtitle": f"{len(dataset.rows):,} rows of {_table_name(dataset)}; inputs: {', '.join(columns)}",
            "verdict": summary["verdict"],
            "plots": drawn,
            "captions": captions,
            "primary": primary.replace("_", " "),
            "metric_names": list(task.metrics),
            "lower_is_better": [name for name, higher in task.metrics.items() if not higher],
            "entries": [{"label": e.label, "what": e.what, "kind": e.kind, "metrics": summary_scores(e)} for e in ranked],
            "n": len(test),
            "inputs": [
                {
                    "name": column,
                    "modality": dataset.input(column).modality,
                    "encoder": artifact.config["architecture"],
                    "val": artifact.metrics["val"][primary],
                    "absent": int((~tensors.load(artifact.file(model.EMBEDDINGS))["present"][test]).sum()),
                }
                for column, artifact in columns.items()
            ],
            "rows": {name: dataset.artifact.metrics[name] for name in ("train", "val", "test", "unlabelled")},
            "rejects": dataset.artifact.metrics["rejects"],
            "method": fused.config["method"],
            "seed": best.manifest["seed"],
            "version": __version__,
            "model_path": best.name,
        },
    )


def summary_scores(entry: _Entry) -> dict[str, dict[str, float | int]]:
    """An entry's intervals as plain values."""
    return {name: interval.as_dict() for name, interval in entry.scores.items()}


def _plots(
    entries: list[_Entry], ranked: list[_Entry], dataset: Dataset, draft: Draft
) -> tuple[dict[str, str], dict[str, str]]:
    """The general plots by name, and the task's own by caption, as data addresses."""
    primary, folder, top = dataset.task.primary_metric, draft.path / "plots", entries[0]
    plots.leaderboard([(e.label, e.kind, e.scores[primary]) for e in ranked], primary, folder / "leaderboard.png")
    without = {e.name: e.scores[primary] for e in entries if e.kind == "without"}
    if without:
        plots.ablation(top.scores[primary], without, primary, folder / "ablation.png")
    captions = dataset.task.draw(top.outputs, dataset.targets[dataset.splits["test"]], folder)
    return (
        {
            "leaderboard": html.picture(folder / "leaderboard.png"),
            "ablation": html.picture(folder / "ablation.png") if without else "",
        },
        {caption: html.picture(folder / file) for file, caption in captions.items()},
    )


def _table_name(dataset: Dataset) -> str:
    return str(dataset.artifact.config["table"]).replace("\\", "/").rpartition("/")[2]


def _say(summary: Mapping[str, Any], context: Context) -> None:
    primary, test = summary["primary_metric"], summary["test"]
    named = [(kind, test[kind]) for kind in ("optimized", "fused") if kind in test]
    named += [(f"{kind[:-1]}: {name}", scores) for kind in ("columns", "baselines") for name, scores in test[kind].items()]
    named += [(f"without {name}", scores) for name, scores in test.get("without", {}).items()]
    others = [name for name in named[0][1] if name != primary and name != "balanced_accuracy"][:4]
    rows = []
    for label, scores in named:
        score = scores[primary]
        interval = f"{shown(score['low'])} to {shown(score['high'])}"
        rows.append([label, shown(score["value"]), interval, *(shown(scores[name]["value"]) for name in others)])
    context.console.table(["test", primary, "95% interval", *others], rows)
    context.console.note(summary["verdict"])
