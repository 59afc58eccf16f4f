"""Which rows train, which validate, which test.

Splits are told by a column of the table or drawn: stratified by target, whole groups together, the same for the same seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from typing import Any

import numpy as np

from mmcli.errors import ConfigError, DataError
from mmcli.reporting.counts import counted

TRAIN, VAL, TEST, UNLABELLED = "train", "val", "test", "unlabelled"
SPLITS = (TRAIN, VAL, TEST)
BOTH = "train and val"
"""Where nothing is left to be val: rows that are trained on, and looked at while training as well, which proves nothing."""
_SPELLINGS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "dev": VAL,
    "test": TEST,
    "testing": TEST,
    "holdout": TEST,
    "训练": TRAIN,
    "训练集": TRAIN,
    "验证": VAL,
    "验证集": VAL,
    "测试": TEST,
    "测试集": TEST,
}
_NUMBERED = {"0": TRAIN, "1": VAL, "2": TEST, "0.0": TRAIN, "1.0": VAL, "2.0": TEST}
"""Ludwig's, in columns that hold nothing else."""
_EVAL = "eval"
"""Val in one data set and test in another: see `_spellings`."""
WORDS = "train, val (valid, validation, dev), test (eval, holdout), or 0, 1 and 2 for these"


def spelled_splits(cells: Sequence[str | None], column: str) -> list[str]:
    """The splits that a column names: `dev`, `valid` and the like understood, and 0, 1, 2 for train, val, test.

    Raises:
        DataError: naming the first row that names none.
    """
    spellings = _spellings({_word(cell) for cell in cells})
    splits = []
    for row, cell in enumerate(cells, 1):
        split = spellings.get(_word(cell))
        if split is None:
            found = f"{cell!r} is not a split" if _word(cell) else "a blank cell names no split"
            raise DataError(f"row {row}, column {column!r}: {found}", f"Expected {WORDS}.")
        splits.append(split)
    return splits


def train_or_other(cell: str | None) -> str:
    """Whether a cell says train, for a look at a part of a column; numbers are taken for those of Ludwig."""
    word = _word(cell)
    return _SPELLINGS.get(word, _NUMBERED.get(word, _EVAL))


def names_splits(cells: Sequence[str | None]) -> bool:
    """Whether every cell names a split."""
    words = {_word(cell) for cell in cells}
    return bool(words) and words <= _spellings(words).keys()


def strange(cells: Sequence[str | None]) -> list[int]:
    """The places of the cells that name no split, from 0; numbers are judged as such where no cell is a word."""
    words = [_word(cell) for cell in cells]
    spelled = {word for word in words if word in _SPELLINGS or word == _EVAL}
    known = _spellings(spelled) if spelled else _NUMBERED
    return [place for place, word in enumerate(words) if word not in known]


def is_blank(cell: str | None) -> bool:
    """Whether a cell of a column of splits says nothing."""
    return not _word(cell)


def says_train(cells: Sequence[str | None]) -> bool:
    """Whether cells are nothing but names of splits, spelled out, train among several: no other column looks so."""
    words = {_word(cell) for cell in cells}
    named = {_SPELLINGS.get(word) for word in words - {_EVAL}}
    return len(words) > 1 and TRAIN in named and None not in named


def _word(cell: str | None) -> str:
    return (cell or "").strip().lower()


def _spellings(words: Set[str]) -> dict[str, str]:
    """Word -> split, for a column of these words. `eval` is val beside a test and no val, else test."""
    if words <= _NUMBERED.keys():
        return _NUMBERED
    named = {_SPELLINGS.get(word) for word in words}
    return {**_SPELLINGS, _EVAL: VAL if TEST in named and VAL not in named else TEST}


def draw_splits(strata: Sequence[str], groups: Sequence[str] | None, val: float, test: float, seed: int) -> list[str]:
    """Draws val and test from the rows so that each stratum (class) keeps its share; a group is never divided.

    Raises:
        ConfigError: the shares leave nothing to train on.
    """
    if val + test >= 1:
        raise ConfigError(f"--val {val} and --test {test} leave no rows to train on", "Their sum must be below 1.")
    generator = np.random.default_rng(seed)
    if groups is not None:
        return _deal_groups(strata, groups, {TRAIN: 1 - val - test, VAL: val, TEST: test}, generator)
    splits = [TRAIN] * len(strata)
    rows_of: dict[str, list[int]] = {}
    for row, stratum in enumerate(strata):
        rows_of.setdefault(stratum, []).append(row)
    for stratum in sorted(rows_of):
        rows = generator.permutation(rows_of[stratum])
        # Rounding up or down at random keeps the overall share right where classes are small; one row stays to train on.
        for_val = min(int(val * len(rows) + generator.random()), len(rows) - 1)
        for_test = min(int(test * len(rows) + generator.random()), len(rows) - 1 - for_val)
        for place, row in enumerate(rows[: for_val + for_test]):
            splits[row] = VAL if place < for_val else TEST
    return splits


