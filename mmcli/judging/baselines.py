"""What models of a kind of target may be held against: a constant, linear models, trees, the row that is nearest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from mmcli.reporting.metrics import Array
from mmcli.signals import Source
from mmcli.vectors.trees import Forest


@dataclass(frozen=True)
class Linear:
    """A linear model of some features: decisions are `x weights + bias`."""

    outputs: Tensor
    """Of all rows, as the task scores them."""
    weights: Array
    """[F, C]."""
    bias: Array
    """[C]."""


@dataclass(frozen=True)
class Boosted:
    """Boosted trees on numbers."""

    outputs: Tensor
    """Of all rows, as the task scores them."""
    forest: Forest


@dataclass(frozen=True)
class Evidence:
    """What a baseline may look at of an input, of all rows."""

    features: Any
    """[N, F], dense or sparse: what the linear baseline sees of it."""
    texts: Sequence[str | None] | None = None
    """The cells, where they are texts."""
    frames: Source | None = None
    """The signal, where it is sound in frames."""


class Baselined(ABC):
    """A kind of target that knows what its models should beat."""

    reference_baseline: ClassVar[str] = "linear"
    """The baseline that every model is held against."""
    baseline_words: ClassVar[dict[str, str]] = {}
    """What its baselines are, by name, where they are not what those of other tasks are."""
    constant_name: str = "majority"
    """What the baseline that sees no input is called."""

    @abstractmethod
    def lacks(self, ability: Literal["linear baseline"]) -> str:
        """Why it cannot be had of this kind of target, in words; empty where it can."""

    @abstractmethod
    def constant_baseline(self, targets: Tensor, rows: int) -> Any:
        """Outputs for so many rows of a model that has seen the train targets and no input."""

    def linear_baseline(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Tensor:
        """Outputs of a linear model for all rows of `features` [N, F], fitted on `train`, its strength chosen on `val`."""
        found = self.linear_model(features, targets, train, val)
        if found is None:
            raise NotImplementedError(self.lacks("linear baseline"))
        return found.outputs

    def linear_model(
        self,
        features: Any,  # noqa: ARG002
        targets: Tensor,  # noqa: ARG002
        train: Tensor,  # noqa: ARG002
        val: Tensor,  # noqa: ARG002
    ) -> Linear | None:
        """The same with its weights, so that it may be a member of a fused model; None where it cannot be one."""
        return None

    def nearest_baseline(self, features: Any, targets: Tensor, train: Tensor) -> Any:  # noqa: ARG002
        """Outputs for all rows that are the target of the most alike row of `train`, by `features` [N, F]; None where the task
        has no such baseline."""
        return None

    def cosine_baseline(self, cosine: Tensor, targets: Tensor, val: Tensor) -> Tensor | None:  # noqa: ARG002
        """Outputs from how alike the plain features of columns that share an encoder are, [N], with a threshold from `val` and
        nothing learnt; None where the task does not compare columns."""
        return None

    def more_baselines(
        self,
        inputs: Mapping[str, Evidence],  # noqa: ARG002
        targets: Tensor,  # noqa: ARG002
        train: Tensor,  # noqa: ARG002
        val: Tensor,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Name -> outputs for all rows of whatever else a model of this task should beat, from the inputs by name; fitted on
        `train`, what is chosen by `val`. A name that looks at one input ends in a colon and the input."""
        return {}

    def trees_baseline(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Tensor | None:
        """Outputs of boosted trees for all rows of `features` [N, F], not a number where a cell is missing; None where the task
        has no such baseline."""
        found = self.trees_model(features, targets, train, val)
        return None if found is None else found.outputs

    def trees_model(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Boosted | None:  # noqa: ARG002
        """The same with the trees, so that they may be a member of a fused model."""
        return None
