"""A member that remembers the texts of train rows (`models.recall`): filled from train, its options set on val.

Where texts come again in part (a phrase, a name, a set form of words) what follows in a text that is known is worth more than
what a network has learnt of few rows; where nothing is alike it says nothing, and the networks write.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.data.dataset import Dataset
from mmcli.encoders import Encoder
from mmcli.jobs.deciding import PARTS, Beside
from mmcli.jobs.plain import Solved, encoder_of, head_of, matrix_of, readers
from mmcli.layers.ngrams import spelt
from mmcli.models import recall
from mmcli.models.networks import FusionHead
from mmcli.models.recall import Keys, Recall
from mmcli.reporting.text_metrics import tokenizer_for, units
from mmcli.signals import Column, FeatureTable
from mmcli.tasks import Task
from mmcli.text.dictionary import Dictionary
from mmcli.text.writing import GLIMPSED, Writing, of_each_unit

DIM = 256
"""Numbers of an input's key."""
MOST_ROWS = 50_000
"""Train rows that are remembered at most, evenly taken."""
MOST_UNITS = 2**25
"""Units of their texts, at most, as a table."""
PICKS = 8
"""Shares of the inputs are multiples of an eighth."""
SHARES = (0.25, 0.5, 0.65, 0.8, 0.95)
"""How much the member may count."""
THRESHOLDS, HEATS, TRUSTS = (0.3, 0.4, 0.5), (0.05, 0.1), (0.0, 0.45, 0.6)
"""t, h, and what a text that was looked up has in place of a cosine."""
LEAST_ROWS = 15
"""Val rows below which nothing is shown by them; each has many units."""
LONGEST = 512
"""Units of such a text, at most."""


