from __future__ import annotations

import unicodedata

import pytest

from mmcli.modalities import category
from mmcli.tables.names import lacking, listed, tidy
from mmcli.tasks import classification, multilabel

NFD = unicodedata.normalize("NFD", "café")


@pytest.mark.parametrize("name", ["tea ", " tea", "tea\t", "\u00a0tea", "tea\u3000", "\ufefftea", "tea\u200b \u200e"])
def test_blanks_around_a_name_do_not_count(name: str) -> None:
    assert tidy(name) == "tea"


@pytest.mark.parametrize(
    ("name", "kept"), [(NFD, "café"), ("a  b", "a  b"), ("👩\u200d👧", "👩\u200d👧"), ("Ａ", "Ａ"), ("", "")]
)
def test_letters_are_composed_and_nothing_else(name: str, kept: str) -> None:
    assert tidy(name) == kept


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ('["cat", "dog"]', ["cat", "dog"]),
        (' [ "a, b" ] ', ["a, b"]),
        ("[]", []),
        ("['cat', 'it is']", ["cat", "it is"]),
        ("['cat',]", ["cat"]),
        ("[1, 2.5, true, null]", ["1", "2.5", "true"]),
        ('["a", ["b"]]', None),
        ('[{"a": 1}]', None),
        ("[cat]", None),
        ("cat, dog", None),
        ('["cat"', None),
    ],
)
def test_lists_of_names(cell: str, names: list[str] | None) -> None:
    assert listed(cell) == names


def rows(*cells: str) -> list[tuple[str | None, ...]]:
    return [(cell,) for cell in cells]


def test_classes_that_look_the_same_are_one() -> None:
    cells = rows("tea", "tea ", NFD, "café", " tea")
    task = classification.Classification.fit(classification.Config(), cells, ["drink"])
    assert (task.classes, task.counts) == (["café", "tea"], [2, 3])
    assert task.encode(rows("tea\u00a0", NFD)).tolist() == [1, 0]
    assert classification.Classification.strata(classification.Config(), cells) == ["tea", "tea", "café", "café", "tea"]


def test_categories_that_look_the_same_are_one() -> None:
    modality = category.Category.fit(category.Config(), iter(["café", NFD, "tea", "tea "]))
    assert modality.names == ["café", "tea"]
    assert modality.transform([NFD + " ", "tea", None]).column.values[:2, 0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("separator", ["", ",", "|"])
def test_labels_in_lists(separator: str) -> None:
    cells = rows(*['["cat", "a, b"]', '["cat "]', "[]", '["a, b"]'] * 3)
    config = multilabel.Config(separator=separator)
    assert multilabel.Multilabel.sniff(config, cells).confidence == 1.0
    task = multilabel.Multilabel.fit(config, cells, ["tags"])
    assert task.labels == ["a, b", "cat"]
    targets = task.encode(cells[:4])
    assert targets.tolist() == [[1, 1], [0, 1], [0, 0], [1, 0]]
    again = multilabel.Multilabel.from_state(task.state())
    outputs = (targets * 2 - 1).repeat(1, 2) * 9
    outputs[:, 2:] = 0
    assert again.decode(outputs)[""] == ['["a, b", "cat"]', '["cat"]', "[]", '["a, b"]']


def test_lists_of_numbers_are_no_labels_unless_told() -> None:
    cells = rows(*["[1, 2]", "[2]", "[3]"] * 4)
    assert multilabel.Multilabel.sniff(multilabel.Config(), cells).confidence == 0.0
    assert multilabel.Multilabel.fit(multilabel.Config(), cells, ["ids"]).labels == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["price", "rate"], "columns price, rate (did you mean 'Price ' and 'RATE'?)"),
        (["dpth"], "column dpth (did you mean 'depth'?)"),
        (["weights"], "column weights"),
    ],
)
def test_a_column_that_a_table_lacks_may_be_there_by_nearly_that_name(missing: list[str], said: str) -> None:
    columns = ["Price ", "weight", "RATE", "depth", "target"]
    assert lacking("t.csv", missing, [*missing, "weight"], columns) == f"t.csv lacks the {said}: absent in every row"
