"""Identities: found among the enrolled, or among each other where nobody knows them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from mmcli.errors import DataError
from mmcli.tasks.identify import LOSS, RANK, SCALE, Config, Identify
from mmcli.vectors.embedded import Embedded


def unit(*angles: float) -> torch.Tensor:
    found = torch.tensor(angles)
    return torch.stack([found.cos(), found.sin()], 1)


def task(*more: str) -> Identify:
    return Identify.fit(Config(), [("ann",), ("ann",), ("bob",), ("bob",)], ["who"]).admitting([(name,) for name in more])


def test_known_rows_are_ranked_among_the_enrolled_identities() -> None:
    own = task("ann", "bob")
    gallery, identities = unit(0.0, 0.2, 1.5, 1.0), torch.tensor([0, 0, 1, 1])
    rows = Embedded(unit(0.3, 0.9, 0.5), gallery, identities, torch.zeros(()))
    readings, _ = own.readings(rows, torch.tensor([0, 0, 1]))
    assert readings[:, RANK].tolist() == [1, 2, 2]
    best = [math.cos(0.1), math.cos(0.7)]
    right = SCALE * best[0] - math.log(sum(math.exp(SCALE * one) for one in best))
    assert readings[0, LOSS] == pytest.approx(-right, abs=1e-4)
    assert own.score(rows, torch.tensor([0, 0, 1]))["rank1"] == pytest.approx(1 / 3)


def test_ties_count_against() -> None:
    own = task("ann")
    rows = Embedded(unit(0.5), unit(0.0, 1.0), torch.tensor([0, 1]), torch.zeros(()))
    assert own.readings(rows, torch.tensor([0]))[0][0, RANK] == 2


def test_rows_of_nobody_known_are_ranked_among_each_other() -> None:
    own = task("cem", "dee")
    assert own.primary_metric == "eer"
    gallery, identities = unit(3.0, 3.1), torch.tensor([0, 1])
    targets = own.encode([("cem",), ("cem",), ("dee",), ("dee",), ("ann",)])[:4]
    rows = Embedded(unit(0.0, 0.1, 0.15, 1.0), gallery, identities, torch.zeros(()))
    ranks = own.readings(rows, targets)[0][:, RANK]
    assert ranks.tolist() == [1, 2, 2, 1]


def test_a_row_without_another_of_its_own_has_no_rank() -> None:
    own = task("cem", "dee")
    rows = Embedded(unit(0.0, 1.0, 1.1), unit(3.0), torch.tensor([0]), torch.zeros(()))
    found = own.readings(rows, torch.tensor([2, 3, 3]))[0]
    assert np.isnan(found[0, RANK]) and np.isnan(found[0, LOSS])
    assert found[1:, RANK].tolist() == [1, 1]


def test_a_mixed_split_counts_those_whom_train_knows() -> None:
    own = task("ann", "cem")
    assert own.primary_metric == "rank1"
    rows = Embedded(unit(0.1, 0.2, 1.0), unit(0.0, 1.5), torch.tensor([0, 1]), torch.zeros(()))
    ranks = own.readings(rows, torch.tensor([0, 2, 1]))[0][:, RANK]
    assert ranks[0] == 1 and np.isnan(ranks[1]) and ranks[2] == 1


def test_train_rows_are_judged_among_each_other() -> None:
    own = task()
    rows = Embedded(unit(0.0, 1.0, 0.9, 2.0), unit(0.0, 1.0, 0.9, 2.0), torch.tensor([0, 0, 1, 1]), torch.zeros(()))
    targets = torch.tensor([0, 0, 1, 1])
    assert own.score(rows, targets)["rank1"] == 1.0  # each finds itself
    assert own.score(own.taught(rows), targets)["rank1"] == 0.0


def test_what_is_the_same_for_all_finds_nobody() -> None:
    own = task("ann")
    rows = Embedded(unit(0.5, 0.5), unit(0.5, 0.5, 0.5), torch.tensor([0, 0, 1]), torch.zeros(()))
    assert own.score(rows, torch.tensor([0, 1]))["rank1"] == 0.0


def test_a_prediction_names_the_nearest_and_says_whether_it_is_near_enough() -> None:
    own = task()
    found = own.decode(Embedded(unit(0.1, 0.75), unit(0.0, 1.6), torch.tensor([1, 0]), torch.tensor(0.9)))
    assert found[""] == ["bob", "bob"]
    assert found["_similarity"] == pytest.approx([math.cos(0.1), math.cos(0.75)], abs=1e-5)
    assert found["_accepted"] == [True, False]


def test_intervals_draw_identities_where_there_are_some() -> None:
    own = task()
    assert own.draws(torch.tensor([0, 0, 1, 1])) is None
    assert own.draws(torch.tensor([0, 1, 2, 3, 4])).tolist() == [0, 1, 2, 3, 4]  # type: ignore[union-attr]


def test_a_slice_is_looked_up_among_all_and_its_pairs_touch_it() -> None:
    own = task("cem", "dee")
    rows = Embedded(unit(0.0, 0.1, 1.0, 1.2), unit(3.0), torch.tensor([0]), torch.zeros(()))
    targets = torch.tensor([2, 2, 3, 3])
    alone = own.score(own.outputs.gather(rows, torch.tensor([0, 2])), targets[[0, 2]])
    assert math.isnan(alone["rank1"])
    found = own.within(rows, targets, torch.tensor([0, 2]))
    assert found["rank1"].value == 1.0
    assert found["eer"].value == 0.0
    assert found["rank1"].n == 2


def test_the_worst_pairs_are_of_one_far_apart_and_of_two_near() -> None:
    own = task()
    rows = Embedded(unit(0.0, 1.2, 1.25, 1.3), unit(0.0), torch.tensor([0]), torch.zeros(()))
    pairs = own.worst_pairs(rows, torch.tensor([0, 0, 1, 1]), 2)
    assert pairs[0][:2] == (0, 1)
    assert pairs[0][2].startswith("one identity")
    assert set(pairs[1][:2]) == {1, 2}


@pytest.mark.parametrize("cells", [[("ann",)] * 4, [("ann",), ("bob",), ("cem",)]])
def test_nothing_to_tell_apart_is_an_error(cells: list[tuple[str | None, ...]]) -> None:
    with pytest.raises(DataError):
        Identify.fit(Config(), cells, ["who"])


def test_chance_is_chance() -> None:
    own = Identify.fit(Config(), [(f"p{row % 10}",) for row in range(200)], ["who"])
    targets = torch.arange(200) % 10
    assert own.score(own.constant_baseline(targets, 200), targets)["rank1"] < 0.25


def test_identities_of_one_row_are_told() -> None:
    task = Identify.fit(Config(), [("p",), ("p",), ("q",), (" q",), ("r",), ("s",)], ["who"])
    assert task.summary().startswith("4 identities in train, 2 of which have one row")
    again = Identify.from_state(json.loads(json.dumps(task.admitting([("t",)]).state())))
    assert "2 of which have one row" in again.summary() and "1 more in val or test" in again.summary()
    assert "one row" not in Identify.fit(Config(), [("p",), ("p",), ("q",), ("q",)], ["who"]).summary()


def test_thresholds_of_identities_accept_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pairs of test rows: the rate is kept at the threshold, and what is accepted there are the true pairs told."""
    from mmcli.reporting import retrieval_metrics

    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(12).repeat_interleave(4)
    centres = torch.randn(12, 8, generator=generator)[targets]
    vectors = torch.nn.functional.normalize(centres + torch.randn(48, 8, generator=generator), dim=1)
    task = Identify(Config(), [f"p{n}" for n in range(24)], 12, 2, "eer")
    outputs = Embedded(vectors, vectors[:2], torch.tensor([20, 21]), torch.ones(()))
    points = task.operating_points(outputs, targets)
    assert [own["far"] for own in points] == [0.1], "of 1,056 pairs of two 30 / 0.1 are enough, not 30 / 0.01"
    first, second = torch.triu_indices(48, 48, 1)
    alike, same = (vectors[first].double() * vectors[second].double()).sum(1), targets[first] == targets[second]
    accepted = alike >= points[0]["threshold"]
    assert float(accepted[~same].double().mean()) <= 0.1
    assert float(accepted[same].double().mean()) == pytest.approx(points[0]["tar"])
    told = task.intervals(outputs, targets, more=True)["tar_at_far_0.1"]
    assert (points[0]["tar"], points[0]["low"], points[0]["high"]) == (told.value, told.low, told.high)
    assert told.low < told.value < told.high, "identities are drawn"
    assert "probability" not in points[0]
    monkeypatch.setattr(retrieval_metrics, "LEAST_IMPOSTORS", 200)
    assert task.operating_points(outputs, targets) == []


def test_in_an_open_set_a_row_is_taken_for_another_row_of_test() -> None:
    own = task("cem", "dee")
    rows = Embedded(unit(0.0, 0.5, 0.1, 1.5), unit(0.0), torch.tensor([0]), torch.zeros(()))
    targets = torch.tensor([2, 2, 3, 3])
    assert own.taken_for(rows, targets, [0, 1, 3]) == [2, 2, 1], "never itself, nor another of its own"
    assert own.taken_for(rows, torch.tensor([0, 2, 3, 3]), [0]) is None, "train has one of them"
    assert own.taken_for(rows, targets, []) is None
