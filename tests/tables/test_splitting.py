from __future__ import annotations

from collections import Counter

import pytest

from mmcli.errors import ConfigError, DataError
from mmcli.tables.moments import moments
from mmcli.tables.splitting import deal, draw_splits, names_splits, spelled_splits, split_by_time, strange


def test_drawing_is_stratified_and_repeatable() -> None:
    strata = ["a"] * 100 + ["b"] * 40
    splits = draw_splits(strata, None, 0.2, 0.1, seed=0)
    assert Counter(splits[:100]) == {"train": 70, "val": 20, "test": 10}
    assert Counter(splits[100:]) == {"train": 28, "val": 8, "test": 4}
    assert splits == draw_splits(strata, None, 0.2, 0.1, seed=0)
    assert splits != draw_splits(strata, None, 0.2, 0.1, seed=1)


def test_every_class_keeps_a_row_to_train_on() -> None:
    for seed in range(20):
        assert draw_splits(["rare"], None, 0.45, 0.45, seed) == ["train"]
        assert "train" in draw_splits(["rare", "rare"], None, 0.45, 0.45, seed)


def test_groups_never_straddle() -> None:
    groups = [f"g{i // 5}" for i in range(100)]
    splits = draw_splits(["a", "b"] * 50, groups, 0.2, 0.2, seed=3)
    assert all(len(set(splits[i : i + 5])) == 1 for i in range(0, 100, 5))
    assert {"train", "val", "test"} == set(splits)


def test_shares_that_leave_nothing_to_train_on() -> None:
    with pytest.raises(ConfigError, match="leave no rows to train on"):
        draw_splits(["a"], None, 0.5, 0.5, 0)


def test_spellings() -> None:
    assert spelled_splits(["Train", "dev", "valid", "TEST"], "s") == ["train", "val", "val", "test"]
    assert names_splits(["train", "test"])
    assert not names_splits(["train", None])
    assert spelled_splits(["train", "validation", "holdout"], "s") == ["train", "val", "test"]
    with pytest.raises(DataError, match="row 2, column 's': 'banana' is not a split"):
        spelled_splits(["train", "banana"], "s")
    with pytest.raises(DataError, match="row 2, column 's': a blank cell names no split"):
        spelled_splits(["train", None], "s")


def test_which_cells_are_strange() -> None:
    assert strange(["train", "", "banana", None, "dev", "eval", "1"]) == [1, 2, 3, 6]
    assert strange(["0", "3", "1.0", ""]) == [1, 3]


def test_numbers_are_splits_only_among_themselves() -> None:
    assert spelled_splits(["0", "1", "2", " 0"], "s") == ["train", "val", "test", "train"]
    assert names_splits(["0", "1"])
    assert not names_splits(["0", "3"])
    with pytest.raises(DataError, match="row 2, column 's': '1' is not a split"):
        spelled_splits(["train", "1"], "s")


def test_eval_is_whichever_split_the_others_leave() -> None:
    assert spelled_splits(["train", "eval", "test"], "s") == ["train", "val", "test"]
    assert spelled_splits(["train", "dev", "eval"], "s") == ["train", "val", "test"]
    assert spelled_splits(["train", "eval"], "s") == ["train", "test"]


def test_by_time_the_last_rows_are_test_and_a_moment_is_never_divided() -> None:
    when = [5.0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert split_by_time(when, 0.2, 0.2) == ["train"] * 6 + ["val", "val", "test", "test"]
    tied = [1.0, 2, 3, 4, 5, 6, 6, 6, 9, 10]  # val would begin amid the sixes: they stay in train
    assert split_by_time(tied, 0.2, 0.2) == ["train"] * 8 + ["test", "test"]
    with pytest.raises(ConfigError, match="leave no rows to train on"):
        split_by_time(when, 0.5, 0.5)


def test_moments_are_dates_or_numbers_and_a_cell_that_is_neither_is_named() -> None:
    assert moments(["2024-03-02", "2024-03-01"], [1, 2], "day") == [19784.0, 19783.0]
    assert moments(["1.999", "2001"], [1, 2], "year") == [1.999, 2001.0]
    assert moments(["25.04.2024 23:30", "26.04.2024 00:15"], [1, 2], "at")[1] - 19839 == pytest.approx(0.25 / 24)
    with pytest.raises(DataError, match=r"row 7, column 'day': 'soon' is not a date written %Y-%m-%d"):
        moments(["2024-03-02"] * 10 + ["soon"], [*range(10, 20), 7], "day")
    with pytest.raises(DataError, match="row 3, column 'day': no time"):
        moments(["2024-03-02", None], [1, 3], "day")


def test_parts_are_of_one_size_and_each_class_is_spread_evenly() -> None:
    strata = ["a"] * 41 + ["b"] * 22 + ["rare"]
    parts = deal(strata, None, 4, seed=0)
    assert parts == deal(strata, None, 4, seed=0)
    assert parts != deal(strata, None, 4, seed=1)
    assert sorted(Counter(parts).values()) == [16, 16, 16, 16]
    assert sorted(Counter(parts[:41]).values()) == [10, 10, 10, 11]
    assert sorted(Counter(parts[41:63]).values()) == [5, 5, 6, 6]


def test_a_group_is_of_one_part() -> None:
    groups = [f"g{i // 5}" for i in range(100)]
    parts = deal(["a", "b"] * 50, groups, 4, seed=3)
    assert all(len(set(parts[i : i + 5])) == 1 for i in range(0, 100, 5))
    assert sorted(Counter(parts).values()) == [25, 25, 25, 25]
    with pytest.raises(ConfigError, match="20 groups of train cannot be dealt into 21 parts"):
        deal(["a"] * 100, groups, 21, seed=0)


def test_groups_of_one_class_each_fill_every_part() -> None:
    """Where parts lack as much of a class, the one that has least of all is given to."""
    strata = [f"c{i // 15}" for i in range(150)]
    groups = [f"g{i // 5}" for i in range(150)]  # thirty groups, three of each class
    assert sorted(Counter(deal(strata, groups, 4, seed=0)).values()) == [30, 40, 40, 40]
    with pytest.raises(ConfigError, match="3 groups of train cannot be dealt into 4 parts"):
        deal(["a"] * 6, ["x", "x", "y", "y", "z", "z"], 4, seed=0)


def test_the_cell_that_is_no_number_is_named_not_the_first() -> None:
    with pytest.raises(DataError, match="row 3, column 'step': 'x' is not a date or a number"):
        moments(["1", "2", "x"], [1, 2, 3], "step")
