"""Batches gathered by index from tensors that stay on the device: no workers, no copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmcli.signals import Batch, Column, Features, Signal

Augment = Callable[[Signal], Signal]


@dataclass(frozen=True)
class Rows:
    """The inputs and targets of a table, or of its cached features, and which rows belong to which split."""

    inputs: Mapping[str, Column | Features]
    targets: Tensor
    splits: Mapping[str, Tensor]
    """Split -> int64 positions."""
    augment: Mapping[str, Augment]
    """Column -> random variation, for training batches."""

    def to(self, device: torch.device) -> Rows:
        """The same rows on the device."""
        return replace(
            self,
            inputs={name: column.to(device) for name, column in self.inputs.items()},
            targets=self.targets.to(device),
            splits={name: index.to(device) for name, index in self.splits.items()},
        )

    def gather(self, index: Tensor) -> Batch:
        """The rows `index` [B], as they are."""
        return Batch(index, {name: column.gather(index) for name, column in self.inputs.items()}, self.targets[index])

    def varied(self, index: Tensor) -> Batch:
        """The rows `index` [B], varied at random where a column has a way to."""
        batch = self.gather(index)
        inputs = {name: self.augment[name](x) if name in self.augment else x for name, x in batch.inputs.items()}
        return Batch(batch.row_ids, inputs, batch.targets)

    def in_order(self, index: Tensor, batch_size: int) -> Iterator[Batch]:
        """Those rows in that order."""
        for part in index.split(batch_size):
            yield self.gather(part)


def shuffled(index: Tensor, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """The batches of an epoch: a function of seed and epoch alone, so that training resumes anywhere.

    A last batch of one row joins the one before, since statistics over a batch need two.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    parts = list(index[torch.randperm(len(index), generator=generator).to(index.device)].split(batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        last = parts.pop()
        parts[-1] = torch.cat([parts[-1], last])
    return parts
