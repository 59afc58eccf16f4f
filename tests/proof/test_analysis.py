"""What matters, on models whose answers are known: a sum of its inputs, a product of them, one that reads a single input."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmcli import registry
from mmcli.heads.linear import Config as LinearConfig
from mmcli.heads.linear import Linear
from mmcli.models.networks import FusedModel, FusionHead
from mmcli.models.recipe import build_fusion
from mmcli.proof.analysis import Analysis
from mmcli.signals import Column, Features, Fused
from mmcli.tasks.regression import Config, Regression
from mmcli.training.device import Compute

ROWS = 200
CPU = Compute(torch.device("cpu"), "float32")
TASK = Regression.fit(Config(), [("-1",), ("0",), ("1",)], ["y"])


class _Rule(nn.Module):
    """A fusion that computes something simple of the inputs' first features; absent ones are zero."""

    def __init__(self, rule: Any, names: list[str]) -> None:
        super().__init__()
        self.rule, self.columns, self.dim, self.family = rule, names, 1, "feature"

    def forward(self, features: dict[str, Features]) -> Fused:
        values = [features[name].pooled[:, :1] * features[name].present[:, None] for name in self.columns]
        return Fused(self.rule(values))


class _Same(nn.Module):
    dim = 1
    kinds = frozenset(["vector"])

    def prepare(self, column: Column) -> Column:
        return column

    def forward(self, signal: Any) -> Features:
        pooled = signal.values.float()
        return Features(pooled, pooled[:, None], torch.ones(len(pooled), 1, dtype=torch.bool), signal.present)


class _Pooled(nn.Module):
    """The fused features themselves are the outputs."""

    task = TASK

    def forward(self, fused: Fused) -> Tensor:
        return fused.pooled


def analysis(rule: Any, names: list[str], targets: Any) -> Analysis:
    torch.manual_seed(0)
    columns = {name: Column(torch.randn(ROWS, 1), torch.ones(ROWS, dtype=torch.bool)) for name in names}
    head = FusionHead(_Rule(rule, names), _Pooled(), dict.fromkeys(names, 1), {n: n for n in names})  # type: ignore[arg-type]
    network = FusedModel({}, head)
    network.names = names
    network.encoders = nn.ModuleList([_Same() for _ in names])
    network.encoder = lambda name: network.encoders[names.index(name)]  # type: ignore[method-assign,assignment,return-value]
    values: Tensor = targets([columns[name].values for name in names])
    dataset = SimpleNamespace(
        task=TASK,
        targets=values,
        column=lambda name: columns[name],
        groups=lambda index: None,
        input=lambda name: SimpleNamespace(corruptions=("noise",), corrupted=_noise, in_decibels=frozenset()),
    )
    return Analysis(network, dataset, torch.arange(ROWS), CPU)  # type: ignore[arg-type]


def _noise(column: Column, how: str, level: float, generator: torch.Generator) -> Column:
    return Column(column.values + level * torch.randn(column.values.shape, generator=generator), column.present)


def total(values: list[Tensor]) -> Tensor:
    return torch.stack(values).sum(0)


def test_shapley_values_sum_to_the_score_and_are_equal_where_inputs_are() -> None:
    own = analysis(total, ["a", "b", "c"], total)
    found = own.shapley()
    assert found["exact"]
    everything, nothing = own.score(own.only(["a", "b", "c"])), own.score(own.only([]))
    assert everything == pytest.approx(0, abs=1e-6)
    assert sum(found["values"].values()) == pytest.approx(nothing - everything, rel=1e-6)  # an error: lower is better
    shares = list(found["values"].values())
    assert max(shares) < 1.5 * min(shares)


def test_an_input_that_is_not_read_is_worth_nothing() -> None:
    own = analysis(lambda values: values[0], ["a", "b"], lambda values: values[0])
    assert own.shapley()["values"]["b"] == pytest.approx(0, abs=1e-9)
    assert own.permutation()["b"]["drop"] == pytest.approx(0, abs=1e-9)
    assert own.permutation()["a"]["drop"] > 0.5
    curve = own.missing_curve()
    assert {point["score"] for point in curve["b"]} == {curve["b"][0]["score"]}
    errors = [point["score"] for point in curve["a"]]
    assert errors == sorted(errors)
    assert errors[-1] > errors[0] + 0.3


def test_every_subset_of_up_to_four_inputs() -> None:
    names = ["a", "b", "c"]
    found = analysis(total, names, total).subsets()
    assert [tuple(row["inputs"]) for row in found] == [k for size in (3, 2, 1, 0) for k in combinations(names, size)]
    assert found[0]["value"] < found[1]["value"] < found[-1]["value"]


def test_the_whole_model_has_one_interval() -> None:
    """That of `task.intervals` on the same rows, where groups are drawn and where the task draws its own."""

    class Drawn(Regression):
        def draws(self, targets: Tensor) -> Any:
            return np.arange(len(targets)) // 20

    groups = np.arange(ROWS) // 40
    for task, named in ((TASK, None), (TASK, groups), (Drawn.fit(Config(), [("-1",), ("0",), ("1",)], ["y"]), None)):
        own = analysis(total, ["a", "b"], lambda values: values[0])
        own.dataset.task, own.dataset.groups = task, lambda index, named=named: named  # type: ignore[misc,method-assign]
        whole = task.intervals(own.outputs(own.features), own.targets, 0, named)[task.attributed_by]
        assert {"inputs": ["a", "b"], **whole.as_dict()} == own.subsets()[0]


