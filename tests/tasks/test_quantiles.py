"""Quantiles of one number: the loss, the order, what val moves, and what is held against them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from mmcli.config import validate
from mmcli.errors import ConfigError, DataError
from mmcli.judging.quantiles import Levels, Shifts
from mmcli.models import conformal
from mmcli.tasks import Cells
from mmcli.tasks.regression import Config, Regression
from mmcli.vectors import solved

ASKED = (0.05, 0.5, 0.95)


def cells(values: object) -> Cells:
    return [(f"{value:.6f}",) for value in np.asarray(values)]


def fitted(values: object, *asked: float, **options: object) -> Regression:
    return Regression.fit(Config(quantiles=asked or ASKED, **options), cells(values), ["price"])


def heteroscedastic(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x [N, 1] from 0 to 1 and y = 10 x + (.2 + 2 x) e, e normal."""
    draw = np.random.default_rng(seed)
    x = draw.random((rows, 1))
    return x, 10 * x[:, 0] + (0.2 + 2 * x[:, 0]) * draw.normal(size=rows)


def outputs(task: Regression, *quantiles: object) -> Tensor:
    """Outputs of rows whose quantiles are these in units, unmoved."""
    rows = torch.tensor(np.asarray(quantiles, dtype=np.float64))
    said = (rows - torch.from_numpy(task.mean)) / torch.from_numpy(task.std)
    return torch.cat([said, torch.zeros_like(said)], 1)


def test_a_constant_model_settles_at_the_empirical_quantiles() -> None:
    values = np.random.default_rng(0).exponential(3, 801)
    task = fitted(values, 0.1, 0.5, 0.9)
    said = torch.zeros(1, 3, requires_grad=True)
    optimizer = torch.optim.Adam([said], lr=0.02)
    targets = task.encode(cells(values))
    for step in range(1500):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 1500)
        optimizer.zero_grad()
        task.loss(said.expand(len(values), -1), targets).backward()
        optimizer.step()
    found = task.values(said.detach())[0]
    assert found == pytest.approx(np.quantile(values, [0.1, 0.5, 0.9]), abs=0.03)
    constant = task.constant_baseline(targets, 2)
    assert task.values(constant[:, :3])[1] == pytest.approx(np.quantile(values, [0.1, 0.5, 0.9]), abs=0.02)
    assert task.constant_name == "quantiles"


def test_the_loss_and_the_metrics_by_hand() -> None:
    task = fitted([0, 10, 20, 30, 40], 0.1, 0.5, 0.9)
    right = task.encode(cells([20, 36]))
    made = outputs(task, [10, 21, 30], [10, 30, 35])
    # row 1: .1 * 10, .5 * 1, .1 * 10; row 2: .1 * 26, .5 * 6, .9 * 1
    pinball = ((1 + 0.5 + 1) + (2.6 + 3 + 0.9)) / 6
    scores = task.score(made, right)
    assert scores["pinball"] == pytest.approx(pinball)
    assert scores["loss"] == pytest.approx(pinball / task.std[0])
    assert task.loss(made, right).item() == pytest.approx(pinball / task.std[0], rel=1e-5)
    assert scores["mae"] == pytest.approx(3.5)
    assert scores["coverage"] == 0.5
    assert scores["width"] == pytest.approx(22.5)
    weighed = task.weigh(right, torch.tensor([3.0, 1.0]))
    assert task.score(made, weighed)["coverage"] == 0.75
    assert task.score(made, weighed)["width"] == pytest.approx((3 * 20 + 25) / 4)
    assert task.worst_rows(made, right, 1) == [(1, "off by 6.000")]


