from __future__ import annotations

from pathlib import Path

import pytest

from mmcli.config import Roles
from mmcli.errors import ConfigError, DataError
from mmcli.schema import infer
from mmcli.tables.reading import open_table
from tests.conftest import write_csv


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


def test_a_column_called_split_that_is_none_is_an_input(tmp_path: Path) -> None:
    path = table(tmp_path, ["split", "label"], ["banana", "a"])
    assert [item.name for item in infer(open_table(path), Roles()).columns] == ["split"]


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
    with pytest.raises(DataError, match="--input a: its first 1 cells are all empty"):
        infer(open_table(path), Roles(inputs=("a",)))


def test_a_header_without_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a header but no rows"):
        infer(open_table(table(tmp_path, ["a", "b"])), Roles())
