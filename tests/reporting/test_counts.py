"""Counts agree with what they count."""

from __future__ import annotations

import pytest

from mmcli.reporting.counts import agreed, counted, them


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (0, "cell", "0 cells"),
        (1, "cell", "1 cell"),
        (1234, "cell", "1,234 cells"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (2, "different text", "2 different texts"),
        (3, "epoch", "3 epochs"),
    ],
)
def test_what_is_counted(count: int, noun: str, said: str) -> None:
    assert counted(count, noun) == said


def test_verbs_agree() -> None:
    assert [agreed(1, verb) for verb in ("count", "have", "are", "do")] == ["counts", "has", "is", "does"]
    assert [agreed(count, "have") for count in (0, 2)] == ["have", "have"]
    assert [them(count) for count in (1, 2)] == ["it", "them"]
