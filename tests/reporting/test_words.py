"""Metrics have names, a sentence, and ends; ties are ties."""

from __future__ import annotations

import numpy as np
import pytest

from mmcli.reporting import metrics
from mmcli.reporting.classes import ClassScore, counted, one_of
from mmcli.reporting.metrics import Interval, shown
from mmcli.reporting.words import difference, meaning, signed, together, worsened


def test_every_metric_that_is_told_has_a_sentence() -> None:
    groups = (metrics.CLASSIFICATION, metrics.MORE_OF_TWO, metrics.MORE_OF_MANY, metrics.REGRESSION, metrics.MORE_OF_NUMBERS)
    for name in {name for group in (*groups, metrics.MULTILABEL, metrics.MORE_OF_LABELS) for name in group}:
        assert meaning(name).said, name
        assert meaning(name).low is not None or meaning(name).high is not None, name
    assert meaning("mae_price").name == "MAE of price"
    assert (meaning("my_own").name, meaning("my_own").said) == ("my own", "")
    assert (meaning("accuracy").low, meaning("accuracy").high) == (0, 1)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0.000"), (-0.0, "0.000"), (-0.0004, "0.000"), (0.0004, "0.000"), (0.02, "+0.020"), (-0.02, "-0.020")],
)
def test_a_difference_of_nothing_has_no_sign(value: float, said: str) -> None:
    assert signed(value) == said
    assert shown(-0.0001) == "0.000"


def test_an_exact_tie_is_level_and_a_small_one_is_not() -> None:
    assert difference(Interval(0.0, -0.01, 0.02, 9)) == "level [-0.010, +0.020]"
    assert difference({"value": -0.0001, "low": -0.01, "high": 0.0}) == "0.000 [-0.010, 0.000]"
    assert difference({"value": 0.023, "low": -0.01, "high": 0.05}) == "+0.023 [-0.010, +0.050]"


def test_what_got_worse_is_named_in_the_metric_s_own_direction() -> None:
    higher = {"accuracy": True, "auroc": True, "log_loss": False, "ece": False}
    before = {"accuracy": 0.9, "auroc": 0.95, "log_loss": 0.271, "ece": 0.05}
    after = {"accuracy": 0.8, "auroc": 0.90, "log_loss": 0.520, "ece": 0.04}
    found = worsened(before, after, higher, "accuracy")
    assert found == ["AUROC 0.900 instead of 0.950", "log loss 0.520 instead of 0.271"]
    assert worsened(before, after, higher, "accuracy", least=0.1) == ["log loss 0.520 instead of 0.271"]
    assert worsened(before, {**before, "log_loss": 0.27104}, higher, "accuracy") == [], "nothing that shows"


def test_names_in_a_row() -> None:
    assert [together([]), together(["a"]), together(["a", "b"]), together("abc")] == ["", "a", "a and b", "a, b and c"]


def test_precision_recall_and_f1_of_each_class() -> None:
    right, chosen = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0, 0])
    cat, dog, bird, fox = one_of(chosen, right, ["cat", "dog", "bird", "fox"])
    guessed = ClassScore("elk", rows=0, predicted=3, hits=0)
    assert (guessed.precision, guessed.recall, guessed.f1) == (None, None, None), "no row could have been right"
    assert cat == ClassScore("cat", rows=4, predicted=4, hits=2)
    assert (cat.precision, cat.recall, cat.f1) == (0.5, 0.5, 0.5)
    assert (dog.precision, dog.recall, dog.f1) == (pytest.approx(1 / 3), 0.5, pytest.approx(0.4))
    assert (bird.precision, bird.recall, bird.f1) == (None, 0.0, 0.0)
    assert (fox.precision, fox.recall, fox.f1) == (None, None, None)
    assert dog.as_dict() == {
        "name": "dog",
        "rows": 2,
        "predicted": 3,
        "hits": 1,
        "precision": pytest.approx(1 / 3),
        "recall": 0.5,
        "f1": pytest.approx(0.4),
    }


def test_labels_are_counted_each_by_itself() -> None:
    right = np.array([[1, 1], [0, 1], [0, 0]], dtype=bool)
    chosen = np.array([[1, 0], [1, 1], [0, 0]], dtype=bool)
    one, two = counted(chosen, right, ["red", "blue"])
    assert (one.rows, one.predicted, one.hits) == (1, 2, 1)
    assert (two.rows, two.predicted, two.hits) == (2, 1, 1)
