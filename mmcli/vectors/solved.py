"""Linear models of sparse features, solved at once: logistic regression of classes or labels, ridge regression of numbers, or
linear regression of their quantiles (Koenker and Bassett 1978), whose loss is rounded where it turns.

    minimises  mean over rows of loss(x W + b, y)  +  |W|^2 / (2 C N)

or, where rows have weights w, (sum of w loss) / S + |W|^2 / (2 C S), S being their sum: a row of weight 2 is the row twice;
by L-BFGS (Liu and Nocedal 1989) on all rows, in float32: no step size, no epochs, the same bits each time. C is the strength
of scikit-learn's `LogisticRegression`, and 1 / alpha of its `Ridge`; the bias is free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Link = Literal["softmax", "sigmoid", "identity"]
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""From strong regularisation to weak, so that each solution is a start for the next."""
ROUNDED = 0.05
"""How far from a quantile its loss is round, in deviations of the target."""
MEMORY = 6
"""Steps that L-BFGS remembers."""
MOST_STEPS = 100
WORK = 2e11
"""Multiplications that a whole path may take: some minutes; larger tables take fewer steps."""
MOST_WEIGHTS = 8_000_000
"""Weights of one solution: features that few rows have are left out beyond, so that a path needs half a gigabyte at most."""


def path(
    features: Any,
    targets: Array,
    link: Link,
    width: int,
    strengths: Sequence[float] = STRENGTHS,
    counting: Array | None = None,
    levels: Sequence[float] = (),
) -> Iterator[tuple[float, Array, Array]]:
    """Of each strength C: it, W [F, width] and b [width], for `features` [N, F], scipy's CSR in float32. Targets are class
    numbers [N] of a softmax, else numbers [N, width], or [N, 1] where quantiles of it are sought, at
    `levels` [width]; `counting` are the weights of the rows [N], where they have some."""
    across = features.T.tocsr()
    steps = int(np.clip(WORK / (4.0 * max(features.nnz, 1) * width * len(strengths)), 10, MOST_STEPS))
    weights = np.zeros((features.shape[1] + 1, width), dtype=np.float32)
    right = targets if link == "softmax" else targets.astype(np.float32)
    for strength in strengths:
        weights = _minimum(features, across, right, link, strength, weights, steps, counting, levels)
        yield strength, weights[:-1], weights[-1]


def frequent(features: Any, width: int) -> Array:
    """Which columns of `features` [N, F] a solution of so many outputs looks at: those that a row has; of too many those that
    most rows have."""
    counts = np.bincount(features.indices, minlength=features.shape[1])
    most = max(MOST_WEIGHTS // max(width, 1), 1)
    kept = np.flatnonzero(counts)
    if len(kept) > most:
        kept = np.sort(kept[np.argsort(-counts[kept], kind="stable")[:most]])
    return kept


def _minimum(
    features: Any,
    across: Any,
    right: Array,
    link: Link,
    strength: float,
    start: Array,
    steps: int,
    counting: Array | None,
    levels: Sequence[float],
) -> Array:
    """The weights [F + 1, C], the bias last."""
    rows = features.shape[0] if counting is None else float(counting.sum())
    decay = np.float32(1 / (strength * rows))
    shares = None if counting is None else (counting / rows).astype(np.float32)[:, None]

    def value(weights: Array) -> tuple[float, Array]:
        losses, slopes = _losses(features @ weights[:-1] + weights[-1], right, link, levels)
        slopes = slopes / np.float32(rows) if shares is None else slopes * shares
        gradient = np.empty_like(weights)
        gradient[:-1] = across @ slopes + decay * weights[:-1]
        gradient[-1] = slopes.sum(0)
        loss = float(losses.mean() if counting is None else losses @ counting / rows)
        return loss + 0.5 * float(decay) * float(np.vdot(weights[:-1], weights[:-1])), gradient

    weights, (now, gradient) = start, value(start)
    known: deque[tuple[Array, Array, float]] = deque(maxlen=MEMORY)
    for _ in range(steps):
        step = _direction(gradient, known)
        slope, size = float(np.vdot(gradient, step)), 1.0
        following, (then, after) = weights - step, value(weights - step)
        while then > now - 1e-4 * size * slope and size > 1e-5:
            size /= 2
            following = weights - np.float32(size) * step
            then, after = value(following)
        if then >= now:
            break
        moved, bent = following - weights, after - gradient
        curvature = float(np.vdot(moved, bent))
        if curvature > 1e-12:
            known.append((moved, bent, 1 / curvature))
        over = now - then <= 1e-6 * abs(then)
        weights, now, gradient = following, then, after
        if over:
            break
    return weights


def _direction(gradient: Array, known: deque[tuple[Array, Array, float]]) -> Array:
    """The inverse Hessian, as the last steps tell it, times the gradient (two-loop recursion)."""
    if not known:
        return gradient * np.float32(min(1.0, 1.0 / max(float(np.abs(gradient).max()), 1e-12)))
    step, factors = gradient.copy(), []
    for moved, bent, inverse in reversed(known):
        factors.append(inverse * float(np.vdot(moved, step)))
        step -= np.float32(factors[-1]) * bent
    _, bent, inverse = known[-1]
    step *= np.float32(1 / (inverse * float(np.vdot(bent, bent))))
    for (moved, bent, inverse), factor in zip(known, reversed(factors), strict=True):
        step += np.float32(factor - inverse * float(np.vdot(bent, step))) * moved
    return step


def _losses(outputs: Array, right: Array, link: Link, levels: Sequence[float] = ()) -> tuple[Array, Array]:
    """The loss of each row in float64, and its slope by the outputs [N, C]."""
    if levels:
        return _pinball(outputs, right, np.asarray(levels, dtype=np.float32))
    if link == "identity":
        slopes = outputs - right
        return 0.5 * np.square(slopes.astype(np.float64)).sum(1), slopes
    if link == "sigmoid":
        # log(1 + e^z) - y z, kept finite for large z
        small = np.exp(-np.abs(outputs))
        losses = np.log1p(small) + np.maximum(outputs, 0) - right * outputs
        chances = np.where(outputs >= 0, 1, small) / (1 + small)
        return losses.astype(np.float64).sum(1), chances - right
    shifted = outputs - outputs.max(1, keepdims=True)
    chances = np.exp(shifted)
    total = chances.sum(1, keepdims=True)
    rows = np.arange(len(right))
    losses = np.log(total[:, 0].astype(np.float64)) - shifted[rows, right]
    chances /= total
    chances[rows, right] -= 1
    return losses, chances


def _pinball(outputs: Array, right: Array, levels: Array) -> tuple[Array, Array]:
    """|e| / 2 + (t - 1/2) e of what each lacks, e = y - q, at levels t; |e| rounded within `ROUNDED` (Huber 1964)."""
    lacking = right - outputs
    far = np.abs(lacking).astype(np.float64)
    rounded = np.where(far < ROUNDED, np.square(far) / (2 * ROUNDED) + ROUNDED / 2, far)
    slopes = -np.clip(lacking / np.float32(ROUNDED), -1, 1) / 2 - (levels - np.float32(0.5))
    return (rounded / 2 + (levels - 0.5) * lacking).sum(1), slopes.astype(np.float32)
