"""Row names without a header, as pandas and R write them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mmcli.data.schema import infer
from mmcli.errors import DataError
from mmcli.options.columns import Roles
from mmcli.tables.reading import open_table


def frame() -> pd.DataFrame:
    """Shuffled, as after a split: its index is no count any more."""
    rows = pd.DataFrame({"x": [row * 0.77 % 5 for row in range(60)], "label": ["ab"[row % 2] for row in range(60)]})
    return rows.sample(frac=0.8, random_state=0)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_first_field_without_a_name(tmp_path: Path, separator: str) -> None:
    frame().to_csv(tmp_path / "t.csv", sep=separator)
    table = open_table(tmp_path / "t.csv")
    assert table.columns == ["Unnamed: 0", "x", "label"]
    found = infer(table, Roles())
    assert (found.id, [item.name for item in found.columns]) == ("Unnamed: 0", ["x"])
    assert table.head(1).iloc[0]["Unnamed: 0"] == str(frame().index[0])


def test_a_header_that_lacks_the_field_of_the_row_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,label\n" + "\n".join(f'"row {row}",{row % 7},{"ab"[row % 2]}' for row in range(60)))
    found = infer(open_table(tmp_path / "t.csv"), Roles())
    assert (found.id, found.targets, [item.name for item in found.columns]) == ("Unnamed: 0", ["label"], ["x"])


@pytest.mark.parametrize("text", ["a,b\n1,2,3\n4,5\n", "a,b\n1,2\n3,4,5\n"])
def test_a_field_too_many_elsewhere_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    table = open_table(tmp_path / "t.csv")
    assert table.columns == ["a", "b"]
    with pytest.raises(DataError, match="has 3 fields, the header has 2"):
        table.head(10)


@pytest.mark.parametrize(("second", "columns"), [("0.5", ["Unnamed: 0", "x"]), ("tea", None)])
def test_a_header_of_one_name_above_two_fields(tmp_path: Path, second: str, columns: list[str] | None) -> None:
    """The name of the second, beside the names of rows, where that is a number; else it may be a title."""
    (tmp_path / "t.csv").write_text(f'"x"\n"row 1",{second}\n"row 2",{second}\n')
    if columns:
        table = open_table(tmp_path / "t.csv")
        assert (table.columns, table.warnings) == (columns, ())
        assert table.head(5).to_numpy().tolist() == [["row 1", second], ["row 2", second]]
    else:
        with pytest.raises(DataError, match="no header with the names of all 2 columns"):
            open_table(tmp_path / "t.csv")


def test_row_names_below_a_title(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Report of 2024\nx,100 m,label\n" + "\n".join(f"row {i},{i},9.{i},ab" for i in range(30)))
    table = open_table(tmp_path / "t.csv")
    assert table.columns == ["Unnamed: 0", "x", "100 m", "label"]
    assert table.head(1).to_numpy().tolist() == [["row 0", "0", "9.0", "ab"]]


def test_an_index_in_excel(tmp_path: Path) -> None:
    frame().to_excel(tmp_path / "t.xlsx")
    table = open_table(tmp_path / "t.xlsx")
    assert table.columns == ["Unnamed: 0", "x", "label"]
    assert table.head(1).iloc[0].tolist()[::2] == [str(frame().index[0]), frame()["label"].iloc[0]]


def test_a_first_column_without_a_name_in_parquet(tmp_path: Path) -> None:
    """It is written back under the name that it was given."""
    pd.DataFrame({"": ["r1", "r2"], "b": [b"x", b"y"]}).to_parquet(tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    assert table.columns == ["Unnamed: 0", "b"]
    assert table.head(5).to_numpy().tolist() == [["r1", "x"], ["r2", "y"]]
    assert next(table.chunks(columns=["Unnamed: 0"]))["Unnamed: 0"].tolist() == ["r1", "r2"]
    assert next(table.parts()).typed()["Unnamed: 0"].tolist() == ["r1", "r2"]


@pytest.mark.parametrize("name", [None, "who"])
def test_the_index_of_pandas_in_parquet(tmp_path: Path, name: str | None) -> None:
    frame().rename_axis(name).to_parquet(tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    assert table.row_index == [name or "__index_level_0__"]
    assert next(table.parts()).typed()[table.row_index[0]].tolist() == frame().index.tolist()
    found = infer(table, Roles())
    assert (found.id, [item.name for item in found.columns]) == (name or "__index_level_0__", ["x"])


def test_whole_numbers_without_a_role_stay_numbers(tmp_path: Path) -> None:
    frame().rename_axis("weight").to_csv(tmp_path / "t.csv")
    found = infer(open_table(tmp_path / "t.csv"), Roles())
    assert [(item.name, item.modality) for item in found.columns] == [("weight", "number"), ("x", "number")]


def test_a_row_index_may_be_asked_for(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.csv")
    found = infer(open_table(tmp_path / "t.csv"), Roles(inputs=("Unnamed: 0",)))
    assert [item.name for item in found.columns] == ["Unnamed: 0"]
