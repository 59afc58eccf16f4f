"""What an average of folds is worth beside one pipeline, and what it costs: as data, and in words. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmcli.artifacts import layout
from mmcli.artifacts.store import Artifact
from mmcli.reporting.metrics import Interval, shown
from mmcli.reporting.words import meaning, signed


def described(
    folded: Artifact,
    single: Interval,
    average: Interval,
    gain: Interval,
    metric: str,
    refit: tuple[Artifact, Interval, Interval] | None = None,
) -> dict[str, Any]:
    """What is known of it: its score out of fold, those of both on the test rows, and the average's gain there, in pairs; of
    the `refit` its score on the test rows, and the average's gain over it."""
    metrics = folded.metrics
    return {
        "count": len(metrics["folds"]),
        "method": layout.short(folded.config["method"]),
        "rows": metrics["rows"],
        "out_of_fold": metrics["out_of_fold"][metric],
        "each": metrics["folds"],
        "average": average.as_dict(),
        "single": single.as_dict(),
        "gain": gain.as_dict(),
        "cost": metrics["cost"],
        **({} if refit is None else {"refit": _of_refit(*refit)}),
    }


def _of_refit(artifact: Artifact, own: Interval, gain: Interval) -> dict[str, Any]:
    kept = {key: artifact.metrics[key] for key in ("rows", "estimated", "epochs", "fusion_epochs", "cost")}
    return {**kept, "test": own.as_dict(), "gain": gain.as_dict()}


def said(found: Mapping[str, Any], metric: str) -> str:
    """The same in a sentence or two."""
    name, own, cost = meaning(metric).name, found["out_of_fold"], found["cost"]
    gain, one = found["gain"], found["single"]
    apart = "level" if gain["value"] == 0 else signed(gain["value"])
    refit = _said_of_refit(found["refit"], cost["average"]) if "refit" in found else ""
    return (
        f" It is of the average of {found['count']} folds of {found['method']}: out of fold {name} {_cell(own)} on "
        f"{found['rows']:,} rows of train and val. The single pipeline reaches {_cell(one)} on the test rows, the average "
        f"{_cell(found['average'])} ({apart} [{signed(gain['low'])}, {signed(gain['high'])}], above zero is better); it takes "
        f"{cost['average']['p50_ms_1']:.2f} ms a row instead of {cost['single']['p50_ms_1']:.2f}, and "
        f"{cost['average']['size_mb']:.1f} MB instead of {cost['single']['size_mb']:.1f}."
        f"{refit}"
    )


def _said_of_refit(found: Mapping[str, Any], average: Mapping[str, float]) -> str:
    gain, cost = found["gain"], found["cost"]
    apart = "level" if gain["value"] == 0 else signed(gain["value"])
    return (
        f" The refit, one pipeline trained on all {found['rows']:,} rows, reaches {_cell(found['test'])} on the test rows (the "
        f"average over it: {apart} [{signed(gain['low'])}, {signed(gain['high'])}]), in {cost['p50_ms_1']:.2f} ms a row and "
        f"{cost['size_mb']:.1f} MB where the average takes {average['p50_ms_1']:.2f} and {average['size_mb']:.1f}."
    )


def _cell(interval: Mapping[str, float]) -> str:
    return f"{shown(interval['value'])} [{shown(interval['low'])}, {shown(interval['high'])}]"
