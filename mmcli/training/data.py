"""Batches gathered by index: from tensors on the device, on the host where they are too large for it, or from disk.

No worker processes. What is not on the device is gathered by a thread, two batches ahead of the step that wants them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mmcli.signals import Batch, Column, Features, RaggedFeatures, Signal, sent
from mmcli.training.device import free_memory

Augment = Callable[[Signal, Tensor], Signal]
"""A batch of an input, and the targets of its rows, to a variation of it."""
AHEAD = 2
"""Batches gathered ahead of the step."""
LONG_ROWS = 32
"""Rows at a time where lengths matter and nothing is learnt."""
WINDOW = 16
"""Batches among which rows of like length are put together."""
DEVICE_SHARE = 0.5
"""The most of a device's free memory that columns may take."""


@dataclass(frozen=True)
class Hosted:
    """A column, or features, in the host's memory, whose batches are given on a device."""

    held: Any
    device: torch.device

    def gather(self, index: Tensor) -> Any:
        """The rows `index` [B] as a batch on the device, by copies for which nobody waits."""
        return self.held.gather(index.cpu()).sent(self.device)

    @property
    def lengths(self) -> Tensor | None:
        found: Tensor | None = self.held.lengths
        return found


@dataclass(frozen=True)
class Rows:
    """The inputs and targets of a table, or of its cached features, and which rows belong to which split."""

    inputs: Mapping[str, Any]
    """Column -> Column or Streamed; or a `FeatureTable`."""
    targets: Tensor
    splits: Mapping[str, Tensor]
    """Split -> int64 positions, on the host: batches are chosen there, so that all of their rows is known there too."""
    augment: Mapping[str, Augment]
    """Column -> random variation, for training batches."""

    def to(self, device: torch.device, room: int | None = None) -> Rows:
        """The same rows on the device; each column that is larger than what is left of `room` bytes (half of its free memory)
        stays on the host."""
        room = _room(device) if room is None else room
        inputs = {}
        for name, column in self.inputs.items():
            size = getattr(column, "nbytes", 0)
            fits = size <= room
            inputs[name] = column.to(device) if fits else Hosted(column, device)
            room -= size if fits else 0
        return replace(self, inputs=inputs, targets=self.targets.to(device))

    @property
    def resident(self) -> bool:
        """Whether all of it lies on the device."""
        return all(isinstance(column, Column | Features | RaggedFeatures) for column in self.inputs.values())

    @property
    def lengths(self) -> Tensor | None:
        """int64 [N], on the host: steps of each row, where there is one input and it is ragged; else None."""
        if len(self.inputs) != 1:
            return None
        found: Tensor | None = getattr(next(iter(self.inputs.values())), "lengths", None)
        return found

    def gather(self, index: Tensor) -> Batch:
        """The rows `index` [B], on the host, as they are."""
        own = sent(index, self.targets.device)
        return Batch(own, {name: column.gather(index) for name, column in self.inputs.items()}, self.targets[own])

    def varied(self, batch: Batch) -> Batch:
        """The batch, varied at random where a column has a way to."""
        own, targets = self.augment, batch.targets
        inputs = {name: own[name](x, targets) if name in own else x for name, x in batch.inputs.items()}
        return Batch(batch.row_ids, inputs, batch.targets)

    def in_order(self, index: Tensor, batch_size: int) -> Iterator[Batch]:
        """Those rows in that order."""
        return self.ahead(index.split(batch_size))

    def to_score(self, index: Tensor, batch_size: int, by_length: bool) -> tuple[Iterator[Batch], Tensor]:
        """Those rows, and where in what comes of them each is. `by_length`, where they have lengths: the shortest first and few
        at a time, so that little is padded; of recordings that takes a third of the time."""
        lengths = self.lengths if by_length else None
        if lengths is None:
            return self.in_order(index, batch_size), torch.arange(len(index), device=index.device)
        order = lengths.to(index.device)[index].argsort(stable=True)
        return self.in_order(index[order], LONG_ROWS), order.argsort()

    def ahead(self, batches: Sequence[Tensor]) -> Iterator[Batch]:
        """The batches one after the other; what is not on the device is gathered meanwhile, and copied meanwhile."""
        if self.resident:
            yield from map(self.gather, batches)
            return
        lane = Lane(self.targets.device)
        waiting: deque[Future[Made]] = deque()
        with ThreadPoolExecutor(1) as pool:
            try:
                for index in batches:
                    waiting.append(pool.submit(lane.make, self.gather, index))
                    if len(waiting) > AHEAD:
                        yield lane.hand_over(waiting.popleft().result())
                while waiting:
                    yield lane.hand_over(waiting.popleft().result())
            finally:
                for future in waiting:
                    future.cancel()


