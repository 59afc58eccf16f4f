"""The losses that tell identities apart, against values by hand; where the head begins; who is accepted."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mmcli.errors import ConfigError
from mmcli.heads.embedding import Config, Embedding, arcface, hardest_triplets, supcon
from mmcli.signals import Fused
from mmcli.tasks.identify import Config as Options
from mmcli.tasks.identify import Identify
from mmcli.vectors.embedded import Embedded, accepting


def task(identities: int = 4, each: int = 6) -> Identify:
    return Identify.fit(Options(), [(f"p{name}",) for name in range(identities) for _ in range(each)], ["who"])


def test_arcface_widens_the_right_angle() -> None:
    values = torch.tensor([[1.0, 0], [0.6, 0.8]])
    centres = torch.tensor([[[1.0, 0]], [[0, 2.0]]])  # of any length
    found = arcface(values, centres, torch.tensor([0, 1]), margin=0.5, scale=4.0)
    first = -math.log(math.exp(4 * math.cos(0.5)) / (math.exp(4 * math.cos(0.5)) + math.exp(0)))
    own = math.cos(math.acos(0.8) + 0.5)
    second = -math.log(math.exp(4 * own) / (math.exp(4 * own) + math.exp(4 * 0.6)))
    assert float(found) == pytest.approx((first + second) / 2, abs=1e-3)


def test_arcface_past_half_a_turn_and_with_the_nearest_of_two_centres() -> None:
    away = arcface(torch.tensor([[-1.0, 0]]), torch.tensor([[[1.0, 0]], [[0, 1.0]]]), torch.tensor([0]), 0.5, 1.0)
    own = -1 - 0.5 * math.sin(0.5)
    assert float(away) == pytest.approx(-math.log(math.exp(own) / (math.exp(own) + 1)), abs=1e-4)
    two = torch.tensor([[[1.0, 0], [0, 1.0]], [[-1.0, 0], [0, -1.0]]])
    near = arcface(torch.tensor([[0.0, 1.0]]), two, torch.tensor([0]), 0.0, 1.0)
    assert float(near) == pytest.approx(-math.log(math.e / (math.e + 1)), abs=2e-3)


def test_supcon_by_hand() -> None:
    values = torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1.0], [-1.0, 0]])
    found = float(supcon(values, torch.tensor([0, 0, 1, 2]), 0.5))
    first = -math.log(math.exp(1.6) / (math.exp(1.6) + math.exp(0) + math.exp(-2)))
    second = -math.log(math.exp(1.6) / (math.exp(1.6) + math.exp(1.2) + math.exp(-1.6)))
    assert found == pytest.approx((first + second) / 2, rel=1e-5)


def test_the_hardest_triplet_of_each_row() -> None:
    values = torch.tensor([[1.0, 0], [0.8, 0.6], [0.6, 0.8], [-1.0, 0]])
    targets = torch.tensor([0, 0, 0, 1])
    distance = lambda a, b: math.dist(values[a].tolist(), values[b].tolist())  # noqa: E731
    rows = [
        max(0.5 + max(distance(row, other) for other in range(3)) - distance(row, 3), 0) for row in range(3)
    ]  # the last has no other of its own
    assert float(hardest_triplets(values, targets, 0.5)) == pytest.approx(sum(rows) / 3, abs=1e-4)


def test_losses_of_a_batch_without_matches_are_zero_and_have_a_gradient() -> None:
    values = F.normalize(torch.randn(3, 4), dim=1).requires_grad_()
    for loss in (supcon(values, torch.arange(3), 0.1), hardest_triplets(values, torch.arange(3), 0.2)):
        assert loss.item() == 0
        loss.backward()


def test_its_vectors_have_length_one_and_carry_the_enrolled() -> None:
    own = task()
    head = Embedding(Config(dim=8), own, 5)
    found = head(Fused(torch.randn(24, 5)))
    torch.testing.assert_close(found.values.norm(dim=1), torch.ones(24))
    assert found.identities.tolist() == [-1] * 24
    targets = torch.arange(4).repeat_interleave(6)
    head.enrol(found, targets)
    again = head.eval()(Fused(torch.randn(2, 5)))
    assert again.identities.tolist() == targets.tolist()
    torch.testing.assert_close(again.gallery, found.values.detach())


def test_it_begins_where_the_identities_part() -> None:
    own = task()
    torch.manual_seed(0)
    targets = torch.arange(4).repeat_interleave(6)
    features = 0.1 * torch.randn(24, 10)
    features[:, 0] *= 50
    features[:, 1:4] += F.one_hot(targets, 4)[:, :3]
    head = Embedding(Config(dim=8), own, 10).eval()
    head.begin(features, targets)
    with torch.no_grad():
        head.enrol(head(Fused(features)), targets)
        scores = own.score(head(Fused(features)), targets)
    assert scores["rank1"] == 1.0
    assert scores["eer"] == 0.0
    torch.testing.assert_close(
        F.normalize(head.centres[:, 0], dim=1).detach(),
        F.normalize(torch.stack([head(Fused(features)).values[targets == name].mean(0) for name in range(4)]), dim=1).detach(),
        atol=1e-3,
        rtol=0,
    )


def test_the_threshold_lies_where_refusals_and_false_names_meet() -> None:
    gallery = torch.tensor([[1.0, 0], [0, 1.0]])
    angles = torch.tensor([0.1, 0.3, 1.4, 1.0])
    values = torch.stack([angles.cos(), angles.sin()], 1)
    found = accepting(Embedded(values, gallery, torch.tensor([0, 1]), torch.zeros(())), torch.tensor([0, 0, 1, 1]))
    # own: .995 .955 .985 .841; likest other: .100 .296 .170 .540: all are right between .54 and .841
    assert found == pytest.approx(math.sin(1.0), abs=1e-5)


def test_a_loss_of_the_library_that_is_not_there_says_how_to_get_it() -> None:
    pytest.importorskip("torch")
    try:
        import pytorch_metric_learning  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="not installed"):
            Embedding(Config(loss="pml:MultiSimilarityLoss"), task(), 5)
    else:
        head = Embedding(Config(loss="pml:MultiSimilarityLoss"), task(), 5)
        fused, targets = Fused(torch.randn(24, 5)), torch.arange(4).repeat_interleave(6)
        assert head.loss(head(fused), fused, targets).isfinite()
        with pytest.raises(ConfigError, match="no loss Nothing"):
            Embedding(Config(loss="pml:Nothing"), task(), 5)


def test_a_loss_of_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="arcface, supcon, triplet"):
        Config(loss="softmax")
