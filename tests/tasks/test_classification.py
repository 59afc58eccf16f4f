from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmcli.errors import DataError
from mmcli.tasks.classification import Classification, Config


def cells(*names: str) -> list[tuple[str | None, ...]]:
    return [(name,) for name in names]


def task(**options: object) -> Classification:
    return Classification.fit(Config(**options), cells("b", "a", "NA", "b"), ["y"])


def test_classes_are_sorted_and_encode_back() -> None:
    fitted = task()
    assert fitted.classes == ["NA", "a", "b"]
    assert fitted.encode(cells("a", "NA", "b")).tolist() == [1, 0, 2]
    assert Classification.from_state(fitted.state()).classes == fitted.classes


def test_one_class_cannot_be_learnt() -> None:
    with pytest.raises(DataError, match="the target 'y' has only the class 'x' in the train split"):
        Classification.fit(Config(), cells("x", "x"), ["y"])


def test_a_class_that_train_lacks_is_named() -> None:
    with pytest.raises(DataError, match=r"the class 'aa' is absent from the train split. Did you mean 'a'\?"):
        task().encode(cells("aa"))


def test_loss_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0]])
    log_p = torch.log_softmax(logits, 1)[0].tolist()
    assert task(label_smoothing=0).loss(logits, torch.tensor([1])).item() == pytest.approx(-log_p[1])
    smoothed = -0.9 * log_p[1] - 0.1 * sum(log_p) / 3
    assert task(label_smoothing=0.1).loss(logits, torch.tensor([1])).item() == pytest.approx(smoothed)


def test_balanced_weights_make_classes_count_the_same() -> None:
    logits = torch.tensor([[0.0, 0.0, 3.0]]).repeat(4, 1)
    targets = task().encode(cells("b", "a", "NA", "b"))
    per_row = torch.nn.functional.cross_entropy(logits, targets, reduction="none").tolist()
    expected = (per_row[0] / 2 + per_row[1] + per_row[2] + per_row[3] / 2) / 3
    loss = task(label_smoothing=0, class_weights="balanced").loss(logits, targets)
    assert loss.item() == pytest.approx(expected)


def test_decoding_writes_class_and_probabilities() -> None:
    columns = task().decode(torch.tensor([[0.0, math.log(3), 0.0]]))
    assert columns[""] == ["a"]
    assert columns["_probability"] == [pytest.approx(0.6, abs=1e-6)]
    assert columns["_probability_NA"] == [pytest.approx(0.2, abs=1e-6)]


def test_the_constant_baseline_is_the_class_frequencies() -> None:
    outputs = task().constant_baseline(torch.tensor([2, 1, 0, 2]), 5)
    assert outputs.softmax(1)[4].tolist() == pytest.approx([0.25, 0.25, 0.5])


def test_the_linear_baseline_learns_what_is_linear_and_no_more() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 3))
    linear = torch.from_numpy((features[:, 0] > 0).astype(int))
    twisted = torch.from_numpy((features[:, 0] * features[:, 1] > 0).astype(int))
    binary = Classification.fit(Config(), cells(*["0", "1"]), ["y"])
    train, val, test = torch.arange(200), torch.arange(200, 250), torch.arange(250, 300)
    for targets, low, high in ((linear, 0.9, 1.0), (twisted, 0.2, 0.75)):
        outputs = binary.linear_baseline(features, targets, train, val)
        assert low <= binary.score(outputs[test], targets[test])["accuracy"] <= high


def test_gain_is_paired_and_positive_for_the_better() -> None:
    fitted, targets = task(), torch.tensor([0, 1, 2] * 20)
    right = torch.nn.functional.one_hot(targets, 3).double() * 5
    wrong = right.roll(1, dims=1)
    wrong[:30] = right[:30]
    assert fitted.gain(right, wrong, targets).value == pytest.approx(0.5)
    assert fitted.gain(wrong, right, targets).value == pytest.approx(-0.5)


@pytest.mark.parametrize(("rows", "rounds"), [(92, 2), (5000, 2)])
def test_a_cautious_gain_counts_differences_that_few_rows_do_not_show(rows: int, rounds: int) -> None:
    """With no difference seen it is that of Skellam(1/2, 1/2): two rows more or less, in 95% (its 2.5% quantile is -2)."""
    fitted, targets = task(), torch.arange(rows) % 3
    outputs = torch.nn.functional.one_hot(targets, 3).double() * 5
    assert fitted.gain(outputs, outputs, targets).low == 0
    gain = fitted.gain(outputs, outputs, targets, cautious=True)
    assert gain.value == 0
    assert gain.low == pytest.approx(-rounds / rows, rel=0.05)
    assert gain.high == pytest.approx(rounds / rows, rel=0.05)


