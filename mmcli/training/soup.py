"""Checkpoint soup: the weights of several good epochs averaged, each taken in only if val is better for it.

The greedy soup of Wortsman et al. 2022, over the epochs of one training: costs nothing once trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Weights = dict[str, Tensor]
Rank = tuple[float, float]
"""More is better: the primary metric, whichever way it points, then the loss turned round."""


class Soup:
    """The weights of the best epochs so far, at most `size` of them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: dict[int, Weights] = {}
        """By epoch, best first."""

    def offer(self, epoch: int, weights: Mapping[str, Tensor], rank: Callable[[int], Rank]) -> None:
        """Takes a copy of an epoch's weights, if it is among the best by `rank`."""
        if not self.size:
            return
        order = sorted([*self.kept, epoch], key=rank, reverse=True)[: self.size]
        if epoch in order:
            self.kept[epoch] = {name: tensor.detach().clone() for name, tensor in weights.items()}
        self.kept = {own: self.kept[own] for own in order}

    def cooked(self, start: int, weights: Weights, rank: Callable[[Weights], Rank]) -> tuple[Weights, list[int]]:
        """The mean of the weights of epoch `start` and of all others that made it rank higher; and those epochs."""
        current, epochs, best = weights, [start], rank(weights)
        for epoch, own in self.kept.items():
            if epoch == start:
                continue
            proposed = mean(current, own, len(epochs))
            found = rank(proposed)
            if found > best:
                current, best = proposed, found
                epochs.append(epoch)
        return current, epochs

    def tensors(self) -> Weights:
        """All that is kept, flat, for a checkpoint."""
        return {f"{epoch}/{name}": tensor for epoch, own in self.kept.items() for name, tensor in own.items()}

    def restore(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], rank: Callable[[int], Rank]) -> None:
        """The reverse of `tensors`; places and lays out each as in `like`."""
        found: dict[int, Weights] = {}
        for key, tensor in tensors.items():
            epoch, _, name = key.partition("/")
            found.setdefault(int(epoch), {})[name] = torch.empty_like(like[name]).copy_(tensor)
        self.kept = {epoch: found[epoch] for epoch in sorted(found, key=rank, reverse=True)}


def mean(current: Weights, other: Weights, count: int) -> Weights:
    """`current`, itself the mean of `count`, with one more; what is no number is from `current`."""
    return {
        name: torch.lerp(tensor, other[name], 1 / (count + 1)) if tensor.is_floating_point() else tensor
        for name, tensor in current.items()
    }
