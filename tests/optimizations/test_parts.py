"""What the optimizations do to a network, by hand."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.jobs.student import divergence
from mmcli.layers.residual import ResidualStack
from mmcli.models.recipe import Recipe, fit_shapes
from mmcli.optimizations import distill
from mmcli.optimizations.calibrate import Calibrate
from mmcli.optimizations.calibrate import Config as CalibrateConfig
from mmcli.optimizations.finetune import souped
from mmcli.optimizations.prune import inner_layers, narrow
from mmcli.selection.ensemble import bagged, greedy
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as TaskConfig
from mmcli.training.device import choose


def test_channels_that_do_nothing_go_without_a_trace() -> None:
    torch.manual_seed(0)
    stack = ResidualStack(3, 8, 2, 1).eval()
    for block in stack.blocks:
        block.conv1.weight.data[::2] = 0  # every second inner channel says nothing,
        block.norm2.weight.data[::2] = 0  # and is heard by nobody
        block.norm2.bias.data[::2] = 0
    slim = copy.deepcopy(stack)
    assert narrow(slim, 0.5) == 4 + 8
    grid = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(slim(grid), stack(grid), atol=1e-5, rtol=1e-4)
    assert [block.conv1.weight.shape[0] for block in slim.blocks] == [4, 8]
    grown = ResidualStack(3, 8, 2, 1)
    fit_shapes(grown, slim.state_dict())
    grown.load_state_dict(slim.state_dict())
    torch.testing.assert_close(grown.eval()(grid), slim(grid))


def test_blocks_of_other_libraries_are_known() -> None:
    import torchvision

    network = torchvision.models.resnet18(num_classes=3).eval()
    assert sum(inner_layers(module) is not None for module in network.modules()) == 8
    assert narrow(network, 0.25) == 2 * (16 + 32 + 64 + 128)
    assert network(torch.randn(1, 3, 32, 32)).shape == (1, 3)


def test_a_soup_lies_between() -> None:
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    mixed = souped(one, other, 0.25)  # type: ignore[arg-type]
    torch.testing.assert_close(mixed.weight, 0.75 * one.weight + 0.25 * other.weight)
    torch.testing.assert_close(souped(one, other, 1.0).bias, other.bias)  # type: ignore[arg-type]


def test_the_greedy_ensemble_takes_what_lowers_the_loss() -> None:
    targets = torch.zeros(4, dtype=torch.int64)
    good = torch.tensor([[1.0, 0.0]] * 4)
    left = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.5, 0.0], [0.5, 0.0]])
    right = left.flip(0)
    bad = -good

    def loss(outputs: torch.Tensor) -> float:
        return float(F.cross_entropy(outputs, targets))

    chosen = greedy([bad, left, right, good], loss, 8)
    assert set(chosen[:2]) == {1, 2}
    assert 0 not in chosen
    best = torch.stack([[bad, left, right, good][place] for place in chosen]).mean(0)
    assert loss(best) < loss(good)
    assert greedy([good, bad], loss, 8) == [0]


def test_over_resampled_rows_what_is_best_by_luck_does_not_stand_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.zeros(60, dtype=torch.int64)
    alike = [torch.stack([torch.randn(60, generator=generator) + 1, torch.zeros(60)], 1) for _ in range(4)]
    bad = torch.tensor([[-3.0, 0.0]] * 60)

    def loss(outputs: torch.Tensor, of: torch.Tensor) -> float:
        return float(F.cross_entropy(outputs, of))

    found = bagged([bad, *alike], targets, loss, 4, bags=20, seed=0)
    assert set(found) == {1, 2, 3, 4}, "all that are good have a part, what is bad has none"
    assert sum(found.values()) >= 20
    assert found == bagged([bad, *alike], targets, loss, 4, bags=20, seed=0)
    assert len(bagged([bad, *alike], targets, loss, 2, bags=20, seed=0)) == 2


def test_a_student_is_nearest_where_it_says_what_the_teacher_says() -> None:
    task = Classification.fit(TaskConfig(), [("a",), ("b",)], ["y"])
    teacher = torch.tensor([[2.0, 0.0], [-1.0, 1.0]])
    same = divergence(teacher, teacher, task)
    assert float(same) < float(divergence(teacher + torch.tensor([[0.5, 0.0]]), teacher, task))
    entropy = -(F.softmax(teacher / 2, 1) * F.log_softmax(teacher / 2, 1)).sum(1).mean() * 4
    torch.testing.assert_close(same, entropy)


def test_a_student_of_texts_is_half_as_wide_and_deep() -> None:
    own = {"dim": 128, "heads": 4, "layers": 3, "dropout": 0.2, "beam": 4, "stride": 2, "width": 12, "hidden": 100}
    small = distill._halved(own)
    assert {key: value for key, value in small.items() if own[key] != value} == {
        "dim": 64,
        "layers": 1,
        "width": 8,
        "hidden": 50,
    }
    assert distill._halved({"dim": 40, "heads": 4, "layers": 1})["dim"] == 16  # heads divide it, and it is even
    assert distill._halved({"dim": 12, "heads": 4})["dim"] == 12


class Tempered(nn.Module):
    """What `calibrate` sees of a model."""

    def __init__(self, said: Tensor) -> None:
        super().__init__()
        self.said, self.temperature = said, torch.ones(())
        self.calibration: nn.Module = nn.Identity()
        self.fusion_head: Any = SimpleNamespace(temperature=self.temperature, made_at=1.0)

    def outputs(self) -> Tensor:
        found: Tensor = self.calibration(self.said / self.fusion_head.temperature)
        return found


@pytest.mark.parametrize(("method", "factor", "kept"), [("vector", 1, False), ("vector", 4, True), ("temperature", 4, True)])
def test_a_calibration_that_rows_it_was_not_fitted_on_deny_is_not_kept(method: str, factor: float, kept: bool) -> None:
    task = Classification.fit(TaskConfig(), [("a",), ("b",)], ["y"])
    generator = torch.Generator().manual_seed(3)
    odds = torch.randn(200, generator=generator)
    targets = (torch.rand(200, generator=generator) < odds.sigmoid()).long()  # probabilities are what they say
    network = Tempered(factor * torch.stack([torch.zeros(200), odds], 1))

    def rank(outputs: Tensor) -> tuple[float, float]:
        return 0.0, -task.score(outputs, targets)["loss"]

    bench: Any = SimpleNamespace(dataset=SimpleNamespace(task=task, targets=targets), judged=torch.arange(200), extra={})
    bench.val_outputs, bench.val_rank, bench.compute = Tempered.outputs, rank, choose("cpu")
    part = Calibrate(CalibrateConfig(method=method))
    candidate: Any = SimpleNamespace(network=network, name="fused", recipe=Recipe({}, (), {}))
    (found,) = part.proposals(candidate, bench)
    before, after = network.outputs(), found.network.outputs()  # type: ignore[operator]
    assert rank(after) > rank(before)  # on the rows that it was fitted on
    assert part.improves(before, after, bench) == kept
