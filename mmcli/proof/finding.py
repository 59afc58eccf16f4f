"""How well columns that belong together find each other, beside what is linear and what is as it is; in words and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmcli.data.dataset import Dataset
from mmcli.proof.report import Entry
from mmcli.proof.tables import FINDING
from mmcli.proof.verdict import none_better
from mmcli.reporting.counts import counted
from mmcli.reporting.metrics import Array, Interval, shown
from mmcli.reporting.words import meaning, signed

LEFT_OUT = {
    "what each input is worth, and rows that lack one": "a column is found by another: without one there is nothing to score",
    "noise": "it would spoil the question and the answer alike",
}


def told(dataset: Dataset, entries: Sequence[Entry], groups: Array | None, seed: int) -> dict[str, Any]:
    """`retrieval`: direction -> metrics of the model; `retrieval_baselines`: the same of each baseline by name."""
    targets = dataset.targets[dataset.splits["test"]]
    every = {own.name: dataset.task.retrieval(own.outputs, targets, seed, groups) for own in entries}
    baselines = {own.name: every[own.name] for own in entries if own.kind == "baseline"}
    return {"retrieval": every[entries[0].name], "retrieval_baselines": baselines}


def table(found: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows, in words."""
    header = ["from -> to", *(meaning(name).name for name in FINDING), "among"]
    rows = [[name, *(shown(own[metric]["value"]) for metric in FINDING), f"{own['gallery']:,}"] for name, own in found.items()]
    return header, rows


def verdict(
    top: Entry,
    reference: Entry,
    gains: Mapping[str, Interval],
    metric: str,
    found: Mapping[str, Mapping[str, Any]],
    unbeaten: Entry | None = None,
) -> str:
    """Whether the model finds what belongs together better than what is linear, beyond noise or not, and where; first of all
    where nothing beats chance, the `unbeaten` baseline. `gains` are the model's over these baselines."""
    name, n, gain = meaning(metric).name, top.scores[metric].n, gains[reference.name]
    said = none_better(unbeaten, gains[unbeaten.name], metric) if unbeaten is not None else ""
    said += f"On {counted(n, 'test row')} the {top.label} model finds a row's own with {name} {top.scores[metric]}, "
    said += "the mean over directions; "
    said += f"{reference.what} with {reference.scores[metric]}. "
    size = f"{shown(abs(gain.value))} {'worse' if gain.value < 0 else 'better'}, 95% interval {signed(gain.low)} to "
    size += f"{signed(gain.high)}"
    if unbeaten is not None:
        said = said.rstrip()
    elif gain.low > 0:
        said += f"It is better beyond noise ({size})."
    elif gain.high < 0:
        said += f"It is worse beyond noise ({size}): what is linear will do."
    else:
        said += f"The two are level within noise ({size})."
    best, worst = (pick(found, key=lambda own: found[own]["mrr"]["value"]) for pick in (max, min)) if found else ("", "")
    if best:
        said += f" {best} finds its own first in {found[best]['recall_at_1']['value']:.0%} of the rows"
        said += f", {worst} in {found[worst]['recall_at_1']['value']:.0%}" if worst != best else ""
        said += f"; by chance that would be {1 / max(found[best]['gallery'], 1):.1%}."
    return said
