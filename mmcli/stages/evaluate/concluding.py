"""What an evaluation concludes: which of its models are set beside the one in hand, and the verdict on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmcli.proof import baselines, finding
from mmcli.proof.members import mostly
from mmcli.proof.report import Entry
from mmcli.proof.verdict import Rival, looked_at, outdone, verdict
from mmcli.reporting.metrics import Interval
from mmcli.stages.evaluate.entries import Case
from mmcli.tasks import Task


def best_column(entries: Sequence[Entry], task: Task) -> Entry | None:
    """The best of the inputs alone; None where one alone finds nothing."""
    sign = 1 if task.primary_higher_is_better else -1
    columns = [entry for entry in entries if entry.kind == "column"]
    return max(columns, key=lambda entry: sign * entry.scores[task.primary_metric].value, default=None)


def before(entries: Sequence[Entry], case: Case) -> Entry | None:
    """The model before it was optimized; None where it was not, or stayed the same network, run in the same way."""
    if case.best.manifest["kind"] != "optimized" or case.best.metrics["picked"] == "fused":
        return None
    return next((own for own in entries[1:] if own.kind in {"fused", "folded"}), None)


def beaten(entries: Sequence[Entry], constant: Entry, gain: Interval, case: Case) -> bool:
    """Whether anything that was evaluated is better than the constant baseline beyond noise; `gain` is the first one's. True
    where there is nothing to compare."""
    if not gain.low <= 0:
        return True
    dataset = case.dataset
    test = dataset.splits["test"]
    given = (dataset.targets[test], case.context.seed, dataset.groups(test))
    others = (own for own in entries[1:] if own is not constant and own.kind != "without")
    return any(dataset.task.gain(own.outputs, constant.outputs, *given).low > 0 for own in others)


def rival_of(entries: Sequence[Entry], case: Case, paired: Mapping[str, Mapping[str, Any]]) -> Rival | None:
    """The best of the baselines that read one of several inputs, where it is at least as good as each input's own model."""
    task, inputs = case.dataset.task, list(case.columns)
    single = best_column(entries, task)
    if single is None or len(inputs) < 2:
        return None
    sign, primary = 1 if task.primary_higher_is_better else -1, task.primary_metric
    read = {own.name: baselines.reads(own.name, inputs, case.dataset) for own in entries if own.kind == "baseline"}
    own = [one for one in entries if one.kind == "baseline" and len(read[one.name]) == 1]
    best = max(own, key=lambda one: sign * one.scores[primary].value, default=None)
    if best is None or not sign * best.scores[primary].value >= sign * single.scores[primary].value:
        return None
    return Rival(best, read[best.name][0], Interval(**paired[best.label]["gain"]))


def concluded(
    entries: Sequence[Entry],
    case: Case,
    gains: Mapping[str, Interval],
    worse: Mapping[str, Sequence[str]],
    paired: Mapping[str, Mapping[str, Any]],
    nested: Mapping[str, Any],
    unbeaten: Entry | None,
    rival: Rival | None,
) -> str:
    """The verdict. `gains` are what the model is better by than others by what they are to it, `paired` than each by its label,
    `unbeaten` the constant baseline where nothing beats it, `rival` the best of one input alone without a model."""
    task, top = case.dataset.task, entries[0]
    primary, single = task.primary_metric, best_column(entries, task)
    reference = next(own for own in entries if own.name == task.reference_baseline and own.kind == "baseline")
    if single is None:
        return finding.verdict(top, reference, gains, primary, nested["retrieval"], unbeaten)
    fused = before(entries, case)
    said = verdict(
        top, single, reference, fused, gains, primary, worse, alone=len(case.columns) == 1, unbeaten=unbeaten, rival=rival
    )
    if unbeaten is None:
        plain = {own.name: Interval(**paired[own.label]["gain"]) for own in entries[1:] if own.kind == "baseline"}
        said += mostly(case.fused.metrics)
        said += "" if rival is not None and rival.said(primary) else outdone(plain, reference.name)
    return said + looked_at(nested, primary)
