"""Quantiles of one number as answers: which are asked for, the loss that settles at them, and how val rows move them.

    loss = mean over levels t of max(t (y - q), (t - 1) (y - q))      the pinball loss (Koenker and Bassett 1978)

Outputs are [q, s]: the quantiles [K] as the head says them, and their shifts [K], which are settled on val. An answer is q + s
in rising order, so that no two cross: putting them in order never makes the loss larger (Chernozhukov et al. 2010).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MIDDLE = 0.5
"""The level that is the prediction."""


@dataclass(frozen=True)
class Levels:
    """Levels from 0 to 1, rising, the middle one among them."""

    each: tuple[float, ...]

    @classmethod
    def of(cls, asked: Sequence[float]) -> Levels | None:
        """Those asked for and the middle one; None where none are."""
        return cls(tuple(sorted({*asked, MIDDLE}))) if asked else None

    def __len__(self) -> int:
        return len(self.each)

    @property
    def middle(self) -> int:
        """The place of the prediction."""
        return self.each.index(MIDDLE)

    @property
    def names(self) -> dict[str, float]:
        """What each is called in columns -> the level: `q05`, `q50`, `q975`."""
        return {f"q{f'{level:.6f}'[2:].rstrip('0').ljust(2, '0')}": level for level in self.each}

    def pinball(self, quantiles: Tensor, right: Tensor) -> Tensor:
        """The loss of each row, [N], of quantiles [N, K] and right numbers [N, 1]."""
        levels = torch.tensor(self.each, dtype=quantiles.dtype, device=quantiles.device)
        above = right.to(quantiles.dtype) - quantiles
        return torch.maximum(levels * above, (levels - 1) * above).mean(1)

    def answers(self, outputs: Tensor) -> Tensor:
        """The quantiles that outputs [N, 2 K] stand for, float64 [N, K]."""
        said, shifts = outputs.double().chunk(2, dim=1)
        return (said + shifts).sort(1).values

    def shifts(self, quantiles: Tensor, right: Tensor) -> Tensor:
        """What must be added to quantiles [N, K] so that rows which come as these did lie below the lower ones, and above
        the upper ones, no more often than levels say: split-conformal, each end by itself (Romano et al. 2019, theorem 2). Rows
        count alike. Of rows too few for that the outermost decides; the prediction stays. float64 [K]."""
        above = (right.double() - quantiles.double()).sort(0).values.cpu()
        rows, found = len(above), torch.zeros(len(self), dtype=torch.float64)
        for place, level in enumerate(self.each):
            if level == MIDDLE or not rows:
                continue
            rank = (rows + 1) * level
            rank = math.floor(rank + 1e-9) if level < MIDDLE else math.ceil(rank - 1e-9)
            found[place] = above[min(max(rank, 1), rows) - 1, place]
        return found

    def empirical(self, right: Tensor, weights: Tensor | None = None) -> Tensor:
        """The quantiles [K] of numbers [N, 1]: the least number below or at which the share lies, by weights [N] where
        there are some."""
        values, order = right[:, 0].double().sort()
        counting = torch.ones_like(values) if weights is None else weights.double()[order]
        shares = counting.cumsum(0) / counting.sum()
        levels = torch.tensor(self.each, dtype=torch.float64, device=values.device)
        return values[torch.searchsorted(shares, levels - 1e-12).clamp(max=len(values) - 1)]


class Shifts(nn.Module):
    """Quantiles [B, K] -> [B, 2 K], their shifts beside them."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.shifts: Tensor
        self.register_buffer("shifts", torch.zeros(levels))

    def forward(self, quantiles: Tensor) -> Tensor:
        kind = torch.promote_types(quantiles.dtype, self.shifts.dtype)  # a half would round the shifts
        return torch.cat([quantiles.to(kind), self.shifts.to(kind).expand_as(quantiles)], 1)
