"""What the training loop is told: the step it takes, the rows, and how to train."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from mmcli.reporting.metrics import Interval
from mmcli.signals import Batch, Outputs
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows
from mmcli.training.device import Compute


class Scoring(Protocol):
    """What the loop must know of a task."""

    @property
    def outputs(self) -> Outputs: ...
    @property
    def compares_rows(self) -> bool: ...
    @property
    def enrolled(self) -> int: ...
    @property
    def primary_metric(self) -> str: ...
    @property
    def primary_higher_is_better(self) -> bool: ...
    @property
    def metrics(self) -> dict[str, bool]: ...
    def score(self, outputs: Any, targets: Tensor) -> dict[str, float]: ...
    def gain(self, outputs: Any, other: Any, targets: Tensor) -> Interval: ...


class Step(nn.Module, ABC):
    """One step of training as one module: a batch in, the loss out. The loop calls nothing else to train, so that all that
    hooks `forward` (data parallelism, sharding, compilation) sees the whole of it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        """What is trained and kept, by the names of its own parameters."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """What is minimised: a scalar."""

    @abstractmethod
    def outputs(self, batch: Batch) -> Any:
        """What the module answers to a batch: what is scored."""

    def represent(self, batch: Batch) -> tuple[list[Tensor], Tensor | None]:
        """Where the loss compares rows: what it compares, [B, ...] each, the first being the pooled features; and what the loss
        holds besides, a mean over these rows."""
        raise NotImplementedError(f"{type(self).__name__} has no rows to compare")

    def compare(self, represented: list[Tensor], batch: Batch) -> Tensor:
        """The loss of rows so represented: that of `forward`, but for what it holds besides."""
        raise NotImplementedError(f"{type(self).__name__} has no rows to compare")

    def begin(self, features: Tensor, targets: Tensor) -> None:
        """Starts the head from the pooled features [N, F] of train rows, where it has a way to."""

    def enrol(self, outputs: Any, targets: Tensor) -> None:
        """Keeps what was answered to train rows, where others are to be compared with them."""


@dataclass(frozen=True)
class Job:
    """What is trained, on what, and how."""

    step: Step
    rows: Rows
    task: Scoring
    config: TrainingConfig
    compute: Compute
    seed: int
    folder: Path
    """Where the log and the checkpoint go."""
    label: str
    """What the progress bar says."""
    learning_rates: dict[str, float] = field(default_factory=dict)
    """Prefix of parameter names -> factor on the learning rate."""
    seconds: float | None = None
    """How long it may train: the learning rate's descent then ends with the time, if that is over before the epochs are. An
    epoch that cannot be finished is cut short."""
    watch: Callable[[list[dict[str, float]]], bool] = field(default=lambda _: False)
    """Told the history after each epoch; True ends the training, the best epoch being kept."""
    watched: str = ""
    """What is said when that ends it; nothing where empty."""
    stop: int | None = None
    """After how many epochs it ends whatever val says, the rate's descent being that of all its epochs; the last one's weights
    are kept. Where rows of val are trained on, this is known beforehand."""

    @property
    def last_epoch(self) -> int:
        """How many epochs there are at most."""
        return self.config.epochs if self.stop is None else min(self.stop, self.config.epochs)

    @property
    def module(self) -> nn.Module:
        """What is trained and kept."""
        return self.step.module
