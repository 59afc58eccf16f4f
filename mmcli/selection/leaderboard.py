"""The leaderboard of fusion methods: what each scored on val, how far beyond the best single column, and whether that is noise.

Owns the comparison and how it is written (table, Markdown, JSON, plot); trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from mmcli.reporting.markdown import escaped, table_of
from mmcli.reporting.metrics import Array, Interval, shown
from mmcli.reporting.words import meaning, signed
from mmcli.tasks import Task

MOST = 10
"""Rows of a table of scores that is shown to somebody who has not asked for all."""
NOTES = {"fused": "fusion", "column": "single column", "baseline": "baseline", "refused": "not fitting"}


@dataclass(frozen=True)
class Entry:
    """One row: a fusion method, a single column or a baseline."""

    kind: str
    name: str
    outputs: Tensor | None
    """Of the val rows; None for a method that could not run."""
    seeds: tuple[float, ...] = ()
    """The primary metric of each seed by itself, where several were trained and averaged."""
    parameters: int | None = None
    seconds: float | None = None
    latency_ms: float | None = None
    """Of F and its head, on 32 rows whose embeddings are there."""
    reason: str = ""
    """Why there are no outputs."""
    note: str = ""
    """What its row says beside its name."""


@dataclass(frozen=True)
class Ranked:
    """An entry with its score and how it compares with the best single column."""

    entry: Entry
    score: Interval | None
    gain: Interval | None
    """How much better than the best single column, in pairs."""
    p_value: float | None
    """Two-sided, by the same paired bootstrap: how often a difference at least as far from none would come by chance."""


def rank(entries: Sequence[Entry], targets: Tensor, task: Task, seed: int) -> list[Ranked]:
    """The entries, best first by the primary metric on val, then by the loss; those that could not run last. Where columns
    are aligned, one alone finds nothing: others are then held against the reference baseline."""
    sign = 1.0 if task.primary_higher_is_better else -1.0
    primary = task.primary_metric
    losses = {id(entry): task.score(entry.outputs, targets)["loss"] for entry in entries if entry.outputs is not None}
    scores = {
        id(entry): task.intervals(entry.outputs, targets, seed)[primary] for entry in entries if entry.outputs is not None
    }
    columns = [entry for entry in entries if entry.kind == ("baseline" if task.aligns_columns else "column")]
    columns = [entry for entry in columns if not task.aligns_columns or entry.name == task.reference_baseline]
    best = max(columns, key=lambda entry: (sign * scores[id(entry)].value, -losses[id(entry)]))
    ranked = []
    for entry in entries:
        if entry.outputs is None or entry is best:
            ranked.append(Ranked(entry, scores.get(id(entry)), None, None))
            continue
        assert best.outputs is not None
        gain, p_value = compared(entry.outputs, best.outputs, targets, task, seed)
        ranked.append(Ranked(entry, scores[id(entry)], gain, p_value))
    done = [row for row in ranked if row.score is not None]
    done.sort(key=lambda row: (sign * row.score.value if row.score else 0.0, -losses[id(row.entry)]), reverse=True)
    return [*done, *(row for row in ranked if row.score is None)]


def compared(one: Tensor, other: Tensor, targets: Tensor, task: Task, seed: int) -> tuple[Interval, float]:
    """How much better the first is by the primary metric, and the p-value of no difference: a paired bootstrap."""
    weights = task.resamples(targets, seed)
    first, right = task.readings(one, targets)
    second, _ = task.readings(other, targets)
    metric = task.measures()[task.primary_metric]
    sign = 1.0 if task.primary_higher_is_better else -1.0
    gains = sign * (metric(first, right, weights) - metric(second, right, weights))
    gains = gains[~np.isnan(gains)]
    below = (np.sum(gains < 0) + np.sum(gains == 0) / 2 + 0.5) / (len(gains) + 1)
    return task.gain(one, other, targets, seed), float(min(1.0, 2 * min(below, 1 - below)))


def over_reference(
    ranked: Sequence[Ranked], targets: Tensor, task: Task, seed: int, groups: Array | None = None
) -> Interval | None:
    """How much better the best fusion is than the reference baseline, in pairs; None where no method could be trained."""
    done = [row.entry for row in ranked if row.score is not None]
    fused = next((entry for entry in done if entry.kind == "fused"), None)
    reference = next(entry for entry in done if entry.kind == "baseline" and entry.name == task.reference_baseline)
    return None if fused is None else task.gain(fused.outputs, reference.outputs, targets, seed, groups)


def verdict(ranked: Sequence[Ranked], task: Task, rival: Interval | None = None, *, alone: bool = False) -> str:
    """One sentence: what won, and whether it beats the best single column beyond noise; and a `rival`, where the reference is
    one: how much better it is than that. Where one input is `alone`, there is nothing to fuse but its encoders."""
    done = [row for row in ranked if row.score is not None]
    fused = next((row for row in done if row.entry.kind == "fused"), None)
    single = next((row for row in done if row.entry.kind == "column"), None)
    reference = next(row for row in done if row.entry.kind == "baseline" and row.entry.name == task.reference_baseline)
    if fused is None:
        return "No method could be trained."
    metric = meaning(task.primary_metric).name
    said = f"{fused.entry.name}: val {metric} {fused.score}"
    one = "encoder alone" if alone else "single column"
    said += "" if single is None else f"; best {one}, {single.entry.name}: {single.score}"
    said += f"; {reference.entry.name}: {reference.score}. "
    assert fused.gain is not None and fused.score is not None and reference.score is not None
    if single is None:
        better = "better" if fused.gain.low > 0 else "no better beyond noise"
        return said + f"It is {better} than what is linear ({fused.gain}, p = {fused.p_value:.3f})."
    if fused.gain.low > 0:
        said += f"{'It' if alone else 'Fusing'} beats the best {one} by {fused.gain} (p = {fused.p_value:.3f})"
    elif fused.gain.value > 0:
        said += (
            f"{'It' if alone else 'Fusing'} is ahead of the best {one} by {fused.gain}, within noise (p = {fused.p_value:.2f})"
        )
    else:
        said += f"No method beats the best {one} here"
    sign = 1 if task.primary_higher_is_better else -1
    if rival is not None and rival.value > 0:
        said += f"; it {'beats' if rival.low > 0 else 'is ahead of'} the {reference.entry.name} baseline by {rival}"
        said += "" if rival.low > 0 else ", within noise"
    elif fused.score.value == reference.score.value:
        said += f"; the {reference.entry.name} baseline is level with it"
    elif sign * fused.score.value < sign * reference.score.value:
        surely = rival is not None and rival.high < 0
        said += f"; the {reference.entry.name} baseline is {'better' if surely else 'as good or better'}"
        said += "" if rival is None else f" (by {signed(-rival.value)} [{signed(-rival.high)}, {signed(-rival.low)}])"
    return said + "."


def shortened(ranked: Sequence[Ranked], task: Task, most: int = MOST) -> list[Ranked]:
    """Not more than so many rows, in their order: the best fusion, the best column and the baselines that all is held
    against, then the best of the others."""
    of_kind = {kind: [row for row in ranked if row.entry.kind == kind] for kind in NOTES}
    held_against = {task.reference_baseline, task.constant_name}
    kept = [*of_kind["fused"][:1], *of_kind["column"][:1]]
    kept += [row for row in of_kind["baseline"] if row.entry.name in held_against]
    kept += [row for row in ranked if row not in kept and row.score is not None]
    wanted = {id(row) for row in kept[:most]}
    return [row for row in ranked if id(row) in wanted]


def table(ranked: Sequence[Ranked], metric: str, rows_of: str = "val") -> tuple[list[str], list[list[str]]]:
    """Header and rows, in words; `rows_of` says which rows the scores are of."""
    single = any(row.entry.kind == "column" for row in ranked)
    over = "over best column" if single else "over linear"
    scored = f"{rows_of} {metric}"
    header = ["", " model", scored, " 95% interval", "single seeds", over, "p", "parameters", "s", "ms"]
    rows = []
    for row in ranked:
        entry = row.entry
        if row.score is None:
            rows.append([NOTES["refused"], entry.name, *[""] * 8])
            continue
        rows.append(
            [
                NOTES[entry.kind],
                f"{entry.name}: {entry.note}" if entry.note else entry.name,
                shown(row.score.value),
                f"{shown(row.score.low)} to {shown(row.score.high)}",
                _spread(entry.seeds),
                "" if row.gain is None else "level" if row.gain.value == 0 else signed(row.gain.value),
                "" if row.p_value is None else f"{row.p_value:.3f}",
                "" if entry.parameters is None else f"{entry.parameters:,}",
                "" if entry.seconds is None else f"{entry.seconds:.1f}",
                "" if entry.latency_ms is None else f"{entry.latency_ms:.2f}",
            ]
        )
    return header, rows


def _spread(seeds: Sequence[float]) -> str:
    if len(seeds) < 2:
        return ""
    return f"{np.mean(seeds):.3f} ± {np.std(seeds, ddof=1):.3f}"


def as_json(ranked: Sequence[Ranked], said: str, task: Task, rows_of: str = "val") -> dict[str, Any]:
    """All of it, without the outputs; `rows_of` names the score by the rows that it is of."""
    rows: list[Mapping[str, Any]] = []
    for row in ranked:
        plain = {key: value for key, value in asdict(row.entry).items() if key != "outputs"}
        scores = {rows_of: row.score, "gain_over_best_column": row.gain}
        rows.append({**plain, **{k: v and v.as_dict() for k, v in scores.items()}, "p_value": row.p_value})
    return {"primary_metric": task.primary_metric, "verdict": said, "rows": rows}


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], said: str) -> str:
    """The table as Markdown, below its sentence."""
    return f"{escaped(said)}\n\n{table_of([name.strip() for name in header], rows)}\n"
