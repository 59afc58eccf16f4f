"""What a spreadsheet would run has an apostrophe before it; numbers and all else stay as they are."""

from __future__ import annotations

import pandas as pd
import pytest

from mmcli.tables.formulas import guarded
from mmcli.tables.writing import guarded_frame


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        '=HYPERLINK("http://x","y")',
        "+cmd|' /C calc'!A0",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(A1:A9)",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "＝1+1",
        "-1-1",
        "-abc",
        "- a list",
        "=5",
        "-infty(A1)",
        "=inf",
    ],
)
def test_formulas_are_guarded(cell: str) -> None:
    assert guarded(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "text",
        "a=1",
        " =1",
        "-3",
        "+3",
        "-1.5e-7",
        "-1,234.5",
        "-1.234,5",
        "-0,125",
        "-1 234,5",
        "-12%",
        "-$5",
        "-5 €",
        "+.5",
        "-",
        "'=1",
        "１２",
        "-inf",
        "+Infinity",
    ],
)
def test_numbers_and_other_cells_stay(cell: str) -> None:
    assert guarded(cell) == cell


def test_a_frame_keeps_its_numbers_its_gaps_and_its_rows() -> None:
    frame = pd.DataFrame({"a": ["=1", None, "x"], "=b": ["-5", "@c", "y"], "n": [-1, 2, 3]}, dtype=object)
    frame["p"] = pd.array(["=cat", "dog", "dog"], dtype="string")
    frame["n"] = frame["n"].astype(int)
    safe, count = guarded_frame(frame)
    assert count == 4, "the cells =1, @c, =cat and the header =b"
    assert list(safe.columns) == ["a", "'=b", "n", "p"]
    assert safe["a"].tolist() == ["'=1", None, "x"]
    assert safe["'=b"].tolist() == ["-5", "'@c", "y"]
    assert safe["p"].tolist() == ["'=cat", "dog", "dog"]
    assert safe["n"].tolist() == [-1, 2, 3]
    assert frame["a"].tolist() == ["=1", None, "x"], "the one given is as it was"
    same, none = guarded_frame(pd.DataFrame({"a": ["x", None]}))
    assert none == 0 and list(same.columns) == ["a"]
