"""The report of an evaluation: drawings, tables and examples, as the values of its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mmcli import __version__
from mmcli.artifacts import tensors
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.models import loading
from mmcli.proof import advice, curves, differences, provenance, rates, rows, steps, tables, trials
from mmcli.reporting import charts, dots, words
from mmcli.reporting.classes import ClassScore
from mmcli.reporting.grid import Grid
from mmcli.reporting.metrics import Interval, shown
from mmcli.reporting.svg import Figure
from mmcli.selection import tradeoff
from mmcli.tasks import Task

MOST_CLASSES, MOST_SLICES, MOST_TAKEN = 20, 12, 12
"""Classes and slices that are shown at once, the others unfold; and inputs and columns whose absence is drawn."""


@dataclass(frozen=True)
class Entry:
    """One model on the test split."""

    kind: str
    """fused, folded, refit, optimized, column, baseline or without."""
    name: str
    outputs: Tensor
    what: str
    scores: dict[str, Interval]

    @property
    def label(self) -> str:
        return self.name if self.kind in {"column", "baseline"} else self.kind


def page(
    entries: Sequence[Entry],
    summary: Mapping[str, Any],
    best: Artifact,
    fused: Artifact,
    made_from: Sequence[Artifact],
    dataset: Dataset,
    made_by: tuple[str, float],
    folder: Path,
) -> dict[str, Any]:
    """The values of `report.html.j2` and `report.md.j2`; leaves its drawings in `folder` too. `made_from` are the artifacts
    behind it in order, `made_by` the command and the seconds it has taken."""
    task, primary = dataset.task, dataset.task.primary_metric
    told = {name: higher for name, higher in task.all_metrics.items() if name in entries[0].scores}
    # Of folds those of the first, which is the single pipeline.
    read = {name: own for name, own in loading.encoders_of(best).items() if own.root == best.root}
    optimizing = _optimizing(best, task) if best.manifest["kind"] == "optimized" else {}
    ranked = _ranked(entries, summary, dataset)
    classes = [ClassScore(own["name"], own["rows"], own["predicted"], own["hits"]) for own in summary["classes"]]
    metrics = dataset.artifact.metrics
    counts, rejects = {name: metrics[name] for name in ("train", "val", "test", "unlabelled")}, metrics["rejects"]
    values = {
        "title": "What belongs together" if task.aligns_columns else f"Predicting {dataset.target}",
        "subtitle": _subtitle(summary, dataset),
        "verdict": summary["verdict"],
        "figures": _figures(entries, summary, best, dataset),
        "captions": _captions(entries, dataset),
        "retrieval": tables.retrieval(summary["test"]) if task.aligns_columns else None,
        "paired_rows": tables.FOUND_INSTEAD if task.aligns_columns else tables.ALIKE,
        **_meanings(told, primary, summary),
        **_counted(summary, dataset),
        "leaderboard": tables.leaderboard(ranked, list(told), primary, entries[0].label),
        "n": len(dataset.splits["test"]),
        "judged": entries[0].label,
        "interactions": trials.interactions(summary),
        "unsearched": trials.unsearched(summary["test"], entries[0].scores[primary].value, task, entries[0].outputs),
        "shapley": f"{words.SHAPLEY} {'All' if _shapley(summary).get('exact') else 'Some'} orders were tried.",
        "weights": summary["test"].get("weights", {}),
        "conformal": _conformal(summary, dataset),
        "examples": rows.worst(summary["trust"]["errors"], dataset, best, summary["trust"].get("taken_for", ())),
        "pairs": rows.pairs(summary["trust"]["pairs"], dataset),
        "called": rows.called(dataset),
        **_known_to_train(summary, dataset),
        **{"rows": counts, "rejects": rejects, "method": fused.config["method"], "model_path": best.name},
        **{"seed": best.manifest["seed"], "version": __version__},
        "optimizing": optimizing,
        "training": curves.learnt(read, fused, best),
        "advice": advice.advice(
            summary, classes, counts, rejects, bool(optimizing), best.root, task.gives_embeddings, _cut_by_time(read)
        ),
        "left_out": _left_out(summary["left_out"]),
        "made": provenance.of(made_from, *made_by),
        "others": [f"{own['name']}, licence: {own['licence']}" for own in loading.weights_of_others(best, dataset)],
        "target": dataset.target,
        "task": task.summary(),
    }
    values |= _tables(summary, classes, read, dataset) | _tried(summary, entries[0], dataset)
    values["sections"] = _sections(values)
    _keep_drawings(values, folder / "plots")
    return values


def _cut_by_time(encoders: Mapping[str, Artifact]) -> dict[str, tuple[int, int]]:
    """Encoder -> its epochs and those that it was to have, where time was over before."""
    return {
        name: (own.metrics["epochs"], own.config["training"]["epochs"])
        for name, own in encoders.items()
        if own.metrics.get("cut_by_time") and own.metrics["epochs"] < own.config["training"]["epochs"]
    }


def _left_out(found: Mapping[str, str]) -> list[str]:
    """What was left out, with its reason; what has the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for ability, why in found.items():
        by_reason.setdefault(why, []).append(ability)
    several = {why: why.replace("it is ", "they are ", 1) if why.startswith("it is ") else why for why in by_reason}
    return [
        f"{words.together(abilities)} ({several[why] if len(abilities) > 1 else why})" for why, abilities in by_reason.items()
    ]


