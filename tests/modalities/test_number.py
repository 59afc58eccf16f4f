from __future__ import annotations

import math

import pytest
import torch

from mmcli.modalities.number import Config, Number
from mmcli.tables.numbers import number


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("3", 3.0),
        (" -2.5 ", -2.5),
        ("1e5", 1e5),
        ("1,234.5", 1234.5),
        ("-1,000,000", -1e6),
        ("12%", 0.12),
        ("$9.99", 9.99),
        ("￥１２", 12.0),
        ("−4", -4.0),
        ("1,23", 1.23),
        ("12,34,567", 1234567.0),
        ("nan", None),
        ("inf", None),
        ("1_000", None),
        ("abc", None),
        ("", None),
        ("--3", None),
    ],
)
def test_what_a_cell_says(cell: str, value: float | None) -> None:
    assert number(cell) == (None if value is None else pytest.approx(value))


def test_standardised_by_the_train_cells() -> None:
    fitted = Number.fit(Config(), iter(["1", "2", "3", "x"]))
    column = fitted.transform(["2", "3", None, "x"]).column
    assert column.values[:2, 0].tolist() == pytest.approx([0.0, 1 / math.sqrt(2 / 3)])
    assert column.values[2:].isnan().all()
    assert column.present.tolist() == [True, True, False, False]
    assert fitted.value(float(column.values[1, 0])) == pytest.approx(3.0)


def test_a_heavy_tail_does_not_squeeze_the_rest_when_robust() -> None:
    cells = [str(value) for value in [*range(100), 10**9]]
    standard = Number.fit(Config(), iter(cells)).transform(["0", "99"]).column.values
    robust = Number.fit(Config(scale="robust"), iter(cells))
    assert (standard[1] - standard[0]).item() < 1e-5
    values = robust.transform(["0", "99", "1000000000"]).column.values[:, 0]
    assert (values[1] - values[0]).item() > 1.5
    assert 2.9 < values[2].item() <= 3.0
    assert robust.value(float(values[1])) == pytest.approx(99.0, rel=1e-4)


def test_a_constant_and_a_giant_stay_finite() -> None:
    column = Number.fit(Config(), iter(["5", "5"])).transform(["5", "1e300"]).column
    assert column.values[0].item() == 0.0
    assert torch.isfinite(column.values).all()
