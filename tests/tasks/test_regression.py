from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mmcli.errors import DataError
from mmcli.tasks import Cells
from mmcli.tasks.regression import Config, Regression


def cells(*values: object) -> list[tuple[str | None, ...]]:
    return [(str(value),) for value in values]


def task(*values: object, **options: object) -> Regression:
    return Regression.fit(Config(**options), cells(*(values or (10, 20, 30))), ["price"])


def test_standardised_inside_and_reported_in_units() -> None:
    fitted = task()
    encoded = fitted.encode(cells(20, 30))
    assert encoded[:, 0].tolist() == pytest.approx([0.0, 10 / np.std([10, 20, 30])])
    scores = fitted.score(encoded + torch.tensor([[0.0], [1.0]]), encoded)
    spread = float(np.std([10, 20, 30]))
    assert scores["mae"] == pytest.approx(spread / 2)
    assert scores["rmse"] == pytest.approx(spread / 2**0.5)
    assert scores["r2"] == pytest.approx(1 - (spread**2 / 2) / 25, rel=1e-4)
    assert fitted.decode(encoded) == {"": [pytest.approx(20, abs=1e-4), pytest.approx(30, abs=1e-4)]}


def test_values_agree_with_scikit_learn() -> None:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    generator = np.random.default_rng(0)
    right, predicted = generator.normal(5, 3, (50, 2)), generator.normal(5, 3, (50, 2))
    rows: Cells = [(f"{a}", f"{b}") for a, b in right]
    fitted = Regression.fit(Config(), rows, ["a", "b"])
    outputs = torch.from_numpy((predicted - fitted.mean) / fitted.std)
    scores = fitted.score(outputs, fitted.encode(rows))
    assert scores["mae"] == pytest.approx(mean_absolute_error(right, predicted), rel=1e-5)
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(right, predicted), rel=1e-5)
    assert scores["r2"] == pytest.approx(r2_score(right, predicted), rel=1e-4)
    assert scores["mae_b"] == pytest.approx(mean_absolute_error(right[:, 1], predicted[:, 1]), rel=1e-5)
    assert fitted.primary_metric == "r2"
    assert set(fitted.decode(outputs)) == {"_a", "_b"}


@pytest.mark.parametrize(("loss", "value"), [("squared", 4.0), ("absolute", 2.0), ("huber", 2 - 0.05)])
def test_the_loss_and_its_metric_by_hand(loss: str, value: float) -> None:
    fitted = task(loss=loss)
    targets = fitted.encode(cells(10, 20))
    assert fitted.loss(targets + 2, targets).item() == pytest.approx(value)
    assert fitted.score(targets + 2, targets)["loss"] == pytest.approx(value, rel=1e-5)


def test_a_log_scale_gives_the_units_back() -> None:
    fitted = task(1, 10, 1e6, scale="log")
    assert fitted.values(fitted.encode(cells(1, 1e6, -50)))[:, 0].tolist() == pytest.approx([1, 1e6, -50], rel=1e-4)


def test_less_is_better_and_gain_says_so() -> None:
    fitted = task()
    targets = fitted.encode(cells(*range(20)))
    gain = fitted.gain(targets + 0.1, targets + 0.5, targets)
    assert gain.value == pytest.approx(0.4 * fitted.std[0], rel=1e-4)
    assert gain.low > 0
    assert not fitted.primary_higher_is_better


def test_what_is_no_number_is_named() -> None:
    with pytest.raises(DataError, match=r"the target 'price' is 'cheap', not a number"):
        Regression.check(Config(), ["price"], ("cheap",))
    with pytest.raises(DataError, match="does not vary"):
        task(3, 3, 3)


@pytest.mark.parametrize(
    ("values", "sure"),
    [
        (np.linspace(0, 1, 50), True),
        (np.random.default_rng(0).integers(0, 100, 300), True),
        (list(range(10)) * 30, False),
        (list(range(100)) * 10, False),  # as even as the numbers of classes are
        (["a", "1"] * 20, False),
    ],
)
def test_numbers_that_are_names_of_classes_are_not_regressed(values: list[object], sure: bool) -> None:
    assert (Regression.sniff(Config(), cells(*values)).confidence > 0.5) is sure


