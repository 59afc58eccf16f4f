"""Columns, and features of sub-models, that are too large for memory: their rows are read from disk as they are needed.

A streamed column stands where a `Column` does and gives the same signals, bit for bit. It is shuffled like one in memory, row
by row over the whole table: a row is read by its place in its shard, and nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from mmcli.signals import Column, Features, Kind, Signal, sent

STREAMABLE: frozenset[Kind] = frozenset({"grid", "clip", "spectrogram", "sequence", "vector"})
"""The kinds of signal that may be large; ids and fields are always held in memory."""


@dataclass(frozen=True)
class Streamed:
    """The rows of a column on disk, or some of them, and what is done to each batch of them."""

    files: Sequence[Path]
    """The shards, in order."""
    shard_rows: int
    """Rows of each shard but the last."""
    present: Tensor
    """bool [N]: of the rows that it stands for."""
    rows: Tensor
    """int64 [N]: their positions in the table."""
    changes: tuple[Callable[[Column], Column], ...]
    device: torch.device

    @classmethod
    def of(cls, files: Sequence[Path], shard_rows: int, restore: Callable[[Column], Column]) -> Streamed:
        """All rows of the shards, restored as they are read."""
        present = torch.cat([_tensor(file, "present").to(torch.bool) for file in files])
        return cls(files, shard_rows, present, torch.arange(len(present)), (restore,), torch.device("cpu"))

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def lengths(self) -> Tensor | None:
        """int64 [N] where ragged, as stored; else None."""
        if not _is_ragged(self.files[0]):
            return None
        return torch.cat([_tensor(file, "offsets").diff() for file in self.files])[self.rows]

    def gather(self, index: Tensor) -> Signal:
        """The rows `index` [B] as a batch on the device, as `Column.gather` gives them."""
        return self.read(index).gather(torch.arange(len(index))).sent(self.device)

    def read(self, index: Tensor) -> Column:
        """The rows `index` [B] in memory."""
        column = self._stored(self.rows[index.cpu()])
        for change in self.changes:
            column = change(column)
        return column

    def select(self, index: Tensor) -> Streamed:
        """The rows `index` [B], which stay on disk."""
        index = index.cpu()
        return replace(self, rows=self.rows[index], present=self.present[index])

    def emptied(self) -> Streamed:
        """The column as if every cell were missing."""
        return replace(self, present=torch.zeros_like(self.present), changes=(*self.changes, Column.emptied))

    def changed(self, change: Callable[[Column], Column]) -> Streamed:
        """The column with something more done to each batch; it must not add or take rows."""
        return replace(self, changes=(*self.changes, change))

    def to(self, device: torch.device) -> Streamed:
        """The column, its batches given on the device."""
        return replace(self, device=device)

    def _stored(self, rows: Tensor) -> Column:
        """Those rows of the table as they lie on disk."""
        pieces: list[dict[str, Tensor]] = [{}] * len(rows)
        for shard in torch.unique(rows // self.shard_rows).tolist():
            places = (rows // self.shard_rows == shard).nonzero()[:, 0].tolist()
            for place, piece in zip(places, _rows_of(self.files[shard], rows[places] % self.shard_rows), strict=True):
                pieces[place] = piece
        values = torch.cat([piece["values"] for piece in pieces])
        present = torch.cat([piece["present"] for piece in pieces])
        if _is_ragged(self.files[0]):
            lengths = torch.tensor([len(piece["values"]) for piece in pieces])
            return Column(values, present, torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]))
        return Column(values, present, times=torch.cat([p["times"] for p in pieces]) if "times" in pieces[0] else None)


@dataclass(frozen=True)
class StreamedFeatures:
    """`RaggedFeatures` whose tokens are on disk, and are read row by row; all else is in memory."""

    pooled: Tensor
    """[N, D]."""
    file: Path
    """The tokens [sum of lengths, D], as the tensor `tokens`."""
    offsets: Tensor
    """int64 [N + 1]: row i has tokens[offsets[i]:offsets[i + 1]]."""
    present: Tensor
    """bool [N]."""
    outputs: Tensor | None = None
    """As in `Features`."""

    def gather(self, index: Tensor) -> Features:
        """The rows `index` [B] as a batch on the device, padded to the most tokens among them."""
        rows = index.cpu()
        starts, ends = self.offsets[rows], self.offsets[rows + 1]
        with safetensors.safe_open(self.file, framework="pt") as held:
            tokens = held.get_slice("tokens")
            read = torch.cat([tokens[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)])
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), (ends - starts).cumsum(0)])
        here = torch.ones(len(rows), dtype=torch.bool)
        batch = Column(read, here, offsets).gather(torch.arange(len(rows))).sent(self.pooled.device)
        index = sent(index, self.pooled.device)
        outputs = None if self.outputs is None else self.outputs[index]
        return Features(self.pooled[index], batch.values, batch.mask(), self.present[index], outputs)

    def to(self, device: torch.device) -> StreamedFeatures:
        """The features, their batches given on the device."""
        outputs = None if self.outputs is None else self.outputs.to(device)
        return replace(self, pooled=self.pooled.to(device), present=self.present.to(device), outputs=outputs)


def _rows_of(file: Path, rows: Tensor) -> list[dict[str, Tensor]]:
    """Some rows of a shard, each by itself; of the file nothing else is read."""
    with safetensors.safe_open(file, framework="pt") as shard:
        values, present = shard.get_slice("values"), shard.get_tensor("present").to(torch.bool)
        times = shard.get_slice("times") if "times" in shard.keys() else None  # noqa: SIM118 - not a mapping
        offsets = shard.get_tensor("offsets") if "offsets" in shard.keys() else torch.arange(len(present) + 1)  # noqa: SIM118
        found = []
        for row in rows.tolist():
            piece = {"values": values[int(offsets[row]) : int(offsets[row + 1])], "present": present[row : row + 1]}
            found.append(piece if times is None else {**piece, "times": times[row : row + 1]})
        return found


def _tensor(file: Path, name: str) -> Tensor:
    with safetensors.safe_open(file, framework="pt") as shard:
        found: Any = shard.get_tensor(name)
        return found  # type: ignore[no-any-return]


def _is_ragged(file: Path) -> bool:
    with safetensors.safe_open(file, framework="pt") as shard:
        return "offsets" in shard.keys()  # noqa: SIM118 - not a mapping
