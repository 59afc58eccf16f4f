"""One class of several in an order for each row (grades, sizes, stages), answered by the median; primary metric rank_mae."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import field_validator
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.errors import DataError, did_you_mean
from mmcli.judging.classes import OfClasses
from mmcli.reporting import charts, metrics, rank_metrics
from mmcli.reporting.classes import ClassScore, one_of
from mmcli.reporting.metrics import Array, Metric
from mmcli.reporting.svg import Figure
from mmcli.signals import Decision
from mmcli.tables.names import tidy
from mmcli.tables.numbers import is_number, study
from mmcli.tasks import Cells, Likeness, Task

EXAMPLES = [("1",), ("2",), ("3",), ("2",)]
MOST_GRADES, MOST_FROM_ZERO = 10, 6
"""Of whole numbers from 1 on, or from 0 on, so many look like grades: ten digits do not."""


class Config(BaseConfig):
    """In which order the classes stand."""

    order: tuple[str, ...] = ()
    """The classes from the lowest to the highest (--order); not needed where they are numbers."""

    @field_validator("order")
    @classmethod
    def _once(cls, order: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for name in order if order.count(name) > 1]
        if twice or len(order) in {1, 2} or "" in order:
            raise ValueError(f"{twice[0]!r} stands twice" if twice else "expected three names or more, none empty")
        return order


class Ordinal(OfClasses, Task):
    """Cross-entropy. Outputs are log-probabilities of the classes, in their order."""

    has_classes: ClassVar[bool] = True
    must_vary: ClassVar[bool] = True
    weighable: ClassVar[bool] = True
    ordered: ClassVar[bool] = True
    constant_name: str = "median"
    heads: ClassVar[tuple[str, ...]] = ("cumulative", "linear")

    def __init__(self, config: Config, classes: Sequence[str], counts: Sequence[int]) -> None:
        self.config = config
        self.classes = list(classes)
        """From the lowest to the highest."""
        self.counts = list(counts)

    @classmethod
    def sniff(cls, config: Config, cells: Cells) -> Likeness:
        """Grades may be names of classes as well; and an order that was told."""
        if len(cells[0]) > 1:
            return Likeness(0.0, "several target columns")
        if config.order:
            return Likeness(0.4, f"{len(config.order)} classes in an order")
        found = {tidy(str(cell)) for (cell,) in cells}
        whole = sorted(int(cell) for cell in found) if all(cell.isdecimal() and cell.isascii() for cell in found) else []
        most = {1: MOST_GRADES, 0: MOST_FROM_ZERO}.get(whole[0], 0) if whole else 0
        if not 3 <= len(whole) <= most or whole != list(range(whole[0], whole[0] + len(whole))):
            return Likeness(0.0, "no whole numbers like grades")
        return Likeness(0.3, f"whole numbers from {whole[0]} to {whole[-1]}, as grades have")

    @classmethod
    def check(cls, config: Config, names: Sequence[str], cells: tuple[str | None, ...]) -> None:
        cell = tidy(str(cells[0]))
        if config.order and cell not in config.order:
            said, near = ",".join(config.order), did_you_mean(cell, config.order)
            raise DataError(
                f"the target {names[0]!r} is {cell!r}, which --order {said!r} lacks. {near}".rstrip(),
                "Name every class once, from the lowest to the highest, or empty the cell.",
            )
        if not config.order and not is_number(cell):
            raise DataError(
                f"the target {names[0]!r} is {cell!r}, and words have no order of their own",
                "Say it from the lowest to the highest: --order 'poor,fair,good'.",
            )

    @classmethod
    def strata(cls, config: Config, cells: Cells) -> list[str]:  # noqa: ARG003 - whatever the options
        """The classes themselves."""
        return [tidy(str(cell)) for (cell,) in cells]

    @classmethod
    def fit(cls, config: Config, cells: Cells, names: Sequence[str]) -> Self:
        if len(names) > 1:
            raise DataError(f"classes are predicted of one column, not of {', '.join(names)}", "Give one --target.")
        counts = Counter(tidy(str(cell)) for (cell,) in cells)
        for cell in counts:
            cls.check(config, names, (cell,))
        unused = [name for name in config.order if name not in counts]
        if unused:
            raise DataError(
                f"no row of train has the class {unused[0]!r} of the target {names[0]!r}, which --order names. "
                f"{did_you_mean(unused[0], counts)}".rstrip(),
                f"Leave it out of --order, or give train rows of it; it has: {', '.join(sorted(counts))}.",
            )
        if len(counts) < 3:
            raise DataError(
                f"the target {names[0]!r} has {len(counts)} classes ({', '.join(map(repr, counts))}) in the train split; an "
                "order is of three or more",
                "Two are for --task classification; of one give train rows of others, by another --split.",
            )
        classes = list(config.order) or _by_number(list(counts))
        return cls(config, classes, [counts[name] for name in classes])

    @property
    def metrics(self) -> dict[str, bool]:
        return {name: higher for name, (_, higher) in rank_metrics.ORDINAL.items()}

    @property
    def primary_metric(self) -> str:
        return "rank_mae"

    @property
    def decision(self) -> Decision:
        return Decision(len(self.classes), "softmax")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over the rows of weight times cross-entropy: of proportional odds the likelihood."""
        right, weights = self.parted(targets)
        if weights is None:
            return F.cross_entropy(outputs.float(), right)
        return (F.cross_entropy(outputs.float(), right, reduction="none") * weights).mean()

    def probabilities(self, outputs: Tensor) -> Any:
        """float64 [N, C]."""
        return outputs.double().softmax(dim=1).cpu().numpy()

    def chosen(self, outputs: Tensor) -> Tensor:
        return torch.from_numpy(rank_metrics.median(self.probabilities(outputs))).to(outputs.device)

    def measures(self) -> dict[str, Metric]:
        return {"loss": metrics.log_loss, **{name: metric for name, (metric, _) in rank_metrics.ORDINAL.items()}}

    def more_metrics(self) -> dict[str, tuple[Metric, bool]]:
        return rank_metrics.MORE_OF_RANKS

    def readings(self, outputs: Tensor, targets: Tensor) -> tuple[Array, Array]:
        return self.probabilities(outputs), self.parted(targets)[0].cpu().numpy()

    def disputed(self) -> tuple[Array, Array, Array]:
        """The lowest class, taken for itself and for the next."""
        each = np.eye(len(self.classes))
        return each[:1], each[1:2], np.zeros(1, dtype=np.int64)

    def decode(self, outputs: Tensor) -> dict[str, list[Any]]:
        """The class, its probability, and the probability of every class."""
        probabilities = self.probabilities(outputs)
        median = rank_metrics.median(probabilities)
        columns: dict[str, list[Any]] = {
            "": [self.classes[i] for i in median],
            "_probability": probabilities[np.arange(len(median)), median].round(6).tolist(),
        }
        for i, name in enumerate(self.classes):
            columns[f"_probability_{name}"] = probabilities[:, i].round(6).tolist()
        return columns

    def summary(self) -> str:
        return f"{len(self.classes)} classes in order: {' < '.join(self.classes)}"

    def draw(self, outputs: Tensor, targets: Tensor) -> dict[str, tuple[Figure, str]]:
        """The confusion matrix in the order of the classes, and how many ranks answers are off."""
        probabilities, right = self.readings(outputs, targets)
        median = rank_metrics.median(probabilities)
        matrix = metrics.confusion(np.eye(len(self.classes))[median], right)
        kept = slice(0, charts.MOST_CLASSES)
        few = f" The {charts.MOST_CLASSES} lowest of {len(self.classes)} classes." if len(matrix) > charts.MOST_CLASSES else ""
        figure = charts.confusion(matrix[kept, kept], self.classes[kept])
        return {
            "confusion": (figure, f"How far off answers are: rows by their right class, both in order.{few}"),
            "errors": (charts.errors((median - right).astype(float), "rank"), "How many ranks answers are off."),
        }

    def worst_rows(self, outputs: Tensor, targets: Tensor, most: int) -> list[tuple[int, str]]:
        """Those that are the most ranks off; of as many, the surest."""
        probabilities, right = self.readings(outputs, targets)
        median, rows = rank_metrics.median(probabilities), np.arange(len(right))
        off, sure = np.abs(median - right), probabilities[rows, median]
        order = np.lexsort((-sure, -off))[:most].tolist()
        return [(row, f"off by {off[row]}, {sure[row]:.0%} sure") for row in order if off[row]]

    def by_class(self, outputs: Tensor, targets: Tensor) -> list[ClassScore]:
        return one_of(self.chosen(outputs).cpu().numpy(), self.parted(targets)[0].cpu().numpy(), self.classes)

    def constant_baseline(self, targets: Tensor, rows: int) -> Tensor:
        right, weights = self.parted(targets)
        counts = torch.bincount(right, None if weights is None else weights.double(), self.num_outputs).double()
        return (counts / counts.sum()).clamp(min=1e-12).log().expand(rows, -1).clone()

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(), "classes": self.classes, "counts": self.counts}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]), state["classes"], state["counts"])


def _by_number(classes: Sequence[str]) -> list[str]:
    """Names that are numbers, from the least on.

    Raises:
        DataError: two of them are one number.
    """
    form = study(classes, "").format
    values: Mapping[str, float] = {name: float(form.value(name) or 0.0) for name in classes}
    order = sorted(classes, key=values.__getitem__)
    for one, other in itertools.pairwise(order):
        if values[one] == values[other]:
            raise DataError(
                f"the classes {one!r} and {other!r} are one number", "Write it in one way, or say how they stand: --order."
            )
    return order
