"""Unit vectors of fewer numbers: their coordinates along principal axes, brought to length one again.

    V = the first d right singular vectors of X [N, D], rows as they are, not centred;  y = V'x / |V'x|

Of all X V V' of that rank this is the nearest to X, and its inner products are the nearest to those of X, by their squares
(Eckart and Young 1936). A mean taken off first would keep the differences best and change every cosine.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.vectors.aligned import Aligned
from mmcli.vectors.embedded import Embedded, accepting


class Narrowed(nn.Module):
    """A layer over outputs: `Embedded` or `Aligned` of width `wide` to the same of width `narrow`. Whoever is enrolled is kept
    here, in narrow vectors alone. Parameters: 0."""

    def __init__(self, wide: int, narrow: int, rows: int) -> None:
        super().__init__()
        self.directions: Tensor
        self.gallery: Tensor
        self.identities: Tensor
        self.threshold: Tensor
        self.register_buffer("directions", torch.eye(wide, narrow))
        self.register_buffer("gallery", torch.zeros(rows, narrow))
        self.register_buffer("identities", torch.full((rows,), -1, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(()))

    @classmethod
    def of(cls, directions_DP: Tensor, outputs: Embedded | Aligned) -> Narrowed:
        """With these axes, and the enrolled of the outputs."""
        wide, narrow = directions_DP.shape
        made = cls(wide, narrow, len(outputs.gallery) if isinstance(outputs, Embedded) else 0)
        made.directions.copy_(directions_DP)
        if isinstance(outputs, Embedded):
            made.gallery.copy_(made.along(outputs.gallery.cpu()))
            made.identities.copy_(outputs.identities)
            made.threshold.copy_(outputs.threshold)
        return made

    @property
    def shape(self) -> tuple[int, int, int]:
        """What it is built of."""
        wide, narrow = self.directions.shape
        return wide, narrow, len(self.gallery)

    def along(self, values: Tensor) -> Tensor:
        """[..., D] -> [..., P] of length one; zeros stay zeros."""
        return F.normalize((values.float() @ self.directions).float(), dim=-1)

    def forward(self, outputs: Embedded | Aligned) -> Embedded | Aligned:
        """Of B rows."""
        if isinstance(outputs, Aligned):
            return replace(outputs, values=self.along(outputs.values))
        return Embedded(self.along(outputs.values), self.gallery, self.identities, self.threshold)

    @torch.no_grad()
    def settle(self, outputs: Embedded, targets: Tensor) -> None:
        """Sets from which similarity on a row is accepted, by val rows."""
        self.threshold.fill_(accepting(outputs, targets.to(outputs.values.device)))


def rows_of(outputs: Embedded | Aligned) -> Tensor:
    """[N, D]: all vectors, of whichever column."""
    return outputs.values.flatten(0, -2)


def axes(vectors_ND: Tensor) -> tuple[Tensor, Tensor]:
    """All principal axes of rows that are not centred, the first the longest, float64 [D, D]; and the share of the rows'
    squared length that the first 1, 2, ... of them hold, [D]."""
    products = torch.zeros(vectors_ND.shape[1], vectors_ND.shape[1], dtype=torch.float64)
    for part in vectors_ND.split(65_536):
        products += part.double().T @ part.double()
    sizes, directions = torch.linalg.eigh(products)
    held = sizes.flip(0).clamp(min=0).cumsum(0)
    return directions.flip(1), held / held[-1].clamp(min=1e-12)
