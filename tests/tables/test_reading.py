from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mmcli.errors import DataError
from mmcli.media.boxes import Told
from mmcli.tables.reading import open_table


def write(tmp_path: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(path: Path, **options: str) -> list[dict[str, object]]:
    table = open_table(path, **options)
    return [record for chunk in table.chunks(2) for record in chunk.to_dict("records")]


def test_cells_are_text_and_only_empty_ones_are_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\nNA,1\nnull,007\nNone,\n nan , \n")
    assert [r["a"] for r in rows(path)] == ["NA", "null", "None", " nan "]
    assert [r["b"] for r in rows(path)] == ["1", "007", None, None]


def test_quoted_newlines_and_doubled_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n"two\nlines","say ""hi"", you"\nx,y\n')
    assert rows(path)[0] == {"a": "two\nlines", "b": 'say "hi", you'}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_chinese_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "描述,类\n南瓜灯,物\n圣诞树,植\n".encode(encoding))
    assert rows(path) == [{"描述": "南瓜灯", "类": "物"}, {"描述": "圣诞树", "类": "植"}]


def test_chunks_number_rows_on(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n" + "".join(f"{i},x\n" for i in range(5)))
    assert [list(chunk.index) for chunk in open_table(path).chunks(2)] == [[0, 1], [2, 3], [4]]
    assert list(next(open_table(path).chunks(3, ["b"])).columns) == ["b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", r"row 2 \(line 3\) has 1 fields, the header has 2"),
        ('a,b\n"x\ny",2\n3,4,5\n', r"row 2 \(line 4\) has 3 fields"),
        ("a,b\n1,x\0y\n", r"row 1 \(line 2\), column 'b' holds a NUL byte"),
        ("a,b,a\n1,2,3\n", r"the column 'a' stands 2 times in the header \(fields 1, 3\)"),
        ("a,,c\n1,2,3\n", "field 2 of the header has no name"),
        ('a,b\n1,"open\n', r"row 1 \(line 2\): unexpected end of data"),
        ("", "is empty"),
    ],
)
def test_damage_is_named_with_row_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows(write(tmp_path, text))


def test_a_missing_file_suggests_a_near_name(tmp_path: Path) -> None:
    write(tmp_path, "a\n1\n", "data.csv")
    with pytest.raises(DataError, match=r"no such file. Did you mean 'data.csv'\?"):
        open_table(tmp_path / "dta.csv")
    with pytest.raises(DataError, match="is a folder"):
        open_table(tmp_path)
    with pytest.raises(DataError, match="cannot tell the format"):
        open_table(write(tmp_path, "x", "t.dat"))


def test_an_unknown_column_suggests_the_nearest(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, "image,group\nx,y\n"))
    with pytest.raises(DataError, match=r"--target gruop: .* Did you mean 'group'\?"):
        table.require("gruop", "--target")


def test_parquet_keeps_integers_and_tells_missing_from_text(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"n": pd.array([1, None, 3], dtype="Int64"), "t": ["NA", None, "x"], "v": [[1.5, 2], [], None]})
    frame.to_parquet(path)
    assert rows(path) == [
        {"n": "1", "t": "NA", "v": "[1.5, 2.0]"},
        {"n": None, "t": None, "v": "[]"},
        {"n": "3", "t": "x", "v": None},
    ]
    with pytest.raises(DataError, match="not a readable Parquet file"):
        rows(write(tmp_path, "not parquet", "bad.parquet"))


def test_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path, '{"a": "x", "b": 1}\n\n{"b": null, "c": true, "a": "null"}\n', "t.jsonl")
    assert rows(path) == [{"a": "x", "b": "1", "c": None}, {"a": "null", "b": None, "c": "True"}]
    with pytest.raises(DataError, match=r"row 2 \(line 2\) is not JSON"):
        rows(write(tmp_path, '{"a": 1}\n{oops}\n', "bad.jsonl"))
    with pytest.raises(DataError, match="holds the column 'a' twice"):
        rows(write(tmp_path, '{"a": 1, "a": 2}\n', "twice.jsonl"))
    with pytest.raises(DataError, match="is not an object"):
        rows(write(tmp_path, "[1]\n", "list.jsonl"))


def test_cells_are_marked_by_other_columns_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("photo,face,n\na.png,1 2 3 4,-\n,5 6 7 8,2\n", encoding="utf-8")
    table = replace(open_table(path), faces={"photo": Told(("face",))}, na=frozenset({"-"}))
    (chunk,) = table.chunks(columns=["photo", "n"])
    assert chunk.to_dict("list") == {"photo": ["a.png#xywh=1,2,3,4", None], "n": [None, "2"]}
    assert chunk.attrs["na"] == {("n", "-"): 1}
    assert table.head(1)["photo"].tolist() == ["a.png#xywh=1,2,3,4"]
    gone = replace(table, faces={"photo": Told(("box",))})
    (chunk,) = gone.chunks(columns=["photo"])
    assert "#face=none,no face box" in chunk["photo"][0]
