"""evaluate: the proof. Every model and baseline on the test split with intervals, what matters, what to trust, a report.

The test split is looked at here and nowhere else.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pandas as pd

from mmcli import __version__, registry
from mmcli.artifacts import layout, store
from mmcli.artifacts.store import Artifact, Draft
from mmcli.data.dataset import Dataset, target_columns
from mmcli.errors import DataError
from mmcli.models import loading
from mmcli.options.evaluate import Options
from mmcli.proof import baselines, contrast, finding, rates, scarce, trust, worse
from mmcli.proof import folded as folds
from mmcli.proof.report import Entry, page
from mmcli.reporting import html, strict
from mmcli.reporting.metrics import shown
from mmcli.selection.leaderboard import MOST
from mmcli.stages import Context, Outcome
from mmcli.stages.evaluate.concluding import beaten, before, best_column, concluded, rival_of
from mmcli.stages.evaluate.entries import Case, entries_of, given_away, under
from mmcli.stages.evaluate.looking import extra_slices, trusted, what_matters
from mmcli.tasks import Ability, Task

METRICS = "metrics.json"
REPORT, CARD = "report.html", "report.md"
PREDICTIONS = "predictions.parquet"


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
    fused, folded = under(best)
    refit = loading.fresh_refit(context.root)
    if not len(dataset.splits["test"]):
        raise DataError("the table has no test rows", "Preprocess with --test 0.15, or a --split column that names some.")
    encoders = loading.encoders_of(fused)
    columns = loading.best_by_input(encoders)
    reference = baselines.ensure(dataset, list(columns), context.console, kept=True)
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
        against = contrast.cells(dataset, options.contrast)
        for said in contrast.doubts(dataset, columns, against):
            context.console.warn(said)
        case = Case(best, fused, folded, refit, columns, reference, dataset, options, context, started, against)
        extra = extra_slices(case)
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
            entries = entries_of(case)
            _write(entries, case, extra, draft)
        found = store.read(context.root, layout.EVALUATION, "evaluation", "mmcli evaluate")
    summary = strict.numbers(found.json(METRICS))
    _say(summary, options.all, context)
    for line in rates.said(summary["trust"].get("rates", {}), f"{found.path / REPORT}, Where it is better and worse"):
        context.console.note(line)
    return Outcome(summary, f"open {shlex.quote(str(found.path / REPORT))}")


def _write(entries: list[Entry], case: Case, extra: Mapping[str, Sequence[str]], draft: Draft) -> None:
    dataset, context = case.dataset, case.context
    task, test = dataset.task, dataset.splits["test"]
    primary, top = task.primary_metric, entries[0]
    single = best_column(entries, task)
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
    fused = before(entries, case)
    constant = next(e for e in entries if e.name == task.constant_name and e.kind == "baseline")
    named = {"best_column": single, reference.name: reference, constant.name: constant, "fused": fused}
    compared = {name: own for name, own in named.items() if own is not None}
    gains = {name: task.gain(top.outputs, e.outputs, targets, context.seed, groups) for name, e in compared.items()}
    lost = {
        name: worse.beyond_noise(task, top.outputs, e.outputs, targets, context.seed, groups)
        for name, e in compared.items()
        if e is not constant or e is reference
    }
    nested = _nested(entries)
    nested |= finding.told(dataset, entries, groups, context.seed) if task.aligns_columns else what_matters(case)
    if case.contrast:
        nested["contrast"] = contrast.told(dataset, top.outputs, case.contrast, context.seed)
    averaged = _of_folds(entries, case)
    unbeaten = None if beaten(entries, constant, gains[constant.name], case) else constant
    rival = rival_of(entries, case, paired)
    said = concluded(entries, case, gains, lost, paired, nested, unbeaten, rival)
    said += folds.said(averaged, primary) if averaged else ""
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
        "constant": {"name": constant.name, "beaten": unbeaten is None},
        **({"one_input": {"baseline": rival.entry.name, "input": rival.input, "gain": rival.gain.as_dict()}} if rival else {}),
        "inputs": {name: list(dataset.input(name).members) for name in loading.inputs_of(case.best)},
        "test": nested,
        **({"folds": averaged} if averaged else {}),
        "gain": {name: gain.as_dict() for name, gain in gains.items()},
        "paired": paired,
        "worse": lost,
        "operating_points": task.operating_points(top.outputs, targets, context.seed, groups),
        "classes": [own.as_dict() for own in task.by_class(top.outputs, targets)],
        "trust": trusted(top, single, case, extra),
        "remarks": task.remarks(top.outputs, targets),
        "warnings": _doubts(entries, case),
        "left_out": _left_out(task),
    }
    _keep(entries, summary, case, draft)


def _doubts(entries: Sequence[Entry], case: Case) -> list[str]:
    """What makes its scores say less than they seem to."""
    task, dataset = case.dataset.task, case.dataset
    by_class = task.by_class(entries[0].outputs, dataset.targets[dataset.splits["test"]])
    few = scarce.warning(by_class, task.primary_metric, "class" if task.has_classes else "label")
    told = (given_away(entries, case), few, *contrast.doubts(dataset, case.columns, case.contrast))
    return [own for own in told if own]


def _left_out(task: Task) -> dict[str, str]:
    """What cannot be had of such a task, with its reason."""
    found = {ability: why for ability in get_args(Ability) if (why := task.lacks(ability))}
    return found | (finding.LEFT_OUT if task.aligns_columns else {})


def _keep(entries: list[Entry], summary: dict[str, Any], case: Case, draft: Draft) -> None:
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


def _of_folds(entries: Sequence[Entry], case: Case) -> dict[str, Any]:
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


def _made_from(case: Case) -> list[Artifact]:
    """What is behind the model in hand, in the order in which it was made."""
    last = {own.name: own for own in (case.fused, case.folded, case.refit, case.best) if own is not None}
    return [case.dataset.artifact, *loading.encoders_of(case.best).values(), case.reference, *last.values()]


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
    decoded: dict[str, Any] = {
        dataset.task.column(dataset.target, name): cells for name, cells in dataset.task.decode(top.outputs).items()
    }
    frame = rows[["row", "id", *names]].rename(columns=names).reset_index(drop=True)
    if dataset.typed.kind and not dataset.typed.item:  # as the table has it, and so comparable; lists are as their cells
        answered = dataset.task.column(dataset.target, "")
        frame[dataset.target] = dataset.typed.series(frame[dataset.target].tolist())
        decoded[answered] = dataset.typed.series(decoded[answered])
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
    for warning in summary.get("warnings", ()):
        context.console.warn(warning)
    for remark in summary.get("remarks", ()):
        context.console.note(f"{summary['model']}: {remark}")
    context.console.note(summary["verdict"])
