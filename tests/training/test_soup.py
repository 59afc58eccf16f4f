"""The greedy soup by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from mmcli.training.soup import Soup

VALUES = {0: 4.0, 1: 1.0, 2: 10.0, 3: -2.0}


def weights(value: float) -> dict[str, Tensor]:
    return {"w": torch.full((2,), value), "count": torch.tensor(int(value))}


def filled(size: int) -> Soup:
    """Epochs ranked 1, 0, 3, 2: the nearer to 0.5 the better."""
    soup = Soup(size)
    for epoch, value in VALUES.items():
        soup.offer(epoch, weights(value), lambda own: (-abs(VALUES[own] - 0.5), 0.0))
    return soup


def test_the_best_are_kept_best_first() -> None:
    assert list(filled(3).kept) == [1, 3, 0]
    assert list(filled(1).kept) == [1]
    assert not filled(0).kept


def test_each_is_taken_in_only_if_the_mean_ranks_higher() -> None:
    def rank(own: dict[str, Tensor]) -> tuple[float, float]:
        return -abs(float(own["w"][0]) - 1.5), 0.0

    # from 4: with 1 the mean is 2.5, better; with -2 it is 1, better; 10 would make it 3.25
    found, epochs = filled(4).cooked(0, weights(4.0), rank)
    assert epochs == [0, 1, 3]
    torch.testing.assert_close(found["w"], torch.ones(2))
    assert int(found["count"]) == 4, "what is no number stays"
    # from 1, off by .5: (1 - 2) / 2 is worse, (1 + 4) / 2 is worse, so it stays alone
    alone, epochs = filled(4).cooked(1, weights(1.0), rank)
    assert epochs == [1]
    assert float(alone["w"][0]) == 1.0


def test_what_is_kept_is_a_copy_and_comes_back_from_a_checkpoint() -> None:
    soup, moving = Soup(2), weights(1.0)
    soup.offer(0, moving, lambda own: (0.0, 0.0))
    moving["w"] += 5
    again = Soup(2)
    again.restore(soup.tensors(), moving, lambda own: (0.0, 0.0))
    torch.testing.assert_close(again.kept[0]["w"], torch.ones(2))
    assert again.kept[0]["count"].dtype == torch.int64