def test_the_baselines() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 3))
    fitted = task(*(3 * features[:, 0] + 100))
    targets = fitted.encode(cells(*(3 * features[:, 0] + 100)))
    split = torch.arange(100), torch.arange(100, 200)
    linear = fitted.linear_baseline(features, targets, *split)
    assert fitted.score(linear[100:], targets[100:])["r2"] > 0.99
    constant = fitted.constant_baseline(targets[:100], 200)
    assert abs(fitted.score(constant[100:], targets[100:])["r2"]) < 0.1


def test_trees_of_several_numbers_take_the_better_rate() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    luck = np.random.default_rng(0)
    x = luck.normal(size=(400, 3))
    right = np.stack([x[:, 0] + np.sin(3 * x[:, 1]), x[:, 2] * x[:, 0]], 1) + 0.3 * luck.normal(size=(400, 2))
    rows: Cells = [(f"{a}", f"{b}") for a, b in right]
    fitted = Regression.fit(Config(), rows, ["a", "b"])
    targets, train, val = fitted.encode(rows), torch.arange(300), torch.arange(300, 400)
    found, scores = fitted.trees_model(x, targets, train, val), []
    assert found is not None
    for rate in (0.03, 0.1):
        columns = []
        for place in range(2):
            model = HistGradientBoostingRegressor(
                loss="absolute_error", learning_rate=rate, max_iter=300, early_stopping=True, random_state=0
            )
            columns.append(model.fit(x[:300], targets[:300, place].double().numpy()).predict(x))
        scores.append(fitted.score(torch.from_numpy(np.stack(columns, 1))[val], targets[val])["r2"])
    assert abs(scores[0] - scores[1]) > 1e-4
    assert fitted.score(found.outputs[val], targets[val])["r2"] == pytest.approx(max(scores), abs=1e-5)


def test_numbers_need_no_caution_since_models_that_differ_do_so_on_every_row() -> None:
    fitted = task()
    targets = fitted.encode([("1",), ("2",), ("4",), ("8",)])
    plain = fitted.gain(targets + 0.1, targets + 0.5, targets)
    assert fitted.gain(targets + 0.1, targets + 0.5, targets, cautious=True) == plain


def fitted_to(values: list[str]) -> Regression:
    return Regression.fit(Config(), [(value,) for value in values], ["y"])


def test_predictions_have_the_digits_that_the_deviation_gives_a_meaning_to() -> None:
    seconds = fitted_to([str(1764000000 + 30 * row) for row in range(113)])
    (one, two) = seconds.decode(torch.tensor([[0.0], [0.001]]))[""]
    assert one == pytest.approx(1764001680.0)
    assert two - one == pytest.approx(0.001 * float(seconds.std[0]), abs=0.01)
    tiny = fitted_to([f"{1e-13 * row:e}" for row in range(1, 100)])
    assert tiny.decode(torch.tensor([[0.5]]))[""][0] == pytest.approx(5e-12 + 0.5 * float(tiny.std[0]), rel=1e-4)


def test_whole_numbers_beyond_floats_keep_their_digits() -> None:
    base = 1764000000000000000
    task = fitted_to([str(base + row) for row in range(60)])
    encoded = task.encode([(str(base),), (str(base + 59),)])
    assert task.decode(encoded)[""] == [base, base + 59]
    again = Regression.from_state(json.loads(json.dumps(task.state())))
    assert again.decode(encoded)[""] == [base, base + 59]
    assert task.score(encoded, task.encode([(str(base + 3),), (str(base + 59),)]))["mae"] == pytest.approx(1.5, abs=1e-4)


def test_a_constant_target_of_odd_digits_does_not_vary() -> None:
    with pytest.raises(DataError, match="does not vary"):
        fitted_to(["0.1", "0.1", "0.1"])


def test_a_comma_before_the_decimals_of_a_target() -> None:
    task = fitted_to(["0,125", "0,5", "1.234,5"])
    assert task.values(task.encode([("0,125",), ("1.234,5",)]))[:, 0].tolist() == pytest.approx([0.125, 1234.5], abs=1e-3)
