"""evaluate: the proof. Every model and baseline on the test split with intervals, what matters, what to trust, a report.

The test split is looked at here and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pandas as pd
import torch
from torch import Tensor

from mmcli import __version__, registry
from mmcli.artifacts import layout, store
from mmcli.artifacts.store import Artifact, Draft
from mmcli.data.dataset import Dataset, target_columns
from mmcli.errors import ConfigError, DataError, unknown
from mmcli.jobs import fusion as fusion_job
from mmcli.models import conformal, forward, loading
from mmcli.options.evaluate import Options
from mmcli.proof import baselines, contrast, finding, trust, worse
from mmcli.proof import folded as folds
from mmcli.proof.analysis import Analysis
from mmcli.proof.examples import raw_cells
from mmcli.proof.report import Entry, page
from mmcli.proof.verdict import looked_at, verdict
from mmcli.reporting import html
from mmcli.reporting.metrics import shown
from mmcli.selection.leaderboard import MOST
from mmcli.stages import Context, Outcome
from mmcli.tasks import Ability, Task
from mmcli.training import device

METRICS = "metrics.json"
REPORT, CARD = "report.html", "report.md"
PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class _Case:
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


def run(options: Options, context: Context) -> Outcome:
    """Evaluates what there is into `evaluation/`.

    Raises:
        ArtifactError: there is no fused model.
        DataError: there are no test rows.
        ConfigError: a column to slice by, or to set against the right texts, is not in the table.
    """
    started = time.monotonic()
    dataset = Dataset.open(context.root)
    best = loading.best(context.root)
    fused, folded = _under(best)
    refit = loading.fresh_refit(context.root)
    if not len(dataset.splits["test"]):
        raise DataError("the table has no test rows", "Preprocess with --test 0.15, or a --split column that names some.")
    encoders = loading.encoders_of(fused)
    columns = loading.best_by_input(encoders)
    reference = baselines.ensure(dataset, list(columns), context.console)
    parents = dict(best.parent()) | dict(fused.parent()) | dict(reference.parent())
    parents |= refit.parent() if refit is not None else {}
    for artifact in encoders.values():
        parents |= artifact.parent()
    fingerprint = store.digest([parents, context.seed, options.slices, options.contrast, options.quick, __version__])
    if context.dry_run:
        context.console.note(f"dry run: would evaluate {best.name}")
        return Outcome({"model": best.name}, "mmcli evaluate")
    found = None if context.force else store.up_to_date(context.root, layout.EVALUATION, fingerprint)
    if found:
        context.console.note("evaluation: up to date")
    else:
        case = _Case(
            best,
            fused,
            folded,
            refit,
            columns,
            reference,
            dataset,
            options,
            context,
            started,
            contrast.cells(dataset, options.contrast),
        )
        extra = _extra_slices(case)
        with store.writing(
            context.root,
            layout.EVALUATION,
            kind="evaluation",
            command=context.command or "mmcli evaluate",
            config={"model": best.name, "fused": fused.name, "slices": list(options.slices)},
            seed=context.seed,
            parents=parents,
            fingerprint=fingerprint,
            anew=context.force,
        ) as draft:
            entries = _entries(case)
            _write(entries, case, extra, draft)
        found = store.read(context.root, layout.EVALUATION, "evaluation", "mmcli evaluate")
    summary = found.json(METRICS)
    _say(summary, options.all, context)
    return Outcome(summary, f"open {found.path / REPORT}")


def _under(best: Artifact) -> tuple[Artifact, Artifact | None]:
    """The fusion that the best model is or was made from, and the average of folds where one stands between."""
    if best.manifest["kind"] == "fusion":
        return best, None
    if best.config["base"] == layout.FOLDED:
        best = store.read(best.root, layout.FOLDED, "folded", "mmcli run TABLE --folds")
    fused = store.read(best.root, best.config["base"], "fusion", "mmcli fuse")
    return fused, best if best.manifest["kind"] == "folded" else None


def _entries(case: _Case) -> list[Entry]:
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
        entries.append(entry("optimized", best.name, _kept(best, dataset, test), what))
    if case.folded is not None:
        what = f"average of {len(case.folded.metrics['folds'])} folds of {case.folded.config['method']}"
        entries.append(entry("folded", case.folded.name, _kept(case.folded, dataset, test), what))
    if case.refit is not None:
        what = (
            f"one pipeline, {case.refit.config['method']}, trained on all {case.refit.metrics['rows']:,} rows of train and val"
        )
        entries.append(entry("refit", case.refit.name, _kept(case.refit, dataset, test), what))
    what = f"{fused.config['method']} fusion of {', '.join(loading.inputs_of(fused))}"
    entries.append(entry("fused", fused.config["method"], _kept(fused, dataset, test), what))
    for column, artifact in columns.items() if not dataset.task.aligns_columns else ():  # one alone finds nothing
        what = f"this input alone ({layout.short(artifact.config['architecture'])})"
        what += ", which cannot know" if dataset.task.compares_columns and "readers" in artifact.config else ""
        file = loading.kept_file(artifact, loading.EMBEDDINGS)
        entries.append(entry("column", column, _kept(artifact, dataset, test, file), what))
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


def _kept(artifact: Artifact, dataset: Dataset, index: Tensor, file: str = loading.OUTPUTS) -> Any:
    """A model's outputs for the rows `index`."""
    return dataset.task.outputs.gather(loading.outputs(artifact, dataset, file), index)


