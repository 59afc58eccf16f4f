"""Balance, anchors and alignment against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mmcli.jobs.balancing import Teacher, alignment, anchored, balance_factors, scaled
from mmcli.signals import Features


def features(pooled: torch.Tensor, present: torch.Tensor | None = None) -> Features:
    here = torch.ones(len(pooled), dtype=torch.bool) if present is None else present
    return Features(pooled, pooled[:, None], torch.ones(len(pooled), 1, dtype=torch.bool), here)


def test_the_column_that_is_ahead_is_held_back_and_no_other() -> None:
    factors = balance_factors({"a": torch.tensor(0.1), "b": torch.tensor(1.1), "c": torch.tensor(1.1)}, 0.5)
    ratio = math.exp(-0.1) / math.exp(-1.1)
    assert {name: float(own) for name, own in factors.items()} == {
        "a": pytest.approx(1 - math.tanh(0.5 * ratio)),
        "b": 1.0,
        "c": 1.0,
    }
    assert float(balance_factors({"a": torch.tensor(0.1)}, 0.5)["a"]) == 1.0


def test_only_the_gradient_is_scaled() -> None:
    pooled = torch.tensor([[1.0, 2.0]], requires_grad=True)
    made = scaled(features(pooled), torch.tensor(0.25, dtype=torch.float64))
    assert torch.equal(made.pooled, pooled)
    (made.pooled.sum() + made.tokens.sum()).backward()
    assert pooled.grad is not None
    assert pooled.grad.tolist() == [[0.5, 0.5]]


def test_anchors_measure_present_rows_in_units_of_the_teacher() -> None:
    teacher = features(torch.tensor([[0.0, 2.0], [4.0, 6.0], [8.0, 10.0]]))
    own = features(torch.tensor([[9.0, 11.0], [1.0, 3.0]]), torch.tensor([True, False]))
    variance = torch.tensor([0.0, 2, 4, 6, 8, 10]).var()
    torch.testing.assert_close(anchored({"a": own}, {"a": Teacher.of(teacher)}, torch.tensor([2, 0])), 1.0 / variance)


def test_aligned_columns_cost_less_than_exchanged_ones() -> None:
    one = torch.eye(3)
    here = {"a": torch.ones(3, dtype=torch.bool), "b": torch.ones(3, dtype=torch.bool)}
    expected = -math.log(math.exp(10) / (math.exp(10) + 2))
    assert float(alignment({"a": one, "b": 2 * one}, here)) == pytest.approx(expected, abs=1e-4)
    assert float(alignment({"a": one, "b": one.roll(1, 0)}, here)) > 9
    here["b"][1] = False
    two = -math.log(math.exp(10) / (math.exp(10) + 1))
    assert float(alignment({"a": one, "b": one}, here)) == pytest.approx(two, abs=1e-4)
