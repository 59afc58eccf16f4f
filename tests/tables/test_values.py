"""Lists of numbers in cells."""

from __future__ import annotations

import math

from mmcli.tables.numbers import NumberFormat, study
from mmcli.tables.values import numbers


def test_numbers_with_more_digits_than_a_float_holds_are_endless() -> None:
    assert numbers(f"[{'9' * 400}, 1]") == [math.inf, 1.0]
    assert numbers(f"[{'9' * 5000}, -{'9' * 5000}]") == [math.inf, -math.inf]
    assert numbers(f"[{'9' * 300}]") == [1e300]


def test_where_all_are_percent_a_bare_number_is_a_share_or_none() -> None:
    """43.4 is no share, and whether its sign was forgotten nobody knows."""
    form = study(["43.4%", "12 %", "150%"]).format
    assert form.units_said == " (in %)"
    said = ["43.4%", "43.4", "43,4", "-2", "0.434", "1", "150%", "1.5"]
    assert [form.value(cell) for cell in said] == [0.434, None, None, None, 0.434, 1.0, 1.5, None]
    assert [bool(form.remark(cell)) for cell in ("43.4%", "12 ％", "0.434", "1")] == [False, False, True, True]
    assert form.why_not("43.4") == "not a number (in %)"
    assert form.why_not("-inf") == "not finite"
    assert NumberFormat.from_state(form.state()) == form
    mixed = study(["43.4%", "12"]).format
    assert (mixed.value("43.4"), mixed.units_said) == (43.4, "")
    assert NumberFormat.from_state({"decimal": ".", "units": [], "letters": False}).value("43.4") == 43.4  # of before
