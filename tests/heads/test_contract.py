"""What every head must do, for every task that it fits."""

from __future__ import annotations

from typing import Any

import pytest

from mmcli import registry
from mmcli.checks import Check, head
from mmcli.heads import Decisions, Head
from tests.tasks.test_contract import NAMES, fitted

FITS = [(name, task) for name in registry.parts("heads") for task in NAMES if name in registry.load("tasks", task).heads]


def test_every_task_has_a_head_and_every_head_a_task() -> None:
    assert {task for _, task in FITS} == set(NAMES)
    assert {name for name, _ in FITS} == set(registry.parts("heads"))
    assert {(name, own.label) for name in registry.parts("heads") for own in head.subjects(name)} == set(FITS)


@pytest.mark.parametrize("check", head.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", registry.parts("heads"))
def test_contract(name: str, check: Check) -> None:
    for subject in head.subjects(name):
        check(subject)


DECIDING = [name for name in NAMES if registry.load("tasks", name).outputs.decides]


@pytest.mark.parametrize("task", DECIDING)
def test_decisions_have_nothing_to_learn(task: str) -> None:
    own = fitted(task)
    assert Decisions.parameter_formula(None, own, head.DIM) == sum(p.numel() for p in Decisions(own).parameters()) == 0


@pytest.mark.parametrize(("name", "task"), [fit for fit in FITS if fit[1] in DECIDING])
def test_it_may_start_small(name: str, task: str) -> None:
    kind = registry.load("heads", name)
    made: Head = kind(registry.config_of(kind)(), fitted(task), head.DIM).eval()
    given: Any = head.subjects(name)[0].fused(3)
    before = made(given)
    made.start_small(0.0)
    said = made(given)[:, : fitted(task).decision.width]
    if fitted(task).decision.link == "softmax":  # to which the same for all classes is nothing
        said = said - said.mean(1, keepdim=True)
    assert float(said.detach().abs().max()) < 1e-6
    assert before.abs().sum() > 0
