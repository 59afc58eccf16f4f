"""The report of an evaluation: plots, tables and examples, as the values of its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcli import __version__
from mmcli.artifacts import tensors
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.models import loading
from mmcli.proof.examples import examples
from mmcli.reporting import html, plots
from mmcli.reporting.metrics import Interval, shown
from mmcli.selection import tradeoff


@dataclass(frozen=True)
class Entry:
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


def page(
    entries: Sequence[Entry],
    summary: Mapping[str, Any],
    best: Artifact,
    fused: Artifact,
    columns: Mapping[str, Artifact],
    dataset: Dataset,
    folder: Path,
) -> dict[str, Any]:
    """The values of `report.html.j2` and `report.md.j2`; draws the plots into `folder`."""
    task, primary = dataset.task, dataset.task.primary_metric
    ranked = [entry for entry in entries if entry.kind != "without"]
    sign = 1 if task.primary_higher_is_better else -1
    ranked.sort(key=lambda entry: -sign * entry.scores[primary].value)
    test = dataset.splits["test"]
    rows = {name: dataset.artifact.metrics[name] for name in ("train", "val", "test", "unlabelled")}
    return {
        "title": f"Predicting {dataset.target}",
        "subtitle": f"{len(dataset.rows):,} rows of {table_name(dataset)}; inputs: {', '.join(columns)}",
        "verdict": summary["verdict"],
        "plots": _plots(entries, ranked, summary, dataset, folder),
        "captions": _captions(entries, dataset, folder),
        "primary": primary.replace("_", " "),
        "metric_names": list(task.all_metrics),
        "lower_is_better": [name for name, higher in task.all_metrics.items() if not higher],
        "entries": [
            {
                "label": e.label,
                "what": e.what,
                "kind": e.kind,
                "metrics": {name: own.as_dict() for name, own in e.scores.items()},
                **_paired(e.label, summary),
            }
            for e in ranked
        ],
        "n": len(test),
        "inputs": [_input(column, artifact, dataset) for column, artifact in columns.items()],
        "interactions": _interactions(summary),
        "subsets": summary["test"]["subsets"],
        "shapley": summary["test"]["shapley"],
        "permutation": summary["test"]["permutation"],
        "weights": summary["test"]["weights"],
        "trust": summary["trust"],
        "conformal": _conformal(summary, dataset),
        "examples": _examples(summary["trust"]["errors"], dataset, best),
        "suspects": _suspects(summary["trust"]["suspects"], dataset),
        "rows": rows,
        "rejects": dataset.artifact.metrics["rejects"],
        "method": fused.config["method"],
        "seed": best.manifest["seed"],
        "version": __version__,
        "model_path": best.name,
        "optimizing": _optimizing(best, primary) if best.manifest["kind"] == "optimized" else {},
        "target": dataset.target,
        "task": task.summary(),
    }


def _input(column: str, encoder: Artifact, dataset: Dataset) -> dict[str, Any]:
    present = tensors.load(encoder.file(loading.EMBEDDINGS))["present"]
    return {
        "name": column,
        "modality": dataset.input(column).modality,
        "encoder": encoder.config["architecture"],
        "val": encoder.metrics["val"][dataset.task.primary_metric],
        "absent": int((~present[dataset.splits["test"]]).sum()),
        "parameters": encoder.metrics["parameters"],
    }


def _optimizing(best: Artifact, metric: str) -> dict[str, Any]:
    """What was tried to make the model better, and what each of the models costs."""
    table = best.json("tradeoff.json")
    rows = [tradeoff.Row.from_dict(entry) for entry in table["rows"]]
    header, cells = tradeoff.table(rows, metric.replace("_", " "), table["picked"])
    pictures = {
        name: html.picture(file) if (file := best.path / f"{name}.png").is_file() else ""
        for name in ("tradeoff", "search-history", "search-importances")
    }
    steps = [
        {
            "step": entry["step"],
            "result": "start" if entry["step"] == "fused" else "kept" if entry["kept"] else entry["reason"],
            "score": entry["val"][metric],
            "loss": entry["val"]["loss"],
        }
        for entry in best.metrics["history"]
    ]
    told = best.metrics | {"steps": steps, "header": [name.strip() for name in header], "cells": cells, "pictures": pictures}
    return told | {"left_out": tradeoff.left_out(rows)}


def table_name(dataset: Dataset) -> str:
    """The table's file, without its folder."""
    return str(dataset.artifact.config["table"]).replace("\\", "/").rpartition("/")[2]


