"""A unit vector for each column of a row, as outputs: what columns that belong together are found by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.signals import OUTPUTS, Outputs

BLOCK = 1024
"""Rows that look for their own at a time."""
SCALE = 16.0
"""What similarities are multiplied by before they become shares."""


@dataclass(frozen=True)
class Aligned:
    """What is made of B or N rows of C columns."""

    values: Tensor
    """[N, C, D], of unit length; zero where a cell is absent."""
    present: Tensor
    """bool [N, C]."""
    asked: Tensor
    """bool [C]: columns that are asked about. What two others have to do with each other is left out of every score."""

    def with_values(self, values: Tensor) -> Aligned:
        """Vectors [N, C, D] of other rows; zeros say that a cell is absent."""
        return Aligned(values, (values != 0).any(2), self.asked)

    def __len__(self) -> int:
        return len(self.values)

    def of(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """[N, D] and bool [N]: a unit vector of some columns together, the mean of those that are there, and whether one is."""
        values = F.normalize(self.values[:, list(places)].float().sum(1), dim=1)
        return values, self.present[:, list(places)].any(1)


class PerColumn(Outputs):
    """A vector for each column: `Aligned`."""

    words = "a vector for each column"

    def rows(self, outputs: Aligned) -> int:
        return len(outputs.values)

    def gather(self, outputs: Aligned, index: Tensor) -> Aligned:
        return Aligned(outputs.values[index], outputs.present[index], outputs.asked)

    def join(self, parts: Sequence[Aligned]) -> Aligned:
        values, present = (torch.cat([getattr(own, name) for own in parts]) for name in ("values", "present"))
        return Aligned(values, present, parts[0].asked)

    def mean(self, each: Sequence[Aligned], shares: Tensor) -> Aligned:
        """Side by side, each times the root of its share: two columns are as similar as the models say on average."""
        roots = shares.to(each[0].values.device, each[0].values.dtype).sqrt()
        values = torch.cat([root * own.values for root, own in zip(roots, each, strict=True)], 2)
        return Aligned(values, each[0].present, each[0].asked)

    def plain(self, outputs: Aligned) -> Aligned:
        return Aligned(outputs.values.detach().float(), outputs.present, outputs.asked)

    def to(self, outputs: Aligned, device: torch.device) -> Aligned:
        return Aligned(outputs.values.to(device), outputs.present.to(device), outputs.asked.to(device))

    def save(self, outputs: Aligned, name: str = OUTPUTS) -> dict[str, Tensor]:
        """In half precision."""
        return {name: outputs.values.half(), f"{name}.present": outputs.present, f"{name}.asked": outputs.asked}

    def load(self, named: Mapping[str, Tensor], name: str = OUTPUTS) -> Aligned:
        values, present, asked = (named[own] for own in (name, f"{name}.present", f"{name}.asked"))
        if values.dim() != 3 or present.shape != values.shape[:2] or asked.shape != values.shape[1:2]:
            raise ValueError(f"vectors of shape {list(values.shape)} with {list(present.shape)} that say which are there")
        if not values.is_floating_point() or present.dtype != torch.bool or asked.dtype != torch.bool:
            raise ValueError(f"vectors of {values.dtype}, and {present.dtype} that says which are there")
        return Aligned(F.normalize(values.float(), dim=2), present, asked)


def kin(known_NK: Tensor, rows: Tensor, query: Sequence[int], sought: Sequence[int]) -> Tensor:
    """bool [B, N]: which rows are no wrong answers to the `rows` [B], the row itself among them: those of one group (the first
    of what is `known` of each row, int64), with the same cells in all columns of the query, or in all that are sought. Columns
    are numbered from 1 there; an absent cell, -1, is like another absent one where others of its side are there."""
    found = known_NK[rows, :1] == known_NK[:, 0][None]
    for side in (query, sought):
        own = known_NK[:, [place + 1 for place in side]]
        same = (own[rows][:, None] == own[None]).all(2)
        found = found | (same & (own >= 0).any(1)[None])
    return found


def found_by(outputs: Aligned, known_NK: Tensor, query: Sequence[int], sought: Sequence[int]) -> tuple[Tensor, Tensor]:
    """float64 [N] each, not a number where a side of the row is absent: at which rank, from 1, a row's own is found among those
    of all rows, ties counting against it; and minus the log of its share among them. Rows that are `kin` do not count."""
    (left, asks), (right, answers) = outputs.of(query), outputs.of(sought)
    known_NK = known_NK.to(left.device)
    ranks, losses = [], []
    for rows in torch.arange(len(left), device=left.device).split(BLOCK):
        alike = left[rows] @ right.T
        own = (left[rows] * right[rows]).sum(1)
        others = answers[None] & ~kin(known_NK, rows, query, sought)
        both = asks[rows] & answers[rows]
        rank = 1 + ((alike >= own[:, None] - 1e-6) & others).sum(1).double()
        logits = torch.cat([own[:, None], alike.masked_fill(~others, -torch.inf)], 1).double() * SCALE
        ranks.append(torch.where(both, rank, torch.nan))
        losses.append(torch.where(both, logits.logsumexp(1) - logits[:, 0], torch.nan))
    empty = left.new_zeros(0, dtype=torch.float64)
    return torch.cat(ranks) if ranks else empty, torch.cat(losses) if losses else empty
