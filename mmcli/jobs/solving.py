"""Where an encoder is a table times sparse features known beforehand: the linear model of them is solved at once, and joined to
what the table has learnt, so that the encoder is never weaker than either by more than chance.

Both are linear in the same features, and so is their sum: as much of each as makes the loss on val least.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmcli.models.columns import ColumnModel
from mmcli.reporting.metrics import Array
from mmcli.tasks import Task
from mmcli.training.job import Job
from mmcli.vectors import solved


@dataclass(frozen=True)
class Joined:
    """What was chosen on val."""

    strength: float
    """Of the linear model: see `vectors.solved`."""
    solved: float
    """Factor on what the linear model says."""
    trained: float
    """Factor on what the table says as it was trained."""


def join(network: nn.Module, job: Job, told: Joined | None = None) -> Joined | None:
    """Solves the linear model on the train rows, and makes the encoder's table and its head of it and of what they are; None
    where encoder, head or task are not for that, or each label has weights of its own."""
    task: Any = job.task
    if not isinstance(network, ColumnModel) or network.head.affine() is None or not _decides(task):
        return None
    (column,) = job.rows.inputs.values()
    features = network.encoder.sparse(getattr(column, "held", column))
    train = job.rows.splits["train"].cpu().numpy()
    if features is None or not features[train].nnz:
        return None
    kept = solved.frequent(features[train], task.decision.width)
    features = features[:, kept].tocsr()
    with torch.no_grad():
        return _Joining(network, task, features, kept, job.rows.targets.cpu(), train, _chosen_on(job)).run(told)


def _decides(task: Task) -> bool:
    if not task.outputs.decides or task.gives_embeddings:
        return False
    own = task.decision.link == "sigmoid" and getattr(task.config, "class_weights", "none") != "none"
    return not task.compares_columns and not own


def _chosen_on(job: Job) -> Array:
    return np.asarray(job.rows.splits["val"].cpu().numpy())


@dataclass(frozen=True)
class _Joining:
    network: ColumnModel
    task: Task
    features: Any
    """CSR [N, F'], of the n-grams that train has."""
    kept: Array
    """Which rows of the table they are, [F']."""
    targets: Tensor
    train: Array
    val: Array

    def run(self, told: Joined | None) -> Joined:
        layer = self.network.head.affine()
        assert layer is not None
        table, own_bias = self.network.encoder.table.detach().cpu(), layer.bias.detach().cpu()
        own = table[self.kept] @ layer.weight.detach().cpu().T
        trained = torch.from_numpy(self.features[self.val] @ own.numpy()) + own_bias
        strength, weights, bias, said = self._solution(told)
        solved_by, trained_by = self._factors(said, trained) if told is None else (told.solved, told.trained)
        together = solved_by * torch.from_numpy(weights) + trained_by * own
        self._put(together, solved_by * torch.from_numpy(bias) + trained_by * own_bias, trained_by)
        return Joined(strength, solved_by, trained_by)

    def _solution(self, told: Joined | None) -> tuple[float, Array, Array, Tensor]:
        """The strength that is best on val, or told; weights, bias, and what they say on val."""
        link, width = self.task.decision.link, self.task.decision.width
        taught, best, found = self.targets[torch.from_numpy(self.train)], None, None
        right, pressing = self.task.parted(taught)[0].numpy(), self.task.pressing(taught)
        counting = None if pressing is None else pressing.double().numpy()
        sign = 1 if self.task.primary_higher_is_better else -1
        given = (self.features[self.train], right, link, width)
        strengths = [own for own in solved.STRENGTHS if told is None or own <= told.strength]
        for strength, weights, bias in solved.path(*given, strengths, counting, self.task.levels):
            said = torch.from_numpy(self.features[self.val] @ weights + bias)
            if told is not None:
                found = (strength, weights, bias, said)
                continue
            score = self._score(said)
            rank = (sign * score[self.task.primary_metric], -score["loss"])
            if best is None or rank > best:
                best, found = rank, (strength, weights, bias, said)
        assert found is not None
        return found

    def _score(self, said: Tensor) -> dict[str, float]:
        """The metrics on val of such numbers, thresholds settled there."""
        right, decide = self.targets[self.val], copy.deepcopy(self.task.decision_head())
        self.task.settle(decide, decide(said), right)
        return self.task.score(decide(said), right)

    def _factors(self, said: Tensor, trained: Tensor) -> tuple[float, float]:
        """How much of either makes the loss on val least; of numbers they sum to one."""
        from scipy.optimize import minimize

        measure, decide, right = self.task.measures()["loss"], self.task.decision_head(), self.targets[self.val]
        counting = self.task.counting(right)

        def loss(factors: Any) -> float:
            own = decide(float(factors[0]) * said + float(factors[1]) * trained)
            return float(measure(*self.task.readings(own, right), counting)[0])

        if self.task.decision.link == "identity":
            shares = np.linspace(0, 1, 11)
            best = min(shares, key=lambda share: loss((share, 1 - share)))
            return float(best), float(1 - best)
        found = minimize(
            lambda x: loss(np.abs(x)), [0.5, 0.5], method="Nelder-Mead", options={"maxiter": 60, "xatol": 0.01, "fatol": 1e-4}
        )
        one, other = np.abs(found.x)
        return float(one), float(other)

    def _put(self, weights: Tensor, bias: Tensor, factor: float) -> None:
        """Sets table and head to say `x weights + bias`: the table's first features say it, the others are those directions of
        what it had learnt in which the train rows vary most."""
        encoder, layer = self.network.encoder, self.network.head.affine()
        assert layer is not None
        table = encoder.table
        device, before = table.device, table.detach().cpu()
        x = self.features[self.train]
        dim, absent = table.shape[1], encoder.absent.detach().cpu()
        width = weights.shape[1]
        spread = torch.from_numpy(x @ weights.numpy())
        spread = spread - spread.mean(0)
        scale = spread.square().mean().sqrt().clamp(min=1e-6)
        turn = torch.eye(width)
        if width > dim:
            turn = torch.linalg.eigh((spread.T @ spread).double())[1].flip(1)[:, :dim].float()
        made = torch.zeros_like(before)
        lead = turn.shape[1]
        made[self.kept, :lead] = weights @ turn / scale
        gone = torch.zeros(dim)
        gone[:lead] = factor * (layer.weight.detach().cpu() @ absent) @ turn / scale
        if lead < dim:
            own = torch.from_numpy(x @ before[self.kept].numpy())
            axes = torch.linalg.eigh(((own - own.mean(0)).T @ (own - own.mean(0))).double())[1].flip(1)[:, : dim - lead].float()
            made[self.kept, lead:] = before[self.kept] @ axes
            gone[lead:] = absent @ axes
        table.copy_(made.to(device))
        encoder.absent.copy_(gone.to(device))
        layer.weight.zero_()
        layer.weight[:, :lead] = (turn * scale).to(device)
        layer.bias.copy_(bias.to(device))
