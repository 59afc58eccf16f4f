"""Of each class or label how many of its rows are found, and how many of the found are its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmcli.reporting.metrics import Array


@dataclass(frozen=True)
class ClassScore:
    """Counts of one class or label; shares are None where there is nothing to share out, and all are where no row has it."""

    name: str
    rows: int
    """That have it."""
    predicted: int
    """For which it is predicted."""
    hits: int
    """Of both."""

    @property
    def precision(self) -> float | None:
        return self.hits / self.predicted if self.predicted and self.rows else None

    @property
    def recall(self) -> float | None:
        return self.hits / self.rows if self.rows else None

    @property
    def f1(self) -> float | None:
        return 2 * self.hits / (self.rows + self.predicted) if self.rows else None

    def as_dict(self) -> dict[str, Any]:
        shares = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {"name": self.name, "rows": self.rows, "predicted": self.predicted, "hits": self.hits, **shares}


def counted(chosen: Array, right: Array, names: Sequence[str]) -> list[ClassScore]:
    """Of what was chosen and what is right, bool [N, K] both, a score for each of the K names."""
    hits, rows, predicted = (chosen & right).sum(0), right.sum(0), chosen.sum(0)
    return [ClassScore(name, int(rows[k]), int(predicted[k]), int(hits[k])) for k, name in enumerate(names)]


def one_of(chosen: Array, right: Array, names: Sequence[str]) -> list[ClassScore]:
    """The same of class numbers [N]."""
    every = np.arange(len(names))
    return counted(chosen[:, None] == every, right[:, None] == every, names)