def test_four_rows_against_none_are_no_proof_but_many_are() -> None:
    fitted, targets = task(), torch.arange(92) % 3
    right = torch.nn.functional.one_hot(targets, 3).double() * 5
    wrong = right.clone()
    wrong[:4] = right[:4].roll(1, dims=1)
    assert fitted.gain(right, wrong, targets).low > 0
    assert fitted.gain(right, wrong, targets, cautious=True).low <= 0
    wrong[:12] = right[:12].roll(1, dims=1)
    assert fitted.gain(right, wrong, targets, cautious=True).low > 0


def test_a_gain_by_the_loss_is_above_zero_where_the_loss_is_lower() -> None:
    fitted = Classification.fit(Config(), cells("a", "b"), ["y"])
    targets = torch.tensor([0, 1] * 50)
    right = torch.tensor([[2.0, 0.0], [0.0, 2.0]] * 50)
    gain = fitted.gain(right, right / 2, targets, metric="loss")
    expected = math.log(1 + math.exp(-1)) - math.log(1 + math.exp(-2))
    assert gain.value == pytest.approx(expected, abs=1e-6)
    assert gain.low > 0
    assert fitted.gain(right, right / 2, targets).value == 0  # the accuracy is the same


def test_balanced_classes_choose_by_balanced_accuracy_and_weigh_every_loss() -> None:
    cells_ = cells(*["a"] * 9, "b")
    fitted = Classification.fit(Config(label_smoothing=0, class_weights="balanced"), cells_, ["y"])
    plain = Classification.fit(Config(label_smoothing=0), cells_, ["y"])
    assert (plain.primary_metric, fitted.primary_metric) == ("accuracy", "balanced_accuracy")
    targets = fitted.encode(cells_)
    assert plain.pressing(targets) is None
    pressing = fitted.pressing(targets)
    assert pressing is not None
    torch.testing.assert_close(pressing, torch.tensor([10 / 18] * 9 + [5.0]))
    assert float(pressing.mean()) == pytest.approx(1)
    logits = torch.tensor([[2.0, 0.0]]).repeat(10, 1)
    log_p = torch.log_softmax(logits[0], 0).tolist()
    scores = fitted.score(logits, targets)
    assert scores["loss"] == pytest.approx(-(log_p[0] + log_p[1]) / 2)
    assert scores["loss"] == pytest.approx(float(fitted.loss(logits, targets)), rel=1e-6)
    assert scores["log_loss"] == pytest.approx(-(9 * log_p[0] + log_p[1]) / 10)  # metrics stay what they are
    assert (scores["accuracy"], scores["balanced_accuracy"]) == (pytest.approx(0.9), pytest.approx(0.5))
    constant = fitted.constant_baseline(targets, 2).softmax(1)
    torch.testing.assert_close(constant, torch.full_like(constant, 0.5), atol=1e-3, rtol=0)
    assert constant[0].argmax() == 0  # of even chances the commoner class
    weighed = fitted.weigh(targets, torch.tensor([2.0] + [1.0] * 9))
    own = fitted.pressing(weighed)
    assert own is not None
    assert own[:2].tolist() == pytest.approx([20 / 18, 10 / 18])


def test_the_linear_baseline_finds_a_rare_class_where_classes_are_balanced() -> None:
    draw = np.random.default_rng(0)
    right = np.r_[np.zeros(380, dtype=int), np.ones(20, dtype=int)]
    features = draw.normal(size=(400, 2)) + 1.5 * right[:, None]
    cells_ = cells(*("ab"[n] for n in right))
    order = torch.from_numpy(draw.permutation(400))
    found = {}
    for how in ("none", "balanced"):
        fitted = Classification.fit(Config(class_weights=how), cells_, ["y"])
        targets = fitted.encode(cells_)
        outputs = fitted.linear_baseline(features, targets, order[:250], order[250:])
        found[how] = fitted.score(outputs, targets)
    assert found["balanced"]["balanced_accuracy"] > found["none"]["balanced_accuracy"] + 0.1
    assert found["balanced"]["accuracy"] < found["none"]["accuracy"]
