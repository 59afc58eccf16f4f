"""What train knows of test rows though no whole row is in both: single cells, pairs the other way round, copies labelled
otherwise, identities. Cells are the same where what was stored of them is, to the bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmcli.data.dataset import Dataset
from mmcli.data.identities import same_cells

MOST = 20
"""Rows or identities that are kept of each kind; how many there are is counted."""
Found = dict[str, Any]
KINDS = {"Image": "pictures", "Audio": "recordings", "Video": "clips", "Text": "texts"}
"""What cells of a modality are called."""


def leaks(dataset: Dataset) -> list[Found]:
    """An entry for each `kind` that there is: `rows`, how many test rows it is of; `told`, the first; and what else it counts.

    - `cells`: single cells of test pairs that train pairs have too, counted over all columns that share an encoder.
      `told`: test row, its column, train row, its column.
    - `turned`: pairs that stand the other way round in train. `told`: test row, train row.
    - `mislabelled`: cells that train has under another identity. `told`: test row, train row.
    - `identities`: those of test that train has, though val or test has others. `told`: their names.
    - `groups`: those of test that train has.

    Rows count from 1.
    """
    found: list[Found] = []
    if dataset.task.compares_columns:
        found += _of_pairs(dataset)
    if dataset.task.gives_embeddings and not dataset.task.aligns_columns:
        found += [*_mislabelled(dataset), *_identities(dataset)]
    if dataset.task.compares_columns and (own := _groups(dataset)):
        found.append(own)
    return found


def _of_pairs(dataset: Dataset) -> list[Found]:
    train, test = (dataset.splits[name].tolist() for name in ("train", "test"))
    grouped = [readers for name in dataset.inputs if len(readers := dataset.readers(name)) > 1]
    numbers = [same_cells([dataset.column(name) for name in readers]) for readers in grouped]
    seen: dict[tuple[int, int], tuple[int, str]] = {}
    for group, (readers, own) in enumerate(zip(grouped, numbers, strict=True)):
        for place, name in enumerate(readers):
            for row, cell in zip(train, own[place, train].tolist(), strict=True):
                seen.setdefault((group, cell), (row, name))
    shared: dict[int, list[list[Any]]] = {}
    cells: dict[bool, set[tuple[int, int]]] = {True: set(), False: set()}
    for group, (readers, own) in enumerate(zip(grouped, numbers, strict=True)):
        for place, name in enumerate(readers):
            for row, cell in zip(test, own[place, test].tolist(), strict=True):
                if cell < 0:
                    continue
                there = seen.get((group, cell))
                cells[there is not None].add((group, cell))
                if there is not None:
                    shared.setdefault(row, []).append([row + 1, name, there[0] + 1, there[1]])
    kinds = {_kind(dataset, readers[0]) for readers in grouped}
    what = {"what": kinds.pop() if len(kinds) == 1 else "cells", "of": len(test)}
    found = []
    if shared:
        told = [own for row in test for own in shared.get(row, ())][:MOST]
        counts = {"cells": len(cells[True]), "all_cells": len(cells[True]) + len(cells[False])}
        found.append({"kind": "cells", "rows": len(shared), **what, **counts, "told": told})
    turned = _turned(numbers, train, test)
    if turned:
        found.append({"kind": "turned", "rows": len(turned), **what, "told": [[a + 1, b + 1] for a, b in turned[:MOST]]})
    return found


def _kind(dataset: Dataset, name: str) -> str:
    return KINDS.get(type(dataset.input(name).first).__name__, "cells")


def _turned(numbers: Sequence[Tensor], train: Sequence[int], test: Sequence[int]) -> list[tuple[int, int]]:
    """Test rows with the sides of a train row (from 0), in another order."""

    most = max((len(own) for own in numbers), default=0)
    columns = [[own[place].tolist() for own in numbers if place < len(own)] for place in range(most)]

    def sides(row: int) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(cells[row] for cells in side) for side in columns)

    known: dict[tuple[tuple[int, ...], ...], dict[tuple[tuple[int, ...], ...], int]] = {}
    for row in train:
        found = sides(row)
        known.setdefault(tuple(sorted(found)), {}).setdefault(found, row)
    turned = []
    for row in test:
        found = sides(row)
        if any(set(side) == {-1} for side in found):
            continue  # a row that lacks a side is no pair
        others = [there for order, there in known.get(tuple(sorted(found)), {}).items() if order != found]
        turned += [(row, min(others))] if others else []
    return turned


def _mislabelled(dataset: Dataset) -> list[Found]:
    """By each picture, recording or clip; where there are none, by all inputs together."""
    train, test = (dataset.splits[name].tolist() for name in ("train", "test"))
    media = [name for name in dataset.inputs if getattr(dataset.input(name).first, "reads_files", False)]
    targets, wrong = dataset.targets.tolist(), dict[int, int]()
    keyed = [[name] for name in media] or [list(dataset.inputs)]
    for names in keyed:
        numbers = torch.stack([same_cells([dataset.column(name)])[0] for name in names], 1)
        keys = [tuple(own) for own in numbers.tolist()]
        seen: dict[tuple[int, ...], dict[int, int]] = {}  # cells -> identity -> the first row of it
        for row in train:
            seen.setdefault(keys[row], {}).setdefault(targets[row], row)
        for row in test:
            known = seen.get(keys[row], {}) if set(keys[row]) != {-1} else {}
            other = next((at for identity, at in known.items() if identity != targets[row]), None)
            if other is not None:
                wrong.setdefault(row, other)
    if not wrong:
        return []
    told = [[row + 1, wrong[row] + 1] for row in test if row in wrong][:MOST]
    return [{"kind": "mislabelled", "rows": len(wrong), "of": len(test), "told": told}]


def _identities(dataset: Dataset) -> list[Found]:
    own = {split: [str(dataset.cells[row][0]) for row in dataset.splits[split].tolist()] for split in ("train", "val", "test")}
    train, test = set(own["train"]), set(own["test"])
    if not (test | set(own["val"])) - train or not test & train:
        return []
    known = sorted(test & train)
    rows = sum(name in train for name in own["test"])
    counts = {"identities": len(known), "all_identities": len(test), "of": len(own["test"])}
    return [{"kind": "identities", "rows": rows, **counts, "told": known[:MOST]}]


def _groups(dataset: Dataset) -> Found | None:
    if dataset.groups(dataset.splits["test"]) is None:
        return None
    named = dataset.rows["group"]
    train, test = (named.iloc[dataset.splits[split].numpy()].dropna() for split in ("train", "test"))
    known = sorted({str(own) for own in set(train) & set(test)})
    if not known:
        return None
    counts = {"identities": len(known), "all_identities": int(test.nunique()), "of": len(dataset.splits["test"])}
    return {"kind": "groups", "rows": int(test.isin(set(train)).sum()), **counts, "told": known[:MOST]}


def said(found: Sequence[Mapping[str, Any]], names: Mapping[int, str], called: str, most: int = 6) -> list[str]:
    """A sentence each. `names` are those of rows (from 1), `called` what these are called."""
    return [_SAYS[own["kind"]](own, names, called, most) for own in found]


def _say_cells(own: Mapping[str, Any], names: Mapping[int, str], called: str, most: int) -> str:
    pairs = "; ".join(f"{one} of {names[row]} is {other} of {names[there]}" for row, one, there, other in own["told"][:most])
    return (
        f"Test pairs with {own['what']} that train pairs have too, in whichever column: {own['rows']} of {own['of']} "
        f"({own['cells']} of the {own['all_cells']} {own['what']} of test); scores on them say little about new ones. By "
        f"{called} (test, train): {pairs}."
    )


def _say_turned(own: Mapping[str, Any], names: Mapping[int, str], called: str, most: int) -> str:
    return (
        f"Test pairs that are train pairs the other way round: {own['rows']} of {own['of']}. By {called} (test and train): "
        f"{_each(own, names, most)}."
    )


def _say_mislabelled(own: Mapping[str, Any], names: Mapping[int, str], called: str, most: int) -> str:
    return (
        f"Test rows that are copies of train rows of another identity: {own['rows']} of {own['of']}; one of the two is "
        f"labelled wrongly. By {called} (test and train): {_each(own, names, most)}."
    )


def _say_known(own: Mapping[str, Any], names: Mapping[int, str], called: str, most: int) -> str:  # noqa: ARG001 - of no rows
    what, told = own["kind"], ", ".join(own["told"][:most])
    meant = ", though others of val or test are new" if what == "identities" else ""
    more = f" and {own['identities'] - most} more" if own["identities"] > most else ""
    return (
        f"{what.capitalize()} of test that are in train too{meant}: {own['identities']} of {own['all_identities']} "
        f"({told}{more}; {own['rows']} of {own['of']} test rows); scores on them say little about new ones."
    )


def _each(own: Mapping[str, Any], names: Mapping[int, str], most: int) -> str:
    return "; ".join(f"{names[test]} and {names[train]}" for test, train in own["told"][:most])


_SAYS = {
    "cells": _say_cells,
    "turned": _say_turned,
    "mislabelled": _say_mislabelled,
    "identities": _say_known,
    "groups": _say_known,
}
