"""Whether to trust a model on rows: slices of them, its most confident errors, targets that look wrong, rows that are in train
too, and whether one model is really better than another."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.data.dataset import Dataset
from mmcli.data.streaming import Streamed
from mmcli.reporting import metrics
from mmcli.reporting.metrics import Array, Interval, sign_test
from mmcli.signals import Column, FeatureTable
from mmcli.tasks import Task

LEAST_ROWS = 8
"""Rows below which a slice is not told."""
MOST_SLICES = 12
"""Slices of one kind that are told: the largest."""
NEAR = 0.995
"""Cosine of two rows' features from which they are near duplicates."""
ALIKE_ROWS, LEAST_BLURRED, BLURRED = 500, 100, 0.05
"""Of so many train rows at most, and at least: the share of pairs that near from which encoders hardly tell rows apart."""


@dataclass(frozen=True)
class Slice:
    """Some of the rows, the score on them, and by how much it is better than that of the best column, in pairs."""

    kind: str
    name: str
    score: Interval
    gain: Interval | None = None
    metric: str = ""
    """Where the primary metric is none within these rows, what the score is of: `far` or `frr`, at the threshold."""

    def as_dict(self) -> dict[str, Any]:
        gain = {} if self.gain is None else {"over_best_column": self.gain.as_dict()}
        metric = {"metric": self.metric} if self.metric else {}
        return {"kind": self.kind, "name": self.name, **self.score.as_dict(), **metric, **gain}


def slices(
    dataset: Dataset, index: Tensor, outputs: Any, extra: Mapping[str, Sequence[str]], seed: int, column: Any = None
) -> list[Slice]:
    """The score by category, by length of texts and sounds, by which inputs are missing, by class, and by each of `extra`
    (a name -> its cell in each of the rows); beside the outputs of the best column, where each row's stands by itself."""
    groups: dict[str, list[str]] = {}
    missing = [[] for _ in index]  # type: list[list[str]]
    for name in dataset.inputs:
        found, source = dataset.input(name), dataset.column(name)
        present = source.present[index].tolist()
        for row, here in enumerate(present):
            if not here:
                missing[row].append(name)
        lengths = source.lengths
        if lengths is not None:
            groups[f"length of {name}"] = _thirds(lengths[index].tolist(), present)
        if isinstance(source, Column) and found.spec.fields:
            groups |= _categories(dataset, name, source, index)
    if any(missing):
        groups["missing"] = ["nothing" if not own else ", ".join(own) for own in missing]
    if dataset.task.has_classes:
        groups["class"] = dataset.task.strata(dataset.task.config, [dataset.cells[i] for i in index.tolist()])
    groups |= {name: list(cells) for name, cells in extra.items()}
    targets, drawn, found_slices = dataset.targets[index], dataset.groups(index), []
    for kind, names in groups.items():
        counts = sorted(((count, name) for name, count in Counter(names).items()), key=lambda pair: (-pair[0], pair[1]))
        for count, name in counts[:MOST_SLICES]:
            if LEAST_ROWS <= count < len(names) or (kind in extra and count >= 2):
                rows = torch.tensor([own == name for own in names]).nonzero()[:, 0]
                score, metric = _judged(dataset.task, outputs, targets, rows, seed, drawn)
                if not math.isnan(score.value):
                    gain = _gained(dataset.task, outputs, column, targets, rows, seed)
                    found_slices.append(Slice(kind, name, score, gain, metric))
    return found_slices


def _judged(task: Task, outputs: Any, targets: Tensor, rows: Tensor, seed: int, groups: Array | None) -> tuple[Interval, str]:
    """The primary metric of those rows; where it is none, since all are of one kind, which error they may be and its rate."""
    score = task.within(outputs, targets, rows, seed, groups)[task.primary_metric]
    if math.isnan(score.value):
        for name, own in task.errors_at_threshold(outputs, targets, rows, seed, groups).items():
            if own["n"]:
                return Interval(own["value"], own["low"], own["high"], int(own["n"])), name
    return score, ""