def _extra_slices(case: _Case) -> dict[str, list[str]]:
    """The cells of the test rows in the columns that were asked for: from the table itself."""
    if not case.options.slices:
        return {}
    test = case.dataset.splits["test"].tolist()
    table, known = raw_cells(case.dataset, test, case.options.slices)
    if table is None:
        raise ConfigError(f"--slice: {known[0]}", "Put the table where it was, or leave --slice out.")
    missing = [name for name in case.options.slices if name not in table]
    if missing:
        raise ConfigError(f"--slice {missing[0]}: {unknown('column', missing[0], known)}")
    return {name: [table[name].get(row) or "missing" for row in test] for name in case.options.slices}


def _best_column(entries: Sequence[Entry], task: Task) -> Entry | None:
    sign = 1 if task.primary_higher_is_better else -1
    columns = [entry for entry in entries if entry.kind == "column"]
    return max(columns, key=lambda entry: sign * entry.scores[task.primary_metric].value, default=None)


def _write(entries: list[Entry], case: _Case, extra: Mapping[str, Sequence[str]], draft: Draft) -> None:
    dataset, context = case.dataset, case.context
    task, test = dataset.task, dataset.splits["test"]
    primary, top = task.primary_metric, entries[0]
    single = _best_column(entries, task)
    reference = next(e for e in entries if e.name == task.reference_baseline and e.kind == "baseline")
    targets, groups = dataset.targets[test], dataset.groups(test)
    others = [e for e in entries[1:] if e.kind != "without"]
    paired = {
        e.label: {
            "gain": task.gain(top.outputs, e.outputs, targets, context.seed, groups).as_dict(),
            **({"mcnemar": found} if (found := trust.mcnemar(task, top.outputs, e.outputs, targets)) else {}),
        }
        for e in others
    }
    fused = next((e for e in entries[1:] if e.kind in {"fused", "folded"}), None) if top.kind == "optimized" else None
    named = {"best_column": single, reference.name: reference, "fused": fused}
    compared = {name: own for name, own in named.items() if own is not None}
    gains = {name: task.gain(top.outputs, e.outputs, targets, context.seed, groups) for name, e in compared.items()}
    lost = {
        name: worse.beyond_noise(task, top.outputs, e.outputs, targets, context.seed, groups) for name, e in compared.items()
    }
    nested = _nested(entries)
    nested |= finding.told(dataset, entries, groups, context.seed) if task.aligns_columns else _what_matters(case)
    if case.contrast:
        nested["contrast"] = contrast.told(dataset, top.outputs, case.contrast, context.seed)
    averaged = _of_folds(entries, case)
    if single is None:
        said = finding.verdict(top, reference, gains[reference.name], primary, nested["retrieval"])
    else:
        said = verdict(top, single, reference, fused, gains, primary, lost, alone=len(case.columns) == 1)
        said += looked_at(nested, primary) + (folds.said(averaged, primary) if averaged else "")
    summary = {
        "task": registry.name_of(type(task)),
        "primary_metric": primary,
        "higher_is_better": task.primary_higher_is_better,
        "target": dataset.target,
        **({"weight": dataset.schema["roles"]["weight"]} if dataset.weights is not None else {}),
        "model": case.best.name,
        "verdict": said,
        "best_column": "" if single is None else single.name,
        "reference": reference.name,
        "inputs": {name: list(dataset.input(name).members) for name in loading.inputs_of(case.best)},
        "test": nested,
        **({"folds": averaged} if averaged else {}),
        "gain": {name: gain.as_dict() for name, gain in gains.items()},
        "paired": paired,
        "worse": lost,
        "operating_points": task.operating_points(top.outputs, targets, context.seed, groups),
        "classes": [own.as_dict() for own in task.by_class(top.outputs, targets)],
        "trust": _trust(top, case, extra),
        "remarks": task.remarks(top.outputs, targets),
        "left_out": {ability: why for ability in get_args(Ability) if (why := task.lacks(ability))}
        | (finding.LEFT_OUT if task.aligns_columns else {}),
    }
    _keep(entries, summary, case, draft)


