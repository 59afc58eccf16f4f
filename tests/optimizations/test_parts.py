"""What the optimizations do to a network, by hand."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from mmcli.jobs.student import divergence
from mmcli.layers.residual import ResidualStack
from mmcli.models.recipe import fit_shapes
from mmcli.optimizations import distill
from mmcli.optimizations.finetune import souped
from mmcli.optimizations.prune import inner_layers, narrow
from mmcli.selection.ensemble import bagged, greedy
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as TaskConfig


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
