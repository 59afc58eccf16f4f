"""docs/cases.md holds: each row of its tables of roles, missing words, numbers and dates is read here as the page says."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from mmcli.data.schema import infer
from mmcli.options.columns import Roles
from mmcli.tables import dates, missing, numbers
from mmcli.tables.reading import open_table
from tests.conftest import ROOT, write_csv

PAGE = (ROOT / "docs" / "cases.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, but for its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [line.strip("|").split("|") for line in lines[2:]]


def after(title: str, words: str) -> list[str]:
    """The spans of the line that begins with these words."""
    return spans(next(line for line in section(title).splitlines() if line.startswith(words)).removeprefix(words))


def test_the_page_has_what_the_tests_read() -> None:
    assert (len(rows("Roles")), len(rows("Numbers")), len(rows("Dates"))) == (25, 34, 34)


@pytest.mark.parametrize(("cells", "values"), [(spans(cells), spans(values)) for cells, values in rows("Numbers")])
def test_numbers(cells: list[str], values: list[str]) -> None:
    found = numbers.study(cells)
    assert not found.others
    assert found.values == [float(value) if abs(float(value)) < numbers.EXACT else int(value) for value in values]
    assert [found.format.value(cell) for cell in cells] == found.values
    again = numbers.NumberFormat.from_state(found.format.state())
    assert [again.value(cell) for cell in cells] == found.values


@pytest.mark.parametrize("cell", after("Numbers", "None of these"))
def test_what_is_no_number(cell: str) -> None:
    assert numbers.study([cell]).values == []
    assert not numbers.is_number(cell)


@pytest.mark.parametrize(("cells", "moments"), [(spans(cells), spans(moments)) for cells, moments in rows("Dates")])
def test_dates(cells: list[str], moments: list[str]) -> None:
    found = dates.study(cells)
    assert found.form is not None
    assert [dates.date(cell, found.form) for cell in cells] == [datetime.fromisoformat(moment) for moment in moments]


@pytest.mark.parametrize("cell", after("Dates", "None of these"))
def test_what_is_no_date(cell: str) -> None:
    assert dates.study([cell]).form is None


def test_a_date_of_which_day_and_month_may_be_exchanged_is_said_to_be_so() -> None:
    assert "03/04/2024 may be read in two ways" in dates.study(["03/04/2024", "05/06/2024"]).decided
    assert dates.study(["03/04/2024", "25/06/2024"]).decided == ""


@pytest.mark.parametrize("word", [*after("Missing", "`NA`"), "NA", "na", " NaN ", "#n/a"])
def test_words_that_mean_missing(word: str) -> None:
    assert missing.is_word(word)


@pytest.mark.parametrize("word", after("Missing", "Not these"))
def test_words_that_do_not(word: str) -> None:
    assert not missing.is_word(word)


@pytest.mark.parametrize(("name", "cells", "role"), [(spans(a)[0], spans(b), c.strip()) for a, b, c in rows("Roles")])
@pytest.mark.parametrize("last", [False, True])
def test_roles(tmp_path: Path, name: str, cells: list[str], role: str, last: bool) -> None:
    """Wherever the column stands: never the default target."""
    column = [str(3 * row + 5) if cells == ["*"] else cells[row % len(cells)] for row in range(60)]
    texts = [f"one of many notes, number {row * 7919 % 60}" for row in range(60)]
    kinds = ["xyzuvw"[row * 7 % 11 % 6] for row in range(60)]
    order = [1, 2, 0] if last else [0, 1, 2]
    header, body = [name, "note", "kind"], list(zip(column, texts, kinds, strict=True))
    path = write_csv(tmp_path / "t.csv", [header[i] for i in order], [[row[i] for i in order] for row in body])
    found = infer(open_table(path), Roles(target=("kind",)) if role == "input" else Roles())
    roles = {found.split: "split", found.group: "group", found.id: "id", **{item.name: "input" for item in found.columns}}
    assert found.targets == ["kind"]
    assert roles.get(name, "left out") == role
    assert role == "input" or any(repr(name) in line for line in found.announcements)
