"""Tables that are damaged, mixed or odd: what is wrong is named, nothing is replaced in silence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcli.errors import DataError
from mmcli.tables.reading import Table, open_table

CHINESE = "描述,类\n" + "".join(f"这是第{i}条评论内容很好,好评\n" for i in range(1, 31))
FRENCH = "texte,n\n" + "été à Orléans,1\n" * 30


def write(tmp_path: Path, data: bytes | str, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(path: Path, **options: str) -> tuple[Table, list[list[object]]]:
    table = open_table(path, **options)
    return table, [row for chunk in table.chunks(7) for row in chunk.to_numpy().tolist()]


def spoilt(text: str, encoding: str, line: int, data: bytes) -> bytes:
    lines = text.encode(encoding).split(b"\n")
    lines[line - 1] = data
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (spoilt(CHINESE, "utf-8", 9, b"\xff\xfe\xfd,x"), r"are utf-8, but line 9 \(row 8\) is not"),
        (spoilt(CHINESE, "utf-8", 9, "南瓜灯,x".encode("gb18030")), r"are utf-8, but line 9 \(row 8\) is not"),
        (spoilt(FRENCH, "utf-8", 3, "crème,2".encode("latin-1")), r"are utf-8, but line 3 \(row 2\) is not"),
        (spoilt(CHINESE, "gb18030", 12, b"\xd5\xe2\xff\xfe,x"), r"look like gb18030, but line 12 \(row 11\) is not"),
        (spoilt(CHINESE, "gb18030", 20, "南瓜灯和圣诞树,x".encode()), r"more than one encoding: line 20 \(row 19\) is UTF-8"),
        (spoilt(FRENCH, "latin-1", 5, "über größe été,2".encode()), r"more than one encoding: line 5 \(row 4\) is UTF-8"),
        (spoilt("名稱,類\n" + "這個產品非常好,讚\n" * 9, "big5", 4, b"\xa4,x"), r"look like big5, but line 4 \(row 3\) is not"),
        (CHINESE.encode()[:-2], r"are utf-8, but line 31 \(row 30\) is not"),
        (CHINESE.encode("gb18030")[:-2], r"look like gb18030, but line 31 \(row 30\) is not"),
        (b"\xef\xbb\xbfa,b\nok,1\n\xe9t\xe9,2\n", r"byte-order mark .* utf-8-sig, but line 3 \(row 2\) is not"),
        (CHINESE.encode("utf-16")[:-1], r"byte-order mark .* utf-16, and its end \(line 31\) cannot be read"),
        (spoilt(spoilt(CHINESE, "utf-8", 9, b"\xff,x").decode("latin-1"), "latin-1", 4, b"\xfe,y"), r"lines 4, 9 are not"),
        (b'a,b\n"two\nlines",1\nok,\xff\xfe\xe9\n\xe9\xff\xff\xe9,2\n' + "é,1\n".encode() * 9, r"lines 4, 5 are not"),
    ],
)
def test_lines_that_no_encoding_reads_are_named(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read(write(tmp_path, data))


def test_damage_far_into_a_large_file_is_found(tmp_path: Path) -> None:
    text = "描述,n\n" + "很好的服务评价,1\n" * 200_000
    path = write(tmp_path, text.encode("gb18030") + b"\xb5\xff,2\n")
    with pytest.raises(DataError, match=r"look like gb18030, but line 200002 \(row 200001\) is not"):
        open_table(path)


def test_an_encoding_that_was_told_is_no_guess(tmp_path: Path) -> None:
    path = write(tmp_path, "값,n\n가,1\n".encode("euc_kr"))
    table, rows = read(path, encoding="euc_kr")
    assert rows == [["가", "1"]]
    assert not table.warnings
    with pytest.raises(DataError, match="its last character is cut short"):
        read(write(tmp_path, "a\n好".encode()[:-1]), encoding="utf-8")


def test_a_guess_is_said_with_what_it_reads(tmp_path: Path) -> None:
    table, _ = read(write(tmp_path, FRENCH.encode("latin-1")))
    (warning,) = table.warnings
    assert "guessed: latin-1" in warning
    assert "'été à Orléans,1'" in warning
    assert "--encoding" in warning


@pytest.mark.parametrize("mark", [";", "\t", "|", ","])
@pytest.mark.parametrize("size", [200_000, 1_500_000])
def test_a_huge_cell_does_not_change_the_delimiter(mark: str, size: int, tmp_path: Path) -> None:
    rows = [
        f"{'word, or; so ' * (size // 13) if i == 2 else 'short'}{i}{mark}{i}{mark}a".replace(mark + " ", " ") for i in range(9)
    ]
    rows = [f'"{row.split(mark)[0]}"{mark}{i}{mark}a' for i, row in enumerate(rows)]
    table, found = read(write(tmp_path, f"text{mark}x{mark}label\n" + "\n".join(rows)))
    assert table.delimiter == mark
    assert [row[1] for row in found] == [str(i) for i in range(9)]
    assert len(str(found[2][0])) > 0.5 * size


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b,\n1,2,\n3,4,x\n" + "5,6,\n" * 60, r"a.*field 3 of the header has no name"),
        ("a,b,\n" + "1,2,\n" * 60 + "3,4,x\n", r"row 61 \(line 62\) has 'x' in field 3, which has no name"),
        ("a,b\n1,2\n3,4,5\n", r"row 2 \(line 3\) has 3 fields, the header has 2"),
        ("a,b,c\n1,2\n", r"row 1 \(line 2\) has 2 fields, the header has 3"),
        ("\n\n", "is empty"),
        ("sep=;\n", "is empty"),
    ],
)
def test_odd_lines_are_told(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("sep=;\na;b\n1;2\n", 'the line "sep=;" at the beginning is no row'),
        ("a,b,\n1,2,\n", "lines end with an empty field without a name"),
        ("a,b,,\n1,2,,\n", "lines end with 2 empty fields without a name"),
    ],
)
def test_what_is_passed_over_is_said(text: str, note: str, tmp_path: Path) -> None:
    table, rows = read(write(tmp_path, text))
    assert rows == [["1", "2"]]
    assert note in " ".join(table.notes)


def test_a_title_and_a_header_of_numbers_are_warned_of(tmp_path: Path) -> None:
    table, rows = read(write(tmp_path, "Sales, by region\nRegion;n\nNorth;1\nSouth;2\n"))
    assert rows == [["North", "1"], ["South", "2"]]
    assert "'Sales, by region'" in table.warnings[0]
    table, rows = read(write(tmp_path, "1,2\n3,4\n"))
    assert rows == [["3", "4"]]
    assert "the header is '1,2'" in table.warnings[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.jsonl", '{"t": "ok"}\n{"t": "cut \\ud83d"}\n'),
        ("t.jsonl", '{"t": "ok"}\n{"t": ["deep", {"x": "\\uDE00"}]}\n'),
        ("t.json", '[{"t": "ok"}, {"t": "cut \\ud83d"}]'),
        ("t.json", '{"t": ["ok", "cut \\ud83d"]}'),
    ],
)
def test_half_a_character_names_its_row(name: str, content: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 2.*column 't' holds \\ud[8e]"):
        read(write(tmp_path, content, name))
    whole = content.replace("\\ud83d", "\\ud83d\\ude00").replace("\\uDE00", "\\ud83d\\uDE00")
    assert "😀" in str(read(write(tmp_path, whole, name))[1][1])


def test_a_long_json_array_is_read_in_parts(tmp_path: Path) -> None:
    records = [{"i": i, "t": "x" * (i % 9000), "n": -1.5e3} for i in range(700)]
    _, rows = read(write(tmp_path, json.dumps(records), "t.json"))
    assert [row[0] for row in rows] == [str(i) for i in range(700)]
    assert [len(str(row[1] or "")) for row in rows] == [i % 9000 for i in range(700)]
    for broken, said in (("[1, 2]", "row 1 is not an object"), ('[{"a": 1} {"a": 2}]', "after row 1: expected a comma")):
        with pytest.raises(DataError, match=said):
            read(write(tmp_path, broken, "t.json"))


def test_parquet_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    cells = [f"text {i}".encode() for i in range(60)]
    pq.write_table(pa.table({"t": pa.array([*cells, b"\xff\xfe"])}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"row 61, column 't' holds bytes that are not UTF-8: b'\\xff\\xfe'"):
        read(tmp_path / "t.parquet")
    offsets, data = pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"ok\xff\xfe")
    pq.write_table(pa.table({"t": pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])}), tmp_path / "u.parquet")
    with pytest.raises(DataError, match=r"row 2, column 't' says that it is text and is not UTF-8"):
        read(tmp_path / "u.parquet")


def test_excel_without_its_extra_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.tables.forms import workbook

    path = workbook()(tmp_path)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match="needs the extra excel") as error:
        open_table(path)
    assert "mmcli[excel]" in error.value.remedy
    assert "CSV UTF-8" in error.value.remedy


def test_the_other_sheets_of_a_workbook_are_named(tmp_path: Path) -> None:
    from tests.tables.forms import workbook

    assert "the sheet 'Sheet' is read, 'notes' is not" in open_table(workbook(second=True)(tmp_path)).warnings[0]
