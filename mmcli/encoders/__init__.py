"""Sub-models: one architecture a file, found by its name; this file is their contract.

An encoder turns the signal of one column into features. One architecture may serve several modalities: it says which kinds
of signal it takes. It knows nothing of targets, other columns or the disk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmcli.errors import ConfigError
from mmcli.signals import Column, Features, Kind, Signal, SignalSpec


class Encoder(nn.Module, ABC):
    """Signal -> Features of width `dim`. Rows whose cell is absent get a learned embedding instead."""

    kinds: ClassVar[frozenset[Kind]]
    """The kinds of signal that it takes."""

    def __init__(self, spec: SignalSpec, dim: int) -> None:
        super().__init__()
        if spec.kind not in self.kinds:
            name = type(self).__module__.rpartition(".")[2].replace("_", "-")
            raise ConfigError(
                f"the encoder {name} takes {', '.join(sorted(self.kinds))}, the column is a {spec.kind}",
                'See which fit: "mmcli list encoders".',
            )
        self.dim = dim
        self.apart = False
        """Set while the encoder trains alone: one with several members then gives the rows of each, one after the other, so
        that each has a loss of its own; else their mean."""
        self.absent = nn.Parameter(torch.zeros(dim))

    def prepare(self, column: Column) -> Column:
        """What can be computed of a column once, before any epoch, without parameters."""
        return column

    def fit(self, column: Column) -> None:
        """Learns statistics from the prepared train rows into buffers, before the first step."""

    @staticmethod
    @abstractmethod
    def parameter_formula(config: Any, spec: SignalSpec) -> int:
        """How many parameters it has, the absent embedding included: arithmetic, held against the module by a test."""

    @abstractmethod
    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        """pooled [B, D], tokens [B, T, D] and their mask bool [B, T], of a prepared signal."""

    def forward(self, signal: Signal) -> Features:
        """Features with the absent embedding put in, as `pooled` and as the only token. Absent rows are not encoded at all:
        they cost nothing, and do not enter the statistics of a batch."""
        if bool(signal.present.all()):
            pooled, tokens, mask = self.encode(signal)
            return Features(pooled, tokens, mask, signal.present.repeat(len(pooled) // len(signal.present)))
        rows = len(signal.present)
        index = signal.present.nonzero()[:, 0]
        if not len(index):
            pooled = self.absent.expand(rows, -1)
            return Features(pooled, pooled[:, None], torch.ones_like(signal.present)[:, None], signal.present)
        pooled, tokens, mask = self.encode(signal.select(index))
        members = len(pooled) // len(index)
        index = torch.cat([index + member * rows for member in range(members)])
        absent = self.absent.to(pooled.dtype)
        first = torch.zeros(members * rows, mask.shape[1], dtype=torch.bool, device=mask.device)
        first[:, 0] = True
        return Features(
            absent.expand(members * rows, -1).index_copy(0, index, pooled),
            absent.expand(members * rows, tokens.shape[1], -1).index_copy(0, index, tokens),
            first.index_copy(0, index, mask),
            signal.present.repeat(members),
        )


def parameter_count(module: nn.Module) -> int:
    """How many trainable numbers a module holds."""
    return sum(parameter.numel() for parameter in module.parameters())


Contract = Encoder
__all__ = ["Contract", "Encoder", "parameter_count"]
