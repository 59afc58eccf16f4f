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
        """Features with the absent embedding put in, as `pooled` and as the only token."""
        pooled, tokens, mask = self.encode(signal)
        absent = self.absent.to(pooled.dtype)
        here = signal.present.repeat(len(pooled) // len(signal.present))
        pooled = torch.where(here[:, None], pooled, absent)
        tokens = torch.where(here[:, None, None], tokens, absent)
        first = torch.zeros_like(mask)
        first[:, 0] = True
        return Features(pooled, tokens, torch.where(here[:, None], mask, first), here)


def parameter_count(module: nn.Module) -> int:
    """How many trainable numbers a module holds."""
    return sum(parameter.numel() for parameter in module.parameters())


Contract = Encoder
__all__ = ["Contract", "Encoder", "parameter_count"]
