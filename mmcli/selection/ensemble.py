"""Choosing which models to average: greedily, with replacement (Caruana et al. 2004, "Ensemble Selection"), over resampled rows
(Caruana, Munson and Niculescu-Mizil 2006), since what is chosen on few rows is chosen by their luck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def greedy(outputs: Sequence[Tensor], loss: Callable[[Tensor], float], most: int) -> list[int]:
    """Which of the outputs [K, N, ...] to average, those that count twice twice: from the best alone, adding what lowers the
    loss of the mean most, until nothing does or there are `most`."""
    chosen = [min(range(len(outputs)), key=lambda own: loss(outputs[own]))]
    total, best = outputs[chosen[0]].clone(), loss(outputs[chosen[0]])
    while len(chosen) < most:
        losses = [loss((total + own) / (len(chosen) + 1)) for own in outputs]
        place = int(torch.tensor(losses).argmin())
        if losses[place] >= best - 1e-6:
            break
        chosen.append(place)
        total, best = total + outputs[place], losses[place]
    return chosen


def bagged(
    outputs: Sequence[Tensor], targets: Tensor, loss: Callable[[Tensor, Tensor], float], most: int, *, bags: int, seed: int
) -> dict[int, int]:
    """How often each of the outputs [K, N, ...] was chosen by `greedy`, in all, over so many samples of the N rows with
    replacement; the `most` that were chosen most often."""
    generator = torch.Generator().manual_seed(seed)
    counts: Counter[int] = Counter()
    for _ in range(bags):
        rows = torch.randint(len(targets), (len(targets),), generator=generator)
        own = targets[rows]
        counts.update(greedy([each[rows] for each in outputs], lambda found, own=own: loss(found, own), most))  # type: ignore[misc]
    return dict(counts.most_common(most))
