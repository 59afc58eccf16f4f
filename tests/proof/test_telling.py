"""Columns that alone tell what they cannot know."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mmcli.proof import telling
from mmcli.reporting.metrics import Interval


@pytest.mark.parametrize(
    ("value", "low", "expected"),
    [(0.99, 0.975, True), (0.7, 0.61, True), (0.706, 0.549, False), (0.55, 0.45, False), (0.45, 0.4, False), (0.5, 0.5, False)],
)
def test_only_what_lies_clearly_above_chance_tells(value: float, low: float, expected: bool) -> None:
    score = Interval(value, low, value + 0.05, 100)
    assert telling.tells(score) is expected
    assert telling.note(score).startswith("alone it tells" if expected else "alone it cannot know")


def test_it_is_asked_of_columns_that_are_compared_and_share_an_encoder() -> None:
    shared, own = SimpleNamespace(config={"readers": ["a", "b"]}), SimpleNamespace(config={})
    for compares, encoder, expected in ((True, shared, True), (True, own, False), (False, shared, False)):
        assert telling.cannot_know(SimpleNamespace(compares_columns=compares), encoder) is expected  # type: ignore[arg-type]


def test_the_warning_names_each_column_once_by_its_best_encoder() -> None:
    found: dict[str, tuple[str, Interval]] = {}
    for name, encoder, value in (("b", "bag", 0.9), ("b", "rnn", 0.99), ("a", "bag", 0.5), ("b", "cnn", 0.8)):
        found = telling.best_of(found, name, encoder, Interval(value, value - 0.02, value + 0.01, 100))
    said = telling.warning(found, "auroc", "val")
    assert "AUROC on val: b (rnn) 0.990 [0.970, 1.000]. The table may give its answer away" in said
    assert "bag" not in said and " a " not in said.partition("val: ")[2].partition(".")[0]
    assert telling.warning({}, "auroc", "val") == ""
