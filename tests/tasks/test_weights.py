"""Rows that count for more than others: a row of weight 2 is the row twice, in scores, baselines and whatever is fitted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mmcli.fusions.evidential import evidential_loss
from mmcli.jobs.student import divergence
from mmcli.models import calibration
from mmcli.tasks import Task
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as ClassConfig
from mmcli.tasks.multilabel import Config as LabelConfig
from mmcli.tasks.multilabel import Multilabel
from mmcli.tasks.regression import Config as NumberConfig
from mmcli.tasks.regression import Regression
from mmcli.vectors import solved

ROWS = 40
KINDS = ("classes", "numbers", "labels")
WEIGHTS = torch.tensor([1.0, 2.0, 1.0, 3.0] * (ROWS // 4), dtype=torch.float64)
TWICE = torch.arange(ROWS).repeat_interleave(WEIGHTS.long())


def case(kind: str) -> tuple[Task, Tensor, Tensor]:
    """A task, its targets of 40 rows, and outputs that are right now and then."""
    draw = np.random.default_rng(3)
    generator = torch.Generator().manual_seed(0)
    if kind == "classes":
        cells = [("abc"[n],) for n in draw.choice(3, ROWS, p=[0.6, 0.3, 0.1])]
        task: Task = Classification.fit(ClassConfig(), cells, ["y"])
        targets = task.encode(cells)
        outputs = torch.randn(ROWS, 3, generator=generator, dtype=torch.float64)
        outputs[torch.arange(ROWS), targets] += 1.0
        return task, targets, outputs
    if kind == "numbers":
        cells = [(f"{value:.4f}",) for value in draw.normal(10, 3, ROWS)]
        task = Regression.fit(NumberConfig(), cells, ["y"])
        targets = task.encode(cells)
        return task, targets, targets.double() + torch.randn(ROWS, 1, generator=generator, dtype=torch.float64)
    cells = [("|".join(name for name in "xyz" if draw.random() < 0.4),) for _ in range(ROWS)]
    task = Multilabel.fit(LabelConfig(separator="|", own_threshold_from=5), cells, ["y"])
    targets = task.encode(cells)
    logits = 2 * targets.double() - 1 + torch.randn(ROWS, 3, generator=generator, dtype=torch.float64)
    return task, targets, torch.cat([logits, torch.zeros_like(logits)], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_targets_hold_their_weights_through_every_selection(kind: str) -> None:
    task, targets, _ = case(kind)
    right, weights = task.parted(targets)
    assert right is targets
    assert weights is None
    packed = task.weigh(targets, WEIGHTS)
    index = torch.tensor([5, 3, 3])
    right, weights = task.parted(packed[index])
    assert torch.equal(right, targets[index])
    assert right.dtype == targets.dtype
    assert weights is not None
    assert weights.tolist() == [2, 3, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_rows_that_stand_twice(kind: str) -> None:
    task, targets, outputs = case(kind)
    packed, scale = task.weigh(targets, WEIGHTS / 7), task.score(outputs[TWICE], targets[TWICE])
    alike = task.score(outputs, targets)
    for name, value in task.score(outputs, packed).items():
        assert value == pytest.approx(scale[name], abs=1e-6), name
    assert any(alike[name] != pytest.approx(scale[name], abs=1e-3) for name in scale)
    more = task.intervals(outputs[TWICE], targets[TWICE], more=True)
    for name, own in task.intervals(outputs, packed, more=True).items():
        assert own.value == pytest.approx(more[name].value, abs=1e-6), name
        assert own.low <= own.value <= own.high or name in {"ece", "rmse"}, name
        assert own.n == ROWS


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_one_change_nothing_in_scores(kind: str) -> None:
    task, targets, outputs = case(kind)
    packed = task.weigh(targets, torch.ones(ROWS))
    assert task.score(outputs, packed) == task.score(outputs, targets)
    assert task.intervals(outputs, packed, more=True) == task.intervals(outputs, targets, more=True)
    worse = outputs.flip(0)
    assert task.gain(outputs, worse, packed, cautious=True) == task.gain(outputs, worse, targets, cautious=True)
    torch.testing.assert_close(task.loss(outputs, packed), task.loss(outputs, targets))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_mean_of_weight_times_loss(kind: str) -> None:
    task, targets, outputs = case(kind)
    each = torch.stack([task.loss(outputs[[n]], targets[[n]]) for n in range(ROWS)])
    packed = task.weigh(targets, WEIGHTS)
    torch.testing.assert_close(task.loss(outputs, packed), (each * WEIGHTS.float()).mean())
    nothing = task.weigh(targets, torch.zeros(ROWS))
    assert float(task.loss(outputs, nothing)) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_are_those_of_rows_that_stand_twice(kind: str) -> None:
    task, targets, _ = case(kind)
    packed = task.weigh(targets, WEIGHTS)
    one, other = task.constant_baseline(packed, 2), task.constant_baseline(targets[TWICE], 2)
    torch.testing.assert_close(one, other)
    assert not torch.allclose(one, task.constant_baseline(targets, 2), atol=1e-3)
    # the last ten rows choose, and weigh one; the first thirty teach
    features = np.random.default_rng(1).normal(size=(ROWS, 4)) + targets.reshape(ROWS, -1)[:, :1].double().numpy()
    own = torch.where(torch.arange(ROWS) < 30, WEIGHTS, 1.0)
    twice = torch.arange(ROWS).repeat_interleave(own.long())
    learnt, chosen = (twice < 30).nonzero()[:, 0], (twice >= 30).nonzero()[:, 0]
    one = task.linear_baseline(features, task.weigh(targets, own), torch.arange(30), torch.arange(30, ROWS))
    other = task.linear_baseline(features[twice.numpy()], targets[twice], learnt, chosen)
    torch.testing.assert_close(one[twice], other, atol=2e-2, rtol=2e-2)


def test_thresholds_are_those_of_rows_that_stand_twice() -> None:
    task, targets, outputs = case("labels")
    found = []
    for logits, right in ((outputs, task.weigh(targets, WEIGHTS)), (outputs[TWICE], targets[TWICE])):
        decide = task.decision_head()
        task.settle(decide, logits, right)
        found.append(decide.get_buffer("thresholds").clone())
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "identity"])
def test_solved_models_are_those_of_rows_that_stand_twice(link: str) -> None:
    from scipy.sparse import csr_matrix

    task, targets, _ = case({"softmax": "classes", "sigmoid": "labels", "identity": "numbers"}[link])
    features = np.random.default_rng(2).random((ROWS, 6)).astype(np.float32)
    width, right, twice = task.decision.width, targets.numpy(), TWICE.numpy()
    weighed = list(solved.path(csr_matrix(features), right, link, width, counting=WEIGHTS.numpy()))  # type: ignore[arg-type]
    doubled = list(solved.path(csr_matrix(features[twice]), right[twice], link, width))  # type: ignore[arg-type]
    for (_, one, bias), (_, other, free) in zip(weighed, doubled, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-2, rtol=2e-2)
        np.testing.assert_allclose(bias, free, atol=2e-2, rtol=2e-2)


def test_calibration_and_what_teaches_students_count_alike() -> None:
    task, targets, outputs = case("classes")
    packed = task.weigh(targets, WEIGHTS)
    for kind in calibration.KINDS.values():
        one = kind.fitted(outputs, targets, WEIGHTS)(outputs.float())
        other = kind.fitted(outputs[TWICE], targets[TWICE])(outputs.float())
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    assert calibration.temperature(outputs, packed, task) != calibration.temperature(outputs, targets, task)
    weights = task.pressing(packed)
    assert weights is not None
    for kind_of in KINDS:
        own, _, said = case(kind_of)
        each = torch.stack([divergence(said[[n]], said[[n - 1]], own) for n in range(ROWS)])
        whole = divergence(said, said.roll(1, 0), own, weights)
        torch.testing.assert_close(whole, (each * weights).mean())
    alpha = outputs.exp() + 1
    each = torch.stack([evidential_loss(alpha[[n]], targets[[n]], 0.5) for n in range(ROWS)])
    torch.testing.assert_close(evidential_loss(alpha, targets, 0.5, WEIGHTS), (each * WEIGHTS).mean())


def test_rows_that_count_for_nothing_are_as_if_they_were_not_there() -> None:
    task, targets, outputs = case("classes")
    own = torch.ones(ROWS)
    own[10:] = 0
    packed = task.weigh(targets, own)
    assert task.score(outputs, packed) == pytest.approx(task.score(outputs[:10], targets[:10]))
    few = torch.zeros(ROWS)
    few[3] = 1  # many resamples hold no row that counts
    found = task.resamples(task.weigh(targets, few))
    assert (found.sum(1) > 0).all()
    assert len(found) < 1000
    assert np.isnan(task.within(outputs, packed, torch.arange(20, 30))["accuracy"].value)
