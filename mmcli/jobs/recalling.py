"""A member that remembers the texts of train rows (`models.recall`): filled from train, its options set on val.

Where texts come again in part (a phrase, a name, a set form of words) what follows in a text that is known is worth more than
what a network has learnt of few rows; where nothing is alike it says nothing, and the networks write.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.data.dataset import Dataset
from mmcli.jobs.deciding import LEAST_ROWS, PARTS, Beside
from mmcli.jobs.plain import Solved, head_of, matrix_of, readers
from mmcli.models import recall
from mmcli.models.networks import FusionHead
from mmcli.models.recall import Keys, Recall
from mmcli.signals import FeatureTable
from mmcli.tasks import Task
from mmcli.text.writing import GLIMPSED, Writing, of_each_unit

DIM = 256
"""Numbers of an input's key."""
MOST_ROWS = 50_000
"""Train rows that are remembered at most, evenly taken."""
MOST_UNITS = 2**25
"""Units of their texts, at most, as a table."""
PICKS = 8
"""Shares of the inputs are multiples of an eighth."""
SHARES = (0.25, 0.5, 0.75, 0.95)
"""How much the member may count."""
THRESHOLDS, HEATS = (0.3, 0.4, 0.5), (0.05, 0.1)
"""t and h."""


@torch.no_grad()
def remember(dataset: Dataset, inputs: Sequence[str]) -> Solved:
    """The member of these inputs: keys and texts of train rows, the inputs' shares by whose nearest texts are best on val."""
    train, val = dataset.splits["train"], dataset.splits["val"]
    known = train[:: -(-len(train) // MOST_ROWS)]
    longest = int((dataset.targets[known] >= 0).sum(1).amax())
    known = known[:: -(-len(known) * longest // MOST_UNITS)]
    choices, encoders, blocks = readers(dataset, inputs, DIM, recall.METHOD)
    terms, generator = {}, torch.Generator().manual_seed(0)
    for place, (name, encoder) in enumerate(encoders.items()):
        matrix = matrix_of(encoder)
        matrix.copy_(torch.randn(matrix.shape, generator=generator) / DIM**0.5)
        terms[name] = torch.from_numpy(np.asarray(blocks[2 * place] @ matrix.numpy())).float()
    fusion = {"rows": len(known), "longest": longest}
    head = head_of(choices, dataset, fusion)
    present = {name: dataset.column(own["input"]).present.cpu() for name, own in choices.items()}
    made = Solved(choices, encoders, head, terms, present, fusion)
    assert isinstance(head.fusion, Keys)
    assert isinstance(head.head, Recall)
    head.head.texts.copy_(dataset.targets[known][:, :longest])
    head.fusion.shares.copy_(_shares(list(terms.values()), known, train, val, dataset))
    head.head.keys.copy_(head.fused({name: own.gather(known) for name, own in made.features.items()}).pooled)
    return made


def _some(rows: Tensor) -> Tensor:
    """At most `GLIMPSED` of them, evenly taken."""
    return rows[:: -(-len(rows) // GLIMPSED)]


def _shares(keys: Sequence[Tensor], known: Tensor, train: Tensor, val: Tensor, dataset: Dataset) -> Tensor:
    """How much each input's cosine counts: picked one after the other, with replacement (Caruana 2004), by how well the text of
    the most alike of the `known` rows does on val."""
    task, rows = dataset.task, _some(val if len(val) else train)
    alike = [F.normalize(own[rows], dim=1) @ F.normalize(own[known], dim=1).T for own in keys]
    sign = 1.0 if task.primary_higher_is_better else -1.0
    counts, best, kept = torch.zeros(len(keys)), -float("inf"), torch.ones(len(keys))
    for _ in range(PICKS if len(keys) > 1 else 0):
        tried = []
        for place in range(len(keys)):
            more = counts.clone()
            more[place] += 1
            cosines = torch.stack([own * share for own, share in zip(alike, more, strict=True)]).sum(0)
            texts = task.texts_of(dataset.targets[known[cosines.argmax(1)]])  # type: ignore[attr-defined]
            spelled = task.spelled(texts, dataset.targets[train])  # type: ignore[attr-defined]
            tried.append((sign * task.score(spelled, dataset.targets[rows])[task.primary_metric], place, more))
        score, _, counts = max(tried, key=lambda own: (own[0], -own[1]))
        if score > best:
            best, kept = score, counts
    return kept / kept.sum()


@torch.no_grad()
def weigh(
    member: FusionHead,
    features: Mapping[str, FeatureTable],
    fused: Writing,
    val: Tensor,
    targets: Tensor,
    task: Task,
    seed: int,
) -> Beside | None:
    """Sets how alike inputs are to be for the text of the one to tell that of the other, and says how much `member` is to count
    beside what is `fused` of all rows; None where that is nothing.

    All is chosen by the log-probability of the right texts of val, of at most 500 of them. Each part is judged by what the
    others chose, and what is chosen by all of them has to write better texts, too."""
    if len(val) < LEAST_ROWS:
        return None
    val = _some(val)
    kind, right, head = task.outputs, targets[val], member.head
    assert isinstance(head, Recall)
    rows = {name: own.gather(val) for name, own in features.items()}
    other = kind.gather(fused, val)
    alone, there = of_each_unit(other, right)

    def recited(threshold: float, heat: float) -> Writing:
        head.threshold.fill_(threshold)
        head.heat.fill_(heat)
        found: Writing = member.eval()(rows).outputs
        return found

    how = list(product(THRESHOLDS, HEATS))
    losses = dict[tuple[float, float, float], Tensor]()
    for own in how:
        said, _ = of_each_unit(recited(*own), right)
        for share in SHARES:
            both = torch.logaddexp(alone + math.log1p(-share), said + math.log(share))
            losses[*own, share] = -both.masked_fill(~there, 0.0).sum(1)

    def best(kept: Tensor) -> tuple[float, float, float]:
        return min(losses, key=lambda own: float(losses[own][kept].sum()))

    parts = torch.randperm(len(right), generator=torch.Generator().manual_seed(seed)).chunk(PARTS)
    gain = -alone.sum(1)
    for number, part in enumerate(parts):
        chosen = best(torch.cat([own for place, own in enumerate(parts) if place != number]))
        gain[part] -= losses[chosen][part]
    threshold, heat, share = best(torch.arange(len(right)))
    if not gain.mean() > 1.96 * gain.std() / len(gain) ** 0.5:  # nor where something is not a number
        return None
    mixed = kind.mean([other, recited(threshold, heat)], torch.tensor([1 - share, share]))
    before, after = (_score(own, right, task) for own in (other, mixed))
    return Beside(share, 1.0, float(gain.sum() / there.sum())) if after > before else None


def _score(writing: Writing, right: Tensor, task: Task) -> float:
    """The primary metric of what is written, ranked as is best by it; more is better."""
    ranked = replace(writing, exponent=task.length_exponent(writing, right))  # type: ignore[attr-defined]
    return task.score(ranked, right)[task.primary_metric] * (1 if task.primary_higher_is_better else -1)
