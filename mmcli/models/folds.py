"""An average over folds: which of its members have been trained on which rows, so that none judges a row that it knows; how it
is put together of the folds' own models, and whether it is worth taking.

Each fold is one whole pipeline, trained on the other folds' rows. For classes and labels the loss is convex in the outputs:
the average's is at most the mean of its members' (Jensen), and so is the squared error of numbers. Out-of-fold scores are of
single members, and so speak cautiously of the average: cross-validation+ (Barber et al. 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from mmcli.artifacts import tensors
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.models import forward
from mmcli.models.networks import AveragedHeads, FusedModel
from mmcli.models.recipe import Member, Recipe
from mmcli.reporting.metrics import Array
from mmcli.tasks import Task
from mmcli.training.device import Compute

FILE, FOLD = "folds.safetensors", "fold"
"""Of an artifact, the file and the tensor [N] that say each row's fold."""


@dataclass(frozen=True)
class Folds:
    """The members of an average, and the rows that each may judge."""

    members: tuple[int, ...]
    """The fold of each member, from 1."""
    of_row: Tensor
    """int64 [N]: the fold whose members alone have not been trained on the row; 0 where none has."""

    @classmethod
    def of(cls, artifact: Artifact, dataset: Dataset) -> Self | None:
        """Those of a model; None where it is no average of folds.

        Raises:
            ArtifactError: what it says does not fit the table.
        """
        if "folds" not in artifact.config:
            return None
        found = tensors.of(artifact, FILE)
        with artifact.understood(FILE):
            own = cls(tuple(artifact.config["folds"]), found[FOLD])
            if own.of_row.shape != (len(dataset.rows),) or not set(own.of_row.tolist()) <= {0, *own.members}:
                raise ValueError("its folds are not those of every row of the table")
            return own

    def save(self) -> dict[str, Tensor]:
        """As tensors for a file."""
        return {FOLD: self.of_row}

    def judged(self, dataset: Dataset) -> Tensor:
        """int64 positions of the rows that the model is judged by: all labelled ones of train and val."""
        return torch.cat([dataset.splits["train"], dataset.splits["val"]]).sort().values

    def outputs(self, network: FusedModel, dataset: Dataset, index: Tensor, compute: Compute) -> Tensor:
        """Outputs [B, C] for the rows `index`, each the mean of those members alone that have not been trained on it."""
        own, parts, places = self.of_row[index], [], []
        for number in own.unique().tolist():
            places.append((own == number).nonzero()[:, 0])
            part = self.alone(network, number) if number else network
            parts.append(forward.outputs_for(part, dataset, index[places[-1]], compute))
        return torch.cat(parts)[torch.cat(places).argsort()]

    def alone(self, network: FusedModel, number: int) -> FusedModel:
        """The members of one fold with their encoders, and what is common to all: the same modules, not copies."""
        heads = network.fusion_head
        assert isinstance(heads, AveragedHeads)
        kept = [place for place, fold in enumerate(self.members) if fold == number]
        members = [heads.each[place] for place in kept]
        read = {name for member in members for name in member.names}
        shares = heads.shares.cpu()[kept]
        shares = shares / shares.sum()
        own = AveragedHeads(members, shares.tolist()).to(heads.shares.device)
        own.temperature.copy_(heads.temperature)
        encoders = {name: network.encoder(name) for name in network.names if name in read}
        return FusedModel(encoders, own, network.own_heads() or None, network.calibration).eval()


def named(encoder: str, fold: int) -> str:
    """What an encoder of a fold is called in the average: `photo/cnn@2`."""
    return f"{encoder}@{fold}"


def averaged(parts: Mapping[int, tuple[FusedModel, Recipe]], dataset: Dataset) -> tuple[FusedModel, Recipe, tuple[int, ...]]:
    """One model of the folds' own, by number, that have the same method: the mean of their outputs, before any temperature.
    With its recipe, and the fold of each of its members."""
    encoders: dict[str, dict[str, Any]] = {}
    members: list[Member] = []
    folds: list[int] = []
    for number, (_, recipe) in parts.items():
        of_fold = {} if number == 1 else {"fold": number}
        encoders |= {named(name, number): {**own, **of_fold} for name, own in recipe.encoders.items()}
        members += [replace(own, encoders=tuple(named(name, number) for name in own.encoders)) for own in recipe.members]
        folds += [number] * len(recipe.members)
    recipe = replace(next(iter(parts.values()))[1], encoders=encoders, members=tuple(members))
    network = recipe.build(dataset)
    heads = network.fusion_head
    assert isinstance(heads, AveragedHeads)
    each, shares = iter(heads.each), []
    for number, (part, _) in parts.items():
        own = part.fusion_head
        for member in own.each if isinstance(own, AveragedHeads) else [own]:
            copy = next(each)
            copy.load_state_dict(member.state_dict())
            if own is member:  # what it was calibrated by; those of a mean's members are part of what was weighed
                copy.temperature.fill_(1.0)
        of_members = own.shares.tolist() if isinstance(own, AveragedHeads) else [1.0]
        shares += [share / len(parts) for share in of_members]
        for name, own_head in part.own_heads().items():
            if network.heads:
                network.own_heads()[named(name, number)].load_state_dict(own_head.state_dict())
        for name in part.names:
            network.encoder(named(name, number)).load_state_dict(part.encoder(name).state_dict())
    heads.shares.copy_(torch.tensor(shares))
    return network.eval(), recipe, tuple(folds)


def picked(outputs: Mapping[str, Tensor], targets: Tensor, task: Task, seed: int = 0, groups: Array | None = None) -> str:
    """Of several methods the best by its out-of-fold outputs [B, C]: the primary metric, then the loss. Where decisions are
    counted, of all that are level with the best (95% interval of the difference, paired) the one of least loss: it uses all of
    the probabilities, where a count of right decisions knows each by one bit, and so tells methods apart on fewer rows."""
    sign = 1.0 if task.primary_higher_is_better else -1.0
    scores = {name: task.score(own, targets) for name, own in outputs.items()}
    best = max(outputs, key=lambda name: (sign * scores[name][task.primary_metric], -scores[name]["loss"]))
    if task.decision.link == "identity":
        return best
    level = [
        name for name, own in outputs.items() if name == best or task.gain(outputs[best], own, targets, seed, groups).low <= 0
    ]
    return min(level, key=lambda name: scores[name]["loss"])


def gone_wrong(own: Tensor, folds: Folds, dataset: Dataset) -> list[int]:
    """The folds that speak against taking the average for the single pipeline, by what each fold itself answers [N, C] to the
    rows that are its val, before anything is settled over all of them.

    By the loss it cannot fall behind the mean of its members, since that is convex in the outputs: so it is taken unless a fold
    has gone wrong, which is one whose loss on its own rows is no less than that of a constant, though that of the first fold,
    which is the single pipeline, is. The scores of folds are not held against one another: they are of other rows, some harder
    than others, and the first fold's method was chosen by its own.
    """
    task, targets = dataset.task, dataset.targets
    constant = task.constant_baseline(targets[dataset.splits["train"]], len(targets))

    def learnt(rows: Tensor) -> bool:
        losses = [task.score(each[rows], targets[rows])["loss"] for each in (own, constant)]
        return losses[0] < losses[1]

    if not learnt(dataset.splits["val"]):
        return []
    return [number for number in sorted(set(folds.members) - {1}) if not learnt(folds.of_row == number)]