def _keep(entries: list[Entry], summary: dict[str, Any], case: _Case, draft: Draft) -> None:
    """Writes the figures, the test rows with what is predicted of them, and the report."""
    dataset, context, primary = case.dataset, case.context, case.dataset.task.primary_metric
    draft.write_json(METRICS, summary)
    _predictions(entries[0], dataset).to_parquet(draft.path / PREDICTIONS, index=False)
    made_by = (context.command or "mmcli evaluate", time.monotonic() - case.started)
    values = page(entries, summary, case.best, case.fused, _made_from(case), dataset, made_by, draft.path)
    draft.volatile.update({REPORT, CARD})  # they tell when they were made, and on what
    store.write_atomic(draft.path / REPORT, html.render("report.html.j2", values).encode())
    store.write_atomic(draft.path / CARD, html.render("report.md.j2", values).encode())
    draft.metrics.update(test={entry.label: entry.scores[primary].as_dict() for entry in entries if entry.kind != "without"})


def _of_folds(entries: Sequence[Entry], case: _Case) -> dict[str, Any]:
    """What the average of folds is worth beside the single pipeline; empty where there is none."""
    if case.folded is None:
        return {}
    dataset, task = case.dataset, case.dataset.task
    test, primary = dataset.splits["test"], task.primary_metric
    average, single = (next(own for own in entries if own.kind == kind) for kind in ("folded", "fused"))
    gain = task.gain(average.outputs, single.outputs, dataset.targets[test], case.context.seed, dataset.groups(test))
    refit = None
    if case.refit is not None:
        own = next(own for own in entries if own.kind == "refit")
        over = task.gain(average.outputs, own.outputs, dataset.targets[test], case.context.seed, dataset.groups(test))
        refit = case.refit, own.scores[primary], over
    return folds.described(case.folded, single.scores[primary], average.scores[primary], gain, primary, refit)


def _made_from(case: _Case) -> list[Artifact]:
    """What is behind the model in hand, in the order in which it was made."""
    last = {own.name: own for own in (case.fused, case.folded, case.refit, case.best) if own is not None}
    return [case.dataset.artifact, *loading.encoders_of(case.best).values(), case.reference, *last.values()]


def _what_matters(case: _Case) -> dict[str, Any]:
    """Subsets, Shapley values, permutations, curves, interactions, weights: of the best model, by PyTorch."""
    dataset, context = case.dataset, case.context
    compute = device.choose(context.device, context.precision, context.threads)
    network = loading.load_fused(dataset, case.best).to(compute.device)
    own = Analysis(network, dataset, dataset.splits["test"], compute, context.seed)
    steps: dict[str, Any] = {
        "subsets": own.subsets,
        "shapley": own.shapley,
        "permutation": own.permutation,
        "incongruent": own.incongruent,
        "missing_curve": own.missing_curve,
        "weights": own.weights,
    }
    if not case.options.quick:
        steps |= {"noise_curve": own.noise_curve}
        steps |= {} if dataset.task.lacks("EMAP") else {"emap": own.emap}
        steps |= {} if dataset.task.outputs.decides else {"masked_source": own.masked_source}
    found = {}
    with context.console.progress("evaluate: what matters", len(steps)) as progress:
        for name, step in steps.items():
            found[name] = step()
            progress.advance(name.replace("_", " "))
    return found


