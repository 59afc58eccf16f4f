"""Principal axes and, on them, linear discriminants, in closed form: what tells identities apart in features of few rows
(fisherfaces, Belhumeur 1997)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.reporting.retrieval_metrics import Verification, equal_error_rate

MOST_AXES = 256
"""Principal axes that are kept."""
SHRINKAGES = (0.05, 0.2, 0.5, 0.9)
"""How far the spread within identities is taken for a ball's: those that are tried."""
PLAIN = (0.0, 0.25, 0.5, 0.75)
"""Shares of a vector that are principal axes: those that are tried."""
FOLDS = 4
SHRUNK = 0.2
"""The same, where nothing is tried."""
MOST_TRIED = 1500
"""Rows that are kept out in turn."""


@dataclass(frozen=True)
class Axes:
    """Directions in features: what is projected is `(features - mean) @ directions`."""

    mean: Tensor
    """float64 [D]."""
    directions: Tensor
    """float64 [D, P]."""

    def of(self, features_ND: Tensor) -> Tensor:
        """float64 [N, P]."""
        return (features_ND.double() - self.mean) @ self.directions


def principal(features_ND: Tensor, most: int = MOST_AXES) -> Axes:
    """The first principal axes, in order; those along which nothing differs left out."""
    features = features_ND.double()
    mean = features.mean(0)
    _, sizes, axes_PD = torch.linalg.svd(features - mean, full_matrices=False)
    kept = min(most, int((sizes > 1e-6 * sizes[:1].clamp(min=1e-12)).sum()))
    return Axes(mean, axes_PD[:kept].T)


def discriminants(projected_NP: Tensor, identities_N: Tensor, shrinkage: float) -> Tensor:
    """Directions [P, C - 1] along which identities differ most for the spread of their own rows, which is one along each
    (linear discriminant analysis), that spread shrunk towards a ball's."""
    names, place = torch.unique(identities_N, return_inverse=True)
    counts = torch.bincount(place).double()
    means = torch.zeros(len(names), projected_NP.shape[1], dtype=torch.float64)
    means = means.index_add(0, place, projected_NP) / counts[:, None]
    inner = projected_NP - means[place]
    within = inner.T @ inner / max(len(projected_NP) - len(names), 1)
    ball = torch.eye(len(within), dtype=torch.float64) * within.trace() / max(len(within), 1)
    within = (1 - shrinkage) * within + shrinkage * ball
    centred = means - projected_NP.mean(0)
    between = (centred * counts[:, None]).T @ centred / len(projected_NP)
    sizes, turned = torch.linalg.eigh(within)
    whitened = turned / sizes.clamp(min=1e-12 * float(sizes[-1].clamp(min=1e-12))).sqrt()
    _, directions = torch.linalg.eigh(whitened.T @ between @ whitened)
    found: Tensor = whitened @ directions.flip(1)[:, : min(len(names) - 1, len(within))]
    return found


def of_pairs(ones_ND: Tensor, others_ND: Tensor, right_N: Tensor, most: int, shrinkage: float = SHRUNK) -> Axes | None:
    """At most so many directions along which the cells of pairs that belong together lie near each other and all cells far
    apart: each such pair is an identity of two rows, every other cell one of its own. None where nothing tells.

    Args:
        ones_ND, others_ND: the first and the second cell of N pairs.
        right_N: bool; which pairs belong together.
    """
    apart, count = (ones_ND - others_ND)[right_N], len(right_N)
    if count < 2 or not float(apart.square().sum()) > 0:
        return None
    cells = torch.cat([ones_ND, others_ND]).double()
    axes = principal(cells) if len(cells) < cells.shape[1] else _principal_of_many(cells)
    identities = torch.arange(2 * count)
    identities[count:][right_N] = torch.arange(count)[right_N]
    return Axes(axes.mean, axes.directions @ discriminants(axes.of(cells), identities, shrinkage)[:, :most])


def _principal_of_many(rows_ND: Tensor) -> Axes:
    """What `principal` gives, from the scatter: of more rows than numbers that is less work."""
    mean = rows_ND.mean(0)
    sizes, turned = torch.linalg.eigh((rows_ND - mean).T @ (rows_ND - mean))
    kept = min(MOST_AXES, int((sizes > 1e-12 * sizes[-1].clamp(min=1e-24)).sum()))
    return Axes(mean, turned.flip(1)[:, :kept])