def _gained(task: Task, outputs: Any, column: Any, targets: Tensor, rows: Tensor, seed: int) -> Interval | None:
    """Of those rows, in pairs."""
    if column is None or task.compares_rows or task.gives_embeddings or task.aligns_columns:
        return None
    own, other = (task.outputs.gather(found, rows) for found in (outputs, column))
    return task.gain(own, other, targets[rows], seed)


def _thirds(lengths: Sequence[int], present: Sequence[bool]) -> list[str]:
    known = [length for length, here in zip(lengths, present, strict=True) if here]
    if len(set(known)) < 3:
        return ["all"] * len(lengths)
    low, high = (int(value) for value in np.quantile(known, [1 / 3, 2 / 3]))
    names = {0: f"up to {low}", 1: f"{low + 1} to {high}", 2: f"over {high}"}
    return [names[int(n > low) + int(n > high)] if here else "absent" for n, here in zip(lengths, present, strict=True)]


def _categories(dataset: Dataset, name: str, column: Column, index: Tensor) -> dict[str, list[str]]:
    """The categories among an input's columns, by name."""
    found, start = {}, 0
    for member, modality in dataset.input(name).members.items():
        width = modality.describe().shape[0]
        known = getattr(modality, "names", None)
        if known and width == 1:
            ids = column.values[index, start].tolist()
            found[member] = ["missing" if i != i else "unknown" if not i else str(known[int(i) - 1]) for i in ids]
        start += width
    return found


def confident_errors(task: Task, outputs: Any, targets: Tensor, most: int = 12) -> list[tuple[int, str]]:
    """The rows of the worst errors, and how wrong they are in words: the highest probability of a wrong class, the largest
    distance of a number, the most wrong of a text."""
    told = task.worst_rows(outputs, targets, most)
    if told is not None:
        return told
    right_of = task.parted(targets)[0]
    if task.decision.link == "softmax":
        shares = outputs.double().softmax(1)
        sure, chosen = shares.max(1)
        sure = torch.where(chosen == right_of, -1.0, sure)
        order = sure.argsort(descending=True)[:most].tolist()
        return [(row, f"{sure[row]:.0%} sure") for row in order if sure[row] > 0]
    if task.decision.link == "sigmoid":
        width = task.decision.width
        losses = F.binary_cross_entropy_with_logits(outputs[:, :width].double(), right_of.double(), reduction="none").sum(1)
        return [(row, f"loss {losses[row]:.2f}") for row in losses.argsort(descending=True)[:most].tolist()]
    predicted, right = task.readings(outputs, targets)
    distance = np.abs(predicted - right).mean(1)
    order = np.argsort(-distance)[:most].tolist()
    return [(row, f"off by {metrics.shown(float(distance[row]))}") for row in order]


def suspects(task: Task, outputs: Tensor, targets: Tensor, most: int = 10) -> list[tuple[int, float, int]]:
    """Rows whose class looks wrong (confident learning, Northcutt et al. 2021): another class is more probable than it is on
    average where it is right, and the own one less. (row, probability of the own class, the other class); of classes alone."""
    if task.lacks("doubtful targets"):
        return []
    targets, _ = task.parted(targets)
    shares = outputs.double().softmax(1)
    own = shares[torch.arange(len(targets)), targets]
    usual = torch.stack(
        [own[targets == c].mean() if (targets == c).any() else own.new_ones(()) for c in range(shares.shape[1])]
    )
    other_share, other = shares.scatter(1, targets[:, None], -1.0).max(1)
    doubtful = (other_share >= usual[other]) & (own < usual[targets])
    order = [row for row in own.argsort().tolist() if doubtful[row]][:most]
    return [(row, float(own[row]), int(other[row])) for row in order]