def test_quantiles_never_cross_and_stand_in_columns_of_their_own() -> None:
    task = fitted(np.arange(50), 0.025, 0.1, 0.9)
    made = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    told = task.decode(made)
    assert list(told) == ["", "_q025", "_q10", "_q50", "_q90"]
    assert told[""] == told["_q50"]
    each = np.array([told[f"_{name}"] for name in ("q025", "q10", "q50", "q90")])
    assert (np.diff(each, axis=0) >= 0).all()
    assert [task.column("price", suffix) for suffix in ("", "_q50", "_low")] == [
        "price_predicted",
        "price_q50",
        "price_predicted_low",
    ]
    assert "0.5, the prediction, is added" in task.summary()
    assert "added" not in fitted(np.arange(50)).summary()


def test_one_level_has_no_interval() -> None:
    task = fitted(np.arange(50), 0.5)
    assert set(task.metrics) == {"mae", "rmse", "r2", "pinball"}
    assert set(task.score(torch.zeros(3, 2), torch.zeros(3, 1))) == {*task.metrics, "loss"}


def test_shifts_are_ranks_of_what_val_rows_lie_above() -> None:
    levels = Levels.of([0.1, 0.9])
    assert levels is not None
    assert levels.each == (0.1, 0.5, 0.9)
    right = torch.arange(1.0, 20.0)[:, None]  # 19 rows: ranks 20 * .1 = 2 and 20 * .9 = 18
    found = levels.shifts(torch.zeros(19, 3), right)
    assert found.tolist() == [2.0, 0.0, 18.0]
    assert levels.shifts(torch.zeros(3, 3), right[:3]).tolist() == [1.0, 0.0, 3.0]
    assert levels.shifts(torch.zeros(0, 3), right[:0]).tolist() == [0.0, 0.0, 0.0]


def test_val_moves_intervals_to_their_coverage_whatever_the_model_says() -> None:
    x, y = heteroscedastic(2000, 1)
    task = fitted(y)
    targets = task.encode(cells(y))
    narrow = outputs(task, *np.stack([10 * x[:, 0] - 0.1, 10 * x[:, 0], 10 * x[:, 0] + 0.1], 1))[:, :3]
    decide = task.decision_head()
    assert task.score(decide(narrow[1000:]), targets[1000:])["coverage"] < 0.2
    task.settle(decide, decide(narrow[:1000]), targets[:1000])
    moved = task.score(decide(narrow[1000:]), targets[1000:])
    assert moved["coverage"] == pytest.approx(0.9, abs=0.03)
    assert moved["mae"] == task.score(torch.cat([narrow, torch.zeros_like(narrow)], 1)[1000:], targets[1000:])["mae"]
    task.settle(decide, decide(narrow[:1000]), targets[:1000])  # set, not added to what was set
    assert task.score(decide(narrow[1000:]), targets[1000:]) == moved
    assert isinstance(decide, Shifts)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_baselines_cover_what_they_say_where_the_spread_grows(scale: str) -> None:
    x, y = heteroscedastic(1600, 3)
    y = np.exp(y / 5) if scale == "log" else y
    task = fitted(y, scale=scale)
    targets, rows = task.encode(cells(y)), torch.arange(1600)
    train, val, test = rows[:600], rows[600:900], rows[900:]
    constant = task.constant_baseline(targets[train], 1600)
    for made in (task.linear_model(x, targets, train, val), task.trees_model(x, targets, train, val)):
        assert made is not None
        scores = task.score(made.outputs[test], targets[test])
        assert scores["coverage"] == pytest.approx(0.9, abs=0.04)
        assert scores["pinball"] < 0.8 * task.score(constant[test], targets[test])["pinball"]
    linear = task.linear_model(x, targets, train, val)
    assert linear is not None
    torch.testing.assert_close(linear.outputs[:, :3], torch.from_numpy(x @ linear.weights + linear.bias), atol=1e-4, rtol=1e-4)
    if scale == "linear":  # the upper end rises by 10 + 1.645 * 2 a unit, the lower by 10 - 1.645 * 2
        slopes = linear.weights[0] * task.std[0]
        assert slopes[2] - slopes[0] == pytest.approx(2 * 1.645 * 2, rel=0.25)