def telling(projected_NP: Tensor, identities_N: Tensor, shrinkage: float, plain: float, most: int) -> Tensor:
    """Directions [P, at most `most`]: discriminants and, with that share of the mean squared length, the axes themselves."""
    found = discriminants(projected_NP, identities_N, shrinkage)[:, :most] if plain < 1 else projected_NP.new_zeros(
        projected_NP.shape[1], 0
    )  # fmt: skip
    axes = torch.eye(projected_NP.shape[1], dtype=torch.float64)[:, : most - found.shape[1] if plain > 0 else 0]
    parts = [share**0.5 * _of_length_one(own, projected_NP) for share, own in ((1 - plain, found), (plain, axes))]
    return torch.cat(parts, 1)


def _of_length_one(directions: Tensor, projected: Tensor) -> Tensor:
    """Scaled together, so that what they make of the rows has length one on average."""
    made = projected @ directions
    return directions / made.square().sum(1).mean().sqrt().clamp(min=1e-12) if directions.shape[1] else directions


def choose(projected_NP: Tensor, identities_N: Tensor, *, unseen: bool, most: int) -> tuple[float, float]:
    """Which shrinkage and which share of plain axes tell rows apart best that were kept out: of `unseen` identities, by the
    equal error rate of their pairs; else of the same identities, by the share of the right one."""
    projected_NP, identities_N = _some(projected_NP, identities_N)
    generator = np.random.default_rng(0)
    held = identities_N.numpy() if unseen else np.arange(len(identities_N))
    names = generator.permutation(np.unique(held))
    folds = min(FOLDS, len(names) // 2)
    if folds < 2:
        return 0.5, 0.5
    fold = dict(zip(names.tolist(), (place % folds for place in range(len(names))), strict=True))
    of = torch.tensor([fold[own] for own in held.tolist()])
    costs = dict.fromkeys([(shrinkage, plain) for shrinkage in SHRINKAGES for plain in PLAIN], 0.0)
    for number in range(folds):
        out = of == number
        if len(identities_N[~out].unique()) < 2:
            continue
        for shrinkage, plain in costs:
            axes = telling(projected_NP[~out], identities_N[~out], shrinkage, plain, most)
            kept, looked = (F.normalize(projected_NP[own] @ axes, dim=1) for own in (~out, out))
            cost = _open(looked, identities_N[out]) if unseen else _closed(looked, identities_N[out], kept, identities_N[~out])
            costs[shrinkage, plain] += cost
    return min(costs, key=lambda own: (round(costs[own], 6), own[1], own[0]))


def _some(projected: Tensor, identities: Tensor) -> tuple[Tensor, Tensor]:
    """Those of as many identities, drawn at random, as have `MOST_TRIED` rows together."""
    if len(identities) <= MOST_TRIED:
        return projected, identities
    names = np.random.default_rng(1).permutation(np.unique(identities.numpy()))
    sizes = np.cumsum([int((identities == int(name)).sum()) for name in names])
    kept = torch.isin(identities, torch.from_numpy(names[: max(int((sizes <= MOST_TRIED).sum()), 2)]))
    return projected[kept], identities[kept]


def _open(vectors: Tensor, identities: Tensor) -> float:
    pairs = Verification.of_vectors(vectors.numpy(), identities.numpy())
    return float(np.nan_to_num(equal_error_rate(pairs, np.ones((1, len(vectors))))[0], nan=0.5))


def _closed(vectors: Tensor, identities: Tensor, kept: Tensor, of: Tensor) -> float:
    """Mean of minus the log of the share that the likest row of the own identity has among those of all."""
    names, place = torch.unique(of, return_inverse=True)
    alike = vectors @ kept.T
    best = torch.full((len(vectors), len(names)), -1.0, dtype=alike.dtype)
    best = 16.0 * best.scatter_reduce(1, place.expand(len(vectors), -1), alike, "amax")
    own = names[None] == identities[:, None]
    there = own.any(1)
    return float((best.logsumexp(1)[there] - best[own]).mean()) if there.any() else 0.0
