"""What every head must do, for every task that it fits: answer each row by itself, learn, keep what it was settled by."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmcli import registry
from mmcli.checks import Check
from mmcli.checks import task as task_checks
from mmcli.encoders import parameter_count
from mmcli.errors import ConfigError
from mmcli.heads import Head
from mmcli.signals import Fused
from mmcli.tasks import Task

DIM = 6


class Subject:
    """A head under check, over a task that it fits."""

    def __init__(self, name: str, of: task_checks.Subject, options: dict[str, Any]) -> None:
        self.kind: type[Head] = registry.load("heads", name)
        self.config = registry.config_of(self.kind)(**options)
        self.cells, self.label = of.cells, of.name
        self.task: Task = of.fitted()

    def built(self) -> Head:
        torch.manual_seed(0)
        head: Head = self.kind(self.config, self.task, DIM)  # type: ignore[call-arg,arg-type]
        return head.eval()

    def fused(self, rows: int | None = None) -> Fused:
        """Features drawn at random, some tokens to a row."""
        generator = torch.Generator().manual_seed(1)
        count = len(self.cells) if rows is None else rows
        tokens = torch.randn(count, task_checks.STEPS, DIM, generator=generator)
        return Fused(tokens.mean(1), tokens, torch.ones(count, task_checks.STEPS, dtype=torch.bool))

    def targets(self) -> Tensor:
        return self.task.encode(self.cells)

    def bits(self, outputs: Any) -> dict[str, Tensor]:
        """Outputs as they are kept on disk."""
        kind = self.task.outputs
        return kind.save(kind.answered(kind.plain(outputs)))


def _differ(one: dict[str, Tensor], other: dict[str, Tensor], same: Callable[[Tensor, Tensor], bool] = torch.equal) -> str:
    """Which tensors are not the same, to the bit where nothing else is asked; empty where all are."""
    return ", ".join(name for name in one if one[name].shape != other[name].shape or not same(one[name], other[name]))


def _near(one: Tensor, other: Tensor) -> bool:
    """Alike but for rounding, in half precision that of its last digit."""
    return torch.allclose(one.float(), other.float(), atol=1e-3 if one.dtype == torch.float16 else 1e-8)


def a_row_alone_has_the_answer_that_it_has_among_others(subject: Subject) -> None:
    """What it answers for a row does not depend on the rows beside it."""
    head, given, kind = subject.built(), subject.fused(4), subject.task.outputs
    together = head(given)
    assert kind.rows(together) == 4, f"for 4 rows it gives answers for {kind.rows(together)}"
    assert given.tokens is not None
    assert given.mask is not None
    for row in range(4):
        own = slice(row, row + 1)
        alone = head(Fused(given.pooled[own], given.tokens[own], given.mask[own]))
        found = _differ(subject.bits(alone), subject.bits(kind.gather(together, torch.tensor([row]))), _near)
        assert not found, f"row {row} by itself has another answer ({found})"


def asked_or_made_again_it_answers_the_same(subject: Subject) -> None:
    """The same seed, options and features give the same answer, to the bit."""
    head, given = subject.built(), subject.fused()
    first = subject.bits(head(given))
    found = _differ(first, subject.bits(head(given)))
    assert not found, f"asked again it has another answer ({found})"
    found = _differ(first, subject.bits(subject.built()(given)))
    assert not found, f"made again from the same seed it has another answer ({found})"


def the_loss_is_finite_and_every_parameter_learns(subject: Subject) -> None:
    """Its loss is a finite number whose gradient reaches every parameter."""
    head, given = subject.built().train(), subject.fused()
    loss = head.loss(head(given), given, subject.targets())
    assert loss.dim() == 0 and bool(loss.isfinite()), f"the loss is {loss.tolist()}, not a finite number"
    loss.backward()
    for name, parameter in head.named_parameters():
        gradient = parameter.grad
        assert gradient is not None and float(gradient.abs().sum()) > 0, f"no gradient reaches {name}"
        assert bool(gradient.isfinite().all()), f"the gradient of {name} is not finite"


def its_parameters_are_as_the_formula_says(subject: Subject) -> None:
    """`parameter_formula` counts the parameters that there are."""
    counted, said = parameter_count(subject.built()), subject.kind.parameter_formula(subject.config, subject.task, DIM)
    assert counted == said, f"it has {counted} parameters, the formula says {said}"


def saved_and_loaded_it_answers_alike(subject: Subject) -> None:
    """With what it was settled by, from another's weights."""
    head, other, given = subject.built(), subject.built(), subject.fused()
    kind = subject.task.outputs
    head.settle(kind.plain(head(given)), subject.targets())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    other.load_state_dict(copy.deepcopy(head.state_dict()))
    found = _differ(subject.bits(other(given)), subject.bits(head(given)))
    assert not found, f"loaded again it has another answer ({found}): keep what `settle` sets in buffers"


CHECKS: tuple[Check, ...] = (
    a_row_alone_has_the_answer_that_it_has_among_others,
    asked_or_made_again_it_answers_the_same,
    the_loss_is_finite_and_every_parameter_learns,
    its_parameters_are_as_the_formula_says,
    saved_and_loaded_it_answers_alike,
)


def subjects(name: str, **options: Any) -> list[Subject]:
    """The head over every task that names it; one of a user's own over those in its TASKS, else over all that answer with
    numbers.

    Raises:
        ConfigError: it fits no task that there is.
    """
    info, found = registry.resolve("heads", name), []
    wanted = info.literals.get("TASKS")
    for task in registry.parts("tasks"):
        kind = registry.load("tasks", task)
        built_in = info.name in registry.parts("heads") and not registry.in_file(name)
        fits = task in wanted if wanted else info.name in kind.heads if built_in else kind.outputs.decides
        if fits:
            more = {"separator": "|"} if task == "multilabel" else {}
            found += [Subject(name, of, options) for of in task_checks.subjects(task, **more)]
    if not found:
        raise ConfigError(f"{name} fits none of the tasks", 'Name those that it fits in its file: TASKS = ["classification"]')
    return found
