"""The steps one after the other: first accuracy, then smaller models and other ways to run them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmcli.artifacts import layout
from mmcli.errors import MmcliError
from mmcli.models import loading, runners
from mmcli.models.recipe import Recipe
from mmcli.optimizations import Candidate, Optimization
from mmcli.selection import tradeoff
from mmcli.selection.tradeoff import Row
from mmcli.stages.optimize.candidates import judge, keep_candidates, measure, name_picked
from mmcli.stages.optimize.work import Work
from mmcli.stages.optimize.writing import write
from mmcli.training.loop import CHECKPOINT


def take_steps(parts: Mapping[str, Optimization], work: Work, late: dict[str, Any]) -> None:
    """Everything: what is tried becomes rows of the table, the pick becomes the artifact."""
    bench, task = work.bench, work.bench.dataset.task
    network = loading.load_fused(bench.dataset, bench.base).to(bench.compute.device)
    fused = Candidate("fused", network, Recipe.of(bench.base))
    best = _more_accurate(_of("accuracy", parts), fused, work)
    # What all are held against is the most accurate model in full precision: one row may turn by rounding alone.
    whole = replace(best, name=f"{best.name}, float32", way=runners.FLOAT32)
    reference = measure(whole if bench.compute.precision != "float32" else best, work)
    for candidate in {own.name: own for own in (best, fused) if own.name != reference.name}.values():
        measure(candidate, work)
    sign = 1 if task.primary_higher_is_better else -1
    made_by: dict[str, str] = {}
    for name in _of("smaller", parts):
        for proposed in _proposed(name, parts[name], best, work):
            candidate = bench.calibrated(proposed)
            measure(candidate, work, name)
            made_by[candidate.name] = name
            work.smaller.append(candidate)
    judge(reference, work)
    # Of the smaller models the fastest that may be picked is worth running in other ways, by the goal or at least by name.
    found = {row.name: row for row in work.rows if row.cost is not None}
    level = [c for c in work.smaller if c.name in found and tradeoff.level(found[c.name], work.options.max_drop)]
    level.sort(key=lambda c: (not found[c.name].allowed, tradeoff.latency(found[c.name])))
    for candidate in [best, *level[:1]]:
        for name in _of("runtime", parts):
            for other in _proposed(name, parts[name], candidate, work):
                measure(other, work, name, made_by.get(candidate.name, ""))
    judge(reference, work)
    front = tradeoff.on_front(work.rows, sign)
    work.rows = [replace(row, front=here) for row, here in zip(work.rows, front, strict=True)]
    picked = name_picked(work, work.rows)
    keep_candidates(work)
    candidate, runner = work.found[picked]
    write(candidate, runner, work, late)
    for name in parts:
        folder = work.draft.path / layout.safe(name)
        if folder.is_dir():
            _tidy(folder)


def _of(family: str, parts: Mapping[str, Optimization]) -> dict[str, Optimization]:
    return {name: part for name, part in parts.items() if part.family == family}


def _tidy(folder: Path) -> None:
    """Of a step's folder the log of training stays; checkpoints and graphs that were not kept go."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name in {CHECKPOINT} or path.suffix != ".csv":
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _more_accurate(parts: Mapping[str, Optimization], fused: Candidate, work: Work) -> Candidate:
    """The optimizations of accuracy one after the other, each kept if val approves."""
    bench = work.bench
    current, outputs = fused, bench.val_outputs(fused.network)
    work.history.append({"step": "fused", "kept": True, "val": bench.val_score(outputs)})
    for name, part in parts.items():
        started = time.monotonic()
        own = work.at(name)
        reason = part.lacking(current, own) or ("" if not own.time_is_over() or name == "calibrate" else "no time was left")
        entry: dict[str, Any] = {"step": layout.short(name), "kept": False, "val": bench.val_score(outputs)}
        if not reason:
            for proposed in part.proposals(current, own):
                proposed = proposed if name == "calibrate" else bench.calibrated(proposed)
                after = bench.val_outputs(proposed.network)
                entry |= {"val": bench.val_score(after), "kept": part.improves(outputs, after, own)}
                if entry["kept"]:
                    current, outputs = replace(proposed, name="tuned"), after
        else:
            entry["reason"] = reason
        work.history.append({**entry, "seconds": round(time.monotonic() - started, 2)})
        work.steps[name] = own.extra
        if not entry["kept"] and not reason:
            why = own.extra.get("reason", "val is no better" + ("" if name == "calibrate" else " beyond noise"))
            work.history[-1]["reason"] = why
    return current


def _proposed(name: str, part: Optimization, candidate: Candidate, work: Work) -> Iterator[Candidate]:
    """What an optimization proposes; what does not work here, or has no time left, is a row with the reason."""
    own = work.at(name)
    name = layout.short(name)
    label = f"{candidate.name}, {name}" if part.family == "runtime" else name
    # The most accurate model as a graph is worth half a minute more: nothing else makes it as much faster at no loss.
    late = time.monotonic() > work.ends and not (name == "onnx" and candidate.name in {"tuned", "fused"})
    reason = part.lacking(candidate, own) or ("no time was left" if late else "")
    if reason:
        if not any(row.way == name and row.reason == reason for row in work.rows):
            work.rows.append(Row(label if late else name, name, reason=reason))
        return
    proposals, any_yet = part.proposals(candidate, own), False
    while True:
        try:
            proposed = next(proposals, None)
        except (RuntimeError, MmcliError, NotImplementedError) as error:
            work.rows.append(Row(label, name, reason=runners.why_not(error)))
            return
        if proposed is None:
            work.steps.setdefault(name, own.extra)
            if not any_yet:
                work.rows.append(Row(label, name, reason="nothing can go: val would drop too much"))
            return
        any_yet = True
        yield proposed
