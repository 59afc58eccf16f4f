"""The kinds of column. One file each, found by its name; this file is their contract.

A modality turns cells into tensors on disk, says which it could not read, and describes the tensors to the encoders.
It knows nothing of tables, targets or networks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from mmcli.config import Config
from mmcli.signals import Column, Signal, SignalSpec


@dataclass(frozen=True)
class Guess:
    """How sure a modality is that a column is its kind, from 0 to 1, and why."""

    confidence: float
    reason: str


@dataclass(frozen=True)
class Reject:
    """A cell that could not be read."""

    position: int
    """Where in the cells given."""
    cell: str
    reason: str


@dataclass(frozen=True)
class Encoded:
    """What `transform` makes of some cells."""

    column: Column
    rejects: list[Reject] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)
    """What was done to how many cells that a user may want to know, e.g. {"cut to 128 tokens": 3}."""


class Modality(ABC):
    """A kind of column, fitted to the train split. Pure: the same cells make the same bytes, in any thread."""

    reads_files: ClassVar[bool] = False
    """Whether cells are paths; then they are given resolved."""
    encoders: ClassVar[tuple[str, ...]] = ()
    """The architectures that `--arch auto` tries."""
    config: Any

    @classmethod
    @abstractmethod
    def sniff(cls, cells: Sequence[str], media_root: Path) -> Guess:
        """How surely a column with these present cells is of this kind."""

    @classmethod
    @abstractmethod
    def fit(cls, config: Any, cells: Iterable[str]) -> Self:
        """Learns what must be learnt from the present cells of the train split, as a stream."""

    @abstractmethod
    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """The tensors that go to disk, one row to a cell; missing and unreadable cells are zero and not present."""

    @abstractmethod
    def describe(self) -> SignalSpec:
        """The shape of a signal, for the encoders."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that was configured and learnt, as plain JSON."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The reverse of `state`."""

    @abstractmethod
    def linear_features(self, column: Column, train: Tensor) -> Any:
        """[N, F], dense or sparse: what the linear baseline sees of the column, fitted on the rows `train` [int64]."""

    def restore(self, column: Column) -> Column:
        """The normalised column from a stored one: undoes a compact way of storing."""
        return column

    def augment(self, signal: Signal) -> Signal:
        """A random variation of a batch, for training; draws from torch's default generators."""
        return signal


Contract = Modality
__all__ = ["Config", "Contract", "Encoded", "Guess", "Modality", "Reject"]