@torch.no_grad()
def remember(dataset: Dataset, inputs: Sequence[str]) -> Solved:
    """The member of these inputs: keys and texts of train rows, the inputs' shares by whose nearest texts are best for other
    train rows; and a dictionary of each input that is a text."""
    train = dataset.splits["train"]
    known = train[:: -(-len(train) // MOST_ROWS)]
    longest = max(int((dataset.targets[known] >= 0).sum(1).amax()), 1)
    known = known[:: -(-len(known) * longest // MOST_UNITS)]
    choices, encoders, blocks = readers(dataset, inputs, DIM, recall.METHOD)
    terms, generator = dict[str, Tensor](), torch.Generator().manual_seed(0)
    for place, (name, encoder) in enumerate(encoders.items()):
        matrix = matrix_of(encoder)
        matrix.copy_(torch.randn(matrix.shape, generator=generator) / DIM**0.5)
        terms[name] = torch.from_numpy(np.asarray(blocks[2 * place] @ matrix.numpy())).float()
    shares = _shares(list(terms.values()), known, train, dataset)
    words = []
    for own in inputs:
        if dataset.input(own).spec.kind == "ids":
            words.append(name := f"{own}/{recall.WORDS}")
            choices[name], encoders[name] = _dictionary(own, min(longest, LONGEST), dataset)
            column = encoders[name].prepare(dataset.column(own))
            terms[name] = torch.cat(
                [encoders[name](column.gather(part)).pooled for part in torch.arange(len(column)).split(256)]
            )
    fusion = {"rows": len(known), "longest": longest, "words": words}
    head = head_of(choices, dataset, fusion)
    present = {name: dataset.column(own["input"]).present.cpu() for name, own in choices.items()}
    made = Solved(choices, encoders, head, terms, present, fusion)
    assert isinstance(head.fusion, Keys)
    assert isinstance(head.head, Recall)
    head.head.texts.copy_(dataset.targets[known][:, :longest])
    head.fusion.shares.copy_(shares)
    keys = head.fused({name: own.gather(known) for name, own in made.features.items()}).pooled
    head.head.keys.copy_(keys[:, : head.fusion.width])
    return made


def _dictionary(name: str, longest: int, dataset: Dataset) -> tuple[dict[str, Any], Encoder]:
    """What looks up the words of an input, by what stands beside them in train (IBM model 1)."""
    task: Any = dataset.task
    column, train = dataset.column(name), dataset.splits["train"]
    assert isinstance(column, Column)
    taught = spelt(column.select(train), dataset.input(name).spec.pieces)
    right, own = task.texts_of(dataset.targets[train]), tokenizer_for(taught)
    found = Dictionary.fit([(units(one, own), units(other, task.tokenizer)) for one, other in zip(taught, right, strict=True)])
    becomes = {word: found.translate([word])[0] for word in found.words if word}
    between = " " if task.tokenizer == "13a" else ""
    known = task.units.known_ids
    table = {
        "blanks": own == "13a",
        "first": {word: known(other) for word, other in becomes.items()},
        "later": {word: known(between + other) for word, other in becomes.items()},
        "between": known(between),
        "letters": {letter: place for place, letter in enumerate(task.units.names, 1)} if task.units.kind == "char" else {},
    }
    data = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    choice = {"input": name, "architecture": recall.WORDS, "encoder": {"bytes": len(data), "dim": longest}, "solved": True}
    encoder = encoder_of(choice, dataset)
    assert isinstance(encoder, recall.LookedUp)
    encoder.learn(data)
    return choice, encoder


def _some(rows: Tensor) -> Tensor:
    """At most `GLIMPSED` of them, evenly taken."""
    return rows[:: -(-len(rows) // GLIMPSED)]


def _shares(keys: Sequence[Tensor], known: Tensor, train: Tensor, dataset: Dataset) -> Tensor:
    """How much each input's cosine counts: picked one after the other, with replacement (Caruana 2004), by how well the text of
    the most alike of the `known` rows, but for itself, does for train rows."""
    task, rows = dataset.task, _some(train)
    itself = rows[:, None] == known[None]
    alike = [(own[rows] @ own[known].T).masked_fill(itself, -2.0) for own in (F.normalize(own, dim=1) for own in keys)]
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

    All is chosen by the log-probability of the right texts of val, of at most 500 of them, each part being judged by what the
    others chose; and what is written has to be better, too. (Shares by chrF would be larger: it likes a text that is alike
    better than one that is right more often.)"""
    if len(val) < LEAST_ROWS:
        return None
    val = _some(val)
    kind, right, head = task.outputs, targets[val], member.head
    assert isinstance(head, Recall)
    rows = {name: own.gather(val) for name, own in features.items()}
    other = kind.gather(fused, val)
    alone, there = of_each_unit(other, right)

    def recited(threshold: float, heat: float, trust: float) -> Writing:
        head.threshold.fill_(threshold)
        head.heat.fill_(heat)
        head.trust.fill_(trust)
        found: Writing = member.eval()(rows).outputs
        return found

    how = list(product(THRESHOLDS, HEATS, TRUSTS if head.dims else TRUSTS[:1]))
    losses = dict[tuple[float, ...], Tensor]()
    for own in how:
        said, _ = of_each_unit(recited(*own), right)
        for share in SHARES:
            both = torch.logaddexp(alone + math.log1p(-share), said + math.log(share))
            losses[*own, share] = -both.masked_fill(~there, 0.0).sum(1)

    def best(kept: Tensor) -> tuple[float, ...]:
        return min(losses, key=lambda own: float(losses[own][kept].sum()))

    parts = torch.randperm(len(right), generator=torch.Generator().manual_seed(seed)).chunk(PARTS)
    gain = -alone.sum(1)
    for number, part in enumerate(parts):
        gain[part] -= losses[best(torch.cat([own for place, own in enumerate(parts) if place != number]))][part]
    *chosen, share = best(torch.arange(len(right)))
    if not gain.mean() > 1.96 * gain.std() / len(gain) ** 0.5:  # nor where something is not a number
        return None
    mixed = kind.mean([other, recited(*chosen)], torch.tensor([1 - share, share]))
    before, after = (_score(own, right, task) for own in (other, mixed))
    return Beside(share, 1.0, float(gain.sum() / there.sum())) if after > before else None


def _score(writing: Writing, right: Tensor, task: Task) -> float:
    """The primary metric of what is written, ranked as is best by it; more is better."""
    ranked = replace(writing, exponent=task.length_exponent(writing, right))  # type: ignore[attr-defined]
    return task.score(ranked, right)[task.primary_metric] * (1 if task.primary_higher_is_better else -1)
