"""How the sub-models and F learnt: their logs, as drawings. Reads what training left; trains nothing."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmcli.artifacts.store import Artifact
from mmcli.proof.steps import in_hand
from mmcli.reporting import charts
from mmcli.reporting.counts import counted
from mmcli.reporting.metrics import shown
from mmcli.reporting.svg import Figure
from mmcli.training.loop import LOG

MOST = 24
"""Logs that are drawn."""


@dataclass(frozen=True)
class Curve:
    """One training: what was trained, its drawing, and its end in words."""

    name: str
    figure: Figure
    said: str


def learnt(encoders: Mapping[str, Artifact], fused: Artifact, best: Artifact) -> list[Curve]:
    """Of each sub-model, of F, and of the steps of optimizing that trained and are kept."""
    logs = [(f"sub-model {name}", own, log) for name, own in encoders.items() for log in _logs(own)]
    logs += [(f"F ({fused.config['method']}){_part(log)}", fused, log) for log in _logs(fused)]
    if best is not fused and "picked" in best.metrics:
        logs += [(f"optimize: {step}", best, log) for step in in_hand(best.metrics) for log in _logs(best, step)]
    return [curve for name, own, log in logs[:MOST] if (curve := _curve(name, own.file(log))) is not None]


def _logs(artifact: Artifact, folder: str = "") -> list[str]:
    """Those that the manifest vouches for, by their place in the artifact, or in a folder of it."""
    names = map(PurePosixPath, artifact.manifest["files"])
    return sorted(str(name) for name in names if name.name == LOG and name.is_relative_to(folder))


def _part(log: str) -> str:
    """Which of several trainings: `, seed 1`."""
    part = PurePosixPath(log).parent.as_posix()
    return "" if part == "." else f", {part.replace('-', ' ')}"


def _curve(name: str, log: Path) -> Curve | None:
    with log.open(encoding="utf-8", newline="") as file:
        rows = [{key: float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(file)]
    rows = [row for row in rows if "epoch" in row and "train_loss" in row]
    if len(rows) < 2:
        return None
    judged = [row for row in rows if "val_loss" in row]
    best = min(judged, key=lambda row: row["val_loss"], default=None)
    said = f"{name}: {counted(len(rows), 'epoch')}"
    said += f"; least val loss {shown(best['val_loss'])} after epoch {best['epoch']:.0f}." if best else "."
    return Curve(name, charts.training(rows, name), said)
