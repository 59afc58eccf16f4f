"""A CSV as it is, or an error that says where and what to do."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from mmcli.exports import tables
from mmcli.exports.tables import TableError, open_table


def rows(path: Path, **options: str) -> list[list[str]]:
    return [record for batch in open_table(path, **options).batches(2) for record in batch]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_marks_and_delimiters_are_told_apart(encoding: str, delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = [["a", " 名 ", "c"], ["1", "一, 二; 三|\t", "x\ny"], [], ["2", "", '"'], ["3", "b", ""]]
    with path.open("w", encoding=encoding, newline="") as file:
        tables.write(file, lines, delimiter)
    assert open_table(path).columns == ["a", "名", "c"]
    assert rows(path) == [lines[1], *lines[3:]]


def test_other_encodings_and_delimiters_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("a^类\n1^充电\n".encode("gb18030"))
    with pytest.raises(TableError, match="are not utf-8; give --encoding"):
        open_table(path)
    assert rows(path, encoding="gb18030", delimiter="^") == [["1", "充电"]]
    (tmp_path / "late.csv").write_bytes(b"a,b\n1,2\n3,\xff\n")
    with pytest.raises(TableError, match="are not utf-8"):
        rows(tmp_path / "late.csv")
    with pytest.raises(TableError, match="no such encoding"):
        open_table(path, encoding="utf-9")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n1,2,3\n", r"row 2 \(line 3\) has 3 fields, the header has 2"),
        ("a,b\n1,2\n\n\n1\n", r"row 2 \(line 5\) has 1 fields"),
        ('a,b\n1,"2\n', "row 1 .*is a quote left open"),
        ("a,a\n1,2\n", "'a' stands 2 times"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TableError, match=said):
        rows(tmp_path / "t.csv")


def test_only_csv_is_read(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such file"):
        open_table(tmp_path / "t.csv")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(TableError, match="only CSV and TSV"):
        open_table(tmp_path / "t.parquet")


def test_blank_cells_are_missing_and_records_are_quoted_where_they_must_be() -> None:
    assert [tables.cell(text) for text in ("", " \t", "\u3000", "NA", " x ")] == [None, None, None, "NA", " x "]
    file = io.StringIO()
    tables.write(file, [["a,b", 0.5, None, 'say "x"', 1e-06]], ",")
    assert file.getvalue() == '"a,b",0.5,,"say ""x""",1e-06\n'


def test_what_a_spreadsheet_would_run_is_guarded_as_predict_does() -> None:
    lines = [["=a", "b"], ["=1+1", "-3.2"], ["+5", "-inf"], ["-x", -2.5], ["@a", None]]
    file = io.StringIO()
    assert tables.write(file, lines, ",") == 4
    assert file.getvalue() == "'=a,b\n'=1+1,-3.2\n+5,-inf\n'-x,-2.5\n'@a,\n"
    file = io.StringIO()
    assert tables.write(file, lines, ",", raw=True) == 0
    assert file.getvalue() == "=a,b\n=1+1,-3.2\n+5,-inf\n-x,-2.5\n@a,\n"
    assert tables.remark(1, Path("p.csv")) == (
        "1 cell of p.csv that a spreadsheet would run as formulas has an apostrophe before it; --raw leaves it as it is"
    )
    assert "4 cells of standard output" in tables.remark(4, None)
