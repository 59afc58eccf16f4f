"""From finished folds to one model: out-of-fold scores of every method, one picked by them, the average of its folds."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact, Draft
from mmcli.data.dataset import Dataset
from mmcli.encoders import parameter_count
from mmcli.models import folds as averaging
from mmcli.models import loading, runners
from mmcli.models.calibration import temperature
from mmcli.models.folds import Folds
from mmcli.models.networks import FusedModel, settle
from mmcli.models.recipe import Recipe
from mmcli.reporting import strict
from mmcli.reporting.metrics import shown
from mmcli.selection import leaderboard
from mmcli.selection.leaderboard import Entry, Ranked
from mmcli.stages import Context, Outcome
from mmcli.stages.folds.dealing import folds_of
from mmcli.training import device
from mmcli.training.device import Compute

TABLE = "out_of_fold.json"
TEXT = "out_of_fold.md"


@dataclass(frozen=True)
class _Case:
    """What is joined."""

    dataset: Dataset
    of_row: Tensor
    """int64 [N]: see `Folds`."""
    judged: Tensor
    """The positions of all labelled rows of train and val."""
    fused: Mapping[str, Mapping[int, Artifact]]
    """Method -> fold -> its fusion."""
    context: Context

    def outputs(self, method: str) -> Tensor:
        """[N, C]: what a method's folds answered, each row by those that have not been trained on it."""
        return self.gathered({n: loading.outputs(own, self.dataset) for n, own in self.fused[method].items()})

    def gathered(self, outputs: Mapping[int, Tensor]) -> Tensor:
        """The same from each fold's outputs [N, C] of all rows."""
        found = torch.stack(list(outputs.values())).mean(0)
        for number, own in outputs.items():
            found[self.of_row == number] = own[self.of_row == number]
        return found


def join(count: int, keep_val: bool, methods: Sequence[str], context: Context) -> Outcome:
    """See `mmcli.stages.folds.run`."""
    dataset = Dataset.open(context.root)
    numbers = range(1, count + 1)
    fused = {method: {number: fusion_of(number, method, context) for number in numbers} for method in methods}
    of_row = folds_of(dataset, count, keep_val, context.seed)
    judged = torch.cat([dataset.splits["train"], dataset.splits["val"]]).sort().values
    case = _Case(dataset, of_row, judged, fused, context)
    compute = device.choose(context.device, context.precision, context.threads)
    parents = {method: _parents(own) | dataset.artifact.parent() for method, own in fused.items()}
    fingerprint = store.digest([parents, count, keep_val, context.seed, str(compute)])
    found = None if context.force else store.up_to_date(context.root, layout.FOLDED, fingerprint)
    if found is None:
        ranked = _ranked(case)
        targets = dataset.targets[judged]
        method = averaging.picked({name: case.outputs(name)[judged] for name in methods}, targets, dataset.task, context.seed)
        found = _made(method, ranked, parents[method], fingerprint, keep_val, case, compute)
    else:
        context.console.note(f"{layout.FOLDED}: up to date")
    _say(found, dataset, context)
    return Outcome(found.metrics, "mmcli optimize")


def fusion_of(number: int, method: str, context: Context) -> Artifact:
    """A method's fusion in a fold, or, of number 0, in the refit, fresh."""
    root, command = layout.fold(context.root, number), context.command or "mmcli run TABLE --folds"
    return store.require_fresh(store.read(root, layout.fusion(method), "fusion", command))


def _parents(fused: Mapping[int, Artifact]) -> dict[str, str]:
    """The folds' fusions, and their encoders, since those may be trained anew while the fusions are."""
    found: dict[str, str] = {}
    for number, own in fused.items():
        found |= own.parent(fold=number)
        for encoder in loading.encoders_of(own).values():
            found |= encoder.parent(fold=number)
    return found


