"""JSON that any reader takes."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from mmcli.reporting import strict


def refuse(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


def test_what_is_no_number_or_endless_is_null_at_any_depth() -> None:
    found = {"a": math.nan, "b": [1.5, -math.inf, (np.float64("nan"), "naïve")], "c": {"d": math.inf, "e": None, "f": True}}
    read = json.loads(strict.text(found), parse_constant=refuse)
    assert read == {"a": None, "b": [1.5, None, [None, "naïve"]], "c": {"d": None, "e": None, "f": True}}
    assert "naïve" in strict.text(found)
    with pytest.raises(TypeError):
        strict.text({"a": object()})
    assert strict.text({"a": 1j}, default=str) == '{"a": "1j"}'


def test_nulls_of_scores_and_intervals_are_no_numbers_again_and_other_nulls_stay() -> None:
    found = {
        "val": {"auroc": math.nan, "loss": 0.5},
        "history": [{"val": {"eer": math.nan}, "reason": None}],
        "gain": {"value": 0.1, "low": math.nan, "high": math.nan, "n": 3},
        "latency_ms": None,
        "rows": [{"name": "none", "val": None}],
        "low": None,
    }
    read = strict.numbers(json.loads(strict.text(found), parse_constant=refuse))
    assert math.isnan(read["val"]["auroc"]) and read["val"]["loss"] == 0.5
    assert math.isnan(read["history"][0]["val"]["eer"]) and read["history"][0]["reason"] is None
    assert math.isnan(read["gain"]["low"]) and math.isnan(read["gain"]["high"]) and read["gain"]["n"] == 3
    assert read["latency_ms"] is None and read["low"] is None and read["rows"][0]["val"] is None
