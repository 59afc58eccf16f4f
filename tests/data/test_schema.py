from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mmcli.data.schema import infer
from mmcli.errors import ConfigError, DataError
from mmcli.options.columns import Roles
from mmcli.tables.reading import open_table
from tests.conftest import draw, write_csv


def table(tmp_path: Path, header: list[str], *rows: list[str]) -> Path:
    return write_csv(tmp_path / "t.csv", header, rows)


@pytest.mark.parametrize(
    ("header", "target"),
    [(["a", "label", "z"], "label"), (["y", "Class", "z"], "Class"), (["target", "label"], "label"), (["a", "b"], "b")],
)
def test_the_target_by_its_name_or_the_last(tmp_path: Path, header: list[str], target: str) -> None:
    found = infer(open_table(table(tmp_path, header, ["x"] * len(header))), Roles())
    assert found.targets == [target]
    assert any(line.startswith(f"target: {target!r}") for line in found.announcements)


def test_roles_are_not_inputs(tmp_path: Path) -> None:
    path = table(tmp_path, ["id", "text", "who", "split", "junk", "label"], ["1", "x", "p", "train", "?", "a"])
    found = infer(open_table(path), Roles(group="who", ignore=("junk",)))
    assert [item.name for item in found.columns] == ["text"]
    assert (found.split, found.id, found.group, found.ignored) == ("split", "id", "who", ["junk"])


def test_a_column_called_split_is_never_the_default_target(tmp_path: Path) -> None:
    path = table(tmp_path, ["id", "text", "kind", "Split"], ["1", "x", "a", "train"], ["2", "y", "b", "holdout"])
    found = infer(open_table(path), Roles())
    assert (found.targets, found.split, found.id) == (["kind"], "Split", "id")
    assert [item.name for item in found.columns] == ["text"]
    assert "target: 'kind', the last column that has no other role (--target to choose another)" in found.announcements
    assert any(line.startswith("split: the column 'Split'") for line in found.announcements)


def test_earlier_predictions_are_neither_input_nor_target(tmp_path: Path) -> None:
    names = ["text", "label", "label_predicted", "label_predicted_probability_a", "unlabel_predicted"]
    path = table(tmp_path, names, *[[f"x{row}", "ab"[row % 2], "ab"[row % 2], f".{row}", f"w{row}"] for row in range(4)])
    found = infer(open_table(path), Roles(target=("label",)))
    assert [item.name for item in found.columns] == ["text", "unlabel_predicted"]
    told = "column 'label_predicted' is called as predictions of 'label' are: neither input nor target (--input label_predicted"
    assert any(line.startswith(told) for line in found.announcements)
    assert infer(open_table(path), Roles()).targets == ["label"]
    asked = infer(open_table(path), Roles(target=("label",), inputs=("label_predicted",)))
    assert [item.name for item in asked.columns] == ["label_predicted"]


def test_pairs_are_asked_about_by_the_column_that_says_yes_and_no(tmp_path: Path) -> None:
    rows = [[f"a{row}", f"b{row}", "yn"[row % 2], f"p{row % 7}", f"p{row % 5}"] for row in range(30)]
    path = table(tmp_path, ["text_a", "text_b", "alike", "who_a", "who_b"], *rows)
    assert infer(open_table(path), Roles(task="match")).targets == ["alike"]
    assert infer(open_table(path), Roles(task="classification")).targets == ["who_b"]
    found = infer(open_table(path), Roles(task="match"))
    assert any("target: 'alike', the last column of values that say yes and no" in line for line in found.announcements)


def test_numbers_of_pairs_share_where_the_task_compares_them(tmp_path: Path) -> None:
    rows = [[f"{row}.5", f"{row + row % 2}.5", str(row), "yn"[row % 2]] for row in range(30)]
    path = table(tmp_path, ["price_a", "price_b", "size", "same"], *rows)
    found = infer(open_table(path), Roles(task="match", inputs=("price_a", "price_b", "size")))
    assert found.shares == {"price_b": "price_a"}
    assert found.inputs == {"price_a": ["price_a"], "price_b": ["price_b"], "size": ["size"]}
    found = infer(open_table(path), Roles(task="classification", inputs=("price_a", "price_b", "size")))
    assert found.shares == {}
    assert list(found.inputs.values()) == [["price_a", "price_b", "size"]]
    told = {"price_b": "price_a"}
    with pytest.raises(ConfigError, match="side by side"):
        infer(open_table(path), Roles(task="classification", share=told))
    found = infer(open_table(path), Roles(task="classification", share=told, each=True))
    assert found.shares == told


