"""Classes in an order: which order, the median, metrics in ranks, the head of proportional odds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.config import validate
from mmcli.errors import ConfigError, DataError
from mmcli.heads.cumulative import Config as HeadConfig
from mmcli.heads.cumulative import Cumulative
from mmcli.heads.linear import Config as LinearConfig
from mmcli.heads.linear import Linear
from mmcli.models import calibration, conformal
from mmcli.reporting import rank_metrics
from mmcli.signals import Fused
from mmcli.tasks import Cells, Task
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as ClassConfig
from mmcli.tasks.ordinal import Config, Ordinal

WORDS = ("poor", "fair", "good")


def cells(*names: str) -> Cells:
    return [(name,) for name in names]


def words() -> Ordinal:
    return Ordinal.fit(Config(order=WORDS), cells("good", "poor", "fair", "good"), ["y"])


def test_numbers_stand_by_their_size_and_words_as_told() -> None:
    grades = Ordinal.fit(Config(), cells("10", "9", "2", "9"), ["y"])
    assert grades.classes == ["2", "9", "10"]
    assert grades.counts == [1, 2, 1]
    assert Ordinal.fit(Config(), cells("1.5", "-1", "2"), ["y"]).classes == ["-1", "1.5", "2"]
    fitted = words()
    assert fitted.classes == ["poor", "fair", "good"]
    assert fitted.encode(cells("fair", "good")).tolist() == [1, 2]
    again = Ordinal.from_state(json.loads(json.dumps(fitted.state())))
    assert again.classes == fitted.classes
    assert again.config == fitted.config
    assert fitted.summary() == "3 classes in order: poor < fair < good"


def test_what_has_no_place_is_named() -> None:
    with pytest.raises(DataError, match=r"'goood', which --order 'poor,fair,good' lacks. Did you mean 'good'\?"):
        Ordinal.check(Config(order=WORDS), ["y"], ("goood",))
    with pytest.raises(DataError, match="'good', and words have no order of their own"):
        Ordinal.check(Config(), ["y"], ("good",))
    with pytest.raises(DataError, match="no row of train has the class 'good' of the target 'y', which --order names"):
        Ordinal.fit(Config(order=WORDS), cells("poor", "fair"), ["y"])
    with pytest.raises(DataError, match=r"'1' and '1\.0' are one number"):
        Ordinal.fit(Config(), cells("1", "1.0", "2"), ["y"])
    with pytest.raises(DataError, match="an order is of three or more"):
        Ordinal.fit(Config(), cells("1", "2"), ["y"])
    with pytest.raises(DataError, match="one column"):
        Ordinal.fit(Config(), [("1", "2")], ["y", "z"])
    with pytest.raises(DataError, match="'4' is absent from the train split"):
        Ordinal.fit(Config(), cells("1", "2", "3"), ["y"]).encode(cells("4"))
    for wrong in (["a", "b", "a"], ["a", "b"], ["a", "", "b"]):
        with pytest.raises(ConfigError, match=r"task\.ordinal\.order"):
            validate(Config, {"order": wrong}, "task.ordinal")


def test_grades_are_seen_and_digits_are_not() -> None:
    def likeness(*names: str) -> float:
        return Ordinal.sniff(Config(), cells(*names)).confidence

    assert 0 < likeness("1", "2", "3", "4", "5") < Classification.sniff(ClassConfig(), cells("1")).confidence
    assert likeness("0", "1", "2", "3") > 0
    assert likeness(*map(str, range(10))) == 0
    assert likeness("1", "2") == 0
    assert likeness("1", "2", "4") == 0
    assert likeness("a", "b", "c") == 0


def test_the_answer_is_the_median() -> None:
    shares = np.array([[0.4, 0.3, 0.3], [0.5, 0.1, 0.4], [0.1, 0.2, 0.7], [0.45, 0.1, 0.45]])
    assert rank_metrics.median(shares).tolist() == [1, 0, 2, 1]
    told = words().decode(torch.from_numpy(shares).log())
    assert told[""] == ["fair", "poor", "good", "fair"]
    assert told["_probability"] == [0.3, 0.5, 0.7, 0.1]
    assert list(told)[2:] == ["_probability_poor", "_probability_fair", "_probability_good"]
    assert words().chosen(torch.from_numpy(shares).log()).tolist() == [1, 0, 2, 1]
    found = {"thresholds": [0.65]}  # classes from .35 on, and the answer
    assert conformal.sets(words(), found, torch.from_numpy(shares[:1]).log()).tolist() == [[True, True, False]]


def test_metrics_are_those_of_scikit_learn_with_weights_and_without() -> None:
    from sklearn.metrics import accuracy_score, cohen_kappa_score, mean_absolute_error

    draw = np.random.default_rng(0)
    task = Ordinal.fit(Config(), cells(*"12345"), ["y"])
    shares = torch.from_numpy(draw.dirichlet(np.ones(5), 80))
    right = draw.integers(0, 5, 80)
    answers, counting = rank_metrics.median(shares.numpy()), draw.integers(1, 4, 80)
    targets = torch.from_numpy(right)
    for weights, packed in ((None, targets), (counting, task.weigh(targets, torch.from_numpy(counting)))):
        scores = task.score(shares.log(), packed)
        kappa = cohen_kappa_score(right, answers, weights="quadratic", sample_weight=weights)
        assert scores["qwk"] == pytest.approx(kappa)
        assert scores["rank_mae"] == pytest.approx(mean_absolute_error(right, answers, sample_weight=weights))
        assert scores["accuracy"] == pytest.approx(accuracy_score(right, answers, sample_weight=weights))
    intervals = task.intervals(shares.log(), targets, more=True)
    assert all(own.low <= own.value <= own.high for own in intervals.values())
    assert task.metrics == {"rank_mae": False, "qwk": True, "accuracy": True, "log_loss": False}


def fused(pooled: Tensor) -> Fused:
    return Fused(pooled)


def test_the_head_says_what_proportional_odds_say() -> None:
    task = Ordinal.fit(Config(), cells(*"1112223334"), ["y"])
    head = Cumulative(HeadConfig(), task, 6).double()
    pooled = torch.randn(9, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = head(fused(pooled)).double()
    gaps = F.softplus(head.steps)
    cuts = torch.cat([head.first, head.first + gaps.cumsum(0)])
    below = torch.sigmoid(cuts - head.score(pooled))
    want = torch.cat([below, torch.ones(9, 1)], 1) - torch.cat([torch.zeros(9, 1), below], 1)
    torch.testing.assert_close(made.exp(), want, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(made.exp().sum(1), torch.ones(9, dtype=torch.float64), atol=1e-5, rtol=0)
    head.score.weight.data.zero_()  # cuts begin where the classes part: half a row more of each
    shares = torch.tensor([3.5, 3.5, 3.5, 1.5], dtype=torch.float64) / 12
    torch.testing.assert_close(head(fused(pooled))[0].exp().double(), shares, atol=1e-5, rtol=1e-4)
    head.start_small(0.1)
    torch.testing.assert_close(head(fused(pooled))[0].exp().double(), torch.full((4,), 0.25).double(), atol=1e-5, rtol=1e-4)
    far = Cumulative(HeadConfig(), task, 1)
    far.score.weight.data.fill_(1.0)
    assert far(fused(torch.tensor([[-300.0], [300.0]]))).isfinite().all()


def learnt(task: Task, head: Linear | Cumulative, x: Tensor, targets: Tensor) -> None:
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.02, weight_decay=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        task.loss(head(fused(x)), targets).backward()
        optimizer.step()


def test_grades_that_follow_one_score_are_told_with_fewer_ranks_off_than_as_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2150, 12, generator=generator)
    score = x @ torch.linspace(1.0, 0.1, 12) / 2 + 0.5 * torch.randn(2150, generator=generator)
    grades = 1 + (score[:, None] > torch.linspace(-1.5, 1.5, 4)).sum(1)
    rows = cells(*map(str, grades.tolist()))
    ordinal = Ordinal.fit(Config(), rows[:150], ["y"])
    plain = Classification.fit(ClassConfig(), rows[:150], ["y"])
    torch.manual_seed(0)
    off = []
    for task, head in (
        (ordinal, Cumulative(HeadConfig(), ordinal, 12)),
        (plain, Linear(LinearConfig(), plain, 12)),
    ):
        learnt(task, head, x[:150], task.encode(rows[:150]))
        with torch.no_grad():
            made = head(fused(x[150:]))
        answers = task.chosen(made)
        off.append(float((answers - ordinal.encode(rows[150:])).abs().float().mean()))
    assert off[0] < 0.85 * off[1]


def test_baselines_and_calibration_take_its_outputs() -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(300, 3))
    grades = np.clip(np.round(x[:, 0] + 3 + 0.5 * draw.normal(size=300)), 1, 5).astype(int)
    task = Ordinal.fit(Config(), cells(*map(str, grades)), ["y"])
    targets, rows = task.encode(cells(*map(str, grades))), torch.arange(300)
    constant = task.constant_baseline(targets[:200], 300)
    assert set(task.decode(constant)[""]) == {str(int(np.median(grades[:200])))}
    for found in (task.linear_model(x, targets, rows[:200], rows[200:]), task.trees_model(x, targets, rows[:200], rows[200:])):
        assert found is not None
        assert task.score(found.outputs, targets)["rank_mae"] < 0.7 * task.score(constant, targets)["rank_mae"]
        assert 0.05 < calibration.temperature(found.outputs[200:], targets[200:], task) < 20
    assert task.lacks("prediction sets") == task.lacks("plain member") == task.lacks("calibration") == ""
    assert task.worst_rows(constant, targets, 1)[0][1].startswith("off by 2")