def test_a_sum_has_no_interactions_and_a_product_is_nothing_else() -> None:
    added = analysis(total, ["a", "b"], total).emap()
    assert added["additive_score"] == pytest.approx(added["score"], abs=1e-5)
    multiplied = analysis(lambda v: v[0] * v[1], ["a", "b"], lambda v: v[0] * v[1]).emap()
    assert multiplied["score"] == pytest.approx(0, abs=1e-6)
    assert multiplied["gain"]["low"] > 0.2


def test_noise_makes_it_worse_the_more_there_is() -> None:
    own = analysis(total, ["a", "b"], total)
    for name in ("a", "b"):
        curve = own.noise_curve()[name]["noise"]
        scores = [point["score"] for point in curve]
        assert curve[0]["level"] == 0
        assert scores == sorted(scores)
        assert scores[-1] > 0.3


def test_weights_of_a_fusion_that_has_them() -> None:
    dims = {"a": 1, "b": 1}
    own = analysis(total, ["a", "b"], total)
    assert own.weights() == {}
    gated = registry.config_of(registry.load("fusions", "gated"))().model_dump()
    fusion = build_fusion("gated", gated, dims, TASK)
    own.network.fusion_head = FusionHead(fusion, Linear(LinearConfig(), TASK, fusion.dim), dims, {n: n for n in dims}).eval()
    weights = own.weights()
    assert sum(weights.values()) == pytest.approx(1, abs=1e-5)


def test_no_row_keeps_its_own_cell_where_an_input_is_exchanged() -> None:
    own = analysis(total, ["a", "b"], total)
    present = own.dataset.column("b").present
    present[:50] = False  # rows that lack it stay as they are
    seen: list[Tensor] = []
    right = own.features["b"].pooled[:, 0].clone()

    def outputs(self: Analysis, features: Any) -> Tensor:
        seen.append(features["b"].pooled[:, 0].clone())
        return self.network.fusion_head(features).outputs.detach()

    object.__setattr__(own, "outputs", outputs.__get__(own))
    found = own.incongruent()
    assert {name: row["rows"] for name, row in found.items()} == {"a": ROWS, "b": ROWS - 50}
    mixed = seen[2]  # the right ones, those with another a, those with another b
    assert torch.equal(seen[1], right) and torch.equal(mixed[:50], right[:50])
    assert not (mixed[50:] == right[50:]).any()
    assert sorted(mixed.tolist()) == sorted(right.tolist())
    again = own.incongruent()
    assert again == found and torch.equal(seen[5], mixed)


def test_an_input_that_is_not_read_may_be_another_rows() -> None:
    found = analysis(lambda values: values[0], ["a", "b"], lambda values: values[0]).incongruent()
    assert found["b"]["gain"]["value"] == pytest.approx(0, abs=1e-9)
    assert found["a"]["gain"]["low"] > 0.5
    assert found["a"]["score"]["value"] == pytest.approx(found["a"]["gain"]["value"], abs=1e-5)  # an error of 0 before


def test_noise_in_decibels_is_told_by_decibels() -> None:
    own = analysis(total, ["a", "b"], total)
    levels: list[float] = []

    def noise(column: Column, how: str, level: float, generator: torch.Generator) -> Column:
        levels.append(level)
        return _noise(column, how, level, generator)

    own.dataset.input = lambda name: SimpleNamespace(corruptions=("hiss",), corrupted=noise, in_decibels=frozenset({"hiss"}))  # type: ignore[method-assign,assignment,return-value]
    curve = own.noise_curve()["a"]["hiss"]
    assert [point.get("db") for point in curve] == [None, 20, 10, 5, 0, -5]
    assert levels[:5] == pytest.approx([0.1, 0.3162, 0.5623, 1.0, 1.7783], abs=1e-4)
    assert "without" not in curve[-1]  # numbers need no writing: there the curves of all inputs tell it


class _Word:
    """An input of words: a row's number is how many it has; the hidden ones are no more."""

    corruptions, in_decibels, joined = (), frozenset[str](), False

    def with_words_hidden(self, column: Column, share: float, generator: torch.Generator) -> Any:
        return SimpleNamespace(column=Column(column.values * (1 - share), column.present), words=10, hidden=round(10 * share))


def test_hidden_words_are_scored_with_and_without_each_other_input() -> None:
    """y = a + b, and b says what a said: the more of a is hidden, the more b, which knows half of it, is worth."""

    def rule(values: list[Tensor]) -> Tensor:
        a, b = values
        return torch.where(b == 0, a, (a + b) / 2)

    own = analysis(rule, ["a", "b"], lambda values: values[0])
    own.dataset.column("b").values.copy_(own.dataset.column("a").values)
    plain = SimpleNamespace(with_words_hidden=lambda column, share, generator: None)
    own.dataset.input = lambda name: _Word() if name == "a" else plain  # type: ignore[method-assign,assignment,return-value]
    found = own.masked_source()
    assert list(found) == ["a"]  # b has no words
    assert [point["share"] for point in found["a"]] == [0.0, 0.15, 0.3, 0.5]
    assert [(point["words"], point["hidden"]) for point in found["a"]] == [(10, 0), (10, 2), (10, 3), (10, 5)]
    mean = own.score(torch.zeros_like(own.targets))
    for point in found["a"]:
        assert point["score"]["value"] == pytest.approx(mean * point["share"] / 2, abs=1e-5)
        assert point["without"]["b"]["score"]["value"] == pytest.approx(mean * point["share"], abs=1e-5)
        assert point["without"]["b"]["gain"]["value"] == pytest.approx(mean * point["share"] / 2, abs=1e-5)