@pytest.mark.parametrize("words", [["red ball", "blue box"], ["大绿色圆形", "小红色方形"]])
def test_words_that_come_again_are_text_where_columns_find_each_other(tmp_path: Path, words: list[str]) -> None:
    many = [[str(row * 1.37), f"{words[row % 2]}{'abcdefg'[row % 7]}", "ab"[row % 2]] for row in range(60)]
    path = table(tmp_path, ["size", "tags", "side"], *many)
    kinds = infer(open_table(path), Roles(task="contrastive")).kinds
    assert kinds["tags"] == "text"
    assert "side" not in kinds  # of two it is a field still
    assert infer(open_table(path), Roles(task="classification", target=("side",), each=True)).kinds["tags"] == "category"


def test_a_group_or_an_id_is_never_the_default_target(tmp_path: Path) -> None:
    path = table(tmp_path, ["text", "kind", "who", "id"], ["x", "a", "p", "1"], ["y", "b", "q", "2"])
    assert infer(open_table(path), Roles(group="who")).targets == ["kind"]


def test_a_split_by_numbers_is_announced(tmp_path: Path) -> None:
    path = table(tmp_path, ["text", "split", "label"], ["x", "0", "a"], ["y", "1", "b"], ["z", "2", "b"])
    found = infer(open_table(path), Roles())
    assert found.split == "split"
    assert any("0 train, 1 val, 2 test" in line for line in found.announcements)


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["train", "banana"], "it holds 'banana', in 1 of its first 2 cells, the first in row 2\n"),
        (["train", ""], "it is blank in 1 of its first 2 cells, the first in row 2\n"),
        (["0", "train"], "it holds '0', in 1 of its first 2 cells, the first in row 1\n"),
        (["0", "3"], "it holds '3', in 1 of its first 2 cells, the first in row 2\n"),
        (
            ["test", "", "a", "b", "", "c", "d", "a"],
            "it holds 'a', 'b', 'c' and 1 more, in 5 of its first 8 cells, the first in row 3; it is blank in 2 of its first 8 "
            "cells, the first in row 2\n",
        ),
    ],
)
def test_a_column_called_split_with_other_words_is_an_error_never_an_input(
    tmp_path: Path, cells: list[str], found: str
) -> None:
    path = table(tmp_path, ["text", "split", "label"], *[[f"x{row}", cell, "a"] for row, cell in enumerate(cells)])
    with pytest.raises(DataError, match="column 'split' does not name splits: it ") as error:
        infer(open_table(path), Roles())
    assert f"column 'split' does not name splits: {found}" in str(error.value)
    assert ("Fill the blank cells." in str(error.value)) == ("" in cells)
    assert ("If they number folds: --ignore split" in str(error.value)) == ("3" in cells)
    assert infer(open_table(path), Roles(ignore=("split",))).split is None
    assert infer(open_table(path), Roles(target=("split",))).targets == ["split"]


@pytest.mark.parametrize(
    ("name", "cells"),
    [("set", ["train", "", "test", " ", "train"]), ("data_split", ["0", "", "1", "", "2"])],
)
def test_a_split_with_blank_cells_is_no_silent_input(tmp_path: Path, name: str, cells: list[str]) -> None:
    rows = [[f"x{row}", cell, "ab"[row % 2]] for row, cell in enumerate(cells)]
    path = table(tmp_path, ["text", name, "label"], *rows)
    found = infer(open_table(path), Roles())
    assert found.split is None
    assert found.warnings == [
        f"column '{name}' looks like a split, but is blank in 2 of its first 5 cells, the first in row 2: taken for an input. "
        f"Fill them to split by it, or --ignore {name} to leave it out"
    ]
    for roles in (Roles(ignore=(name,)), Roles(inputs=("text", name)), Roles(target=(name,))):
        assert not infer(open_table(path), roles).warnings
    filled = table(tmp_path, ["text", name, "label"], *[[row[0], row[1].strip() or cells[0], row[2]] for row in rows])
    assert infer(open_table(filled), Roles()).split == name


def test_a_split_with_blank_cells_is_no_silent_target(tmp_path: Path) -> None:
    path = table(tmp_path, ["text", "set"], ["x", "train"], ["y", ""], ["z", "test"])
    found = infer(open_table(path), Roles())
    assert found.targets == ["set"]
    assert "the first in row 2: taken for the target." in found.warnings[0]


def test_an_id_that_repeats_is_an_input(tmp_path: Path) -> None:
    path = table(tmp_path, ["id", "label"], ["1", "a"], ["1", "b"], ["2", "b"])
    assert infer(open_table(path), Roles()).id is None


def test_a_target_among_the_inputs_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, ["a", "b"], ["1", "2"])
    with pytest.raises(ConfigError, match="--target b is also an --input"):
        infer(open_table(path), Roles(target=("b",), inputs=("b",)))


