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


def test_whole_numbers_beyond_floats_are_told_apart() -> None:
    cells = [str(2**53 + step) for step in range(5)]
    fitted = Number.from_state(Number.fit(Config(), iter(cells)).state())
    values = fitted.transform(cells).column.values[:, 0]
    assert values.diff().tolist() == pytest.approx([1 / math.sqrt(2)] * 4, rel=1e-5)


def test_what_the_column_decided_holds_for_new_cells() -> None:
    fitted = Number.from_state(Number.fit(Config(), iter(["1.234,5 kg", "0,5 kg"])).state())
    encoded = fitted.transform(["1.234 kg", "2,5", "NA", "3 lb", "?"])
    assert [fitted.value(float(value)) for value in encoded.column.values[:2, 0]] == pytest.approx([1234.0, 2.5], rel=1e-5)
    assert encoded.remarks == {"with 'NA', which counts as missing": 1, "with '?', which counts as missing": 1}
    assert [(reject.position, reject.reason) for reject in encoded.rejects] == [(3, "not a number (in kg)")]
    kept = Number.fit(Config(missing_words=False), iter(["1", "2"])).transform(["NA"])
    assert kept.rejects[0].cell == "NA"


def test_the_decimal_mark_may_be_told() -> None:
    assert Number.fit(Config(decimal="comma"), iter(["1,234", "5,678"])).centre == pytest.approx(3.456)
    assert Number.fit(Config(), iter(["1,234", "5,678"])).centre == pytest.approx(3456)


def test_infinite_cells_are_unreadable_and_say_so() -> None:
    fitted = Number.fit(Config(), iter(["1", "inf", "3"]))
    assert fitted.value(0.0) == 2
    encoded = fitted.transform(["-Infinity", "2", "+INF", "infant"])
    assert encoded.column.present.tolist() == [False, True, False, False]
    assert [(own.position, own.reason) for own in encoded.rejects] == [
        (0, "not finite"),
        (2, "not finite"),
        (3, "not a number"),
    ]


def test_nothing_but_infinite_cells_are_no_numbers() -> None:
    assert Number.sniff(["inf", "-inf", "inf"], ".").confidence == 0