def duplicates(dataset: Dataset, features: Mapping[str, FeatureTable]) -> dict[str, Any]:
    """Test rows that are in train too: `exact` where every input is the same to the bit, `near` where the encoders make nearly
    the same of all of them, and their class, labels or text, if they have one, is the same: others give no answer away. They
    are not looked for (`blurred`) where the encoders make nearly the same of a twentieth of all pairs of train rows: they
    hardly tell rows apart. Each with its pairs (test row, train row), rows counted from 1."""
    train, test = dataset.splits["train"], dataset.splits["test"]
    keys = [_digests(dataset, name) for name in dataset.inputs]
    seen: dict[tuple[bytes, ...], int] = {}
    for row in train.tolist():
        seen.setdefault(tuple(own[row] for own in keys), row)
    exact = [(row, seen[key]) for row in test.tolist() if (key := tuple(own[row] for own in keys)) in seen and any(key)]
    blocks = []
    for own in features.values():
        centred = own.pooled.float() - own.pooled[train].float().mean(0)
        blocks.append(F.normalize(centred, dim=1) * own.present[:, None])
    joined = F.normalize(torch.cat(blocks, 1), dim=1)
    found = set(exact)
    near = []
    alike = _alike(dataset)
    blurred = _blurred(joined[train[:ALIKE_ROWS]])
    for part in () if blurred else test.split(512):
        similarity = joined[part] @ joined[train].T
        if alike is not None:
            similarity = similarity.masked_fill(alike[part, None] != alike[train][None], -1.0)
        best, place = similarity.max(1)
        for row, value, at in zip(part.tolist(), best.tolist(), place.tolist(), strict=True):
            pair = (row, int(train[at]))
            if value >= NEAR and not any(row == own for own, _ in found):
                near.append((*pair, value))
    return {
        "exact": len(exact),
        "near": len(near),
        "blurred": blurred,
        "exact_pairs": [[a + 1, b + 1] for a, b in exact[:20]],
        "near_pairs": [[a + 1, b + 1, round(value, 4)] for a, b, value in sorted(near, key=lambda own: -own[2])[:20]],
    }


def _blurred(rows_NF: Tensor) -> bool:
    """Whether encoders make nearly the same of many of these rows, which are different ones: of more than a twentieth of the
    pairs, of a hundred rows or more."""
    pairs = len(rows_NF) * (len(rows_NF) - 1)
    close = rows_NF @ rows_NF.T
    near = int(((close >= NEAR) & (close < 1 - 1e-6)).sum())
    return len(rows_NF) >= LEAST_BLURRED and near > BLURRED * pairs


def _alike(dataset: Dataset) -> Tensor | None:
    """int64 [N]: a number for each answer there is; None where rows have none, or where answers are numbers, which may be
    nearly the same too."""
    if not dataset.schema["targets"]:
        return None
    answers = dataset.task.parted(dataset.targets)[0]
    if answers.is_floating_point() and not bool(((answers == 0) | (answers == 1)).all()):
        return None
    number: Tensor = torch.unique(answers, dim=0, return_inverse=True)[1]
    return number


def _digests(dataset: Dataset, name: str) -> list[bytes]:
    """Of each row of an input a digest of its tensor; empty where it is absent."""
    import hashlib

    source, found = dataset.column(name), []
    for part in torch.arange(len(source)).split(256):
        column = source.read(part) if isinstance(source, Streamed) else source.select(part)
        values = column.values.contiguous()
        ends = column.offsets.tolist() if column.offsets is not None else list(range(len(part) + 1))
        for row, here in enumerate(column.present.tolist()):
            data = values[ends[row] : ends[row + 1]].numpy().tobytes() if here else b""
            found.append(hashlib.blake2b(data, digest_size=12).digest() if here else b"")
    return found


def mcnemar(task: Task, one: Tensor, other: Tensor, targets: Tensor) -> dict[str, Any]:
    """Of two classifiers on the same rows: how many each alone gets right, and the exact two-sided p-value of McNemar's test;
    empty for other tasks."""
    if task.lacks("McNemar's test"):
        return {}
    targets, _ = task.parted(targets)
    right = [task.chosen(outputs) == targets for outputs in (one, other)]
    first, second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return {"first_alone": first, "second_alone": second, "p_value": sign_test(first, second)}
