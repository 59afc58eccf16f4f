"""Several models' vectors as one: shares that val sets, similarities that are their mean."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmcli.tasks.identify import Config, Identify
from mmcli.vectors.beside import Beside
from mmcli.vectors.embedded import Embedded
from tests import away

TARGETS = torch.arange(4).repeat_interleave(6)
TASK = Identify.fit(Config(), [(f"p{name}",) for name in TARGETS.tolist()], ["who"])


def vectors(noise: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(F.one_hot(TARGETS, 8).float() + noise * torch.randn(24, 8, generator=generator), dim=1)


def given(values: torch.Tensor) -> Embedded:
    return Embedded(values, torch.zeros(24, 8), torch.full((24,), -1), torch.zeros(()))


def settled(own: torch.Tensor, column: torch.Tensor) -> Beside:
    beside = Beside(1, 24, 8)
    beside.enrol(beside(given(own), [column]), TARGETS)
    beside.settle(beside(given(own), [column]), TARGETS, lambda made: TASK.score(made.by_themselves(), TARGETS)["loss"])
    return beside


def test_what_knows_nothing_gets_no_share() -> None:
    assert settled(vectors(0.1, 0), vectors(30, 1)).shares.tolist() == [1.0, 0.0]
    assert settled(vectors(30, 1), vectors(0.1, 0)).shares.tolist() == [0.0, 1.0]


def test_similarities_are_the_mean_by_shares() -> None:
    own, column = vectors(0.5, 2), vectors(0.5, 3)
    beside = settled(own, column)
    made = beside(given(own), [column])
    wanted = beside.shares[0] * own @ own.T + beside.shares[1] * column @ column.T
    torch.testing.assert_close(made.values @ made.gallery.T, wanted)
    assert (beside.shares > 0).all()


def test_settled_again_only_the_threshold_moves() -> None:
    beside = settled(vectors(0.3, 4), vectors(2.0, 5))
    shares = beside.shares.clone()
    beside.settle(beside(given(vectors(0.3, 4)), [vectors(2.0, 5)]), TARGETS, lambda made: float(made.values.sum()))
    assert torch.equal(beside.shares, shares)


def test_an_absent_column_leaves_what_is_there() -> None:
    own, column = vectors(0.5, 2), vectors(0.5, 3)
    beside = settled(own, column)
    made = beside(given(own), [torch.zeros(24, 8)])
    torch.testing.assert_close(made.values.norm(dim=1), torch.ones(24))
    torch.testing.assert_close(made.values[:, :8], own)


def test_on_a_device_it_is_settled_by_what_was_brought_to_the_host() -> None:
    own, column = vectors(0.3, 4), vectors(0.5, 5)
    on_host = settled(own, column)
    there = Beside(1, 24, 8)
    there.enrol(there(given(own), [column]), TARGETS)
    with away.chosen():
        made = there(given(own), [column])
        there.to(away.DEVICE).settle(made, TARGETS, lambda found: TASK.score(found.by_themselves(), TARGETS)["loss"])
        assert there.shares.device == away.DEVICE
        assert there.shares.tolist() == on_host.shares.tolist() != [0.5, 0.5]
        assert there.threshold.item() == on_host.threshold.item()
