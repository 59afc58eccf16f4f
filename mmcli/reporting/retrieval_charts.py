"""Drawings of finding and of telling apart: CMC, ROC, DET, and the scores of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtri

from mmcli.reporting.counts import counted
from mmcli.reporting.metrics import Array
from mmcli.reporting.retrieval_metrics import Verification, equal_error_rate
from mmcli.reporting.svg import Figure, Plot, Scale

MOST_DRAWN = 12
"""Directions that are drawn."""
_KINDS = ("s1", "s2", "s3", "s7 d1")
"""How the lines of a model and what it is held against are drawn."""
MOST_POINTS = 300
"""Points of a line."""
LEAST_SHARE, LARGEST_SHARE = 0.0005, 0.75
"""Where the axes of errors end; what lies beyond is drawn on the edge."""


def cumulative_match(shares: Array) -> Figure:
    """The share of rows found within the first 1, 2, ..."""
    known = [(float(place), float(share)) for place, share in enumerate(shares, 1)]
    plot = Plot(Scale(1, max(len(known), 2)), Scale.around([share for _, share in known], 0, 1), "rank", "share found")
    plot.path(known, "s1")
    for rank, share in known:
        plot.dot(rank, share, "s1", 3.5, f"within the first {rank:.0f}: {share:.1%}")
    return plot.figure("Share of test rows found within the first so many (CMC)")


def recall(shares: Mapping[str, Array], direction: str) -> Figure:
    """The share found within the first 1, 2, ..., of several models by name."""
    most = max(len(own) for own in shares.values())
    every = [float(share) for own in shares.values() for share in own if not np.isnan(share)]
    plot = Plot(Scale(1, max(most, 2)), Scale.around(every or [0.0, 1.0], 0, 1), "first so many", "share found")
    legend = []
    for kind, (name, own) in zip(_KINDS, shares.items(), strict=False):
        known = [(float(place), float(share)) for place, share in enumerate(own, 1) if not np.isnan(share)]
        plot.path(known, kind, name)
        legend.append((kind, name))
    return plot.figure(f"Found within the first so many: {direction}", legend)


def of_pairs(pairs: Verification) -> dict[str, tuple[Figure, str]]:
    """ROC, DET and scores of pairs of test rows: name -> (drawing, caption)."""
    far, tar = (rates[0] for rates in pairs.rates(np.ones((1, int(max(pairs.second.max(), pairs.first.max())) + 1))))
    error = float(equal_error_rate(pairs, np.ones((1, int(pairs.second.max()) + 1)))[0])
    said = f"{counted(int(pairs.same.sum()), 'pair')} of one, {int((~pairs.same).sum()):,} of two"
    return {
        "roc": (_roc(far, tar), f"Pairs of one accepted against pairs of two accepted, by threshold (ROC); {said}."),
        "det": (
            _det(far, 1 - tar, error),
            f"Pairs of one refused against pairs of two accepted, on axes that make normal scores a straight line (DET). Equal "
            f"error rate {error:.3f}. Shares under {LEAST_SHARE:.2%} or over {LARGEST_SHARE:.0%} are on the edge.",
        ),
        "similarities": (_scores(pairs), "How similar pairs of one and pairs of two are."),
    }


def _thinned(far: Array, other: Array) -> list[tuple[float, float]]:
    kept = np.unique(np.linspace(0, len(far) - 1, MOST_POINTS).astype(int))
    return [(float(far[place]), float(other[place])) for place in kept]


def _roc(far: Array, tar: Array) -> Figure:
    plot = Plot(Scale(0, 1), Scale(0, 1), "share of pairs of two accepted", "share of pairs of one accepted")
    plot.path([(0, 0), (1, 1)], "s7 d1")
    plot.path([(0.0, 0.0), *_thinned(far, tar)], "s1")
    return plot.figure("True against false accepts (ROC)", (("s1", "the model"), ("s7 d1", "chance")))


def _without_repeats(across: Array, down: Array) -> tuple[Array, Array]:
    """Points that differ from the one before."""
    new = np.r_[True, (np.diff(across) != 0) | (np.diff(down) != 0)]
    return across[new], down[new]


def _det(far: Array, frr: Array, error: float) -> Figure:
    low, high = ndtri(LEAST_SHARE), ndtri(LARGEST_SHARE)
    axis = _Probit(low, high, [0.001, 0.01, 0.05, 0.2, 0.5])
    plot = Plot(axis, axis, "share of pairs of two accepted", "share of pairs of one refused")
    across, down = (np.clip(rates, LEAST_SHARE, LARGEST_SHARE) for rates in (np.r_[0.0, far], np.r_[1.0, frr]))
    plot.path([(ndtri(x), ndtri(y)) for x, y in _thinned(*_without_repeats(across, down))], "s1")
    plot.path([(low, low), (high, high)], "s7 d1")
    place = ndtri(np.clip(error, LEAST_SHARE, LARGEST_SHARE))
    plot.dot(place, place, "s1", 4.5, f"equal error rate {error:.3f}")
    return plot.figure("False refusals against false accepts (DET)", (("s1", "the model"), ("s7 d1", "as many of both")))


class _Probit(Scale):
    """An axis of shares by the quantiles of a normal distribution."""

    def __init__(self, low: float, high: float, shares: Sequence[float]) -> None:
        super().__init__(low, high)
        object.__setattr__(self, "_shares", shares)

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:  # noqa: ARG002 - always the same
        return [(float(ndtri(share)), f"{share:g}") for share in self._shares]  # type: ignore[attr-defined]


def _scores(pairs: Verification, bins: int = 40) -> Figure:
    edges = np.linspace(float(pairs.scores.min()), max(float(pairs.scores.max()), float(pairs.scores.min()) + 1e-6), bins + 1)
    shares = {}
    for name, kept in (("pairs of two", ~pairs.same), ("pairs of one", pairs.same)):
        shares[name] = np.histogram(pairs.scores[kept], edges)[0] / kept.sum()
    top = max(float(own.max()) for own in shares.values())
    plot = Plot(Scale.around([float(edges[0]), float(edges[-1])]), Scale(0, top * 1.05), "similarity", "share of the pairs")
    legend = []
    for (name, own), kind in zip(shares.items(), ("s7", "s1"), strict=True):
        points = [
            (float(x), float(y)) for left, right, y in zip(edges[:-1], edges[1:], own, strict=True) for x in (left, right)
        ]
        plot.path(points, kind, name)
        legend.append((kind, name))
    return plot.figure("Similarities of pairs of one and of two", legend)
