"""The types that flow between the parts. Everything is keyed by column name, never by position.

Shape letters: B rows of a batch, N rows of a table, T steps of a sequence, D features, M columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor

Kind = Literal["grid", "ids", "sequence", "spectrogram", "clip", "vector", "fields"]
"""What a signal is, to an encoder: a grid [C, H, W], token ids [T], a sequence [T, D], a spectrogram [T, mels], a clip
[T, C, H, W], a vector [D], the fields [F] of a form: numbers and category ids side by side, not a number (nan) where empty."""
RAGGED: frozenset[Kind] = frozenset({"ids", "sequence", "spectrogram"})
"""The kinds whose rows differ in length T."""


@dataclass(frozen=True)
class Field:
    """One of the `fields` of a signal."""

    name: str
    categories: int = 0
    """How many ids a category has, id 0 standing for unknown ones; 0 where the field is a number."""


@dataclass(frozen=True, kw_only=True)
class SignalSpec:
    """What a modality says of its tensors, so that an encoder can be built for them."""

    kind: Kind
    shape: tuple[int, ...]
    """One row's shape without the ragged axis: (C, H, W) of a grid, () of ids, (D,) of a vector, (F,) of fields."""
    fields: tuple[Field, ...] = ()
    """For fields: what each of them is."""
    vocab_size: int = 0
    """For ids: how many there are. Padding is told by lengths, not by an id."""
    pieces: tuple[bytes, ...] = field(default=(), repr=False)
    """For ids: the UTF-8 bytes that each id stands for; empty for control tokens."""


class _Movable:
    """Shared by the dataclasses of tensors below: moving all of them at once."""

    def to(self, device: torch.device) -> Self:
        moved = {}
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                moved[item.name] = value.to(device, non_blocking=True)
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True)
class Signal(_Movable):
    """One column of a batch. A missing cell is data: its values are zero and `present` is False."""

    values: Tensor
    """[B, ...], or padded [B, T, ...] where ragged."""
    present: Tensor
    """bool [B]."""
    lengths: Tensor | None = None
    """int64 [B] where ragged, else None."""
    times: Tensor | None = None
    """float32 [B, T]: when each frame of a clip was taken, in seconds; else None."""

    def select(self, index: Tensor) -> Signal:
        """The rows `index` as a smaller batch, no longer padded than its own longest row needs."""
        values, lengths = self.values[index], None
        if self.lengths is not None:
            lengths = self.lengths[index]
            values = values[:, : max(int(lengths.max()), 1)]
        times = None if self.times is None else self.times[index]
        return Signal(values, self.present[index], lengths, times)

    def mask(self) -> Tensor:
        """bool [B, T]: which steps are real."""
        assert self.lengths is not None
        steps = torch.arange(self.values.shape[1], device=self.values.device)
        return steps[None, :] < self.lengths[:, None]


class Source(Protocol):
    """A column of a whole table, whose rows are to be had as batches: in memory (`Column`) or on disk (`Streamed`)."""

    @property
    def present(self) -> Tensor:
        """bool [N]."""

    @property
    def lengths(self) -> Tensor | None:
        """int64 [N] where ragged, else None."""

    def __len__(self) -> int: ...

    def gather(self, index: Tensor) -> Signal:
        """The rows `index` [B] as a batch."""

    def select(self, index: Tensor) -> Self:
        """The rows `index` [B] as a smaller column."""

    def emptied(self) -> Self:
        """The column as if every cell were missing."""

    def to(self, device: torch.device) -> Self:
        """The column, its batches on the device."""


