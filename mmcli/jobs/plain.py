"""Models that need no network: a linear one over all inputs at once, solved on train, its strength chosen on val, and boosted
trees over a form. One fit is both the baseline and what a fused model may hold as a member (`models.plain`).

To the linear one an input is the features of an encoder (hashed n-grams of texts, what `encoders.plain` reads of the rest), and
one more, whether it is absent; where numbers are predicted, skewed ones are there on a log scale, too. The encoder's matrix is
the input's part of the solution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mmcli import registry
from mmcli.data.dataset import Dataset
from mmcli.encoders import Encoder
from mmcli.encoders.bag import Bag
from mmcli.encoders.plain import Plain
from mmcli.models import plain, recall
from mmcli.models.networks import FusionHead
from mmcli.models.recipe import build_encoder
from mmcli.models.trees import Trees
from mmcli.signals import Column, Features, Source
from mmcli.tasks import Linear, Task
from mmcli.vectors import solved

NGRAMS: dict[str, Any] = {
    "buckets": 2**20,
    "word_ngrams": 1,
    "word_share": 1.0,
    "dropout": 0.0,
    "ngram_dropout": 0.0,
}
"""TF-IDF of texts as it is usual: runs of one to four characters, and words; of so many buckets few have two n-grams."""
BATCH = 256
"""Rows that are looked at together."""


@dataclass(frozen=True)
class Solved:
    """A linear model, or boosted trees: terms of a decision, which add up."""

    choices: dict[str, dict[str, Any]]
    """Its terms by name, as a recipe names encoders."""
    encoders: dict[str, Encoder]
    head: FusionHead
    terms: dict[str, Tensor]
    """float32 [N, C]: what each term says of every row."""
    present: dict[str, Tensor]
    """bool [N]: the rows whose input is there."""
    fusion: dict[str, Any] = field(default_factory=dict)
    """What its member is built by, of one that remembers (`models.recall`)."""

    @property
    def features(self) -> dict[str, Features]:
        """The terms of all rows as features."""
        return {
            name: Features(own, own[:, None], torch.ones(len(own), 1, dtype=torch.bool), self.present[name])
            for name, own in self.terms.items()
        }

    def save(self) -> dict[str, Tensor]:
        """As tensors for a file; `choices` say what they are of."""
        found = {f"head.{key}": own for key, own in self.head.state_dict().items()}
        for name, encoder in self.encoders.items():
            found |= {f"{name}.{key}": own for key, own in encoder.state_dict().items()}
            found |= {f"terms.{name}": self.terms[name]}
        return found

    @classmethod
    def load(
        cls, choices: Mapping[str, dict[str, Any]], fusion: dict[str, Any], named: Mapping[str, Tensor], dataset: Dataset
    ) -> Self:
        """The reverse of `save`.

        Raises:
            RuntimeError, ValueError, KeyError: the tensors are not of such a model of this table.
        """

        def under(prefix: str) -> dict[str, Tensor]:
            return {key.removeprefix(prefix): own for key, own in named.items() if key.startswith(prefix)}

        encoders = {name: encoder_of(own, dataset) for name, own in choices.items()}
        for name, encoder in encoders.items():
            encoder.load_state_dict(under(f"{name}."))
        head = head_of(choices, dataset, fusion)
        head.load_state_dict(under("head."))
        terms = {name: named[f"terms.{name}"] for name in choices}
        if any(own.shape != (len(dataset.rows), encoders[name].dim) for name, own in terms.items()):
            raise ValueError("its terms are not those of every row of the table")
        present = {name: dataset.column(own["input"]).present.cpu() for name, own in choices.items()}
        return cls(dict(choices), encoders, head, terms, present, fusion)


@torch.no_grad()
def solve(dataset: Dataset, inputs: Sequence[str]) -> tuple[Solved, Tensor]:
    """The plain model of these inputs, and its outputs for all rows as the task scores them. Only of tasks that do not lack it:
    see `Task.lacks`."""
    task, train, val = dataset.task, dataset.splits["train"], dataset.splits["val"]
    choices, encoders, blocks = readers(dataset, inputs, task.decision.width, plain.METHOD, _takes_logs(task))
    found = task.linear_model(_beside(blocks), dataset.targets, train, val)
    assert found is not None, f"{task} does not lack a plain model, and gives none"
    head = head_of(choices, dataset)
    terms = _put(found, encoders, blocks, head)
    present = {name: dataset.column(own["input"]).present.cpu() for name, own in choices.items()}
    return Solved(choices, encoders, head, terms, present), found.outputs


@torch.no_grad()
def grow(dataset: Dataset, inputs: Sequence[str]) -> tuple[Solved | None, Tensor] | None:
    """Boosted trees over the numbers and categories of these inputs, and their outputs for all rows; None where there are no
    such, or the task has no trees. They are a model that may be a member where one input holds all of them."""
    fields = [name for name in inputs if dataset.input(name).spec.kind == "fields"]
    columns = [column for column in map(dataset.column, fields) if isinstance(column, Column)]
    if not columns:
        return None
    table = np.hstack([column.values.double().numpy() for column in columns])
    given = (table, dataset.targets, dataset.splits["train"], dataset.splits["val"])
    found = dataset.task.trees_model(*given)
    if found is None or len(fields) > 1 or dataset.task.lacks("plain member"):
        outputs = dataset.task.trees_baseline(*given) if found is None else found.outputs
        return None if outputs is None else (None, outputs)
    encoder, name = Trees.of(found.forest, dataset.input(fields[0]).spec), f"{fields[0]}/{plain.TREES}"
    choice = {"input": fields[0], "architecture": plain.TREES, "encoder": encoder.config.model_dump(), "solved": True}
    head, present = head_of({name: choice}, dataset), columns[0].present.cpu()
    nothing = torch.from_numpy(found.forest.decide(np.full((1, table.shape[1]), np.nan))[0])
    encoder.absent.copy_(nothing)
    head.absent[0].copy_(nothing)
    said = torch.from_numpy(found.forest.decide(table))
    return Solved({name: choice}, {name: encoder}, head, {name: said}, {name: present}), found.outputs


def readers(
    dataset: Dataset, inputs: Sequence[str], width: int, method: str, logs: bool = False
) -> tuple[dict[str, dict[str, Any]], dict[str, Encoder], list[Any]]:
    """What reads each input for such a model, fitted on train: as a recipe names it, and itself; and two blocks of features for
    each, what it reads of all rows [N, F], and whether the input is absent [N, 1]. `logs`: see `encoders.plain`."""
    choices, encoders, blocks = dict[str, dict[str, Any]](), dict[str, Encoder](), list[Any]()
    for name in inputs:
        own = f"{name}/{method}"
        kept = ngrams_of(name, dataset, width) if dataset.input(name).spec.kind == "ids" else None
        choices[own] = choice_of(name, width, kept, logs)
        encoder = encoders[own] = encoder_of(choices[own], dataset).eval()
        if isinstance(encoder, Bag) and kept is not None:
            encoder.keep(kept)
        column = encoder.prepare(dataset.column(name))
        encoder.fit(column.select(dataset.splits["train"]))
        blocks += [read(encoder, column), (~column.present.cpu()).float().numpy()[:, None]]
    return choices, encoders, blocks


def matrix_of(encoder: Encoder) -> Tensor:
    """What it multiplies its features by [F, D]."""
    return encoder.table if isinstance(encoder, Bag) else encoder.get_parameter("weights")


def _takes_logs(task: Task) -> bool:
    """Whether skewed numbers enter on a log scale, too: for numbers, which are skewed as often, and whose own scale is settled
    by a model that sees the same (`data.skew`)."""
    return task.decision.link == "identity"


def choice_of(name: str, width: int, kept: Tensor | None, logs: bool = False) -> dict[str, Any]:
    """An encoder of that width as a recipe names it; of n-grams, where the buckets to keep are given."""
    architecture = plain.METHOD if kept is None else "bag"
    options: dict[str, Any] = {"logs": logs} if kept is None else {**NGRAMS, "rows": len(kept)}
    config = registry.config_of(registry.load("encoders", architecture))(dim=width, **options)
    return {"input": name, "architecture": architecture, "encoder": config.model_dump(), "solved": True}


def ngrams_of(name: str, dataset: Dataset, width: int) -> Tensor:
    """The buckets of n-grams that train rows have; of too many for the solution those that most rows have."""
    counting = encoder_of(choice_of(name, 1, torch.zeros(1)), dataset)
    column = counting.prepare(dataset.column(name)).select(dataset.splits["train"])
    assert isinstance(column, Column)
    rows = torch.bincount(column.values.long() % NGRAMS["buckets"], minlength=NGRAMS["buckets"])
    most = max(solved.MOST_WEIGHTS // width, 1)
    return rows.argsort(descending=True, stable=True)[: min(most, max(int((rows > 0).sum()), 1))].sort().values


def encoder_of(choice: Mapping[str, Any], dataset: Dataset) -> Encoder:
    """It, freshly initialised."""
    return build_encoder(choice["architecture"], choice["encoder"], dataset.input(choice["input"]).spec)


def head_of(choices: Mapping[str, Mapping[str, Any]], dataset: Dataset, fusion: Mapping[str, Any] | None = None) -> FusionHead:
    """The member that such a model is, empty."""
    sources = {name: str(own["input"]) for name, own in choices.items()}
    dims = {name: int(own["encoder"]["dim"]) for name, own in choices.items() if "dim" in own["encoder"]}
    if fusion:
        return recall.build(dims, sources, dataset.task, fusion)
    return plain.build(dict.fromkeys(choices, dataset.task.decision.width), sources, dataset.task)


def read(encoder: Encoder, column: Source) -> Any:
    """[N, F] of the features, sparse of texts, zero where the input is absent."""
    if isinstance(encoder, Bag):
        return encoder.sparse(column)
    assert isinstance(encoder, Plain)
    parts = [encoder.observe(column.gather(part)) for part in torch.arange(len(column)).split(BATCH)]
    return (torch.cat(parts) * column.present[:, None]).cpu().numpy()


def _beside(blocks: Sequence[Any]) -> Any:
    """All features side by side, in float64."""
    from scipy.sparse import csr_matrix, hstack

    if all(isinstance(block, np.ndarray) for block in blocks):
        return np.hstack(blocks, dtype=np.float64)
    return hstack([csr_matrix(block) for block in blocks], dtype=np.float64).tocsr()


def _put(found: Linear, encoders: Mapping[str, Encoder], blocks: Sequence[Any], head: FusionHead) -> dict[str, Tensor]:
    """Parts the solution among the encoders and the head; gives each term of all rows."""
    start, terms = 0, dict[str, Tensor]()
    for place, (name, encoder) in enumerate(encoders.items()):
        x, gone = blocks[2 * place : 2 * place + 2]
        end = start + x.shape[1]
        own, absent = found.weights[start:end], torch.from_numpy(found.weights[end]).float()
        matrix_of(encoder).copy_(torch.from_numpy(own))
        encoder.absent.copy_(absent)
        head.absent[place].copy_(absent)
        terms[name] = torch.from_numpy(x @ own + gone * found.weights[end]).float()
        start = end + 1
    head.fusion.get_parameter("bias").copy_(torch.from_numpy(found.bias))
    return terms