Made = tuple[Batch, torch.cuda.Event | None]
"""A batch, and what tells on a CUDA device that it is there."""


class Lane:
    """Where batches are made beside the steps: on a CUDA device in a stream of its own, so that it copies while it computes;
    elsewhere nothing is needed."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self.stream is not None:  # what is there already may still be on its way
            self.stream.wait_stream(torch.cuda.current_stream(device))

    def make(self, gather: Callable[[Tensor], Batch], index: Tensor) -> Made:
        """The batch of the rows `index`, by a thread beside that of the steps."""
        if self.stream is None:
            return gather(index), None
        with torch.cuda.stream(self.stream):
            batch = gather(index)
            return batch, self.stream.record_event()

    def hand_over(self, made: Made) -> Batch:
        """The batch for the stream that computes, which waits for it; the host does not. Its memory is kept so long."""
        batch, there = made
        if there is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(there)
            batch.used_in(stream)
        return batch


def _room(device: torch.device) -> int:
    return int(free_memory(device) * DEVICE_SHARE) if device.type == "cuda" else 1 << 62


def shuffled(index: Tensor, batch_size: int, seed: int, epoch: int, lengths: Tensor | None = None) -> list[Tensor]:
    """The batches of an epoch: a function of seed and epoch alone, so that training resumes anywhere.

    With `lengths` [N], rows of like length are put together among each `WINDOW` batches, so that little is padded; the batches
    stay in random order. A last batch of one row joins the one before, since statistics over a batch need two.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    order = index[torch.randperm(len(index), generator=generator).to(index.device)]
    if lengths is not None:
        own = lengths.to(index.device)
        order = torch.cat([part[own[part].argsort(stable=True)] for part in order.split(batch_size * WINDOW)])
    parts = list(order.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        last = parts.pop()
        parts[-1] = torch.cat([parts[-1], last])
    if lengths is not None:
        parts = [parts[place] for place in torch.randperm(len(parts), generator=generator).tolist()]
    return parts


def by_identity(index: Tensor, targets: Tensor, batch_size: int, rows_each: int, seed: int, epoch: int) -> list[Tensor]:
    """The batches of an epoch for a loss that compares rows: each holds P identities with `rows_each` rows of each, as many as
    make `batch_size`; a function of seed and epoch alone (Hermans 2017).

    Rows are dealt in an order drawn anew, those of an identity that has no multiple of `rows_each` being filled up with others
    of it drawn again; so each row comes once at least, and no identity twice in a batch. An identity of one row comes alone.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    places = index.cpu()
    order = places[torch.randperm(len(places), generator=generator)]
    own = targets.cpu()[order]
    waiting: dict[int, list[Tensor]] = {}
    for name in own.unique().tolist():
        rows = order[own == name]
        short = -len(rows) % rows_each if len(rows) > 1 else 0
        if short:
            more = torch.cat([rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-short // len(rows)))])
            rows = torch.cat([rows, more[:short]])
        waiting[name] = list(rows.split(rows_each))
    batches: list[Tensor] = []
    most = max(batch_size // rows_each, 2)
    while waiting:
        names = list(waiting)
        # Those with the most rows left come first, so that the last batches are not of one identity alone; ties by chance.
        luck = torch.rand(len(names), generator=generator).tolist()
        taken = sorted(range(len(names)), key=lambda place: (-len(waiting[names[place]]), luck[place]))[:most]
        batches.append(torch.cat([waiting[names[place]].pop() for place in taken]))
        waiting = {name: groups for name, groups in waiting.items() if groups}
    if len(batches) > 1 and len(batches[-1].unique()) < 2:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return [batches[place].to(index.device) for place in torch.randperm(len(batches), generator=generator).tolist()]
