"""What stands beside F in the mean where val shows that it pays: the columns' own decisions, a linear model, boosted trees,
a tabular foundation model; known texts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from mmcli.artifacts.store import Draft
from mmcli.data.dataset import Dataset
from mmcli.jobs import deciding, recalling
from mmcli.jobs import fusion as fusion_job
from mmcli.jobs.plain import Solved
from mmcli.models import recall
from mmcli.models.networks import AveragedHeads, FusionHead, Heads
from mmcli.models.recipe import averaged, build_head
from mmcli.proof.members import OWN
from mmcli.signals import FeatureTable
from mmcli.stages.fuse.plans import Plan
from mmcli.text.writing import Writing
from mmcli.training.device import Compute


def with_decisions(
    members: list[FusionHead],
    plan: Plan,
    features: Mapping[str, FeatureTable],
    dataset: Dataset,
    compute: Compute,
    draft: Draft,
    late: dict[str, Any],
) -> Heads:
    """The mean of the members; of methods that fuse features, with the columns' own decisions as one more where val shows that
    it pays: `late` then says so."""
    heads, task = averaged(members), dataset.task
    if not plan.reads_features or not plan.training.decisions or task.lacks("decision fusions") or task.compares_columns:
        return heads
    dims = {name: own.pooled.shape[1] for name, own in features.items()}
    member = build_head(deciding.METHOD, deciding.OPTIONS, dims, plan.sources, task, plan.head)
    if plan.fixed is not None:
        found = None if plan.fixed.beside is None else deciding.Told(**plan.fixed.beside).put(member)
    else:
        fused = fusion_job.answers(heads, features, compute).outputs
        found = deciding.weigh(member, features, fused, dataset.splits["val"], dataset.targets, task, plan.seeds[0])
    if found is None:
        return heads
    late[OWN] = {"method": deciding.METHOD, "fusion": deciding.OPTIONS}
    draft.metrics[OWN] = asdict(found)
    return _joined(heads, member.to(compute.device), found)


@torch.no_grad()
def with_solved(
    heads: Heads, solved: Mapping[str, Solved], fused: Any, plan: Plan, dataset: Dataset, draft: Draft, late: dict[str, Any]
) -> tuple[Heads, list[Solved]]:
    """The heads, which answer `fused` to all rows, with each of the solved models as one member more where val shows that it
    pays; and those that were taken in: `late` then names them."""
    taken: list[Solved] = []
    if not plan.training.decisions:
        return heads, taken
    task, val = dataset.task, dataset.splits["val"]
    for method, model in solved.items():
        member = copy.deepcopy(model.head)
        given = (member, model.features, fused, val, dataset.targets, task, plan.seeds[0])
        if method == recall.METHOD:
            member.head.beam = fused.width if isinstance(fused, Writing) else 1
            found = recalling.weigh(*given) if isinstance(fused, Writing) else None
        else:
            found = deciding.weigh_known(*given, heads.made_at)
        if found is None:
            continue
        if method != recall.METHOD:
            width = task.decision.width
            said = member.eval()(model.features).outputs[:, :width]
            fused = (1 - found.share) * fused[:, :width] / found.temperature + found.share * said
        heads = _joined(heads, member, found)
        late.setdefault("solved", {})[method] = model.choices
        late.setdefault("solved_fusions", {})[method] = model.fusion
        draft.metrics[method] = asdict(found)
        taken.append(model)
    return heads, taken


def _joined(heads: Heads, member: FusionHead, found: deciding.Beside) -> AveragedHeads:
    """All of them, F's being divided by the temperature that was found for it."""
    each = heads.each if isinstance(heads, AveragedHeads) else [heads]
    before = heads.shares.tolist() if isinstance(heads, AveragedHeads) else [1.0]
    for own in each:
        own.temperature *= found.temperature
    return AveragedHeads([*each, member], deciding.shares(before, found))
