"""What train knows of test rows: on tables where each is counted by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import torch

from mmcli.proof import leakage
from mmcli.signals import Column


class Image:
    reads_files = True


class Other:
    reads_files = False


def table(
    split: list[str], columns: dict[str, list[int | None]], shares: dict[str, str], task: dict[str, bool], **more: Any
) -> Any:
    """A data set whose cells are numbers, None where absent."""
    made = {
        name: Column(torch.tensor([[float(own or 0)] for own in cells]), torch.tensor([own is not None for own in cells]))
        for name, cells in columns.items()
    }
    splits = {name: torch.tensor([i for i, own in enumerate(split) if own == name]) for name in ("train", "val", "test")}
    known = {"compares_columns": False, "gives_embeddings": False, "aligns_columns": False}
    first = more.pop("first", Image())
    return SimpleNamespace(
        inputs=list(columns),
        splits=splits,
        column=made.__getitem__,
        input=lambda _: SimpleNamespace(first=first),
        readers=lambda name: [name, *(reader for reader, owner in shares.items() if owner == name)],
        task=SimpleNamespace(**{**known, **task}),
        groups=lambda index: None if "group" not in more.get("rows", ()) else index.numpy(),
        **more,
    )


SPLIT = ["train"] * 3 + ["test"] * 4
A = [1, 3, 5, 2, 6, 7, 8]
B = [2, 4, 6, 1, 9, 3, 8]


def test_cells_of_pairs_count_in_whichever_column_and_pairs_turned_round() -> None:
    own = table(SPLIT, {"a": A, "b": B}, {"b": "a"}, {"compares_columns": True})
    cells, turned = leakage.leaks(own)
    # Row 4 is row 1 turned; 5 has 6 of b; 6 has 3 of a; 7 has none. Test has 2, 1, 6, 9, 7, 3, 8: four of seven are known.
    assert (cells["kind"], cells["rows"], cells["of"], cells["what"]) == ("cells", 3, 4, "pictures")
    assert (cells["cells"], cells["all_cells"]) == (4, 7)
    assert cells["told"] == [[4, "a", 1, "b"], [4, "b", 1, "a"], [5, "a", 3, "b"], [6, "b", 2, "a"]]
    assert (turned["kind"], turned["rows"], turned["told"]) == ("turned", 1, [[4, 1]])
    first, second = leakage.said([cells, turned], {row: f"p{row}" for row in range(1, 8)}, "id")
    assert "pictures that train pairs have too, in whichever column: 3 of 4 (4 of the 7 pictures of test)" in first
    assert "a of p4 is b of p1; b of p4 is a of p1" in first
    assert "the other way round: 1 of 4. By id (test and train): p4 and p1." in second


def test_a_pair_as_it_is_or_of_one_cell_twice_is_not_turned_and_columns_apart_are_not_compared() -> None:
    own = table(
        ["train", "train", "test", "test"], {"a": [1, 3, 1, 3], "b": [2, 3, 2, 3]}, {"b": "a"}, {"compares_columns": True}
    )
    assert [found["kind"] for found in leakage.leaks(own)] == ["cells"]
    apart = table(SPLIT, {"a": A, "b": B}, {}, {"compares_columns": True})
    assert leakage.leaks(apart) == []
    absent = table(["train", "test"], {"a": [1, None], "b": [None, 1]}, {"b": "a"}, {"compares_columns": True})
    assert [found["kind"] for found in leakage.leaks(absent)] == ["cells"], "no cell is no side of a pair"


def test_several_groups_are_turned_together_or_not() -> None:
    columns = {"a": [1, 2], "b": [2, 1], "c": [5, 6], "d": [6, 5]}
    shares = {"b": "a", "d": "c"}
    both = leakage.leaks(table(["train", "test"], columns, shares, {"compares_columns": True}))
    assert [found["kind"] for found in both] == ["cells", "turned"]
    one = {**columns, "c": [5, 5], "d": [6, 6]}
    half = leakage.leaks(table(["train", "test"], one, shares, {"compares_columns": True}))
    assert [found["kind"] for found in half] == ["cells"], "only the names are turned: another pair"


def identities(names: list[str]) -> dict[str, Any]:
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return {"cells": [(name,) for name in names], "targets": torch.tensor([places[name] for name in names])}


def test_copies_under_another_identity_and_identities_that_were_to_be_new() -> None:
    split = ["train", "train", "val", "test", "test", "test"]
    names = ["p1", "p2", "p3", "p1", "p4", "p5"]
    picture = [1, 2, 3, 1, 2, 9]  # row 4 is a right copy of row 1; row 5 a copy of row 2 with another name
    own = table(split, {"photo": picture}, {}, {"gives_embeddings": True}, **identities(names))
    wrong, known = leakage.leaks(own)
    assert (wrong["kind"], wrong["rows"], wrong["told"]) == ("mislabelled", 1, [[5, 2]])
    assert (known["kind"], known["identities"], known["all_identities"], known["rows"]) == ("identities", 1, 3, 1)
    assert known["told"] == ["p1"]
    said = leakage.said([wrong, known], {row: str(row) for row in range(1, 7)}, "row")
    assert "copies of train rows of another identity: 1 of 3" in said[0] and "5 and 2" in said[0]
    assert "though others of val or test are new: 1 of 3 (p1; 1 of 3 test rows)" in said[1]


def test_closed_sets_are_meant_to_be_and_only_whole_rows_of_categories_are_copies() -> None:
    split, names = ["train", "train", "val", "test"], ["p1", "p2", "p1", "p2"]
    closed = table(split, {"photo": [1, 2, 3, 4]}, {}, {"gives_embeddings": True}, **identities(names))
    assert leakage.leaks(closed) == []
    columns = {"light": [1, 2, 1, 1], "tone": [1, 1, 2, 2]}  # the light of row 4 is that of row 1, its tone is not
    told = table(split, columns, {}, {"gives_embeddings": True}, first=Other(), **identities(names))
    assert leakage.leaks(told) == []


def test_groups_of_pairs_that_both_splits_have() -> None:
    rows = pd.DataFrame({"group": ["x", "y", None, "x"]})
    split = ["train", "train", "test", "test"]
    own = table(split, {"a": [1, 2, 3, 4], "b": [5, 6, 7, 8]}, {"b": "a"}, {"compares_columns": True}, rows=rows)
    (known,) = leakage.leaks(own)
    assert (known["kind"], known["identities"], known["all_identities"], known["rows"]) == ("groups", 1, 1, 1)
