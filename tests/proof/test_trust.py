"""Slices, confident errors, doubtful targets, duplicates, McNemar: on rows where the answer is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmcli.proof import trust
from mmcli.signals import Column, Features
from mmcli.tasks.classification import Classification, Config

TASK = Classification.fit(Config(), [("a",), ("b",)], ["y"])


def outputs(shares: list[float]) -> torch.Tensor:
    """Of class b."""
    own = torch.tensor(shares, dtype=torch.float64)
    return torch.stack([(1 - own).log(), own.log()], 1)


def test_the_surest_errors_come_first() -> None:
    found = trust.confident_errors(TASK, outputs([0.9, 0.2, 0.99, 0.6]), torch.tensor([1, 0, 0, 0]))
    assert found == [(2, "99% sure"), (3, "60% sure")]


def test_a_target_that_everything_speaks_against_is_doubtful() -> None:
    targets = torch.tensor([0, 0, 0, 1, 1, 1])
    found = trust.suspects(TASK, outputs([0.05, 0.1, 0.98, 0.95, 0.9, 0.97]), targets)
    assert [(row, other) for row, _, other in found] == [(2, 1)]
    assert found[0][1] == pytest.approx(0.02)


def test_mcnemar_counts_what_each_alone_gets_right() -> None:
    targets = torch.zeros(12, dtype=torch.int64)
    one, other = outputs([0.1] * 10 + [0.9] * 2), outputs([0.1] * 2 + [0.9] * 10)
    found = trust.mcnemar(TASK, one, other, targets)
    assert (found["first_alone"], found["second_alone"]) == (8, 0)
    assert found["p_value"] == pytest.approx(2 * 0.5**8)
    assert trust.mcnemar(TASK, one, one, targets)["p_value"] == 1


def dataset(values: torch.Tensor, split: list[str], **more: Any) -> Any:
    present = torch.ones(len(values), dtype=torch.bool)
    index = {name: torch.tensor([i for i, own in enumerate(split) if own == name]) for name in ("train", "test")}
    spec = SimpleNamespace(fields=())
    more = {"groups": lambda _: None, **more}
    return SimpleNamespace(
        inputs=["x"], splits=index, column=lambda _: Column(values, present), input=lambda _: SimpleNamespace(spec=spec), **more
    )


def test_rows_of_train_are_found_in_test() -> None:
    torch.manual_seed(0)
    values = torch.randn(9, 4)
    values[7] = values[1]  # to the bit
    features = Features(values.clone(), values[:, None], torch.ones(9, 1, dtype=torch.bool), torch.ones(9, dtype=torch.bool))
    features.pooled[8] = features.pooled[2] * 1.001  # nearly, to the encoder
    split, own = ["train"] * 6 + ["test"] * 3, {"x": features}
    weighed = torch.tensor([[0, 1.0], [1, 2], [2, 3], [0, 4], [1, 5], [2, 6], [0, 7], [1, 8], [2, 9]])  # classes and weights
    task = SimpleNamespace(parted=lambda own: (own[:, 0].long(), own[:, 1]))
    for targets in ({"targets": []}, {"targets": ["y"]}):
        rows = dataset(values, split, schema=targets, targets=weighed, task=task)
        found = trust.duplicates(rows, own)
        assert (found["exact"], found["exact_pairs"]) == (1, [[8, 2]])
        assert found["near"] == 1
        assert found["near_pairs"][0][:2] == [9, 3]
    plain: Any = SimpleNamespace(parted=lambda own: (own, None))
    rows = dataset(values, split, schema={"targets": ["y"]}, targets=torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 0]), task=plain)
    assert (found := trust.duplicates(rows, own))["near"] == 0  # another answer
    assert (found["exact"], found["blurred"]) == (1, False)
    numbers = torch.tensor([0.1, 1, 3.01, 0, 1, 2, 0, 0, 3.02])
    rows = dataset(values, split, schema={"targets": ["y"]}, targets=numbers, task=plain)
    assert trust.duplicates(rows, own)["near"] == 1  # numbers are nearly the same too


@pytest.mark.parametrize(("rows", "blurred"), [(130, True), (40, False)])
def test_encoders_that_tell_no_rows_apart_are_not_asked_for_duplicates(rows: int, blurred: bool) -> None:
    torch.manual_seed(0)
    values = torch.randn(rows, 4)
    pooled = torch.where(torch.arange(rows) % 2 == 0, 1.0, -1.0)[:, None] + 0.01 * torch.randn(rows, 4)
    features = Features(pooled, pooled[:, None], torch.ones(rows, 1, dtype=torch.bool), torch.ones(rows, dtype=torch.bool))
    split = ["train"] * (rows - 10) + ["test"] * 10
    found = trust.duplicates(dataset(values, split, schema={"targets": []}), {"x": features})
    assert (found["exact"], found["near"], found["blurred"]) == (0, 0 if blurred else 10, blurred)


def test_slices_by_what_is_asked_and_by_class() -> None:
    count = 40
    targets = torch.tensor([0, 1] * 20)
    right = torch.tensor([i < 20 for i in range(count)])
    shares = [0.9 if (t == 1) == bool(r) else 0.1 for t, r in zip(targets.tolist(), right.tolist(), strict=True)]
    own = dataset(
        torch.zeros(count, 1), ["test"] * count, task=TASK, targets=targets, cells=[("ab"[t],) for t in targets.tolist()]
    )
    place = ["north" if i < 20 else "south" for i in range(count)]
    found = trust.slices(own, torch.arange(count), outputs(shares), {"place": place}, 0)
    scores = {(s.kind, s.name): (s.score.value, s.score.n) for s in found}
    assert scores[("place", "north")] == (1.0, 20)
    assert scores[("place", "south")] == (0.0, 20)
    assert scores[("class", "a")] == (0.5, 20)
    assert all(s.gain is None for s in found)
    column = outputs(
        [0.9 if t == 1 else 0.1 for t in targets.tolist()][:30] + [0.1 if t == 1 else 0.9 for t in targets.tolist()][30:]
    )
    beside = trust.slices(own, torch.arange(count), outputs(shares), {"place": place}, 0, column)
    gains = {(s.kind, s.name): s.gain for s in beside}
    assert gains[("place", "north")].value == 0.0  # both are right there
    assert gains[("place", "south")].value == pytest.approx(-0.5)  # the column is right in half of them
    assert gains[("place", "south")].high < 0
    assert beside[0].as_dict()["over_best_column"]["n"] == beside[0].score.n