def _known_to_train(summary: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Test rows that are in train too, and in what else the table tells too much."""
    trust = summary["trust"]
    warnings = [f"{own[:1].upper()}{own[1:]}." for own in summary.get("warnings", ())]
    more = [*warnings, *rows.leaks(trust.get("leaks", ()), dataset)]
    return {"duplicates": rows.duplicates(trust["duplicates"], dataset), "leaks": more}


def _counted(summary: Mapping[str, Any], dataset: Dataset) -> dict[str, str]:
    """What intervals are drawn over, what errors at a threshold are counted of, and by what thresholds are chosen."""
    points = summary["operating_points"]
    return {
        "drawn": _drawn(dataset),
        "counted": "pairs with a row of that value" if dataset.task.gives_embeddings else "rows",
        "rates_by": "probability" if all("probability" in own for own in points) else "similarity",
    }


def _drawn(dataset: Dataset) -> str:
    """What intervals are drawn over."""
    test = dataset.splits["test"]
    if dataset.groups(test) is not None:
        return "groups"
    return dataset.task.drawn if dataset.task.draws(dataset.targets[test]) is not None else "rows"


def _meanings(told: Mapping[str, bool], primary: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the metrics that are told mean, in words."""
    return {
        "primary": words.meaning(primary).name,
        "meanings": [own for name in told if (own := words.meaning(name)).said],
        "lower_is_better": words.together(words.meaning(name).name for name, higher in told.items() if not higher),
        "mcnemar": words.MCNEMAR if any("mcnemar" in own for own in summary["paired"].values()) else "",
    }


def _subtitle(summary: Mapping[str, Any], dataset: Dataset) -> str:
    counting = f", which count by {summary['weight']!r}" if "weight" in summary else ""
    return f"{len(dataset.rows):,} rows of {table_name(dataset)}{counting}; the model reads {words.together(summary['inputs'])}"


def _tried(summary: Mapping[str, Any], best: Entry, dataset: Dataset) -> dict[str, Any]:
    """Of texts where they differ from the right ones; of each input whether it is looked at."""
    test, primary = summary["test"], dataset.task.primary_metric
    written = (dataset.task, best.outputs, dataset.targets[dataset.splits["test"]])
    return {
        "noise": trials.noise(test, primary),
        "hidden": trials.hidden(test, primary),
        "contrast": trials.contrast(test),
        "substitutions": differences.substitutions(*written),
        "between": differences.between(*written),
    }


def _tables(
    summary: Mapping[str, Any], classes: Sequence[ClassScore], read: Mapping[str, Artifact], dataset: Dataset
) -> dict[str, Any]:
    """Those that are not of the models themselves."""
    test, trust, primary = summary["test"], summary["trust"], dataset.task.primary_metric
    first, more = tables.classes(classes, "class" if dataset.task.has_classes else "label").parts(MOST_CLASSES)
    slices, more_slices = tables.slices(trust["slices"], primary, summary["higher_is_better"]).parts(MOST_SLICES)
    suspects = rows.suspects(trust["suspects"], dataset)
    drops, shares = test.get("permutation", {}), _shapley(summary).get("values", {})
    worth = [[name, shown(own), shown(drops[name]["drop"])] for name, own in shares.items()]
    return {
        "rates": tables.operating_points(summary["operating_points"]) if summary["operating_points"] else None,
        "classes": first if classes else None,
        "more_classes": more,
        "subsets": tables.subsets(test.get("subsets", []), dataset.task.attributed_by),
        "permutation": tables.permutation(drops, test.get("weights", {}), dataset.task.attributed_by),
        "incongruent": trials.incongruent(test, primary),
        "worth": Grid.of("", ["input", "share of the score (Shapley)", "lost when exchanged among rows"], worth),
        "slices": slices if trust["slices"] else None,
        "more_slices": more_slices,
        "own_errors": rates.table(trust["rates"]).parts(MOST_SLICES) if trust.get("rates") else None,
        "weakest_slices": tables.weakest(trust["slices"], summary["higher_is_better"])[:3],
        "suspects": tables.suspects(suspects, rows.called(dataset)) if suspects else None,
        "inputs": tables.inputs([_input(own, dataset) for own in read.values()], primary),
    }


def _shapley(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """What Shapley values there are; none where columns are aligned."""
    found: Mapping[str, Any] = summary["test"].get("shapley", {})
    return found


def _sections(values: Mapping[str, Any]) -> dict[str, str]:
    """Anchor -> heading of each section that has something to show, in order."""
    found = {
        "leaderboard": "Leaderboard",
        "right": "Right and wrong",
        "classes": f"Each {values['classes'].header[0]}" if values["classes"] else "",
        "inputs": "" if values["retrieval"] else "What each input is worth",
        "missing": "" if values["retrieval"] else "When inputs are missing or spoilt",
        "slices": "Where it is better and worse" if values["slices"] or values["own_errors"] else "",
        "errors": "Its worst errors" if values["examples"] or values["pairs"] else "",
        "data": "The data itself",
        "optimizing": "What optimizing traded" if values["optimizing"] else "",
        "training": "How it learnt" if values["training"] else "",
        "next": "What to do next",
        "made": "How it was made",
    }
    return {name: said for name, said in found.items() if said}


def _ranked(entries: Sequence[Entry], summary: Mapping[str, Any], dataset: Dataset) -> list[dict[str, Any]]:
    """The models, best first, as the leaderboard shows them."""
    return [
        {
            "label": e.label,
            "what": e.what,
            "kind": e.kind,
            "metrics": {name: own.as_dict() for name, own in e.scores.items()},
            **_paired(e.label, summary),
        }
        for e in _best_first(entries, dataset)
    ]


def _best_first(entries: Sequence[Entry], dataset: Dataset) -> list[Entry]:
    primary, sign = dataset.task.primary_metric, 1 if dataset.task.primary_higher_is_better else -1
    return sorted((e for e in entries if e.kind != "without"), key=lambda e: -sign * e.scores[primary].value)


def _input(encoder: Artifact, dataset: Dataset) -> dict[str, Any]:
    """A sub-model that the model holds, and what it reads."""
    present = tensors.of(encoder, loading.kept_file(encoder, loading.EMBEDDINGS))["present"]
    column = encoder.config["column"]
    return {
        "name": column,
        "modality": dataset.input(column).modality,
        "encoder": encoder.config["architecture"],
        "val": loading.alone(encoder)[dataset.task.primary_metric],
        "absent": int((~present[dataset.splits["test"]]).sum()),
        "parameters": encoder.metrics["parameters"],
    }


def _optimizing(best: Artifact, task: Task) -> dict[str, Any]:
    """What was tried to make the model better, and what each of the models costs."""
    metric = task.primary_metric
    table, rows = tradeoff.told(best)
    header, cells = tradeoff.table(rows, words.meaning(metric).name, table["picked"])
    taken = [
        {
            "step": entry["step"],
            "result": "start" if entry["step"] == "fused" else "kept" if entry["kept"] else entry["reason"],
            "score": entry["val"][metric],
            "loss": entry["val"]["loss"],
        }
        for entry in best.metrics["history"]
    ]
    return best.metrics | {
        "steps": tables.steps(taken, metric),
        "models": tables.models(header, cells, table["picked"]),
        "left_out": tradeoff.left_out(rows),
        "worse": "; ".join(tradeoff.worse_than_before(best.metrics, task.metrics)),
    }


def table_name(dataset: Dataset) -> str:
    """The table's file, without its folder."""
    return str(dataset.artifact.config["table"]).replace("\\", "/").rpartition("/")[2]


def _paired(label: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    found = summary["paired"].get(label)
    if not found:
        return {"gain": "", "mcnemar": ""}
    p_value = found["mcnemar"]["p_value"] if "mcnemar" in found else None
    small = p_value is not None and p_value < 0.001
    said = "" if p_value is None else "< 0.001" if small else f"{p_value:.3f}"
    return {"gain": words.difference(found["gain"]), "mcnemar": said}


def _conformal(summary: Mapping[str, Any], dataset: Dataset) -> str:
    found = summary["trust"].get("conformal")
    if not found:
        return ""
    what = "classes" if dataset.task.has_classes else "labels"
    size = (
        f"the intervals are {shown(found['size'])} wide on average"
        if dataset.task.decision.link == "identity"
        else f"they hold {found['size']:.2f} {what} on average"
    )
    return (
        f"Prediction sets that were to hold the truth in {found['asked']:.0%} of rows hold it in {found['coverage']:.1%} of "
        f"the test rows; {size} (predict --sets)."
    )


def _figures(
    entries: Sequence[Entry], summary: Mapping[str, Any], best: Artifact, dataset: Dataset
) -> dict[str, Figure | None]:
    """The general drawings by name; None where there is nothing to draw."""
    primary, top, test = dataset.task.primary_metric, entries[0], summary["test"]
    ranked = [(e.label, e.kind, e.scores[primary]) for e in _best_first(entries, dataset)]
    sign = 1 if dataset.task.primary_higher_is_better else -1
    taken = sorted((e for e in entries if e.kind == "without"), key=lambda e: sign * e.scores[primary].value)
    without = {e.name: e.scores[primary] for e in taken[:MOST_TAKEN]}
    missing = {name: [(p["share"], p["score"]) for p in curve] for name, curve in test.get("missing_curve", {}).items()}
    shares = _shapley(summary).get("values", {})
    return {
        "leaderboard": charts.leaderboard(ranked, primary),
        "ablation": charts.ablation(top.scores[primary], without, primary) if without else None,
        "shapley": charts.contributions(shares, *_attributed(dataset.task)) if len(shares) > 1 else None,
        "missing": charts.curves(missing, "share of test rows that lack the input", primary) if missing else None,
        **_optimizing_figures(best, dataset.task),
    }


def _optimizing_figures(best: Artifact, task: Task) -> dict[str, Figure | None]:
    """The trade-off, and the search where the picked model holds it."""
    none: dict[str, Figure | None] = {"tradeoff": None, "history": None, "importances": None}
    if best.manifest["kind"] != "optimized":
        return none
    table, rows = tradeoff.told(best)
    found = none | {"tradeoff": dots.tradeoff(tradeoff.points(rows, table["picked"]), task.primary_metric)}
    search = best.metrics["steps"].get("search", {}) if "search" in steps.in_hand(best.metrics) else {}
    scores = [own["score"] for own in search.get("history", []) if own["score"] is not None]
    if len(scores) > 1:
        found["history"] = charts.history(scores, task.primary_metric, task.primary_higher_is_better)
    if search.get("importances"):
        found["importances"] = charts.importances(search["importances"])
    return found


def _attributed(task: Task) -> tuple[str, bool]:
    """The metric that is shared out among the inputs, and whether higher is better."""
    return task.attributed_by, task.metrics.get(task.attributed_by, False)


def _captions(entries: Sequence[Entry], dataset: Dataset) -> dict[str, tuple[Figure, str]]:
    """The task's own drawings with their captions; and, of probabilities, the reliability before `optimize`."""
    targets = dataset.targets[dataset.splits["test"]]
    beside = {e.name: e.outputs for e in entries if e.kind == "baseline"} if dataset.task.aligns_columns else {}
    if beside:
        return dict(dataset.task.draw_beside({"the model": entries[0].outputs, **beside}, targets))
    found = dataset.task.draw(entries[0].outputs, targets)
    before = entries[1] if entries[0].kind == "optimized" else None
    if before is not None:
        earlier = dataset.task.draw(before.outputs, targets).get("reliability")
        found |= {"reliability-before": (earlier[0], f"The same before optimize. {earlier[1]}")} if earlier else {}
    return found


def _keep_drawings(values: Mapping[str, Any], folder: Path) -> None:
    """Each drawing as a file of its own."""
    named = {name: figure for name, figure in values["figures"].items() if figure is not None}
    named |= {name: figure for name, (figure, _) in values["captions"].items()}
    named |= {f"noise-{place}": figure for place, (figure, _) in enumerate(values["noise"], 1)}
    named |= {f"training-{place}": own.figure for place, own in enumerate(values["training"], 1)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in named.items():
        (folder / f"{name}.svg").write_text(figure.standalone(), encoding="utf-8")
