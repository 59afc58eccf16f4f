"""How often a model finds the right text likelier than another one, which somebody wrote to tell whether it looks closely."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mmcli import registry
from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError, DataError, unknown
from mmcli.proof.examples import raw_cells
from mmcli.reporting import metrics
from mmcli.reporting.metrics import Array
from mmcli.tasks import Task


def check(kind: type[Task], columns: Sequence[str]) -> None:
    """Raises ConfigError where columns are to be held against a target that is no text."""
    if columns and not hasattr(kind, "scores_of"):
        raise ConfigError(f"--contrast is for targets that are texts, not for {kind.outputs.words}", "Leave --contrast out.")


def check_told(said: Mapping[str, Any], columns: Sequence[str]) -> None:
    """The same by what preprocess said of the table."""
    if columns:
        check(registry.load("tasks", said["task"]), columns)


def cells(dataset: Dataset, columns: Sequence[str]) -> dict[str, list[str]]:
    """The cells of the test rows in each of those columns, from the table itself.

    Raises:
        ConfigError: the target is no text, the table cannot be read any more, or it has no such column.
        DataError: a test row has no cell there.
    """
    if not columns:
        return {}
    check(type(dataset.task), columns)
    test = dataset.splits["test"].tolist()
    table, known = raw_cells(dataset, test, columns)
    if table is None:
        raise ConfigError(f"--contrast: {known[0]}", "Put the table where it was, or leave --contrast out.")
    found = {}
    for name in columns:
        if name not in table:
            raise ConfigError(f"--contrast {name}: {unknown('column', name, known)}")
        own = [(table[name].get(row) or "").strip() for row in test]
        empty = [row for row, cell in zip(test, own, strict=True) if not cell]
        if empty:
            raise DataError(
                f"--contrast {name}: {len(empty):,} of {len(test):,} test rows lack a text, the first: row {empty[0] + 1}",
                "Fill them in, or leave --contrast out.",
            )
        found[name] = own
    return found


def doubts(dataset: Dataset, inputs: Iterable[str], columns: Iterable[str]) -> list[str]:
    """That the model reads some of those columns, by its inputs."""
    read = {member for name in inputs for member in dataset.input(name).members}
    return [
        f"--contrast {name}: it is an input of the model, which may copy or shun what it reads there; how often the right text "
        f"is likelier says little. To leave it out: mmcli preprocess TABLE --ignore {shlex.quote(name)}, and train again"
        for name in columns
        if name in read
    ]


def told(dataset: Dataset, outputs: Any, columns: Mapping[str, Sequence[str]], seed: int) -> dict[str, dict[str, Any]]:
    """Column -> the share of test rows whose right text has a higher log-probability than the one there, over all ways to write
    each, with its interval; `ties`, which count half, are mostly rows that have the same text in both."""
    task, index = dataset.task, dataset.splits["test"]
    assert hasattr(task, "scores_of")
    right = task.scores_of(outputs, [cell or "" for (cell,) in (dataset.cells[row] for row in index.tolist())])
    weights = metrics.resample_weights(len(index), seed=seed, groups=dataset.groups(index))
    found = {}
    for name, own in columns.items():
        other = task.scores_of(outputs, own)
        above = np.where(right == other, 0.5, (right > other).astype(np.float64))
        interval = metrics.interval(_mean, above[:, None], np.zeros(len(above)), weights)
        found[name] = {**interval.as_dict(), "ties": int((right == other).sum())}
    return found


def _mean(rows: Array, _targets: Array, weights: Array) -> Array:
    shares: Array = weights @ rows[:, 0] / weights.sum(1)
    return shares
