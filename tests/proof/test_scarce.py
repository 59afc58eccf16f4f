"""Means over classes that rest on few rows are told to."""

from __future__ import annotations

import pytest

from mmcli.proof import scarce
from mmcli.reporting.classes import ClassScore

SCORES = [ClassScore(name, rows, rows, rows) for name, rows in (("dog", 40), ("fox", 4), ("elk", 0), ("emu", 5))]


def test_classes_of_few_test_rows_are_named_with_their_rows_the_fewest_first() -> None:
    assert scarce.warning(SCORES, "balanced_accuracy", "class") == (
        "balanced accuracy is a mean over classes, and 2 of 4 have fewer than 5 test rows ('elk' 0, 'fox' 4): it is less "
        "certain than its interval says, which knows no other rows of them. More test rows are needed to trust it"
    )
    many = [*SCORES, *(ClassScore(f"l{n}", 1, 1, 1) for n in range(6))]
    told = scarce.warning(many, "macro_f1", "label")
    assert told.startswith("macro F1 is a mean over labels, and 8 of 10 have fewer than 5 test rows ('elk' 0, 'l0' 1, ")
    assert "'l4' 1, and 2 more)" in told


@pytest.mark.parametrize(("scores", "metric"), [(SCORES, "accuracy"), (SCORES[:1], "balanced_accuracy"), ([], "macro_f1")])
def test_nothing_is_said_where_rows_count_alike_or_are_enough(scores: list[ClassScore], metric: str) -> None:
    assert scarce.warning(scores, metric, "class") == ""
