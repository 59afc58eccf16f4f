"""What every task must do, whatever it is: a new file is tested the moment it exists, by the checks of `mmcli check`."""

from __future__ import annotations

from typing import Any

import pytest

from mmcli import registry
from mmcli.checks import Check, task
from mmcli.tasks import Task

NAMES = list(registry.parts("tasks"))
OPTIONS: dict[str, Any] = {"multilabel": {"separator": "|"}}
SUMMARIES = {
    "classification": "3 classes",
    "ordinal": "3 classes in order: 1 < 2 < 3",
    "regression": "2 numbers",
    "multilabel": "3 labels",
    "match": "12 pairs that belong together (1) and 12 that do not in train",
    "identify": "3 identities in train",
    "contrastive": "2 columns that belong together: y, z",
    "text": "texts, written in 7 words",
}


def fitted(name: str) -> Task:
    """On the target cells that its checks look at."""
    (subject,) = task.subjects(name, **OPTIONS.get(name, {}))
    return subject.fitted()


@pytest.mark.parametrize("check", task.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, check: Check) -> None:
    for subject in task.subjects(name, **OPTIONS.get(name, {})):
        check(subject)


@pytest.mark.parametrize("check", task.CHECKS, ids=lambda check: check.__name__)
def test_contract_of_quantiles(check: Check) -> None:
    check(task.Subject("regression", [(str(number * number % 17),) for number in range(24)], {"quantiles": (0.1, 0.9)}))


@pytest.mark.parametrize("name", NAMES)
def test_the_summary_counts_what_was_found(name: str) -> None:
    (subject,) = task.subjects(name, **OPTIONS.get(name, {}))
    assert SUMMARIES[name] in subject.fitted().summary()