def _ranked(case: _Case) -> list[Ranked]:
    """All methods and single columns by their out-of-fold outputs, best first."""
    dataset, judged = case.dataset, case.judged
    entries = []
    for method, own in case.fused.items():
        scores = [fold.metrics["val"][dataset.task.primary_metric] for fold in own.values()]
        seconds = sum(float(fold.metrics["seconds"]) for fold in own.values())
        outputs = case.outputs(method)[judged]
        entries.append(Entry("fused", layout.short(method), outputs, tuple(scores), own[1].metrics["parameters"], seconds))
    encoders = {number: loading.encoders_of(own) for number, own in next(iter(case.fused.values())).items()}
    for name, first in encoders[1].items():
        column = {
            number: loading.outputs(own[name], dataset, loading.kept_file(own[name], loading.EMBEDDINGS))
            for number, own in encoders.items()
        }
        scores = [own[name].metrics["val"][dataset.task.primary_metric] for own in encoders.values()]
        seconds = sum(float(own[name].metrics["seconds"]) for own in encoders.values())
        said = f"{first.config['column']} ({layout.short(first.config['architecture'])})"
        outputs = case.gathered(column)[judged]
        entries.append(Entry("column", said, outputs, tuple(scores), first.metrics["parameters"], seconds))
    return leaderboard.rank(entries, dataset.targets[judged], dataset.task, case.context.seed)


def _made(
    method: str,
    ranked: Sequence[Ranked],
    parents: Mapping[str, str],
    fingerprint: str,
    keep_val: bool,
    case: _Case,
    compute: Compute,
) -> Artifact:
    """The average of a method's folds, as an artifact that stands alone."""
    started, context, fused = time.monotonic(), case.context, case.fused[method]
    base = fused[1]
    parts = {number: (_model(own), Recipe.of(own)) for number, own in fused.items()}
    network, recipe, members = averaging.averaged(parts, case.dataset)
    folds = Folds(members, case.of_row)
    same = ("method", "fusion", "head", "training", "seeds")
    with store.writing(
        context.root,
        layout.FOLDED,
        kind="folded",
        command=context.command or "mmcli run TABLE --folds",
        config={
            **{key: base.config[key] for key in same},
            "encoders": recipe.encoders,
            "trained_encoders": True,
            "precision": compute.precision,
            "base": base.name,
            "recipe": recipe.as_dict(),
            "folds": list(members),
            "keep_val": keep_val,
        },
        seed=context.seed,
        parents=parents,
        fingerprint=fingerprint,
        anew=context.force,
    ) as draft:
        outputs = _settled(network.to(compute.device), folds, case, compute)
        draft.tensors[loading.WEIGHTS] = tensors.save(draft.path / loading.WEIGHTS, network.state_dict())
        draft.tensors[loading.OUTPUTS] = tensors.save(draft.path / loading.OUTPUTS, case.dataset.task.outputs.save(outputs))
        draft.tensors[averaging.FILE] = tensors.save(draft.path / averaging.FILE, folds.save())
        _tell(outputs, network, (parts[1][0], base), ranked, case, compute, draft)
        draft.metrics["seconds"] = round(time.monotonic() - started, 2)
    return store.read(context.root, layout.FOLDED, "folded", "mmcli run TABLE --folds")


def _model(fused: Artifact) -> FusedModel:
    """A fold's own model."""
    return loading.load_fused(Dataset.open(fused.root), fused)


def _settled(network: FusedModel, folds: Folds, case: _Case, compute: Compute) -> Tensor:
    """Sets what the average decides by and its temperature, from all out-of-fold outputs; gives its outputs for every row, of
    those that a fold was trained on out of fold."""
    dataset, judged = case.dataset, case.judged
    targets = dataset.targets[judged]
    settle(network.fusion_head, folds.outputs(network, dataset, judged, compute), targets)
    if not dataset.task.lacks("calibration"):
        own = folds.outputs(network, dataset, judged, compute)
        heads = network.fusion_head
        heads.temperature *= temperature(own, targets, dataset.task, heads.made_at)
    return folds.outputs(network, dataset, torch.arange(len(dataset.rows)), compute)


