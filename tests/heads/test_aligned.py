"""The losses of a vector for each column, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch

from mmcli.heads.aligned import AlignedHead, Config
from mmcli.signals import Fused
from mmcli.tasks.contrastive import Config as TaskConfig
from mmcli.tasks.contrastive import Contrastive

# Row 0: (1, 0) and (1, 0); row 1: (0, 1) and (0.6, 0.8).
POOLED = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0.6, 0.8]])
APART = torch.tensor([[0, 0, 1], [1, 2, 3]])


def head(loss: Literal["infonce", "sigmoid"], temperature: float = 0.5) -> AlignedHead:
    task = Contrastive(TaskConfig(), {"a": "text", "b": "image"})
    return AlignedHead(Config(loss=loss, temperature=temperature), task, 4)


def test_infonce_is_the_mean_of_both_ways() -> None:
    own, fused = head("infonce"), Fused(POOLED)
    cosines = [[1.0, 0.6], [0.0, 0.8]]
    from_a = [math.log(sum(math.exp(2 * c) for c in row)) - 2 * row[i] for i, row in enumerate(cosines)]
    from_b = [math.log(sum(math.exp(2 * row[i]) for row in cosines)) - 2 * cosines[i][i] for i in range(2)]
    wanted = (sum(from_a) + sum(from_b)) / 4
    assert float(own.loss(own(fused), fused, APART).detach()) == pytest.approx(wanted, abs=1e-6)


def test_sigmoid_asks_of_each_pair() -> None:
    own, fused = head("sigmoid"), Fused(POOLED)
    logits = [[2 * c - 10 for c in row] for row in ([1.0, 0.6], [0.0, 0.8])]
    signs = [[1, -1], [-1, 1]]
    wanted = sum(math.log(1 + math.exp(-signs[i][j] * logits[i][j])) for i in range(2) for j in range(2)) / 2
    assert float(own.loss(own(fused), fused, APART).detach()) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("known", [[[0, 0, 1], [1, 0, 3]], [[0, 0, 1], [1, 2, 1]], [[7, 0, 1], [7, 2, 3]]])
@pytest.mark.parametrize("loss", ["infonce", "sigmoid"])
def test_equal_cells_and_rows_of_one_group_are_no_negatives(
    known: list[list[int]], loss: Literal["infonce", "sigmoid"]
) -> None:
    own, fused = head(loss), Fused(POOLED)
    found = float(own.loss(own(fused), fused, torch.tensor(known)).detach())
    alone = [0.0, 0.0] if loss == "infonce" else [math.log(1 + math.exp(10 - 2 * c)) for c in (1.0, 0.8)]
    assert found == pytest.approx(sum(alone) / 2, abs=1e-5)


def test_absent_cells_take_no_part() -> None:
    own = head("infonce")
    three = Fused(torch.cat([POOLED, torch.tensor([[0.3, 0.7, 0, 0]])]))
    apart = torch.cat([APART, torch.tensor([[2, 4, -1]])])
    with_two = float(own.loss(own(Fused(POOLED)), Fused(POOLED), APART).detach())
    outputs = own(three)
    assert outputs.present.tolist() == [[True, True], [True, True], [True, False]]
    assert float(own.loss(outputs, three, apart).detach()) == pytest.approx(with_two)
    none = Fused(torch.zeros(2, 4))
    lost = own.loss(own(none), none, APART)
    lost.backward()
    assert float(lost.detach()) == 0.0
