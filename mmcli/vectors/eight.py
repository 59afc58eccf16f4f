"""Vectors in eight bits: a number a byte and a scale a row, half the size of half precision.

s = max |x| / 127 (kept in half precision),  q = round(x / s) in -127 .. 127,  x ~ s q, off by s / 2 at most
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST = 127
SMALLEST_SCALE = 2.0**-14
"""The smallest number of half precision that has all its digits."""


@dataclass(frozen=True)
class Eight:
    """[..., D]; it is cut and taken from like a tensor, and becomes one part by part."""

    values: Tensor
    """int8 [..., D]."""
    scales: Tensor
    """float16 [...], one a row."""

    @classmethod
    def of(cls, vectors: Tensor) -> Eight:
        """Rows [..., D] of any precision. What was in eight bits before is the same again."""
        scales = (vectors.float().abs().amax(-1) / LARGEST).clamp(min=SMALLEST_SCALE).half()
        steps = (vectors.float() / scales.float()[..., None]).round().clamp(-LARGEST, LARGEST)
        return cls(steps.to(torch.int8), scales)

    @property
    def shape(self) -> torch.Size:
        return self.values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Tensor) -> Eight:
        return Eight(self.values[rows], self.scales[rows])

    def split(self, rows: int) -> Iterator[Eight]:
        """Parts of so many rows, in order."""
        for values, scales in zip(self.values.split(rows), self.scales.split(rows), strict=True):
            yield Eight(values, scales)

    def float(self) -> Tensor:
        """float32 [..., D]."""
        return self.values.float() * self.scales.float()[..., None]

    def half(self) -> Tensor:
        """float16 [..., D], as what wants that takes them."""
        return self.float().half()


Kept = Tensor | Eight
"""Rows as a gallery keeps them."""


def joined(one: Kept, other: Kept) -> Kept:
    """The rows of both, which are kept alike."""
    if isinstance(one, Eight) and isinstance(other, Eight):
        return Eight(torch.cat([one.values, other.values]), torch.cat([one.scales, other.scales]))
    assert isinstance(one, Tensor) and isinstance(other, Tensor)
    return torch.cat([one, other])
