"""What an average of folds is worth beside one pipeline, and what it costs: as data, and in words. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmcli.artifacts import layout
from mmcli.artifacts.store import Artifact
from mmcli.reporting.metrics import Interval, shown
from mmcli.reporting.words import meaning, signed


def described(folded: Artifact, single: Interval, average: Interval, gain: Interval, metric: str) -> dict[str, Any]:
    """What is known of it: its score out of fold, those of both on the test rows, and the average's gain there, in pairs."""
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
    }


def said(found: Mapping[str, Any], metric: str) -> str:
    """The same in a sentence or two."""
    name, own, cost = meaning(metric).name, found["out_of_fold"], found["cost"]
    gain, one = found["gain"], found["single"]
    apart = "level" if gain["value"] == 0 else signed(gain["value"])
    return (
        f" It is of the average of {found['count']} folds of {found['method']}: out of fold {name} {_cell(own)} on "
        f"{found['rows']:,} rows of train and val. The single pipeline reaches {_cell(one)} on the test rows, the average "
        f"{_cell(found['average'])} ({apart} [{signed(gain['low'])}, {signed(gain['high'])}], above zero is better); it takes "
        f"{cost['average']['p50_ms_1']:.2f} ms a row instead of {cost['single']['p50_ms_1']:.2f}, and "
        f"{cost['average']['size_mb']:.1f} MB instead of {cost['single']['size_mb']:.1f}."
    )


def _cell(interval: Mapping[str, float]) -> str:
    return f"{shown(interval['value'])} [{shown(interval['low'])}, {shown(interval['high'])}]"
