"""The one paragraph in plain words with which an evaluation begins."""

from __future__ import annotations

from collections.abc import Mapping

from mmcli.proof.report import Entry
from mmcli.reporting.metrics import Interval, shown


def verdict(
    top: Entry, single: Entry, reference: Entry, fused: Entry | None, gains: Mapping[str, Interval], metric: str
) -> str:
    """Whether fusing helps on the test rows, beyond noise or not, and whether optimizing kept what fusing had gained.

    `top` is the model that is judged, `fused` what it was before it was optimized (None where it was not), `gains` how much
    `top` is better than the `best_column`, the `reference` (a baseline) by its name, and `fused`, in pairs.
    """
    name = metric.replace("_", " ")
    said = (
        f"On {top.scores[metric].n} test rows the {top.label} model reaches {name} {top.scores[metric]}; the best single "
        f"input, {single.name}, {single.scores[metric]}; {reference.what} {reference.scores[metric]}. "
    )
    gain = gains["best_column"]
    change = f"{_told(gain)} in {name}, same rows for both"
    lost = fused is not None and gains["fused"].high < 0
    if gain.low > 0:
        said += f"Fusing helps ({change})."
    elif gain.value > 0:
        said += f"Fusing seems to help, but within the noise of so few rows ({change})."
    elif lost:
        said += f"As it was optimized, it is no better than that input ({change})."
    else:
        said += f"Fusing does not help here ({change}): use {single.name} alone, or give more rows."
    behind = -gains[reference.name].value
    if behind >= 0:
        said += f" The {reference.name} model is as good or better (by {shown(behind)})."
    if fused is not None and gains["fused"].value < 0:
        said += f" Before it was optimized, the model reaches {fused.scores[metric]} ({_told(gains['fused'])})"
        told = f": predict and export take it with --model, from fusions/{fused.name} under the artifacts."
        said += told if lost else ", which is within noise."
    return said


def _told(gain: Interval) -> str:
    low, high = (f"{'+' if bound > 0 else ''}{shown(bound)}" for bound in (gain.low, gain.high))
    return f"{shown(abs(gain.value))} {'worse' if gain.value < 0 else 'better'}, 95% interval {low} to {high}"