def test_linear_quantile_regression_is_that_of_scikit_learn() -> None:
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import QuantileRegressor

    draw = np.random.default_rng(3)
    x = draw.normal(size=(300, 4))
    y = x @ [1.0, -0.5, 0.0, 0.2] + (0.3 + 0.2 * np.abs(x[:, 0])) * draw.normal(size=300)
    *_, (_, matrix, bias) = solved.path(
        csr_matrix(x, dtype=np.float32), y[:, None], "identity", 2, counting=np.ones(300), levels=(0.2, 0.8)
    )
    for place, level in enumerate((0.2, 0.8)):
        other = QuantileRegressor(quantile=level, alpha=0).fit(x, y)
        np.testing.assert_allclose(matrix[:, place], other.coef_, atol=0.06)
        assert bias[place] == pytest.approx(other.intercept_, abs=0.06)


def test_prediction_sets_widen_or_narrow_the_outermost_pair() -> None:
    x, y = heteroscedastic(3000, 4)
    for scale in ("linear", "log"):
        task = fitted(y, scale=scale)
        targets = task.encode(cells(y))
        spread = 0.2 + 2 * x[:, 0]
        ends = [10 * x[:, 0] + step * spread for step in (-0.5, 0.0, 0.5)]
        said = torch.from_numpy((task._transformed(np.stack(ends, 1)) - task.mean) / task.std)
        made = torch.cat([said, torch.zeros_like(said)], 1)
        found = conformal.fit(task, made[:1000], targets[:1000], 0.8)
        assert found["scale"] == {"linear": "learnt", "log": "log"}[scale]
        held = conformal.check(task, found, made[1000:], targets[1000:])
        assert held["coverage"] == pytest.approx(0.8, abs=0.03)
        written = conformal.columns(task, found, made[:3])
        assert list(written) == ["_low", "_high"]
        assert all(low < high for low, high in zip(*written.values(), strict=True))
    task = fitted(y)
    wide = outputs(task, *[[-100.0, 0.0, 100.0]] * 3000)
    found = conformal.fit(task, wide[:1000], task.encode(cells(y))[:1000], 0.8)
    assert found["thresholds"][0] < 0
    assert conformal.check(task, found, wide, task.encode(cells(y)))["size"] < 200


def test_the_state_is_kept_and_weights_are_told_from_targets() -> None:
    task = fitted(np.arange(50), 0.1, 0.9)
    state = json.loads(json.dumps(task.state()))
    assert state["levels"] == {"q10": 0.1, "q50": 0.5, "q90": 0.9}
    again = Regression.from_state(state)
    assert again.levels == (0.1, 0.5, 0.9)
    assert "levels" not in Regression.fit(Config(), cells(np.arange(50)), ["y"]).state()
    targets = task.encode(cells([1, 2]))
    assert task.parted(targets)[1] is None
    two = fitted(np.arange(50), 0.5, 0.9)  # as many quantiles as a target and its weight
    right, weights = two.parted(two.weigh(targets, torch.tensor([1.0, 2.0])))
    assert torch.equal(right, targets)
    assert weights is not None
    assert weights.tolist() == [1, 2]
    each = torch.stack([two.loss(torch.ones(1, 4), targets[[row]]) for row in range(2)])
    packed = two.weigh(targets, torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(two.loss(torch.ones(2, 4), packed), (each * torch.tensor([1.0, 2.0])).mean())


def test_what_cannot_be_is_refused() -> None:
    rows: Cells = [("1", "2"), ("3", "4"), ("5", "7")]
    with pytest.raises(DataError, match="quantiles are of one number, not of a, b"):
        Regression.fit(Config(quantiles=(0.1,)), rows, ["a", "b"])
    for wrong in ({"quantiles": [0.5, 1.0]}, {"quantiles": [0.2, 0.2]}, {"quantiles": [0.2], "loss": "absolute"}):
        with pytest.raises(ConfigError, match=r"task\.regression"):
            validate(Config, wrong, "task.regression")
