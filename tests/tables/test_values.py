"""Lists of numbers in cells."""

from __future__ import annotations

import math

from mmcli.tables.values import numbers


def test_numbers_with_more_digits_than_a_float_holds_are_endless() -> None:
    assert numbers(f"[{'9' * 400}, 1]") == [math.inf, 1.0]
    assert numbers(f"[{'9' * 5000}, -{'9' * 5000}]") == [math.inf, -math.inf]
    assert numbers(f"[{'9' * 300}]") == [1e300]
