"""Batches of identities, and the gradient of a loss that compares rows, in parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from mmcli.heads.embedding import supcon
from mmcli.reporting.console import Console
from mmcli.signals import Batch, Column
from mmcli.training import device
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows, by_identity
from mmcli.training.job import Job, Step
from mmcli.training.loop import train
from mmcli.training.steps import gradient
from mmcli.vectors.numbers import NUMBERS
from tests.training.test_loop import job

TARGETS = torch.tensor([0] * 9 + [1] * 4 + [2] * 3 + [3] * 1 + [4] * 8)


def test_a_batch_holds_identities_with_so_many_rows_of_each() -> None:
    index = torch.arange(2, 25)
    batches = by_identity(index, TARGETS, 8, 4, 0, 0)
    assert set(torch.cat(batches).tolist()) == set(index.tolist())
    for batch in batches:
        names, counts = TARGETS[batch].unique(return_counts=True)
        assert all(count in (4, 1) for count in counts.tolist())
        assert len(names) <= 3


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    index = torch.arange(25)
    one, again, other = (by_identity(index, TARGETS, 8, 4, 3, epoch) for epoch in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True) if len(a) == len(b))


class _Compared(Step):
    def __init__(self, dropout: float) -> None:
        super().__init__(nn.Sequential(nn.Linear(6, 5), nn.Dropout(dropout)))
        self.scale = nn.Parameter(torch.ones(()))

    def outputs(self, batch: Batch) -> Any:
        return self.represent(batch)[0][0]

    def represent(self, batch: Batch) -> tuple[list[Tensor], Tensor | None]:
        found = self.module(batch.inputs["x"].values)
        return [found], found.square().mean()

    def compare(self, represented: list[Tensor], batch: Batch) -> Tensor:
        return supcon(nn.functional.normalize(represented[0], dim=1) * self.scale, batch.targets, 0.2)

    def forward(self, batch: Batch) -> Tensor:
        found, beside = self.represent(batch)
        assert beside is not None
        return self.compare(found, batch) + beside


class _InParts(Step):
    """A step whose loss compares rows, and for which memory holds so many rows at a time while a gradient is wanted."""

    def __init__(self, step: Step, holds: int, seen: list[int]) -> None:
        super().__init__(step.module)
        self.holds, self.seen = holds, seen

    def outputs(self, batch: Batch) -> Any:
        return self.module(batch.inputs["x"].values.float())

    def represent(self, batch: Batch) -> tuple[list[Tensor], Tensor | None]:
        if torch.is_grad_enabled():
            self.seen.append(len(batch))
            if len(batch) > self.holds:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return [self.outputs(batch)], None

    def compare(self, represented: list[Tensor], batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(represented[0], batch.targets)

    def forward(self, batch: Batch) -> Tensor:
        return self.compare(self.represent(batch)[0], batch)


def test_where_memory_runs_out_rows_are_compared_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, seen = job(tmp_path, epochs=1), list[int]()
    task = _Compares(ours.task)
    train(replace(ours, step=_InParts(ours.step, 4, seen), task=task), Console())  # type: ignore[arg-type]
    assert max(seen) == 8
    assert max(seen[1:]) <= 4
    assert "batches are computed in 2 parts of 4 rows" in capsys.readouterr().err


class _Compares:
    """A task whose loss compares rows."""

    compares_rows = True

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)


class _Task:
    outputs = NUMBERS
    compares_rows = True
    enrolled = 0
    primary_metric = "loss"
    primary_higher_is_better = False
    metrics: ClassVar[dict[str, bool]] = {}


def _job(tmp_path: Path, dropout: float = 0.0) -> Job:
    torch.manual_seed(0)
    column = Column(torch.randn(12, 6), torch.ones(12, dtype=torch.bool))
    rows = Rows({"x": column}, torch.arange(12) % 3, {"train": torch.arange(12), "val": torch.arange(12)}, {})
    compute = device.choose("cpu", "float32")
    return Job(_Compared(dropout), rows, _Task(), TrainingConfig(), compute, 0, tmp_path, "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_in_parts_the_gradient_is_that_of_the_whole_batch(tmp_path: Path, parts: int) -> None:
    job = _job(tmp_path)
    batch = job.rows.gather(torch.arange(12))
    losses, found = [], []
    for count in (1, parts):
        job.step.zero_grad()
        losses.append(float(gradient(job, batch, count)))
        found.append([parameter.grad.clone() for parameter in job.step.parameters() if parameter.grad is not None])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert len(found[0]) == len(found[1]) == 3
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_both_passes_see_the_same_dropout(tmp_path: Path) -> None:
    job = _job(tmp_path, dropout=0.5)
    seen: list[Tensor] = []
    job.module[1].register_forward_hook(lambda _, __, made: seen.append(made.detach().clone()))
    job.step.train()
    gradient(job, job.rows.gather(torch.arange(12)), 3)
    assert len(seen) == 6
    for one, other in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(seen[0], seen[1])
    assert replace(job, label="y").step is job.step
