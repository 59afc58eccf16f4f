"""The kinds of column, one file each, found by its name. Knows nothing of tables, targets or networks.

This file is their contract. A modality turns cells into tensors on disk, says which it could not read, and describes the
tensors to the encoders.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from mmcli.config import Config
from mmcli.media import addresses, files, looking
from mmcli.signals import Column, Signal, SignalSpec

Strength = Literal["light", "strong"]
"""How much a signal is varied."""


@dataclass(frozen=True)
class Guess:
    """How sure a modality is that a column is its kind, from 0 to 1, and why."""

    confidence: float
    reason: str
    decided: str = ""
    """What was decided of cells that may be read in more ways than one; empty if nothing was."""
    doubts: str = ""
    """What the user may have to mend; empty if nothing."""


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


@dataclass(frozen=True)
class Partial:
    """A column of texts some of whose words are hidden."""

    column: Column
    words: int
    """How many there were in all."""
    hidden: int
    """How many of them are."""


class Modality(ABC):
    """A kind of column, fitted to the train split. Pure: the same cells make the same bytes, in any thread."""

    passes_missing_words: ClassVar[bool] = False
    """Whether NA, null, ? and the like are missing cells among cells of this kind."""
    reads_files: ClassVar[bool] = False
    """Whether cells may name files."""
    shard_rows: ClassVar[int] = 256
    """Rows in a shard: fewer where a cell is much work, so that few rows keep all cores busy; they divide 256."""
    joins: ClassVar[bool] = False
    """Whether all columns of this kind form one input by default: numbers and categories, read side by side as fields."""
    encoders: ClassVar[tuple[str, ...]] = ()
    """The architectures that `--arch auto` tries."""
    likeness_encoders: ClassVar[tuple[str, ...]] = ()
    """Architectures that take part besides where rows are compared with one another."""
    text_encoders: tuple[str, ...] = ()
    """Those that it tries where the target is a text; where empty, those of the others that give steps in order, or all."""
    long_text_encoders: ClassVar[tuple[tuple[str, float], ...]] = ()
    """The one that it tries instead from so many seconds of signal in train on."""
    plain_encoders: ClassVar[tuple[str, ...]] = ()
    """Besides those that it tries, architectures that learn nothing, for comparing columns that share one."""
    aligning_encoders: ClassVar[tuple[str, ...]] = ()
    """The same, for columns that are to find each other."""
    more_encoders: ClassVar[tuple[tuple[str, int], ...]] = ()
    """Those that it tries from so many train rows on, and from a fifth of them on an accelerator."""
    corruptions: ClassVar[tuple[str, ...]] = ()
    """In which ways its cells may be spoilt, as the world does."""
    in_decibels: ClassVar[frozenset[str]] = frozenset()
    """Those of them whose level is a ratio to the signal's own amplitude: 0.1 is 20 dB below it."""
    config: Any

    @property
    def step_s(self) -> float:
        """Seconds from one step of its values to the next; 0 where steps are not parts of time."""
        return 0.0

    @classmethod
    def names_file(cls, cell: str) -> bool:  # noqa: ARG003 - most read files always or never
        """Whether a cell is a path or address; then it is given resolved."""
        return cls.reads_files

    @classmethod
    @abstractmethod
    def sniff(cls, cells: Sequence[str], media_root: str) -> Guess:
        """How surely a column with these present cells is of this kind, its files lying under `media_root`."""

    @classmethod
    @abstractmethod
    def fit(cls, config: Any, cells: Iterable[str]) -> Self:
        """Learns what must be learnt from the present cells of the train split, as a stream."""

    @abstractmethod
    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """The tensors that go to disk, one row to a cell; missing and unreadable cells are zero (in fields not a number) and
        not present."""

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

    def colours(self) -> tuple[Sequence[float], Sequence[float]] | None:
        """Mean and deviation of each colour that its pixels are normalised with; None where it holds no pixels."""
        return None

    def restore(self, column: Column) -> Column:
        """The normalised column from a stored one: undoes a compact way of storing."""
        return column

    def disagreements(self, wanted: Mapping[str, Any]) -> list[str]:
        """Where the options that it was fitted with are not those that a pretrained encoder wants."""
        own = self.config.model_dump()
        return [f"{key} is {own[key]}, not {value}" for key, value in wanted.items() if own[key] != value]

    def augment(self, signal: Signal, strength: Strength) -> Signal:  # noqa: ARG002 - some never vary
        """A random variation of a batch, for training; draws from torch's default generators."""
        return signal

    def hide(self, signal: Signal) -> Signal:
        """The batch with more of each row hidden, at random, than a light variation hides: for rows that are varied twice, so
        that one can tell what the other lacks. Draws from torch's default generators."""
        return signal

    def stretch(self, signal: Signal, least: Tensor) -> Signal:  # noqa: ARG002 - most have no pace
        """A random variation of the pace of a batch, for targets that follow it step by step; no row gets shorter than `least`
        [B] steps by it. Draws from torch's default generators."""
        return signal

    def corrupt(self, column: Column, how: str, level: float, generator: torch.Generator) -> Column:  # noqa: ARG002
        """A normalised column spoilt in one of the ways of `corruptions`, from 0 (not at all) to 1: what `evaluate` asks of a
        model under noise."""
        return column

    def with_words_hidden(self, column: Column, share: float, generator: torch.Generator) -> Partial | None:  # noqa: ARG002
        """A normalised column with that share of all its words hidden; None where it has no words."""
        return None


def by_files(
    cells: Sequence[str], media_root: str, family: str, suffixes: frozenset[str], what: str
) -> tuple[float, str, list[str]]:
    """The share of cells that name a file of that family, said in words, and such cells: told by how they end, and where the
    files are there by what they hold."""
    cells = [cell for cell in cells if not files.names_none(cell)] or cells
    named = [cell for cell in cells if looking.suffix(cell) in suffixes]
    share = len(named) / max(len(cells), 1)
    why = f"{share:.0%} of the cells end like {what}" if share < 0.5 else looking.endings(named, len(cells))
    looked = looking.look(cells, media_root)
    held, why = looking.as_wanted(looked, family, share, why)
    if share < 0.5:
        named = [cell for cell, own, _ in looked.found if own == family]
    return held, why, named[:3] if named and addresses.is_far(named[0]) else named  # each may take its time to answer


Contract = Modality
__all__ = ["Config", "Contract", "Encoded", "Guess", "Modality", "Partial", "Reject", "Strength", "by_files"]