def _tell(
    outputs: Tensor,
    network: FusedModel,
    first: tuple[FusedModel, Artifact],
    ranked: Sequence[Ranked],
    case: _Case,
    compute: Compute,
    draft: Draft,
) -> None:
    """The scores, whether the average is taken, what it costs beside the single pipeline, the table of methods."""
    dataset, task, judged, seed = case.dataset, case.dataset.task, case.judged, case.context.seed
    method = first[1].config["method"]
    fused, val = case.fused[method], dataset.splits["val"]
    members = tuple(fused)
    scores = task.intervals(outputs[judged], dataset.targets[judged], seed, dataset.groups(judged))
    networks = {"average": network, "single": first[0].to(compute.device)}
    costs = {
        name: asdict(runners.cost(runners.runner(runners.TORCH, own, compute, None), dataset, compute))
        for name, own in networks.items()
    }
    raw = case.outputs(method)
    raw[val] = loading.outputs(fused[1], dataset)[val]  # with --keep-val too: what the first fold itself says of its val
    wrong = averaging.gone_wrong(raw, Folds(members, case.of_row), dataset)
    draft.measured.add("cost")
    draft.metrics.update(
        primary_metric=task.primary_metric,
        higher_is_better=task.primary_higher_is_better,
        val=task.score(outputs[val], dataset.targets[val]),
        single={"val": first[1].metrics["val"]},
        folds=[own.metrics["val"][task.primary_metric] for own in fused.values()],
        out_of_fold={name: own.as_dict() for name, own in scores.items()},
        rows=len(judged),
        chosen=not wrong,
        wrong=wrong,
        best_epochs=[own.metrics["best_epochs"] for own in fused.values()],
        parameters=parameter_count(network),
        cost=costs,
    )
    draft.volatile |= {TABLE, TEXT}  # they tell how long methods took
    said = f"Out of fold: {len(judged)} labelled rows of train and val, each by the fold that has not been trained on it."
    told = leaderboard.as_json(ranked, said, task, "out_of_fold")
    draft.write_json(TABLE, told)
    draft.metrics["methods"] = {row["name"]: row["out_of_fold"]["value"] for row in told["rows"]}
    text = leaderboard.markdown(*leaderboard.table(ranked, task.primary_metric, "out of fold"), said)
    store.write_atomic(draft.path / TEXT, text.encode())


def _say(found: Artifact, dataset: Dataset, context: Context) -> None:
    primary, metrics = dataset.task.primary_metric, found.metrics
    own, folds = metrics["out_of_fold"][primary], len(metrics["folds"])
    method = layout.short(found.config["method"])
    each = ", ".join(shown(score) for score in metrics["folds"])
    rows = [
        [row["kind"], row["name"], _cell(row["out_of_fold"]), _gain(row)] for row in strict.numbers(found.json(TABLE))["rows"]
    ]
    header = ["", " model", f"out of fold {primary}, {metrics['rows']:,} rows", "over best column"]
    context.console.table(header, rows)
    cost = metrics["cost"]
    context.console.note(
        f"folded: the average of {folds} folds of {method}: out of fold {primary} {_cell(own)} on {metrics['rows']:,} rows "
        f"(fold by fold: {each}); one row in {cost['average']['p50_ms_1']:.2f} ms where one pipeline takes "
        f"{cost['single']['p50_ms_1']:.2f}, {cost['average']['size_mb']:.1f} MB where it takes {cost['single']['size_mb']:.1f}"
    )
    if not metrics["chosen"]:
        first = layout.fold(context.root, metrics["wrong"][0])
        context.console.warn(
            f"fold {' and '.join(map(str, metrics['wrong']))} went wrong: on its own rows it tells less than a constant, so "
            f"that {found.config['base']} stays the model: mmcli status -a {shlex.quote(str(first))}"
        )


def _cell(interval: Mapping[str, float]) -> str:
    return f"{shown(interval['value'])} [{shown(interval['low'])}, {shown(interval['high'])}]"


def _gain(row: Mapping[str, Any]) -> str:
    return _cell(row["gain_over_best_column"]) if row["gain_over_best_column"] else ""
