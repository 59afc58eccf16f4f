"""Which steps of optimizing are in the model that was picked, rather than tried and left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_hand(metrics: Mapping[str, Any]) -> list[str]:
    """The steps that the picked model holds, in order, from the metrics of an optimized artifact.

    What is picked was made from the most accurate model, but for `fused` (and ways to run it), from which all started. An
    ensemble holds the search if a trial of it is among its members, whether or not the search by itself was kept.
    """
    picked = str(metrics["picked"]).partition(", ")[0]
    if picked == "fused":
        return []
    kept = [str(entry["step"]) for entry in metrics["history"] if entry["kept"] and entry["step"] != "fused"]
    if "ensemble" in kept:
        kept = [step for step in kept if step != "search"]
        members = metrics["steps"].get("ensemble", {}).get("members", {})
        kept = ["search", *kept] if any(name.startswith("trial ") for name in members) else kept
    made = [picked] if picked in metrics["steps"] and picked not in kept else []
    return [*kept, *made]
