"""Choosing which models to average: greedily, with replacement (Caruana et al. 2004, "Ensemble Selection")."""

from __future__ import annotations

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
