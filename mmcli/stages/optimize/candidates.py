"""Models that were tried: measured, compared in pairs, one picked, the good ones kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact
from mmcli.encoders import parameter_count
from mmcli.errors import ConfigError, MmcliError
from mmcli.models import loading, runners
from mmcli.models.recipe import Recipe
from mmcli.optimizations import Candidate
from mmcli.reporting import strict
from mmcli.selection import tradeoff
from mmcli.selection.tradeoff import Row
from mmcli.stages.optimize.work import CANDIDATES, RECIPE, Work, judged_outputs
from mmcli.stages.optimize.writing import measured, write


def measure(candidate: Candidate, work: Work, *steps: str) -> Row:
    """Runs a model on val and for its cost; a failure is a row with the reason. `steps` made it, of the most accurate one."""
    bench = work.bench
    try:
        if candidate.file is not None:
            candidate.file.parent.mkdir(parents=True, exist_ok=True)
            signals = runners.longest_rows(candidate.network, bench.dataset, 4, bench.compute)
            runners.write(candidate.way, candidate.network, signals, candidate.file, candidate.whole)
        own = runners.runner(candidate.way, candidate.network, bench.compute, candidate.file)
        outputs = judged_outputs(candidate, own, bench)
        cost = runners.cost(own, bench.dataset, bench.compute)
    except (RuntimeError, MmcliError, NotImplementedError, ValueError, TypeError, AttributeError) as error:
        row = Row(candidate.name, candidate.way, reason=runners.why_not(error))
        work.rows.append(row)
        return row
    score = bench.val_score(outputs)
    row = Row(candidate.name, candidate.way, score[bench.dataset.task.primary_metric], score["loss"], cost=cost)
    row.extra["val"] = score
    row.extra["parameters"] = parameter_count(candidate.network)
    row.extra["encoders"] = list(candidate.recipe.encoders)
    if bench.dataset.task.gives_embeddings:
        row.extra["numbers"] = outputs.values.shape[-1]
    row.extra["steps"] = [step for step in steps if step]
    work.found[candidate.name] = (candidate, own)
    work.rows.append(row)
    bench.extra[candidate.name] = outputs
    return row


def judge(reference: Row, work: Work) -> None:
    """Compares each row with the most accurate model, in pairs; cautiously where the weights are others, since the same in
    another way to run them differ by rounding alone."""
    bench, targets = work.bench, work.bench.dataset.targets[work.bench.judged]
    best: Tensor = bench.extra[reference.name]
    top = work.found[reference.name][0]
    work.reference = reference.name
    for place, row in enumerate(work.rows):
        if row.cost is None or row.gain is not None:
            continue
        own = work.found[row.name][0]
        other = any(own.network is smaller.network for smaller in work.smaller)
        gain = bench.dataset.task.gain(bench.extra[row.name], best, targets, bench.seed, cautious=other)
        losses = bench.dataset.task.gain(bench.extra[row.name], best, targets, bench.seed, metric="loss")
        # The fused model where the same network was tuned: it costs the same, whatever the clock says, and is not calibrated.
        old = row.name == "fused" and own.network is not top.network and own.recipe.members == top.recipe.members
        row = replace(row, gain=gain, loss_gain=losses, superseded=old)
        work.rows[place] = replace(row, allowed=_may_be_picked(row, reference, work.options.max_drop))


def _may_be_picked(row: Row, reference: Row, drop: float) -> bool:
    """Whether it surely drops no more than may be below the most accurate model."""
    if row.gain is None or row.loss_gain is None or row.superseded:
        return False
    safe = tradeoff.allowed(row.gain, reference.score, drop) and tradeoff.allowed(row.loss_gain, reference.loss, drop)
    return safe or row.name == reference.name


def refuse_unknown(pick: str | None, rows: Sequence[Row]) -> None:
    """Ends with an error where the model that was asked for is none of those that were measured."""
    runnable = [row.name for row in rows if row.cost is not None]
    if pick is not None and pick not in runnable:
        kept = f"What was measured is kept, and taken at once by its name: {'; '.join(runnable)}."
        raise ConfigError(f"--pick {pick}: unknown model {pick!r}", kept)


def name_picked(work: Work, usable: Sequence[Row]) -> str:
    """The name of the model that is taken: by its own name, if it was measured, or of the usable ones by the goal."""
    sign = 1 if work.bench.dataset.task.primary_higher_is_better else -1
    if work.options.pick not in {row.name for row in work.rows if row.cost is not None}:
        return tradeoff.pick(usable, work.options.goal, sign).name
    row = next(row for row in work.rows if row.name == work.options.pick)
    if not row.allowed and not row.superseded:
        work.bench.console.warn(f"{row.name} may drop more than --max-drop allows; it was picked by name")
    return row.name


def keep_candidates(work: Work) -> None:
    """All that it takes to pick any of the models later; those of the same network share its weights."""
    homes: dict[int, str] = {}
    for name, (candidate, _) in work.found.items():
        folder = work.draft.path / CANDIDATES / layout.safe(name)
        folder.mkdir(parents=True, exist_ok=True)
        home = homes.setdefault(id(candidate.network), folder.name)
        if home == folder.name:
            tensors.save(folder / loading.WEIGHTS, candidate.network.state_dict())
        said = {"recipe": candidate.recipe.as_dict(), "way": candidate.way, "weights": home}
        store.write_atomic(folder / RECIPE, strict.text(said).encode())
        if candidate.file is not None:
            for own in runners.files_of(candidate.file):
                shutil.copyfile(own, folder / own.name)
    files = [candidate.file for candidate, _ in work.found.values() if candidate.file is not None]
    if found := runners.marks(files):
        work.draft.metrics[runners.COMPILED_HERE] = found


def measured_before(root: Path, origin: str, work: str, steps: Mapping[str, Any], pick: str | None) -> Artifact | None:
    """The optimised model that is there, if from the same `origin` the model to `pick` was measured, or the same work was done
    with at least these steps, none of the others having shaped the most accurate model."""
    if not store.exists(root, layout.OPTIMIZED):
        return None
    found = store.read(root, layout.OPTIMIZED, "optimized", "mmcli optimize")
    if found.config.get("origin") != origin:
        return None
    if pick is not None and pick in {row.name for row in measured(found) if row.cost is not None}:
        return found
    done = found.config["steps"]
    shaped = {entry["step"] for entry in found.metrics["history"] if entry["kept"]}
    left_out = {layout.short(name) for name in done if name not in steps}
    same = all(done.get(name) == options for name, options in json.loads(strict.text(steps)).items())
    return found if found.config["work"] == work and same and not left_out & shaped else None


def take_again(before: Artifact, steps: Mapping[str, Any], work: Work, late: dict[str, Any]) -> None:
    """Picks another of the models that were measured before: nothing is trained, nothing measured anew. A goal picks among
    those that these steps made."""
    bench, (table, rows) = work.bench, tradeoff.told(before)
    work.reference = table["reference"]
    reference = next(row for row in rows if row.name == work.reference)
    rows = [replace(row, allowed=_may_be_picked(row, reference, work.options.max_drop)) for row in rows]
    front = tradeoff.on_front(rows, 1 if bench.dataset.task.primary_higher_is_better else -1)
    work.rows += [replace(row, front=here) for row, here in zip(rows, front, strict=True)]
    refuse_unknown(work.options.pick, work.rows)
    work.history = before.metrics["history"]
    work.steps = before.metrics["steps"]
    name = name_picked(work, [row for row in work.rows if set(row.extra.get("steps", ())) <= set(steps)])
    _copy_candidates(before, work)
    inside = f"{CANDIDATES}/{layout.safe(name)}"
    said = before.json(f"{inside}/{RECIPE}")
    with before.understood(inside):
        home, way = str(said["weights"]), str(said["way"])
        recipe = Recipe.from_dict(said["recipe"])
    weights = tensors.of(before, f"{CANDIDATES}/{home}/{loading.WEIGHTS}")
    if way == runners.AOT:
        runners.require_own(before, f"{inside}/{runners.FILES[way]}")
    with before.understood(inside):
        network = loading.built(recipe, bench.dataset, weights).to(bench.compute.device)
        file = work.draft.path / inside / runners.FILES[way] if way in runners.FILES else None
        runner = runners.runner(way, network, bench.compute, file)
    if runners.COMPILED_HERE in before.metrics:
        work.draft.metrics[runners.COMPILED_HERE] = before.metrics[runners.COMPILED_HERE]
    write(Candidate(name, network, recipe, way, file), runner, work, late)


def _copy_candidates(before: Artifact, work: Work) -> None:
    """All models that were kept, each of their files checked."""
    for relative in before.manifest["files"]:
        if relative.startswith(f"{CANDIDATES}/"):
            to = work.draft.path / relative
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(before.file(relative), to)
