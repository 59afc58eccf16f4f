"""Metrics of finding and of telling apart: ranks, pairs of rows accepted or refused by a threshold; weighted row by row.

Like all metrics they take weights [R, N] and give [R] values. A pair of rows weighs as the product of its rows: resampling
rows, or identities, resamples pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmcli.reporting.metrics import Array, Metric, error_rate, interval_of

MOST_SAME, MOST_DIFFERENT = 10_000, 50_000
"""Pairs that are looked at, of one identity and of two: all, or so many drawn at random."""
LEAST_IMPOSTORS = 30
"""False accepts that a rate must let one expect, before the share of true accepts at it is told."""
RESAMPLES = 64
"""Resamples whose pairs are weighed at a time."""


def ranked(ranks: Array, weights: Array, most: int) -> Array:
    """Share of the rows with a rank (counted from 1, not a number where there is none) that have at most this one."""
    here = ~np.isnan(ranks)
    hits = np.where(here, np.nan_to_num(ranks, nan=np.inf) <= most, False).astype(np.float64)
    return _mean(weights, hits, here)


def reciprocal(ranks: Array, weights: Array) -> Array:
    """Mean of one over the rank: MRR."""
    here = ~np.isnan(ranks)
    return _mean(weights, np.where(here, 1 / np.nan_to_num(ranks, nan=1.0), 0.0), here)


def discounted(ranks: Array, weights: Array) -> Array:
    """nDCG where one row is right: mean of 1 / log2(1 + rank)."""
    here = ~np.isnan(ranks)
    return _mean(weights, np.where(here, 1 / np.log2(1 + np.nan_to_num(ranks, nan=1.0)), 0.0), here)


def mean_where(values: Array, weights: Array) -> Array:
    """Mean of the values that are numbers."""
    here = ~np.isnan(values)
    return _mean(weights, np.nan_to_num(values), here)


def _mean(weights: Array, values: Array, here: Array) -> Array:
    total = weights @ here.astype(np.float64)
    return np.where(total > 0, (weights @ np.where(here, values, 0.0)) / np.maximum(total, 1e-12), np.nan)


def cumulative_match(ranks: Array, most: int) -> Array:
    """[most]: the share found within the first 1, 2, ... (CMC)."""
    known = ranks[~np.isnan(ranks)]
    return np.array([(known <= rank).mean() if len(known) else np.nan for rank in range(1, most + 1)])


def pairs_of(identities: Array, seed: int = 0) -> tuple[Array, Array, Array]:
    """Pairs of rows: first and second row of each, and whether both are of one identity. All there are, or a draw that is
    always the same for the same identities."""
    rows = len(identities)
    first, second = np.triu_indices(rows, 1)
    same = identities[first] == identities[second]
    kept = []
    for wanted, most in ((same, MOST_SAME), (~same, MOST_DIFFERENT)):
        found = np.flatnonzero(wanted)
        if len(found) > most:
            found = np.sort(np.random.default_rng(seed).choice(found, most, replace=False))
        kept.append(found)
    chosen = np.concatenate(kept)
    return first[chosen], second[chosen], same[chosen]


class Verification:
    """Pairs sorted by their scores, the highest first."""

    def __init__(self, scores: Array, first: Array, second: Array, same: Array) -> None:
        order = np.argsort(-scores, kind="stable")
        self.scores = scores[order]
        self.first, self.second, self.same = first[order], second[order], same[order]
        starts = np.flatnonzero(np.r_[True, np.diff(self.scores) != 0]) if len(scores) else np.zeros(0, int)
        self._starts = starts

    @classmethod
    def of_vectors(cls, vectors: Array, identities: Array) -> Verification:
        """The pairs of rows with these unit vectors [N, D], by their cosine."""
        first, second, same = pairs_of(identities)
        scores = np.concatenate(
            [
                np.einsum("pd,pd->p", vectors[first[part]], vectors[second[part]])
                for part in np.array_split(np.arange(len(first)), max(len(first) // 4096, 1))
            ]
        )
        return cls(scores, first, second, same)

    def touching(self, rows: Array) -> Verification:
        """The pairs with a row among these, at least one."""
        kept = np.isin(self.first, rows) | np.isin(self.second, rows)
        return Verification(self.scores[kept], self.first[kept], self.second[kept], self.same[kept])

    @property
    def thresholds(self) -> Array:
        """The scores that tell pairs apart, falling."""
        found: Array = self.scores[self._starts]
        return found

    def rates(self, weights: Array) -> tuple[Array, Array]:
        """Shares of false and of true accepts [R, T] at each of the `thresholds` (a pair as high as it is accepted); not a
        number where there are no pairs of a kind."""
        far, tar = [], []
        for part in np.array_split(weights, max(-(-len(weights) // RESAMPLES), 1)):
            own = part[:, self.first] * part[:, self.second]
            same = np.cumsum(np.add.reduceat(own * self.same, self._starts, axis=1), axis=1)
            other = np.cumsum(np.add.reduceat(own * ~self.same, self._starts, axis=1), axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                tar.append(same / same[:, -1:])
                far.append(other / other[:, -1:])
        return np.concatenate(far), np.concatenate(tar)


def _over_blocks(own: Verification, weights: Array, each: Callable[[Array, Array], Array]) -> Array:
    """`each` of the rates, for some resamples at a time."""
    if not own.same.any() or own.same.all():
        return np.full(len(weights), np.nan)
    parts = np.array_split(weights, max(-(-len(weights) // RESAMPLES), 1))
    return np.concatenate([each(*own.rates(part)) for part in parts])


def equal_error_rate(own: Verification, weights: Array) -> Array:
    """EER: where as large a share of the pairs of two is accepted as of the pairs of one is refused; their mean at the
    threshold where they are nearest."""

    def each(far: Array, tar: Array) -> Array:
        far, frr = np.hstack([np.zeros((len(far), 1)), far]), np.hstack([np.ones((len(tar), 1)), 1 - tar])
        place = np.abs(far - frr).argmin(1)[:, None]
        value = (np.take_along_axis(far, place, 1) + np.take_along_axis(frr, place, 1))[:, 0] / 2
        return np.where(np.isnan(far[:, -1]) | np.isnan(frr[:, -1]), np.nan, value)

    return _over_blocks(own, weights, each)


def true_accepts(own: Verification, weights: Array, false_rate: float) -> Array:
    """TAR at FAR: the largest share of true accepts with at most this share of false ones; not a number where there are fewer
    than 30 / FAR pairs of two."""
    if (~own.same).sum() < LEAST_IMPOSTORS / false_rate:
        return np.full(len(weights), np.nan)

    def each(far: Array, tar: Array) -> Array:
        found = np.where(far <= false_rate + 1e-12, tar, 0.0).max(1)
        return np.where(np.isnan(far[:, -1]) | np.isnan(tar[:, -1]), np.nan, found)

    return _over_blocks(own, weights, each)


def errors(own: Verification, resampled: Array, threshold: float) -> dict[str, dict[str, float]]:
    """FAR and FRR of the pairs at that threshold, see `metrics.error_rate`: a pair as high as it is accepted."""
    accepted, found = own.scores >= threshold, {}
    for name, wrong, here in (("far", accepted, ~own.same), ("frr", ~accepted, own.same)):
        values = []
        for part in np.array_split(resampled, max(-(-len(resampled) // RESAMPLES), 1)):
            weights = part[:, own.first[here]] * part[:, own.second[here]]
            total = weights.sum(1)
            values.append(np.where(total > 0, weights @ wrong[here] / np.maximum(total, 1e-12), np.nan))
        found[name] = error_rate(wrong[here], np.concatenate(values))
    return found


FALSE_RATES = (0.1, 0.01, 0.001)
"""The rates of false accepts at which true ones are told."""


def operating_points(own: Verification, resampled: Array) -> list[dict[str, float]]:
    """FAR, the threshold on the score that keeps it, TAR there and its 95% interval over resamples [R, N] of rows: an entry for
    each rate for which there are pairs of two enough."""
    found = []
    for rate in FALSE_RATES:
        ones = np.ones((1, resampled.shape[1]))
        value = true_accepts(own, ones, rate)[0]
        if np.isnan(value):
            continue
        told = interval_of(np.concatenate([[value], true_accepts(own, resampled, rate)]), len(own.scores))
        kept = np.flatnonzero(own.rates(ones)[0][0] <= rate + 1e-12)
        scores, place = own.thresholds, int(kept[-1]) if len(kept) else -1
        above = scores[place] if place >= 0 else scores[0] + 1e-6
        cut = (above + scores[place + 1]) / 2 if place + 1 < len(scores) else above  # between two: what is rounded is safe
        found.append({"far": rate, "threshold": float(cut), "tar": told.value, "low": told.low, "high": told.high})
    return found


def of_vectors(start: int, each: Callable[[Verification, Array], Array]) -> Metric:
    """A metric of pairs as one of readings whose columns from `start` on are unit vectors; targets are identities."""
    return lambda rows, targets, weights: each(Verification.of_vectors(rows[:, start:], targets), weights)
