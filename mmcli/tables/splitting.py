"""Which rows train, which validate, which test.

Splits are told by a column of the table or drawn: stratified by target, whole groups together, the same for the same seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mmcli.errors import ConfigError, DataError

TRAIN, VAL, TEST, UNLABELLED = "train", "val", "test", "unlabelled"
SPLITS = (TRAIN, VAL, TEST)
_SPELLINGS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "dev": VAL,
    "test": TEST,
    "testing": TEST,
    "eval": TEST,
}


def spelled_splits(cells: Sequence[str | None], column: str) -> list[str]:
    """The splits that a column names, `dev`, `valid` and the like understood.

    Raises:
        DataError: naming the first row that names none.
    """
    splits = []
    for row, cell in enumerate(cells, 1):
        split = _SPELLINGS.get((cell or "").strip().lower())
        if split is None:
            raise DataError(
                f"row {row}, column {column!r}: {cell!r} is not a split",
                "Expected train, val or test (or training, valid, validation, dev, testing).",
            )
        splits.append(split)
    return splits


def names_splits(cells: Sequence[str | None]) -> bool:
    """Whether every cell names a split."""
    return bool(cells) and all((cell or "").strip().lower() in _SPELLINGS for cell in cells)


def draw_splits(strata: Sequence[str], groups: Sequence[str] | None, val: float, test: float, seed: int) -> list[str]:
    """Draws val and test from the rows so that each stratum (class) keeps its share; a group is never divided.

    Groups are dealt largest first within the stratum that is most frequent in them.

    Raises:
        ConfigError: the shares leave nothing to train on.
    """
    if val + test >= 1:
        raise ConfigError(f"--val {val} and --test {test} leave no rows to train on", "Their sum must be below 1.")
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups if groups is not None else map(str, range(len(strata)))):
        members.setdefault(group, []).append(row)
    by_stratum: dict[str, list[list[int]]] = {}
    for rows in members.values():
        most_common = Counter(strata[row] for row in rows).most_common(1)[0][0]
        by_stratum.setdefault(most_common, []).append(rows)
    splits = [TRAIN] * len(strata)
    generator = np.random.default_rng(seed)
    for stratum in sorted(by_stratum):
        units = by_stratum[stratum]
        shuffled = [units[i] for i in generator.permutation(len(units))]
        shuffled.sort(key=len, reverse=True)
        _deal(shuffled, {VAL: val, TEST: test}, generator, splits)
    return splits


def _deal(units: list[list[int]], shares: dict[str, float], generator: np.random.Generator, splits: list[str]) -> None:
    total = left = sum(map(len, units))
    # Rounding up or down at random keeps the overall share right where classes are small.
    room = {name: int(share * total + generator.random()) for name, share in shares.items()}
    for rows in units:
        split = max(room, key=lambda name: room[name])
        if room[split] >= len(rows) and left > len(rows):  # something of every class stays to train on
            room[split] -= len(rows)
            left -= len(rows)
            for row in rows:
                splits[row] = split
