"""The types that flow between the parts, keyed by column name, never by position. Knows no part, no file and no command.

Shape letters: B rows of a batch, N rows of a table, T steps of a sequence, D features, M columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor

from mmcli.signals.moving import Held, Movable
from mmcli.signals.moving import Host as Host
from mmcli.signals.moving import sent as sent
from mmcli.signals.outputs import OUTPUTS as OUTPUTS
from mmcli.signals.outputs import Outputs as Outputs

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


@dataclass(frozen=True)
class Signal(Movable):
    """One column of a batch. A missing cell is data: its values are zero and `present` is False."""

    values: Tensor
    """[B, ...], or padded [B, T, ...] where ragged."""
    present: Tensor
    """bool [B]."""
    lengths: Tensor | None = None
    """int64 [B] where ragged, else None."""
    times: Tensor | None = None
    """float32 [B, T]: when each frame of a clip was taken, in seconds; else None."""
    there: Tensor | None = None
    """int64 [P]: which rows are present, where nobody has to be asked any more."""
    host: Host | None = None
    """What the host knows of them."""

    def select(self, index: Tensor) -> Signal:
        """The rows `index`, on the host or where the batch is, as a smaller batch, no longer padded than its own longest row
        needs; as wide as it was where lengths are not known without waiting for a device."""
        host = self.host and self.host.select(index)
        return self._select(sent(index, self.values.device), host).told(host)

    def repeated(self, times: int) -> Signal:
        """All rows so often, one whole batch after the other."""

        def again(own: Tensor) -> Tensor:
            return own.repeat(times, *[1] * (own.dim() - 1))

        values, present, lengths, moments = (
            None if x is None else again(x) for x in (self.values, self.present, self.lengths, self.times)
        )
        assert values is not None and present is not None
        host = self.host and Host(again(self.host.present), None if self.host.lengths is None else again(self.host.lengths))
        return Signal(values, present, lengths, moments).told(host)

    def only_present(self) -> tuple[Tensor, Signal]:
        """Which rows are present, int64 [P], and these as a smaller batch: itself where all are, or none."""
        there = self.present.nonzero()[:, 0] if self.there is None else self.there
        if len(there) in {0, len(self.present)}:
            return there, self
        return there, self._select(there, self.host and self.host.select(self.host.present.nonzero()[:, 0]))

    def _select(self, index: Tensor, host: Host | None) -> Signal:
        values, lengths = self.values[index], None
        if self.lengths is not None:
            lengths = self.lengths[index]
            ends = lengths if host is None or lengths.device.type == "cpu" else host.lengths
            values = values if ends is None else values[:, : max(int(ends.max()), 1)]
        times = None if self.times is None else self.times[index]
        return Signal(values, self.present[index], lengths, times, host=host)

    @property
    def lengths_on_host(self) -> Tensor | None:
        """The lengths where they are known without waiting for a device; else, and in a graph, None."""
        if torch.compiler.is_exporting():
            return None
        if self.lengths is not None and self.lengths.device.type == "cpu":
            return self.lengths
        return None if self.host is None else self.host.lengths

    def told(self, host: Host | None) -> Signal:
        """The batch with what the host knows of it; on the host that is all."""
        host = Host(self.present, self.lengths) if self.present.device.type == "cpu" else host
        there = None if host is None else sent(host.present.nonzero()[:, 0], self.present.device)
        return replace(self, there=there, host=host)

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
class Column(Held):
    """One column of a whole table in memory, as a modality stores it."""

    values: Tensor
    """[N, ...], or [sum of lengths, ...] where ragged."""
    present: Tensor
    """bool [N]."""
    offsets: Tensor | None = None
    """int64 [N + 1] where ragged: row i is values[offsets[i]:offsets[i + 1]]."""
    times: Tensor | None = None
    """float32 [N, T]: when each frame of a clip was taken, in seconds; else None."""
    host: Host | None = None
    """Of a column on a device, where rows are chosen on the host."""

    def __len__(self) -> int:
        return len(self.present)

    @property
    def lengths(self) -> Tensor | None:
        """int64 [N] where ragged, else None; on the host, where they are known there."""
        if self.host is not None:
            return self.host.lengths
        return None if self.offsets is None else self.offsets.diff()

    def gather(self, index: Tensor) -> Signal:
        """The rows `index` [B], on the host or where the column is, as a batch, ragged ones padded with zeros to the longest.
        Of a column on a device that came from the host nothing is waited for where the rows are chosen on the host."""
        chosen, index = index, sent(index, self.values.device)
        present, known = self.present[index], self.host and self.host.select(chosen)
        if self.offsets is None:
            times = None if self.times is None else self.times[index]
            return Signal(self.values[index], present, times=times).told(known)
        starts = self.offsets[index]
        lengths = self.offsets[index + 1] - starts
        ends = lengths if known is None or known.lengths is None else known.lengths
        longest = max(int(ends.max()) if len(index) else 0, 1)
        steps = torch.arange(longest, device=self.values.device)
        valid = steps[None, :] < lengths[:, None]
        if not len(self.values):
            empty = self.values.new_zeros(len(index), longest, *self.values.shape[1:])
            return Signal(empty, present, lengths).told(known)
        source = (starts[:, None] + steps[None, :]).clamp_(max=len(self.values) - 1)
        padded = self.values[source]
        padded = padded * valid.reshape(*valid.shape, *[1] * (padded.dim() - 2)).to(padded.dtype)
        return Signal(padded, present, lengths).told(known)

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
        offsets, end = [columns[0].offsets.new_zeros(1)], 0
        for column in columns:
            assert column.offsets is not None
            offsets.append(column.offsets[1:] + end)
            end += int(column.offsets[-1])
        return Column(values, present, torch.cat(offsets))


@dataclass(frozen=True)
class Features(Movable):
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
        index = sent(index, self.present.device)
        outputs = None if self.outputs is None else self.outputs[index]
        return Features(self.pooled[index], self.tokens[index], self.mask[index], self.present[index], outputs)

    def select(self, index: Tensor) -> Features:
        """The same."""
        return self.gather(index)

    def without_tokens(self) -> Features:
        """With the pooled features as the only token: for who does not look at tokens."""
        mask = torch.ones_like(self.present)[:, None]
        return replace(self, tokens=self.pooled[:, None], mask=mask)

    def float(self) -> Features:
        """In float32, from the float16 they are stored in."""
        outputs = None if self.outputs is None else self.outputs.float()
        return Features(self.pooled.float(), self.tokens.float(), self.mask, self.present, outputs)


@dataclass(frozen=True)
class RaggedFeatures(Held):
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
    host: Host | None = None
    """As in `Column`."""

    def gather(self, index: Tensor) -> Features:
        """The rows `index` [B] as a batch, padded to the most tokens among them."""
        own = Column(self.tokens, self.present, self.offsets, host=self.host).gather(index)
        index = sent(index, self.present.device)
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
class Fused(Movable):
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

    def used_in(self, stream: torch.cuda.Stream) -> None:
        """Says that its memory is read in that stream, where it was made in another."""
        for own in self.inputs.values():
            own.used_in(stream)
        for tensor in (self.row_ids, self.targets):
            tensor.record_stream(stream)

    def parts(self, count: int) -> list[Batch]:
        """The batch cut into `count` of nearly the same size, in order."""
        places, device = torch.arange(len(self)).chunk(count), self.row_ids.device
        return [
            Batch(self.row_ids[own], {name: x.select(index) for name, x in self.inputs.items()}, self.targets[own])
            for index, own in ((index, sent(index, device)) for index in places)
        ]
