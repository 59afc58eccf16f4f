from __future__ import annotations

import pytest

from mmcli.modalities.date import Config, Date


@pytest.mark.parametrize(
    ("cells", "form", "parts"),
    [
        (["2026-11-23", "2026-11-25"], "%Y-%m-%d", [11.0, 23, 1.0]),
        (["2026年11月23日", "2026年11月25日"], "%Y年%m月%d日", [11.0, 23, 1.0]),
        (["23/11/2026", "25/11/2026"], "%d/%m/%Y", [11.0, 23, 1.0]),
        (["11/23/2026", "11/25/2026"], "%m/%d/%Y", [11.0, 23, 1.0]),
        (["23.11.2026", "25.11.2026"], "%d.%m.%Y", [11.0, 23, 1.0]),
    ],
)
def test_formats_and_parts(cells: list[str], form: str, parts: list[float]) -> None:
    fitted = Date.fit(Config(), iter(cells))
    assert fitted.form == form
    moment, year, month, day, weekday = fitted.transform(cells).column.values[0].tolist()
    assert moment == pytest.approx(-1.0)
    assert year == pytest.approx(2.6)
    assert [month, round(day * 9 + 15.5), weekday] == parts


@pytest.mark.parametrize(
    ("cells", "written"),
    [
        (["2025-03-23T02:00:00Z", "2025-03-24T03:00:00Z"], "%Y-%m-%dT%H:%M:%S%z"),
        (["2025-03-23T02:00:00", "2025-03-24T03:00:00"], "%Y-%m-%dT%H:%M:%S"),
        (["2025-03-23 02:00:00", "2025-03-24 03:00:00"], "%Y-%m-%d %H:%M:%S"),
        (["2025-03-23T02:00+01:00", "2025-03-24T03:10+01:00"], "%Y-%m-%dT%H:%M%z"),
        (["2025-03-23 02:00:00.25", "2025-03-24 03:00:00.5"], "%Y-%m-%d %H:%M:%S.%f"),
        (["2025-03-23", "2025-03-24"], "%Y-%m-%d"),
        (["23.03.2025 02:00", "24.03.2025 03:00"], "%d.%m.%Y %H:%M"),
    ],
)
def test_the_format_told_is_that_of_the_cells(cells: list[str], written: str) -> None:
    assert Date.sniff(cells, "").reason == f"dates, written {written}"


def test_times_bring_hours_and_minutes() -> None:
    fitted = Date.fit(Config(), iter(["2026-11-23T08:30:00Z", "2026-11-24T09:30:00Z"]))
    assert len(fitted.describe().fields) == 7
    values = fitted.transform(["2026-11-23T08:30:00Z"]).column.values[0]
    assert values[5].item() == 9.0  # the id of the hour 8
    assert values[6].item() == pytest.approx(0.0)


def test_what_is_no_date_is_rejected() -> None:
    encoded = Date.fit(Config(), iter(["2026-01-01"])).transform(["2026-02-30", "2026-02-28"])
    assert encoded.rejects[0].reason == "not a date written %Y-%m-%d"
    assert encoded.column.present.tolist() == [False, True]


def test_the_moment_counts_the_zone_and_the_hour_is_the_one_written() -> None:
    fitted = Date.fit(Config(), iter(["2026-11-23T08:00:00+00:00", "2026-11-24T08:00:00+00:00"]))
    values = fitted.transform(["2026-11-23T08:00:00+00:00", "2026-11-23T13:30:00+05:30"]).column.values
    assert values[0, 0].item() == pytest.approx(values[1, 0].item())
    assert values[:, 5].tolist() == [9.0, 14.0]


def test_times_of_day_have_no_day() -> None:
    fitted = Date.fit(Config(), iter(["12:30", "18:00"]))
    assert [field.name for field in fitted.describe().fields] == ["moment", "hour", "minute"]
    assert fitted.transform(["12:30"]).column.values[0, 1].item() == 13.0


def test_words_that_mean_missing_are_told() -> None:
    encoded = Date.fit(Config(), iter(["2026-01-01"])).transform(["NA", "soon"])
    assert encoded.remarks == {"with 'NA', which counts as missing": 1}
    assert [reject.cell for reject in encoded.rejects] == ["soon"]
