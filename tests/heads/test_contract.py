"""What every head must do, for every task that it fits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from mmcli import registry
from mmcli.heads import Decisions, Head
from mmcli.signals import Fused
from mmcli.tasks import Task
from tests.tasks.test_contract import CELLS, NAMES, fitted

DIM = 6
FITS = [(name, task) for name in registry.parts("heads") for task in NAMES if name in registry.load("tasks", task).heads]


def built(name: str, task: Task, **options: Any) -> Head:
    kind = registry.load("heads", name)
    torch.manual_seed(0)
    head: Head = kind(registry.config_of(kind)(**options), task, DIM)
    return head.eval()


def fused(rows: int) -> Fused:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(rows, 3, DIM, generator=generator)
    return Fused(tokens.mean(1), tokens, torch.ones(rows, 3, dtype=torch.bool))


def row(of: Fused, place: int) -> Fused:
    assert of.tokens is not None
    assert of.mask is not None
    return Fused(of.pooled[place : place + 1], of.tokens[place : place + 1], of.mask[place : place + 1])


def test_every_task_has_a_head_and_every_head_a_task() -> None:
    assert {task for _, task in FITS} == set(NAMES)
    assert {name for name, _ in FITS} == set(registry.parts("heads"))


@pytest.mark.parametrize(("name", "task"), FITS)
def test_a_row_alone_has_the_answer_that_it_has_among_others(name: str, task: str) -> None:
    head, given = built(name, fitted(task)), fused(4)
    together = head(given)
    for place in range(4):
        torch.testing.assert_close(head(row(given, place)), together[place : place + 1])
    assert torch.equal(built(name, fitted(task))(given), together)


@pytest.mark.parametrize(("name", "task"), FITS)
def test_gradients_are_finite_and_reach_every_parameter(name: str, task: str) -> None:
    own = fitted(task)
    targets = own.encode(CELLS[task])
    head, given = built(name, own).train(), fused(len(targets))
    loss = head.loss(head(given), given, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.abs().sum() for p in head.parameters())


@pytest.mark.parametrize(("name", "task"), FITS)
def test_its_parameters_are_as_the_formula_says(name: str, task: str) -> None:
    own = fitted(task)
    kind = registry.load("heads", name)
    counted = sum(p.numel() for p in built(name, own).parameters())
    assert counted == kind.parameter_formula(registry.config_of(kind)(), own, DIM)
    assert Decisions.parameter_formula(None, own, DIM) == sum(p.numel() for p in Decisions(own).parameters())


@pytest.mark.parametrize(("name", "task"), FITS)
def test_saved_and_loaded_it_answers_alike_with_what_it_was_settled_by(name: str, task: str) -> None:
    own = fitted(task)
    targets, given = own.encode(CELLS[task]), fused(len(CELLS[task]))
    head = built(name, own)
    head.settle(head(given).detach(), targets)
    other = built(name, own)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    other.load_state_dict(copy.deepcopy(head.state_dict()))
    assert torch.equal(other(given), head(given))


@pytest.mark.parametrize(("name", "task"), FITS)
def test_it_may_start_small(name: str, task: str) -> None:
    head, given = built(name, fitted(task)), fused(3)
    before = head(given)
    head.start_small(0.0)
    assert not head(given)[:, : fitted(task).decision.width].any()
    assert before.abs().sum() > 0