def _paired(label: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    found = summary["paired"].get(label)
    if not found:
        return {"gain": "", "mcnemar": ""}
    gain = found["gain"]
    said = f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    p_value = found["mcnemar"]["p_value"] if "mcnemar" in found else None
    small = p_value is not None and p_value < 0.001
    return {"gain": said, "mcnemar": "" if p_value is None else "< 0.001" if small else f"{p_value:.3f}"}


def _interactions(summary: Mapping[str, Any]) -> str:
    """What EMAP says, in a sentence."""
    found = summary["test"].get("emap")
    if not found:
        return ""
    gain, metric = found["gain"], summary["primary_metric"].replace("_", " ")
    said = (
        f"On {found['rows']} test rows the model reaches {metric} {shown(found['score'])}; the sum of one term for each input "
        f"that stays nearest to it (EMAP) {shown(found['additive_score'])}. "
    )
    if gain["low"] > 0:
        return said + "The model uses interactions between inputs: what one says depends on another."
    if gain["value"] > 0:
        return said + "Interactions between inputs may matter; on so few rows that is within the noise."
    return said + "It does not use interactions between inputs: each adds its own evidence."


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


def _examples(errors: Sequence[Sequence[Any]], dataset: Dataset, best: Artifact) -> list[dict[str, Any]]:
    rows = [int(row) - 1 for row, _ in errors]
    if not rows:
        return []
    outputs = dataset.task.outputs.gather(loading.outputs(best, dataset.task), torch.tensor(rows))
    decoded = dataset.task.decode(outputs)
    predicted = list(zip(*(cells for name, cells in decoded.items() if "probability" not in name), strict=True))
    return [
        {
            "row": row + 1,
            "said": said,
            "right": ", ".join(cell or "" for cell in dataset.cells[row]),
            "predicted": ", ".join(str(value) for value in predicted[place]),
            "views": views,
        }
        for place, ((_, said), row, views) in enumerate(zip(errors, rows, examples(dataset, rows), strict=True))
    ]


def _suspects(found: Sequence[Sequence[Any]], dataset: Dataset) -> list[dict[str, Any]]:
    names = getattr(dataset.task, "classes", [])
    result = []
    for row, share, other in found:
        split = str(dataset.rows["split"].iloc[row - 1])
        right = ", ".join(cell or "" for cell in dataset.cells[row - 1])
        result.append({"row": row, "split": split, "given": right, "share": share, "likely": names[other]})
    return result


def _plots(
    entries: Sequence[Entry], ranked: Sequence[Entry], summary: Mapping[str, Any], dataset: Dataset, folder: Path
) -> dict[str, str]:
    """The general plots by name, as data addresses; empty where there is nothing to draw."""
    primary, top, test = dataset.task.primary_metric, entries[0], summary["test"]
    own = folder / "plots"
    drawn: dict[str, str] = {}

    def keep(name: str) -> None:
        drawn[name] = html.picture(own / f"{name}.png")

    plots.leaderboard([(e.label, e.kind, e.scores[primary]) for e in ranked], primary, own / "leaderboard.png")
    keep("leaderboard")
    without = {e.name: e.scores[primary] for e in entries if e.kind == "without"}
    if without:
        plots.ablation(top.scores[primary], without, primary, own / "ablation.png")
        keep("ablation")
    if len(test["shapley"]["values"]) > 1:
        plots.contributions(test["shapley"]["values"], primary, own / "shapley.png")
        keep("shapley")
    curves = {name: [(p["share"], p["score"]) for p in curve] for name, curve in test["missing_curve"].items()}
    plots.curves(curves, "share of test rows that lack the input", primary, own / "missing.png")
    keep("missing")
    noisy = {
        f"{name}: {how}": [(p["level"], p["score"]) for p in curve]
        for name, ways in test.get("noise_curve", {}).items()
        for how, curve in ways.items()
    }
    if noisy:
        plots.curves(noisy, "level of the noise", primary, own / "noise.png")
        keep("noise")
    return {name: drawn.get(name, "") for name in ("leaderboard", "ablation", "shapley", "missing", "noise")}


def _captions(entries: Sequence[Entry], dataset: Dataset, folder: Path) -> dict[str, str]:
    """The task's own plots by caption; and, of probabilities, the reliability before `optimize`."""
    own, targets = folder / "plots", dataset.targets[dataset.splits["test"]]
    found = {caption: html.picture(own / file) for file, caption in dataset.task.draw(entries[0].outputs, targets, own).items()}
    before = next((e for e in entries if e.kind == "fused"), None)
    if before is not None and before is not entries[0] and (own / "reliability.png").is_file():
        earlier = own / "before"
        earlier.mkdir(exist_ok=True)
        said = dataset.task.draw(before.outputs, targets, earlier)
        if "reliability.png" in said:
            found[f"The same before optimize. {said['reliability.png']}"] = html.picture(earlier / "reliability.png")
    return found
