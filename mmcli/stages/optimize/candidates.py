"""Models that were tried: measured, compared in pairs, one picked, the good ones kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
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
from mmcli.selection import tradeoff
from mmcli.selection.tradeoff import Row
from mmcli.stages.optimize.work import CANDIDATES, RECIPE, TABLE, Work
from mmcli.stages.optimize.writing import write


def measure(candidate: Candidate, work: Work) -> Row:
    """Runs a model on val and for its cost; a failure is a row with the reason."""
    bench = work.bench
    val = bench.dataset.splits["val"]
    try:
        if candidate.file is not None:
            candidate.file.parent.mkdir(parents=True, exist_ok=True)
            signals = runners.batch_of(candidate.network, bench.dataset, 4, bench.compute)
            runners.write(candidate.way, candidate.network, signals, candidate.file, candidate.whole)
        own = runners.runner(candidate.way, candidate.network, bench.compute, candidate.file)
        columns = {name: bench.dataset.column(name).select(val) for name in candidate.network.inputs}
        outputs = own.outputs(columns, bench.compute.device)
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
    work.found[candidate.name] = (candidate, own)
    work.rows.append(row)
    bench.extra[candidate.name] = outputs
    return row


def judge(reference: Row, work: Work) -> None:
    """Compares each row with the most accurate model, in pairs; cautiously where the weights are others, since the same in
    another way to run them differ by rounding alone."""
    bench, targets = work.bench, work.bench.dataset.targets[work.bench.dataset.splits["val"]]
    best: Tensor = bench.extra[reference.name]
    top = work.found[reference.name][0]
    for place, row in enumerate(work.rows):
        if row.cost is None or row.gain is not None:
            continue
        own = work.found[row.name][0]
        other = any(own.network is smaller.network for smaller in work.smaller)
        gain = bench.dataset.task.gain(bench.extra[row.name], best, targets, bench.seed, cautious=other)
        losses = bench.dataset.task.gain(bench.extra[row.name], best, targets, bench.seed, metric="loss")
        drop = work.options.max_drop
        safe = tradeoff.allowed(gain, reference.score, drop) and tradeoff.allowed(losses, reference.loss, drop)
        safe = safe or row.name == reference.name
        # The fused model where the same network was tuned: it costs the same, whatever the clock says, and is not calibrated.
        old = row.name == "fused" and own.network is not top.network and own.recipe.members == top.recipe.members
        work.rows[place] = replace(row, gain=gain, loss_gain=losses, allowed=safe and not old, superseded=old)


def refuse_unknown(pick: str | None, rows: Sequence[Row]) -> None:
    """Ends with an error where the model that was asked for is none of those that were measured."""
    runnable = [row.name for row in rows if row.cost is not None]
    if pick is not None and pick not in runnable:
        kept = f"What was measured is kept, and taken at once by its name: {'; '.join(runnable)}."
        raise ConfigError(f"--pick {pick}: unknown model {pick!r}", kept)


def name_picked(work: Work) -> str:
    """The name of the model that is taken: by its own name, if it was measured, or by the goal."""
    sign = 1 if work.bench.dataset.task.primary_higher_is_better else -1
    if work.options.pick not in {row.name for row in work.rows if row.cost is not None}:
        return tradeoff.pick(work.rows, work.options.goal, sign).name
    row = next(row for row in work.rows if row.name == work.options.pick)
    if not row.allowed and not row.superseded:
        work.bench.console.warn(f"{row.name} may drop more than --max-drop allows; it was picked by name")
    return row.name


def keep_candidate(candidate: Candidate, folder: Path) -> None:
    """All that it takes to pick it later."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors.save(folder / loading.WEIGHTS, candidate.network.state_dict())
    store.write_atomic(folder / RECIPE, json.dumps({"recipe": candidate.recipe.as_dict(), "way": candidate.way}).encode())
    if candidate.file is not None:
        shutil.copy2(candidate.file, folder / candidate.file.name)


def same_work(root: Path, work: str) -> Artifact | None:
    """The optimised model that is there, if the same work was done for it, whatever was picked."""
    if not store.exists(root, layout.OPTIMIZED):
        return None
    found = store.read(root, layout.OPTIMIZED, "optimized", "mmcli optimize")
    return found if found.config.get("work") == work else None


def take_again(before: Artifact, work: Work, late: dict[str, Any]) -> None:
    """Picks another of the models that were measured before: nothing is trained, nothing measured anew."""
    table = before.json(TABLE)
    work.rows += [Row.from_dict(entry) for entry in table["rows"]]
    refuse_unknown(work.options.pick, work.rows)
    work.history = before.metrics["history"]
    work.steps = before.metrics["steps"]
    name = name_picked(work)
    shutil.copytree(before.path / CANDIDATES, work.draft.path / CANDIDATES, dirs_exist_ok=True)
    folder = work.draft.path / CANDIDATES / layout.safe(name)
    if not (folder / RECIPE).is_file():
        raise ConfigError(
            f"--pick {name}: its weights were not kept, since no goal would pick it", "Add --force to make it again."
        )
    said = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    recipe = Recipe.of(replace(before, manifest={**before.manifest, "config": {"recipe": said["recipe"]}}))
    network = recipe.build(work.bench.dataset, tensors.load(folder / loading.WEIGHTS)).to(work.bench.compute.device)
    file = folder / runners.FILES[said["way"]] if said["way"] in runners.FILES else None
    candidate = Candidate(name, network, recipe, said["way"], file)
    write(candidate, runners.runner(said["way"], network, work.bench.compute, file), work, late)