def _deal_groups(
    strata: Sequence[str], groups: Sequence[str], shares: dict[str, float], generator: np.random.Generator
) -> list[str]:
    """Whole groups, largest first, each to the split that lacks most of its classes."""
    classes = {stratum: i for i, stratum in enumerate(sorted(set(strata)))}
    counts: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
    for stratum, group in zip(strata, groups, strict=True):
        counts.setdefault(group, np.zeros(len(classes)))[classes[stratum]] += 1
    total = sum(counts.values(), np.zeros(len(classes)))
    lacking = {split: share * total for split, share in shares.items() if share > 0}
    names = [list(counts)[i] for i in generator.permutation(len(counts))]
    dealt: dict[str, str] = {}
    for group in sorted(names, key=lambda name: -counts[name].sum()):
        # Where two lack as much of its classes, the one that lacks more of all rows: else one may get nothing at all.
        split = max(lacking, key=lambda name: (round(float(counts[group] / total @ lacking[name]), 9), lacking[name].sum()))
        lacking[split] -= counts[group]
        dealt[group] = split
    return [dealt[group] for group in groups]


def split_by_time(moments: Sequence[float], val: float, test: float) -> list[str]:
    """The last rows are test, those before them val, the first ones train; rows of one moment are never divided: they go to the
    earlier split, so that nothing is known of what is yet to come.

    Raises:
        ConfigError: the shares leave nothing to train on.
    """
    if val + test >= 1:
        raise ConfigError(f"--val {val} and --test {test} leave no rows to train on", "Their sum must be below 1.")
    when = np.asarray(moments, dtype=float)
    ordered = np.sort(when)
    first_test = len(when) - round(test * len(when))
    first_val = max(first_test - round(val * len(when)), 0)
    last_train = ordered[first_val - 1] if first_val else -np.inf
    last_val = ordered[first_test - 1] if first_test else -np.inf
    return [TRAIN if own <= last_train else VAL if own <= last_val else TEST for own in when]


def deal(strata: Sequence[str], groups: Sequence[str] | None, parts: int, seed: int) -> list[int]:
    """The part of each row, from 0: parts of one size, each stratum spread evenly over them; a group is never divided. The same
    for the same seed.

    Raises:
        ConfigError: there are fewer rows, or groups, than parts.
    """
    units = len(set(groups)) if groups is not None else len(strata)
    if units < parts:
        what = counted(units, "row" if groups is None else "group")
        raise ConfigError(f"{what} of train cannot be dealt into {parts} parts", "Ask for fewer --folds.")
    generator = np.random.default_rng(seed)
    if groups is not None:
        shares = {str(part): 1 / parts for part in range(parts)}
        parts_of = [int(part) for part in _deal_groups(strata, groups, shares, generator)]
        if len(set(parts_of)) < parts:
            what = counted(units, "group")
            raise ConfigError(f"{what} of train cannot be dealt into {parts} parts", "Ask for fewer --folds.")
        return parts_of
    rows_of: dict[str, list[int]] = {}
    for row, stratum in enumerate(strata):
        rows_of.setdefault(stratum, []).append(row)
    order = [int(row) for stratum in sorted(rows_of) for row in generator.permutation(rows_of[stratum])]
    dealt = [0] * len(strata)
    for place, row in enumerate(order):  # one after the other: where a stratum ends, the next goes on
        dealt[row] = place % parts
    return dealt


def carve_val(splits: Sequence[str], strata: Sequence[str], groups: Sequence[str] | None, val: float, seed: int) -> list[str]:
    """The splits with that share of the train rows moved to val, drawn as `draw_splits` draws."""
    result = list(splits)
    train = [i for i, name in enumerate(splits) if name == TRAIN]
    own = [groups[i] for i in train] if groups else None
    for i, name in zip(train, draw_splits([strata[i] for i in train], own, val, 0.0, seed), strict=True):
        result[i] = name
    return result


def check_splits(splits: Sequence[str], val: float, why: str = "") -> None:
    """Refuses splits without train or val rows; `why` there may be none goes behind.

    Raises:
        DataError: saying which.
    """
    counts = Counter(splits)
    if not counts[TRAIN]:
        raise DataError(
            f"there are no train rows among the {len(splits)} that have a target{why}",
            "Give rows of train a target, or another --split column.",
        )
    if not counts[VAL]:
        raise DataError(
            f"there are no val rows among {len(splits)}{why}",
            f"mmcli stops training by the val score: give more rows, a --split column, or a larger --val than {val}.",
        )
