from __future__ import annotations

import numpy as np
import pytest
import torch

from mmcli.errors import DataError
from mmcli.heads.linear import Config as LinearConfig
from mmcli.heads.linear import Linear
from mmcli.signals import Fused
from mmcli.tasks.multilabel import Config, Multilabel, _best_threshold

ROWS = ["a|b", "b", None, "a|b|c", "a", "b|rare", "a|c", None, "c"]


def cells(*values: str | None) -> list[tuple[str | None, ...]]:
    return [(value,) for value in values]


def task(**options: object) -> Multilabel:
    return Multilabel.fit(Config(**{"separator": "|", **options}), cells(*ROWS), ["flags"])


def test_labels_are_learnt_and_the_rare_are_named() -> None:
    fitted = task()
    assert fitted.labels == ["a", "b", "c"]
    assert fitted.left_out == ["rare"]
    assert fitted.encode(cells("c| a ", None, "rare")).tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert "3 labels (1 too rare to learn: rare)" in fitted.summary()


def test_empty_cells_have_no_label_or_are_unlabelled() -> None:
    assert Multilabel.is_labelled(Config(separator="|"), (None,))
    assert not Multilabel.is_labelled(Config(separator="|", empty="unlabelled"), (None,))


def test_metrics_agree_with_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score, f1_score

    generator = np.random.default_rng(0)
    right = (generator.random((60, 3)) < 0.4).astype(float)
    logits = generator.normal(size=(60, 3)) + right
    thresholds = np.array([0.3, -0.2, 0.8])
    outputs = torch.from_numpy(np.hstack([logits, np.broadcast_to(thresholds, logits.shape)]))
    scores = task().score(outputs, torch.from_numpy(right))
    chosen = (logits > thresholds).astype(int)
    assert scores["micro_f1"] == pytest.approx(f1_score(right, chosen, average="micro"))
    assert scores["macro_f1"] == pytest.approx(f1_score(right, chosen, average="macro"))
    assert scores["map"] == pytest.approx(average_precision_score(right, logits, average="macro"))
    p = 1 / (1 + np.exp(-logits))
    assert scores["log_loss"] == pytest.approx(-np.mean(right * np.log(p) + (1 - right) * np.log(1 - p)))


def test_the_best_threshold_is_between_two_scores() -> None:
    assert _best_threshold(np.array([3.0, 2.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0]), np.ones(4)) == 1.5
    assert _best_threshold(np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0]), np.ones(3)) == -0.5
    assert _best_threshold(np.array([0.5, 0.5, 0.5]), np.array([1.0, 0.0, 0.0]), np.ones(3)) == 0.0


def test_thresholds_are_set_on_val_and_shared_by_the_rare() -> None:
    fitted = task(own_threshold_from=3)
    head = Linear(LinearConfig(), fitted, 5)
    right = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]])
    logits = torch.tensor([[-1.0, -9, -9], [-1, -9, -9], [-1, 5, -9], [-3, -9, 5], [-3, -9, -9], [-3, -9, -9]])
    head.settle(torch.cat([logits, torch.zeros_like(logits)], 1), right)
    own, shared, also_shared = head.decide.thresholds.tolist()  # type: ignore[union-attr, operator]
    assert own == -2.0
    assert shared == also_shared
    assert head(Fused(torch.randn(2, 5)))[:, 3:].tolist() == [[own, shared, shared]] * 2


def test_a_temperature_changes_no_decision() -> None:
    fitted = task()
    outputs = torch.tensor([[0.5, -1.0, 2.0, 0.0, -2.0, 3.0]])
    assert fitted.decode(outputs)[""] == ["a|b"]
    assert fitted.decode(outputs / 7)[""] == ["a|b"]
    assert fitted.decode(outputs)["_probability_a"] == [pytest.approx(0.622459)]


def test_what_cannot_be_learnt_from() -> None:
    with pytest.raises(DataError, match="Give --label-separator"):
        Multilabel.fit(Config(), cells(*ROWS), ["flags"])
    with pytest.raises(DataError, match="no cell of the target 'flags' in train holds ';'"):
        task(separator=";")
    with pytest.raises(DataError, match="no label of the target 'flags' has 50 train rows"):
        task(min_count=50)


def test_a_cautious_gain_is_not_certain_where_no_row_differs() -> None:
    fitted, targets = task(), (torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    outputs = torch.cat([targets * 4 - 2, torch.zeros(50, 3)], 1)
    assert fitted.gain(outputs, outputs, targets).low == 0
    gain = fitted.gain(outputs, outputs, targets, cautious=True)
    assert gain.value == 0
    assert -0.05 < gain.low < -0.005
    assert 0.005 < gain.high < 0.05


def test_balanced_labels_count_as_much_with_them_as_without() -> None:
    written = cells(*["a"] * 6, "a|b", "b", "", "")
    fitted = Multilabel.fit(Config(separator="|", min_count=1, class_weights="balanced"), written, ["flags"])
    assert (fitted.labels, fitted.counts, fitted.rows) == (["a", "b"], [7, 2], 10)
    assert fitted.primary_metric == "macro_f1"
    again = Multilabel.from_state(fitted.state())
    targets, outputs = fitted.encode(written), torch.tensor([[1.0, -1.0, 0.0, 0.0]]).repeat(10, 1)
    on, off = np.log1p(np.exp(-1.0)), np.log1p(np.exp(1.0))
    # a: seven rows with it, told rightly, three without; b: two with it, told wrongly, eight without
    expected = ((on + off) / 2 + (off + on) / 2) / 2
    for task_ in (fitted, again):
        assert float(task_.loss(outputs, targets)) == pytest.approx(expected)
        assert task_.score(outputs, targets)["loss"] == pytest.approx(expected)
    assert fitted.score(outputs, targets)["log_loss"] == pytest.approx((7 * on + 3 * off + 2 * off + 8 * on) / 20)
    twice = fitted.weigh(targets, torch.full((10,), 2.0))
    assert float(fitted.loss(outputs, twice)) == pytest.approx(2 * expected)
    constant = fitted.constant_baseline(targets, 1)[0, :2]
    assert constant.abs().max() < 0.01
    assert constant[0] > constant[1]
    assert "rows" not in task().state()


def test_a_label_that_train_lacks_is_as_good_as_impossible_to_the_linear_model() -> None:
    task = Multilabel.fit(Config(separator=" ", min_count=1), [("a b",), ("a",), ("b",), ("c",)], ["y"])
    targets = task.encode([("a",), ("b",), ("a b",), ("a",), ("b",), ("c",)])
    train, val = torch.arange(5), torch.tensor([5])
    found = task.linear_model(np.eye(6), targets, train, val)
    assert found is not None
    place = task.labels.index("c")
    assert not found.weights[:, place].any() and found.bias[place] == -30.0
