"""Whether columns belong together: what targets say, the threshold, what is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmcli import registry
from mmcli.errors import DataError
from mmcli.tasks import Task


def fitted(cells: str, **options: Any) -> Any:
    kind: type[Task] = registry.load("tasks", "match")
    return kind.fit(registry.config_of(kind)(**options), [(cell,) for cell in cells.split()], ["same"])


def test_yes_and_no_in_many_words() -> None:
    task = fitted("Ja nein ja Nein nein")
    assert task.encode([("Ja",), ("NEIN",), ("1",), ("不同",)]).tolist() == [1, 0, 1, 0]
    assert task.classes == ["nein", "Ja"] and task.counts == [3, 2]
    with pytest.raises(DataError, match="'maybe' does not say") as error:
        task.encode([("maybe",)])
    assert "1 or 0" in error.value.remedy
    with pytest.raises(DataError, match="only '1'"):
        fitted("1 1")


def test_it_is_suggested_for_yes_and_no_alone() -> None:
    kind: type[Task] = registry.load("tasks", "match")
    config = registry.config_of(kind)()
    assert 0 < kind.sniff(config, [("0",), ("1",)]).confidence < 0.5
    assert kind.sniff(config, [("0",), ("2",)]).confidence == 0
    assert kind.sniff(config, [("1",), ("yes",)]).confidence == 0


def test_the_threshold_moves_so_that_a_half_is_where_it_lies() -> None:
    scores = torch.arange(200.0) / 10
    outputs, targets = torch.stack([torch.zeros(200), scores], 1), (torch.arange(200) >= 100).long()
    for rate, lowest in ((0.0, 100), (0.1, 90)):
        task = fitted("1 0", far=rate)
        decide = task.decision_head()
        for _ in range(2):  # a second time it stays where it is
            task.settle(decide, decide(outputs), targets)
        accepted = (decide(outputs).softmax(1)[:, 1] > 0.5).nonzero()[:, 0]
        assert accepted[0] == lowest and len(accepted) == 200 - lowest
        written = task.decode(decide(outputs))
        assert written[""][lowest - 1 : lowest + 1] == ["0", "1"] and written["_probability"][lowest] > 0.5


def test_the_cosine_baseline_learns_nothing_but_a_threshold() -> None:
    task, cosine = fitted("1 0"), torch.tensor([0.9, 0.2, 0.8, 0.1, 0.7, 0.3])
    targets = torch.tensor([1, 0, 1, 0, 1, 0])
    outputs = task.cosine_baseline(cosine, targets, torch.arange(6))
    assert torch.allclose(outputs[:, 1] - outputs[:, 0], (cosine - 0.5).double(), atol=1e-6)
    assert task.score(outputs, targets)["accuracy"] == 1.0


def test_metrics_that_want_impostors_are_empty_without() -> None:
    task = fitted("1 0")
    outputs, targets = torch.randn(40, 2), torch.arange(40) % 2
    found = task.intervals(outputs, targets, more=True)
    assert {"auroc", "accuracy", "eer", "log_loss", "tar_at_far_0.1"} <= set(found)
    assert np.isnan(found["tar_at_far_0.1"].value) and not np.isnan(found["eer"].value)


def _pairs(rows: int) -> tuple[Any, torch.Tensor, torch.Tensor]:
    generator, targets = torch.Generator().manual_seed(0), torch.arange(rows) % 2
    outputs = torch.stack([torch.zeros(rows), torch.randn(rows, generator=generator) + 3 * targets - 1.5], 1)
    return fitted("no yes"), outputs, targets


def test_drawings_say_which_rates_are_not_told() -> None:
    task, outputs, targets = _pairs(700)
    drawn = task.draw(outputs, targets)
    assert set(drawn) == {"roc", "det", "scores"}
    assert "FAR 0.001 and 0.01: fewer impostors than 30 / FAR" in drawn["roc"][1] and "0.1 " not in drawn["roc"][1]


def test_operating_points_keep_their_rates_and_tell_the_metric() -> None:
    task, outputs, targets = _pairs(700)
    (own,) = task.operating_points(outputs, targets)
    scores = (outputs[:, 1] - outputs[:, 0]).double()
    accepted = scores > own["threshold"]
    assert own["far"] == 0.1 and 0.09 < float(accepted[targets == 0].double().mean()) <= 0.1
    assert float(accepted[targets == 1].double().mean()) == pytest.approx(own["tar"])
    told = task.intervals(outputs, targets, more=True)["tar_at_far_0.1"]
    assert [own["tar"], own["low"], own["high"]] == pytest.approx([told.value, told.low, told.high])
    assert torch.equal(outputs.double().softmax(1)[:, 1] > own["probability"], accepted)
    assert [row["far"] for row in task.operating_points(*_pairs(6200)[1:])] == [0.1, 0.01]
    groups = np.arange(700) // 2 % 5  # five people: fewer draws, wider intervals
    (wide,) = task.operating_points(outputs, targets, groups=groups)
    assert wide["tar"] == own["tar"] and (wide["low"], wide["high"]) != (own["low"], own["high"])
