"""Which columns share an encoder: by their names, or as told; and what cannot be."""

from __future__ import annotations

import pytest
import torch

from mmcli.data import identities, shares, targets
from mmcli.errors import ConfigError
from mmcli.options.columns import _shares
from mmcli.signals import Column
from mmcli.tasks.classification import Classification


def found(told: dict[str, str] | None = None, look: bool = True, **modalities: str) -> dict[str, str]:
    joins = {name: kind in {"number", "category"} for name, kind in modalities.items()}
    return shares.find(modalities, joins, told or {}, look)


def test_columns_called_alike_share_where_they_are_of_one_kind() -> None:
    assert found(image_a="image", image_b="image", text="text") == {"image_b": "image_a"}
    assert found(photo1="image", photo2="image", photo3="image") == {"photo2": "photo1", "photo3": "photo1"}
    assert found(right_ear="audio", left_ear="audio") == {"right_ear": "left_ear"}
    assert found(ear_left="audio", ear_right="audio") == {"ear_right": "ear_left"}
    assert found(look=False, image_a="image", image_b="image") == {}


@pytest.mark.parametrize(
    "modalities",
    [
        {"x_a": "image", "x_b": "text"},
        {"x_1": "number", "x_2": "number"},
        {"x_2": "image", "x_3": "image"},
        {"data": "text", "datb": "text"},
        {"text_en": "text", "text_zh": "text"},
        {"left": "image", "right": "image"},
        {"image_a": "image", "image_1": "image"},
    ],
)
def test_others_do_not(modalities: dict[str, str]) -> None:
    assert found(**modalities) == {}


def test_what_is_told_is_all_that_is_shared() -> None:
    assert found({"c": "a"}, a="text", c="text", x_1="image", x_2="image") == {"c": "a"}


@pytest.mark.parametrize(
    ("told", "message", "remedy"),
    [
        ({"d": "a"}, "'d'", ""),
        ({"a": "a"}, "with itself", "two columns"),
        ({"n": "a"}, "'n' is number, which is read side by side", "--each"),
        ({"p": "a"}, "'p' is image, 'a' is text", "--type"),
        ({"b": "a", "a": "b"}, "each is to read the other's encoder", "--share b=a"),
        ({"b": "a", "c": "b"}, "'b' itself reads the encoder of 'a'", "--share c=a"),
    ],
)
def test_what_cannot_be_shared_is_an_error_that_says_what_to_do(told: dict[str, str], message: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        found(told, a="text", b="text", c="text", p="image", n="number")
    assert remedy in error.value.remedy


def test_a_column_reads_one_encoder() -> None:
    assert _shares(["b=a", "c=a"]) == {"b": "a", "c": "a"}
    with pytest.raises(ConfigError, match="'b' cannot read two encoders"):
        _shares(["b=a", "b=c"])
    with pytest.raises(ConfigError, match="COL=COL"):
        _shares(["b"])


def test_cells_are_equal_by_what_they_hold_in_any_column() -> None:
    one = Column(torch.tensor([[1, 2], [3, 4], [0, 0]]), torch.tensor([True, True, False]))
    other = Column(torch.tensor([[3, 4], [9, 9], [1, 2]]), torch.ones(3, dtype=torch.bool))
    cells = identities.same_cells([one, other])
    assert cells[0, 0] == cells[1, 2] and cells[0, 1] == cells[1, 0] and cells[0, 2] == -1
    assert len({*cells.flatten().tolist()}) == 4


def test_ragged_cells_are_equal_where_all_of_them_is() -> None:
    column = Column(torch.tensor([1, 2, 1, 2, 1]), torch.ones(3, dtype=torch.bool), torch.tensor([0, 2, 4, 5]))
    (cells,) = identities.same_cells([column]).tolist()
    assert cells[0] == cells[1] != cells[2]


def test_what_is_linked_by_matching_rows_is_one_thing() -> None:
    cells = torch.tensor([[0, 1, 4, 6], [1, 2, 5, -1]])
    things = identities.of_one_thing(cells, torch.tensor([0, 1]))  # 0-1-2 are one; row 2 does not match
    assert things[0, 0] == things[1, 0] == things[0, 1] == things[1, 1]
    assert len({int(things[0, 0]), int(things[0, 2]), int(things[1, 2])}) == 3 and things[1, 3] == -1


def test_that_a_target_may_be_of_pairs_is_suggested() -> None:
    """Where the columns share an encoder by their names, and where they are two of one kind of file that do not."""
    cells, pictures = [("yes",), ("no",)] * 20, {"left": "image", "right": "image"}
    told = targets.suggested(Classification, cells, {}, ["same"], pictures)
    asked = "asks whether they belong together"
    assert told == [f"'same' says yes and no of 'left' and 'right': --task match --share right=left {asked}"]
    shared = targets.suggested(Classification, cells, {"b": "a"}, ["same"], {"a": "image", "b": "image"})
    assert shared == [f"'same' says yes and no, and 'a' and 'b' share an encoder: --task match {asked}"]
    for others in (
        {"a": "image", "b": "audio"},
        {"a": "text", "b": "text"},
        {**pictures, "note": "text"},
        {"a": "tabular", "b": "tabular"},
    ):
        assert targets.suggested(Classification, cells, {}, ["same"], others) == []
    assert targets.suggested(Classification, [("cat",), ("dog",)] * 20, {}, ["kind"], pictures) == []