@dataclass(frozen=True)
class Column(_Movable):
    """One column of a whole table in memory, as a modality stores it."""

    values: Tensor
    """[N, ...], or [sum of lengths, ...] where ragged."""
    present: Tensor
    """bool [N]."""
    offsets: Tensor | None = None
    """int64 [N + 1] where ragged: row i is values[offsets[i]:offsets[i + 1]]."""
    times: Tensor | None = None
    """float32 [N, T]: when each frame of a clip was taken, in seconds; else None."""

    def __len__(self) -> int:
        return len(self.present)

    @property
    def lengths(self) -> Tensor | None:
        """int64 [N] where ragged, else None."""
        return None if self.offsets is None else self.offsets.diff()

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.values.numel() * self.values.element_size()

    def gather(self, index: Tensor) -> Signal:
        """The rows `index` [B] as a batch, ragged ones padded with zeros to the longest."""
        if self.offsets is None:
            times = None if self.times is None else self.times[index]
            return Signal(self.values[index], self.present[index], times=times)
        starts = self.offsets[index]
        lengths = self.offsets[index + 1] - starts
        longest = max(int(lengths.max()) if len(index) else 0, 1)
        steps = torch.arange(longest, device=self.values.device)
        valid = steps[None, :] < lengths[:, None]
        if not len(self.values):
            empty = self.values.new_zeros(len(index), longest, *self.values.shape[1:])
            return Signal(empty, self.present[index], lengths)
        source = (starts[:, None] + steps[None, :]).clamp_(max=len(self.values) - 1)
        padded = self.values[source]
        padded = padded * valid.reshape(*valid.shape, *[1] * (padded.dim() - 2)).to(padded.dtype)
        return Signal(padded, self.present[index], lengths)

    def select(self, index: Tensor) -> Column:
        """The rows `index` [B] as a smaller column."""
        if self.offsets is None:
            times = None if self.times is None else self.times[index]
            return Column(self.values[index], self.present[index], times=times)
        lengths = self.offsets[index + 1] - self.offsets[index]
        offsets = torch.zeros(len(index) + 1, dtype=torch.int64, device=lengths.device)
        torch.cumsum(lengths, 0, out=offsets[1:])
        shift = torch.repeat_interleave(self.offsets[index] - offsets[:-1], lengths)
        source = torch.arange(int(offsets[-1]), device=lengths.device) + shift
        return Column(self.values[source], self.present[index], offsets)

    def emptied(self) -> Column:
        """The column as if every cell were missing."""
        present = torch.zeros_like(self.present)
        if self.offsets is not None:
            return Column(self.values[:0], present, torch.zeros_like(self.offsets))
        return Column(torch.zeros_like(self.values), present, times=self.times)

    @staticmethod
    def concatenate(columns: list[Column]) -> Column:
        """One column from several, in order."""
        values = torch.cat([column.values for column in columns])
        present = torch.cat([column.present for column in columns])
        if columns[0].offsets is None:
            times = [column.times for column in columns if column.times is not None]
            return Column(values, present, times=torch.cat(times) if times else None)
        offsets, end = [torch.zeros(1, dtype=torch.int64)], 0
        for column in columns:
            assert column.offsets is not None
            offsets.append(column.offsets[1:] + end)
            end += int(column.offsets[-1])
        return Column(values, present, torch.cat(offsets))


@dataclass(frozen=True)
class Features(_Movable):
    """What an encoder makes of a signal."""

    pooled: Tensor
    """[B, D]."""
    tokens: Tensor
    """[B, T, D]."""
    mask: Tensor
    """bool [B, T]: which tokens are real."""
    present: Tensor
    """bool [B]: rows whose cell was there; the others hold the encoder's learned absent embedding."""
    outputs: Tensor | None = None
    """[B, num_outputs]: what the encoder's own head makes of them, for methods that fuse decisions."""

    def gather(self, index: Tensor) -> Features:
        """The rows `index` [B]: features of a whole table serve as a data set."""
        outputs = None if self.outputs is None else self.outputs[index]
        return Features(self.pooled[index], self.tokens[index], self.mask[index], self.present[index], outputs)

    def select(self, index: Tensor) -> Features:
        """The same."""
        return self.gather(index)

    def float(self) -> Features:
        """In float32, from the float16 they are stored in."""
        outputs = None if self.outputs is None else self.outputs.float()
        return Features(self.pooled.float(), self.tokens.float(), self.mask, self.present, outputs)


@dataclass(frozen=True)
class RaggedFeatures(_Movable):
    """What an encoder makes of every row of a table, each row with all of its own tokens."""

    pooled: Tensor
    """[N, D]."""
    tokens: Tensor
    """[sum of lengths, D]."""
    offsets: Tensor
    """int64 [N + 1]: row i has tokens[offsets[i]:offsets[i + 1]]."""
    present: Tensor
    """bool [N]."""
    outputs: Tensor | None = None
    """As in `Features`."""

    def gather(self, index: Tensor) -> Features:
        """The rows `index` [B] as a batch, padded to the most tokens among them."""
        own = Column(self.tokens, self.present, self.offsets).gather(index)
        outputs = None if self.outputs is None else self.outputs[index]
        return Features(self.pooled[index], own.values, own.mask(), own.present, outputs)