def _trust(top: Entry, case: _Case, extra: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Calibration, prediction sets, slices, errors, doubtful targets, duplicates."""
    dataset, task, seed = case.dataset, case.dataset.task, case.context.seed
    test = dataset.splits["test"]
    targets = dataset.targets[test]
    found: dict[str, Any] = {"slices": [own.as_dict() for own in trust.slices(dataset, test, top.outputs, extra, seed)]}
    sets = case.best.metrics.get("conformal", {})
    if sets:
        with case.best.understood("prediction sets"):
            found["conformal"] = {"asked": sets["coverage"], **conformal.check(task, sets, top.outputs, targets)}
    found["errors"] = [[int(test[row]) + 1, said] for row, said in trust.confident_errors(task, top.outputs, targets)]
    found["pairs"] = [[int(test[a]) + 1, int(test[b]) + 1, said] for a, b, said in task.worst_pairs(top.outputs, targets, 12)]
    every = torch.cat([test, dataset.splits["val"]])
    doubtful = trust.suspects(task, _kept(case.best, dataset, every), dataset.targets[every])
    found["suspects"] = [[int(every[row]) + 1, round(share, 4), other] for row, share, other in doubtful]
    features = {name: fusion_job.embeddings(own, dataset) for name, own in loading.encoders_of(case.fused).items()}
    found["duplicates"] = trust.duplicates(dataset, features)
    return found


def _nested(entries: list[Entry]) -> dict[str, Any]:
    test: dict[str, Any] = {}
    plural = {"column": "columns", "baseline": "baselines", "without": "without"}
    for entry in entries:
        scores = {name: interval.as_dict() for name, interval in entry.scores.items()}
        if entry.kind in plural:
            test.setdefault(plural[entry.kind], {})[entry.name] = scores
        else:
            test[entry.kind] = scores
    return test


def _predictions(top: Entry, dataset: Dataset) -> pd.DataFrame:
    rows = dataset.rows.iloc[dataset.splits["test"].numpy()]
    targets = dataset.schema["targets"]
    names = dict(zip(target_columns(targets), targets, strict=True))
    decoded = {f"{dataset.target}_predicted{name}": cells for name, cells in dataset.task.decode(top.outputs).items()}
    frame = rows[["row", "id", *names]].rename(columns=names).reset_index(drop=True)
    return frame.assign(**decoded)


def _say(summary: Mapping[str, Any], every: bool, context: Context) -> None:
    primary, test = summary["primary_metric"], summary["test"]
    sign = -1 if summary["higher_is_better"] else 1
    named = [(kind, test[kind]) for kind in ("optimized", "folded", "refit", "fused") if kind in test]
    columns = [(f"column: {name}", own) for name, own in test.get("columns", {}).items()]
    named += sorted(columns, key=lambda own: sign * own[1][primary]["value"])[:1]
    named += [(f"baseline: {name}", own) for name, own in test["baselines"].items()]
    named += [own for own in columns if own not in named]
    without = [(f"without {name}", own) for name, own in test.get("without", {}).items()]
    named += sorted(without, key=lambda own: -sign * own[1][primary]["value"])
    told = named if every else named[:MOST]
    others = [name for name in named[0][1] if name != primary and name != "balanced_accuracy"][:4]
    rows = []
    for label, scores in told:
        score = scores[primary]
        interval = f"{shown(score['low'])} to {shown(score['high'])}"
        rows.append([label, shown(score["value"]), interval, *(shown(scores[name]["value"]) for name in others)])
    context.console.table(["test", primary, "95% interval", *others], rows)
    if len(told) < len(named):
        context.console.note(f"{len(named) - len(told)} more, also without each input: --all, or the report")
    if "retrieval" in test:
        context.console.table(*finding.table(test["retrieval"]))
    for remark in summary.get("remarks", ()):
        context.console.note(f"{summary['model']}: {remark}")
    context.console.note(summary["verdict"])
