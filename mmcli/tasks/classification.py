"""One class of several for each row; primary metric accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.errors import DataError
from mmcli.judging.classes import OfClasses
from mmcli.reporting import charts, metrics
from mmcli.reporting.classes import ClassScore, one_of
from mmcli.reporting.metrics import Array, Metric
from mmcli.reporting.svg import Figure
from mmcli.signals import Decision, sent
from mmcli.tables.names import tidy
from mmcli.tasks import Cells, Likeness, Task


class Config(BaseConfig):
    """How the loss treats the classes."""

    label_smoothing: float = Field(0.05, ge=0, lt=1)
    """Share of the target's probability spread over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` has each class count alike in the loss, however many rows it has (--class-weight), and the model chosen by
    balanced accuracy."""


class Classification(OfClasses, Task):
    """Softmax cross-entropy. Outputs are logits, one to a class."""

    has_classes: ClassVar[bool] = True
    must_vary: ClassVar[bool] = True
    weighable: ClassVar[bool] = True

    def __init__(self, config: Config, classes: Sequence[str], counts: Sequence[int]) -> None:
        self.config = config
        self.classes = list(classes)
        self.counts = list(counts)

    @classmethod
    def sniff(cls, config: Config, cells: Cells) -> Likeness:  # noqa: ARG003 - whatever the options
        """Any one column will do."""
        if len(cells[0]) > 1:
            return Likeness(0.0, "several target columns")
        return Likeness(0.5, f"{len(set(cells))} different values")

    @classmethod
    def strata(cls, config: Config, cells: Cells) -> list[str]:  # noqa: ARG003 - whatever the options
        """The classes themselves."""
        return [tidy(str(cell)) for (cell,) in cells]

    @classmethod
    def fit(cls, config: Config, cells: Cells, names: Sequence[str]) -> Self:
        if len(names) > 1:
            raise DataError(f"classes are predicted of one column, not of {', '.join(names)}", "Give one --target.")
        counts = Counter(tidy(str(cell)) for (cell,) in cells)
        if len(counts) < 2:
            found = f"only the class {next(iter(counts))!r}" if counts else "no class"
            raise DataError(
                f"the target {names[0]!r} has {found} in the train split; at least two are needed to learn from",
                "Give train rows of another class, by another --split or --seed, or choose another --target.",
            )
        classes = sorted(counts)
        return cls(config, classes, [counts[name] for name in classes])

    @property
    def metrics(self) -> dict[str, bool]:
        return {name: higher for name, (_, higher) in metrics.CLASSIFICATION.items()}

    @property
    def primary_metric(self) -> str:
        return "accuracy" if self.config.class_weights == "none" else "balanced_accuracy"

    @property
    def decision(self) -> Decision:
        return Decision(len(self.classes), "softmax")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over the rows of weight times cross-entropy: weights are one on average over train, not over a batch, so
        that a batch's gradient is an unbiased estimate of that of all rows."""
        (right, _), weights, smoothing = self.parted(targets), self.pressing(targets), self.config.label_smoothing
        if weights is None:
            return F.cross_entropy(outputs.float(), right, label_smoothing=smoothing)
        return (F.cross_entropy(outputs.float(), right, reduction="none", label_smoothing=smoothing) * weights).mean()

    def pressing(self, targets: Tensor) -> Tensor | None:
        """The weights of the rows, each times that of its class where classes are balanced: N / (C N_c), of the N_c rows of it
        among the N of train (King and Zeng 2001)."""
        right, weights = self.parted(targets)
        if self.config.class_weights == "none":
            return weights
        own = sent(self._class_weights, right.device)[right]
        return own if weights is None else own * weights

    @property
    def _class_weights(self) -> Tensor:
        counts = torch.tensor(self.counts, dtype=torch.float32)
        return counts.sum() / (len(counts) * counts)

    def probabilities(self, outputs: Tensor) -> Any:
        """float64 [N, C]."""
        return outputs.double().softmax(dim=1).cpu().numpy()

    def measures(self) -> dict[str, Metric]:
        found = {"loss": metrics.log_loss, **{name: metric for name, (metric, _) in metrics.CLASSIFICATION.items()}}
        if self.config.class_weights == "none":
            return found
        of_class = self._class_weights.double().numpy()
        return found | {"loss": lambda shares, right, weights: metrics.log_loss(shares, right, weights * of_class[right])}

    def readings(self, outputs: Tensor, targets: Tensor) -> tuple[Array, Array]:
        return self.probabilities(outputs), self.parted(targets)[0].cpu().numpy()

    def disputed(self) -> tuple[Array, Array, Array]:
        """The first class, taken for itself and for the second."""
        each = np.eye(len(self.classes))
        return each[:1], each[1:2], np.zeros(1, dtype=np.int64)

    def decode(self, outputs: Tensor) -> dict[str, list[Any]]:
        """The class, its probability, and the probability of every class."""
        probabilities = self.probabilities(outputs)
        columns: dict[str, list[Any]] = {
            "": [self.classes[i] for i in probabilities.argmax(1)],
            "_probability": probabilities.max(1).round(6).tolist(),
        }
        for i, name in enumerate(self.classes):
            columns[f"_probability_{name}"] = probabilities[:, i].round(6).tolist()
        return columns

    def summary(self) -> str:
        return f"{len(self.classes)} classes" + (", which count alike" if self.config.class_weights != "none" else "")

    def draw(self, outputs: Tensor, targets: Tensor) -> dict[str, tuple[Figure, str]]:
        """The confusion matrix, in rows, and the reliability diagram."""
        probabilities, right = self.readings(outputs, targets)
        matrix = metrics.confusion(probabilities, right)
        wrong = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
        kept = np.sort(np.argsort(-wrong, kind="stable")[: charts.MOST_CLASSES])
        few = f" The {len(kept)} of {len(self.classes)} classes with the most errors." if len(kept) < len(self.classes) else ""
        figure = charts.confusion(matrix[np.ix_(kept, kept)], [self.classes[place] for place in kept])
        correct = (probabilities.argmax(1) == right).astype(float)
        error = metrics.ece(probabilities, right, self.counting(targets))[0]
        return {
            "confusion": (figure, f"Where the classes are mistaken for each other: rows by their right class.{few}"),
            "reliability": (
                charts.reliability(probabilities.max(1), correct),
                f"Whether a probability means what it says. Expected calibration error (ECE) {error:.3f}.",
            ),
        }

    def by_class(self, outputs: Tensor, targets: Tensor) -> list[ClassScore]:
        return one_of(outputs.argmax(1).cpu().numpy(), self.parted(targets)[0].cpu().numpy(), self.classes)

    def constant_baseline(self, targets: Tensor, rows: int) -> Tensor:
        (right, weights), pressing = self.parted(targets), self.pressing(targets)
        if pressing is None:
            share = torch.bincount(right, minlength=self.num_outputs).double() / max(len(right), 1)
            return share.clamp(min=1e-12).log().expand(rows, -1).clone()
        share = torch.bincount(right, pressing.double(), self.num_outputs) / pressing.double().sum()
        if self.config.class_weights != "none":  # all but equal: then the commonest class is the answer
            common = torch.bincount(right, None if weights is None else weights.double(), self.num_outputs)
            share = share + 1e-3 * common / common.sum()
        return (share / share.sum()).clamp(min=1e-12).log().expand(rows, -1).clone()

    def more_metrics(self) -> dict[str, tuple[Metric, bool]]:
        found = metrics.MORE_OF_TWO if len(self.classes) == 2 else metrics.MORE_OF_MANY
        return {name: own for name, own in found.items() if name != "top_3" or len(self.classes) > 4}

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(), "classes": self.classes, "counts": self.counts}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]), state["classes"], state["counts"])
