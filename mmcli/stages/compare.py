"""compare: two evaluations side by side, and whether one model is really better where both predicted the same rows."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pandas as pd

from mmcli.artifacts import layout, store
from mmcli.artifacts.store import Artifact
from mmcli.errors import ArtifactError, ConfigError
from mmcli.reporting import strict
from mmcli.reporting.metrics import shown, sign_test
from mmcli.reporting.words import signed
from mmcli.stages import Context, Outcome
from mmcli.tables.cells import as_text

METRICS, PREDICTIONS = "metrics.json", "predictions.parquet"


def run(one: Path, other: Path, context: Context) -> Outcome:
    """Compares the best models of two evaluations.

    Raises:
        ArtifactError: there is no evaluation in a folder.
        ConfigError: the two are not of the same target.
    """
    artifacts = [_evaluation(path) for path in (one, other)]
    found = [strict.numbers(artifact.json(METRICS)) for artifact in artifacts]
    if found[0]["target"] != found[1]["target"] or found[0]["task"] != found[1]["task"]:
        raise ConfigError(
            f"--compare: {artifacts[0].path} predicts {found[0]['target']}, {artifacts[1].path} {found[1]['target']}",
            "Compare evaluations of the same target.",
        )
    scores = [_best(summary) for summary in found]
    names = [str(path) for path in (one, other)]
    rows = []
    for metric in scores[0][1]:
        if metric in scores[1][1]:
            own = [score[1][metric] for score in scores]
            cells = [f"{shown(s['value'])} [{shown(s['low'])}, {shown(s['high'])}]" for s in own]
            apart = own[1]["value"] - own[0]["value"]
            rows.append([metric, *cells, "level" if apart == 0 else signed(apart)])
    context.console.table(
        ["test", *(f"{name} ({score[0]})" for name, score in zip(names, scores, strict=True)), "second - first"], rows
    )
    inputs = [", ".join(summary["inputs"]) for summary in found]
    context.console.note(f"inputs: {inputs[0]} | {inputs[1]}")
    data: dict[str, Any] = {
        "evaluations": names,
        "models": [score[0] for score in scores],
        "metrics": [score[1] for score in scores],
    }
    data["same_rows"] = _same_rows(artifacts, found[0]["target"], context)
    return Outcome(data, "")


def _evaluation(path: Path) -> Artifact:
    """An evaluation, given its folder or its artifacts root."""
    for root in (path.resolve().parent, path) if path.resolve().name == layout.EVALUATION else (path,):
        if store.exists(root, layout.EVALUATION):
            return store.read(root, layout.EVALUATION, "evaluation", f"mmcli evaluate --artifacts {shlex.quote(str(root))}")
    raise ArtifactError(f"there is no evaluation in {path}", f"Run: mmcli evaluate --artifacts {shlex.quote(str(path))}")


def _best(summary: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The best model's name and scores."""
    kind = next(kind for kind in ("optimized", "folded", "fused") if kind in summary["test"])
    scores: dict[str, Any] = summary["test"][kind]
    return kind, scores


def _same_rows(artifacts: list[Artifact], target: str, context: Context) -> dict[str, Any]:
    """Where both predicted the same rows of a class: how many each alone got right, and McNemar's exact p-value."""
    frames = [pd.read_parquet(artifact.file(PREDICTIONS)) for artifact in artifacts]
    predicted = f"{target}_predicted"
    if any(predicted not in frame or target not in frame for frame in frames):
        return {}
    for frame in frames:  # one may be older, and hold text
        frame[[target, predicted]] = frame[[target, predicted]].map(as_text)
    both = frames[0].merge(frames[1], on=["row", "id", target], suffixes=("_one", "_other"))
    if both.empty:
        context.console.note("the two were tested on different rows: their scores are not paired")
        return {}
    if f"{predicted}_probability_one" not in both:
        return {"rows": len(both)}
    right = [both[f"{predicted}_{name}"] == both[target] for name in ("one", "other")]
    first, second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    p_value = sign_test(first, second)
    said = "within noise" if p_value >= 0.05 else "beyond noise"
    context.console.note(
        f"on the same {len(both)} test rows the first alone is right in {first}, the second alone in {second}: {said} "
        f"(McNemar p = {p_value:.3f})"
    )
    return {"rows": len(both), "first_alone": first, "second_alone": second, "p_value": p_value}
