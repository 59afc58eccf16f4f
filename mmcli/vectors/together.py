"""What columns have in common, in closed form: directions along which the cells of a row lie near each other and far from those
of other rows.

A row is taken for an identity and its cells for views of it. Columns that share an encoder are views in one space, others each
in their own; all spaces side by side have one between and one within scatter, and the discriminants of these (multi-view
discriminant analysis, Kan 2016) are what canonical correlation analysis gives for columns of two spaces (Hotelling 1936), and
linear discriminants for columns of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from mmcli.vectors.discriminant import principal

MOST_AXES, MOST_TOGETHER = 256, 1024
"""Principal axes of each space, and of all."""
OVERSAMPLED, ROUNDS = 32, 3
"""Of the random projection: axes more than are kept, and powers."""
SHRINKAGES = (1.0, 0.5, 0.2, 0.05)
"""How far the scatter of a space is taken for a ball's: those that are tried. 1: directions are weighed as they are."""
POWERS = (0.0, 0.5, 1.0, 2.0)
"""By which power of the correlation of the cells of a row along it a direction is weighed: those that are tried."""


@dataclass(frozen=True)
class View:
    """A column's features of train rows."""

    features: Tensor
    """[N, F]."""
    present: Tensor
    """bool [N]."""
    space: int
    """Which space they lie in: the same for columns that share one."""


@dataclass(frozen=True)
class Found:
    """One set of directions: what a view of space s makes of features is `(features - centre) @ directions[s]`."""

    centres: list[Tensor]
    """float64 [F] of each view."""
    directions: list[Tensor]
    """float64 [F, D] of each space."""
    shrinkage: float
    power: float


def candidates(views: Sequence[View], most: int, shrinkages: Sequence[float] = SHRINKAGES) -> list[Found]:
    """Directions, at most so many, for each shrinkage and power; none where no two columns of a row are there."""
    count = max(view.space for view in views) + 1
    centres = [_mean(view) for view in views]
    pairs = list(zip(views, centres, strict=True))
    axes: list[Tensor] = []
    for space in range(count):
        own = torch.cat([view.features.double()[view.present] - centre for view, centre in pairs if view.space == space])
        found = _axes(own, min(MOST_AXES, MOST_TOGETHER // count))
        size = (own @ found).square().sum(1).mean().sqrt().clamp(min=1e-12) if found.shape[1] else own.new_ones(())
        axes.append(found / size)
    ends = torch.tensor([0, *(own.shape[1] for own in axes)]).cumsum(0).tolist()
    own, between = _scatters(pairs, axes, ends)
    together = torch.stack([view.present for view in views]).sum(0)
    cells = float(together[together > 1].double().mean()) if bool((together > 1).any()) else 1.0
    if not float(between.trace()) > 1e-9:
        return []
    ball = torch.zeros_like(own)
    for start, end in pairwise(ends):
        place = torch.arange(start, end)
        ball[place, place] = own[place, place].mean() if end > start else 0.0
    made = []
    for shrinkage in shrinkages:
        shrunk = (1 - shrinkage) * own + shrinkage * ball
        sizes, turned = torch.linalg.eigh(shrunk) if shrinkage < 1 else (shrunk.diagonal(), torch.eye(len(shrunk)).double())
        whitened = turned / sizes.clamp(min=1e-9 * float(sizes.max())).sqrt()
        _, directions = torch.linalg.eigh(whitened.T @ between @ whitened)
        directions = whitened @ directions.flip(1)[:, :most]
        share = ((between @ directions) * directions).sum(0) / ((own @ directions) * directions).sum(0).clamp(min=1e-12)
        weight = ((cells * share - 1) / max(cells - 1, 1e-6)).clamp(min=0.0)  # the mean correlation of two cells of a row
        for power in POWERS:
            weighed = directions * weight**power
            each = [axes[s] @ weighed[ends[s] : ends[s + 1]] for s in range(count)]
            made.append(Found(centres, each, shrinkage, power))
    return made


def _axes(rows_NF: Tensor, most: int) -> Tensor:
    """float64 [F, at most so many]: principal axes; of what is large by a random projection and a few powers of the scatter
    (Halko 2011), always the same."""
    if min(rows_NF.shape) <= 2 * most:
        return principal(rows_NF, most).directions
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(rows_NF.shape[1], most + OVERSAMPLED, generator=generator, dtype=rows_NF.dtype)
    for _ in range(ROUNDS):
        drawn = torch.linalg.qr(rows_NF.T @ torch.linalg.qr(rows_NF @ drawn)[0])[0]
    return drawn @ principal(rows_NF @ drawn, most).directions


def _mean(view: View) -> Tensor:
    there = view.features.double()[view.present]
    return there.mean(0) if len(there) else there.new_zeros(view.features.shape[1])


def _scatters(pairs: Sequence[tuple[View, Tensor]], axes: Sequence[Tensor], ends: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The scatter of the cells, each in its own space, and that between rows: of the means of their cells, from rows that have
    two at least."""
    rows, width = len(pairs[0][0].features), ends[-1]
    count = torch.stack([view.present for view, _ in pairs]).sum(0)
    sums, own = torch.zeros(rows, width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64)
    cells = 0
    for view, centre in pairs:
        inside = slice(ends[view.space], ends[view.space + 1])
        made = (view.features.double() - centre) @ axes[view.space] * (view.present & (count > 1))[:, None]
        sums[:, inside] += made
        own[inside, inside] += made.T @ made
        cells += int((view.present & (count > 1)).sum())
    # A row's mean counts as often as it has cells, as in any analysis of variance.
    between = (sums / count.clamp(min=1).sqrt()[:, None].double()).T @ (sums / count.clamp(min=1).sqrt()[:, None].double())
    return own / max(cells, 1), between / max(cells, 1)