class FeatureTable(Protocol):
    """Features of a whole table, whose rows are to be had as batches: bounded (`Features`), with all tokens (`RaggedFeatures`)
    or with all tokens on disk (`StreamedFeatures`)."""

    @property
    def pooled(self) -> Tensor:
        """[N, D]."""

    @property
    def present(self) -> Tensor:
        """bool [N]."""

    @property
    def outputs(self) -> Tensor | None:
        """As in `Features`."""

    def gather(self, index: Tensor) -> Features:
        """The rows `index` [B] as a batch."""

    def to(self, device: torch.device) -> Self:
        """The features, their batches on the device."""


@dataclass(frozen=True)
class Fused(_Movable):
    """What a fusion makes of the features."""

    pooled: Tensor
    """[B, H]."""
    tokens: Tensor | None = None
    """[B, T, H], for heads that attend."""
    mask: Tensor | None = None
    """bool [B, T], with tokens."""
    weights: Tensor | None = None
    """[B, M]: each column's share, summing to one over present columns, in the order of the fusion's columns."""
    logits: Tensor | None = None
    """[B, C], where the method fuses decisions rather than features."""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """What the method's own penalty looks at."""


@dataclass(frozen=True)
class Decision:
    """What the columns' own predictions are, for methods that fuse them."""

    width: int
    """Numbers that decide: classes, labels or targets. Whatever outputs hold beyond them is the task's own."""
    link: Literal["softmax", "sigmoid", "identity"]
    """How they become probabilities, if they do."""


@dataclass(frozen=True)
class Batch:
    """Some rows: their inputs by column and, when training, their targets."""

    row_ids: Tensor
    """int64 [B]: positions in the table."""
    inputs: Mapping[str, Any]
    """Column -> Signal (or Features, when training on cached embeddings)."""
    targets: Tensor

    def __len__(self) -> int:
        return len(self.row_ids)

    def parts(self, count: int) -> list[Batch]:
        """The batch cut into `count` of nearly the same size, in order."""
        return [
            Batch(self.row_ids[index], {name: own.select(index) for name, own in self.inputs.items()}, self.targets[index])
            for index in torch.arange(len(self), device=self.row_ids.device).chunk(count)
        ]


OUTPUTS = "outputs"
"""What files of tensors call them."""


class Outputs(ABC):
    """A kind of outputs of B or N rows. Each method takes and gives outputs as the heads of such tasks give them."""

    words: ClassVar[str]
    """What they are, in the plural."""
    decides: ClassVar[bool] = False
    """Whether they are vectors of numbers that decide: classes, labels, amounts."""

    @abstractmethod
    def rows(self, outputs: Any) -> int:
        """Of how many rows they are."""

    @abstractmethod
    def gather(self, outputs: Any, index: Tensor) -> Any:
        """Those of the rows `index` [B]."""

    @abstractmethod
    def join(self, parts: Sequence[Any]) -> Any:
        """Those of consecutive batches as one."""

    @abstractmethod
    def mean(self, each: Sequence[Any], shares: Tensor) -> Any:
        """One answer from those of several models for the same rows, each with its share [K]; the shares sum to one."""

    @abstractmethod
    def plain(self, outputs: Any) -> Any:
        """As they are kept: without a gradient, numbers in float32."""

    @abstractmethod
    def to(self, outputs: Any, device: torch.device) -> Any:
        """On that device."""

    @abstractmethod
    def save(self, outputs: Any, name: str = OUTPUTS) -> dict[str, Tensor]:
        """As tensors for a file, each called `name` or `name.` and more."""

    @abstractmethod
    def load(self, named: Mapping[str, Tensor], name: str = OUTPUTS) -> Any:
        """The reverse of `save`: what a file holds under that name."""

    def tempered(self, outputs: Any, temperature: Tensor) -> Any:  # noqa: ARG002 - for those that have probabilities
        """With their probabilities flattened by a temperature, where they have some."""
        return outputs

    def glimpse(self, outputs: Any) -> Any:
        """As they are scored while training goes on: of answers that take a search, a cheap one."""
        return outputs

    def answered(self, outputs: Any) -> Any:
        """With all done that an answer takes, where they leave some of it until it is asked for."""
        return outputs