def test_an_empty_column_is_left_out_unless_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path, ["a", "b", "c"], ["", "x", "y"])
    assert [item.name for item in infer(open_table(path), Roles()).columns] == ["b"]
    with pytest.raises(DataError, match="--input a: nothing is in its first 1 cell"):
        infer(open_table(path), Roles(inputs=("a",)))


def test_a_header_without_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a header but no rows"):
        infer(open_table(table(tmp_path, ["a", "b"])), Roles())


def kinds(path: Path, **roles: object) -> dict[str, str]:
    return {item.name: item.modality for item in infer(open_table(path), Roles(**roles)).columns}  # type: ignore[arg-type]


def test_content_decides_what_a_column_is(tmp_path: Path) -> None:
    header = ["price", "when", "colour", "note", "embedding", "percent", "label"]
    rows = [
        [
            f"{number * 1.5}",
            f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}",
            ("red", "绿", "blue")[number % 3],
            f"one of many notes, the {number}th",
            f"[{number}, 0.5]",
            f"{number}%",
            "ab"[number % 2],
        ]
        for number in range(40)
    ]
    found = kinds(write_csv(tmp_path / "t.csv", header, rows))
    expected = {
        "price": "number",
        "when": "date",
        "colour": "category",
        "note": "text",
        "embedding": "vector",
        "percent": "number",
    }
    assert found == expected


def test_columns_that_name_rows_or_never_vary_are_announced_and_left_out(tmp_path: Path) -> None:
    header = ["key", "count", "same", "uuid", "age", "label"]
    rows = [
        [
            f"user_{number * 3}",
            str(number),
            "x",
            f"{number:08x}-0000-4000-8000-000000000000",
            str(number * 7 % 41),
            "ab"[number % 2],
        ]
        for number in range(30)
    ]
    path = write_csv(tmp_path / "t.csv", header, rows)
    found = infer(open_table(path), Roles())
    assert [item.name for item in found.columns] == ["age"]
    said = "\n".join(found.announcements)
    assert "column 'key' numbers the rows (user_0, user_3, ...): ignored (--input key to use it)" in said
    assert "column 'count' numbers the rows (0, 1, ...)" in said
    assert "column 'same' is 'x' in all of the first 30 rows" in said
    assert "column 'uuid' holds ids" in said
    assert kinds(path, inputs=("count",)) == {"count": "number"}


@pytest.mark.parametrize("suffix", [".png", ".wav", ".mp4", ".npy"])
def test_paths_that_lead_nowhere_are_an_error_never_a_category(tmp_path: Path, suffix: str) -> None:
    rows = [[f"media/{number % 3}{suffix}", "ab"[number % 2]] for number in range(30)]
    path = write_csv(tmp_path / "t.csv", ["file", "label"], rows)
    with pytest.raises(
        DataError, match=rf"none of the first 30 files is there; the first would be .*0\{suffix}\n.*--media-root"
    ):
        infer(open_table(path), Roles())


def test_paths_read_in_a_wrong_encoding_are_told_with_its_flag(tmp_path: Path) -> None:
    lines = ["photo,label", *(f"图片/{number}.png,{'ab'[number % 2]}" for number in range(30))]
    (tmp_path / "图片").mkdir()
    for number in range(30):
        draw("round", "red").save(tmp_path / "图片" / f"{number}.png")
    path = tmp_path / "t.csv"
    path.write_bytes("\n".join(lines).encode("gb18030"))
    assert [item.modality for item in infer(open_table(path, encoding="gb18030"), Roles()).columns] == ["image"]
    with pytest.raises(DataError) as found:
        infer(open_table(path, encoding="cp1251"), Roles())
    told = " If letters of the path are wrong, the table is not in cp1251: name its encoding with --encoding."
    assert found.value.remedy.endswith(f"--media-root.{told}")
    path.write_text("\n".join(lines).replace("图片", "pictures"), encoding="ascii")
    with pytest.raises(DataError) as found:
        infer(open_table(path, encoding="cp1251"), Roles())
    assert found.value.remedy.endswith("--media-root.")


def test_bytes_that_are_no_text_and_no_media_are_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    raw = [bytes([255, row, 7, 254]) for row in range(40)]
    pd.DataFrame(
        {"raw": raw, "x": [row * 0.7 % 3 for row in range(40)], "label": ["ab"[row % 2] for row in range(40)]}
    ).to_parquet(path)
    found = infer(open_table(path), Roles())
    assert [item.name for item in found.columns] == ["x"]
    assert "column 'raw' holds bytes that are neither text in UTF-8 nor media: ignored" in found.announcements
    with pytest.raises(DataError, match="--input raw holds bytes"):
        infer(open_table(path), Roles(inputs=("raw", "x")))
