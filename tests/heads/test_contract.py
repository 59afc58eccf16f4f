"""What every head must do, whatever it is: a new file is tested the moment it exists, for each task that it fits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmcli import registry
from mmcli.encoders import parameter_count
from mmcli.heads import Decided, Head
from mmcli.signals import Fused
from tests.tasks.test_contract import CELLS, fitted

PAIRS = [(head, task) for task in registry.parts("tasks") for head in registry.load("tasks", task).heads if task in CELLS]
DIM = 7


def made(name: str, task: Any, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    kind = registry.load("heads", name)
    head: Head = kind(registry.config_of(kind)(), task, DIM)
    return head


def fused(rows: int) -> Fused:
    values = torch.randn(rows, 3, DIM, generator=torch.Generator().manual_seed(rows))
    return Fused(values.mean(1), values, torch.ones(rows, 3, dtype=torch.bool))


def test_every_head_fits_a_task() -> None:
    assert {head for head, _ in PAIRS} == set(registry.parts("heads"))


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_outputs_and_gradients(name: str, kind: str) -> None:
    task = fitted(kind)
    head, targets = made(name, task), task.encode(CELLS[kind])
    assert parameter_count(head) == type(head).parameter_formula(registry.config_of(type(head))(), task, DIM)
    for rows in (1, 2, 3, 4):
        head.zero_grad()
        outputs = head(fused(rows))
        assert outputs.shape == (rows, task.num_outputs)
        assert torch.equal(outputs, made(name, task)(fused(rows)))
        loss = head.loss(task, outputs, targets[:rows])
        assert torch.equal(loss, task.loss(outputs, targets[:rows]))
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in head.parameters())


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_what_it_settles_is_saved_and_loaded(name: str, kind: str) -> None:
    task = fitted(kind)
    head, targets = made(name, task), task.encode(CELLS[kind])
    outputs = head(fused(len(targets))).detach()
    head.settle(task, outputs, targets)
    other = made(name, task, seed=1)
    other.load_state_dict(head.state_dict())
    assert torch.equal(head(fused(4)), other(fused(4)))
    settled = head(fused(len(targets))).detach()
    assert torch.equal(settled[:, : task.decision.width], outputs[:, : task.decision.width])
    assert torch.equal(settled, outputs) == (kind != "multilabel")  # thresholds stand in its outputs


@pytest.mark.parametrize("kind", registry.parts("tasks"))
def test_fused_decisions_are_outputs_already(kind: str) -> None:
    task = fitted(kind)
    logits = torch.randn(3, task.decision.width)
    outputs = Decided(task)(Fused(torch.zeros(3, DIM), logits=logits))
    assert outputs.shape == (3, task.num_outputs)
    assert torch.equal(outputs[:, : task.decision.width], logits)
