from __future__ import annotations

from pathlib import Path

import pytest

from mmcli.errors import DataError
from mmcli.tables.delimited import detect_delimiter
from mmcli.tables.encoding import check_encoding, detect_encoding

CHINESE = "编号,描述\n1,南瓜灯和万圣节\n2,圣诞树\n"
FRENCH = "id,texte\n1,Œuvre déjà vue à l’été\n2,crème brûlée, garçon\n".replace("Œ", "O").replace("’", "'")


@pytest.mark.parametrize(
    ("text", "written", "expected"),
    [
        (CHINESE, "utf-8", "utf-8"),
        (CHINESE, "utf-8-sig", "utf-8-sig"),
        (CHINESE, "gb18030", "gb18030"),
        (CHINESE, "utf-16", "utf-16"),
        (FRENCH, "latin-1", "latin-1"),
        ("a,b\n1,2\n", "ascii", "utf-8"),
        ("Stra\u00dfe;M\u00fcller\n\u00c4rger;\u00fcber\n", "latin-1", "latin-1"),
    ],
)
def test_detects(tmp_path: Path, text: str, written: str, expected: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(written))
    assert detect_encoding(path) == expected


def test_evidence_far_into_a_large_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n" + b"1,plain\n" * 800_000 + "2,万圣节南瓜灯\n".encode("gb18030"))
    assert detect_encoding(path) == "gb18030"


def test_a_wrong_encoding_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a\nok\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"line 3: the bytes .* are not utf-8"):
        check_encoding(path, "utf-8")
    with pytest.raises(DataError, match="no such encoding"):
        check_encoding(path, "utf-99")


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n", ";"),
        ("a\tb\n1, 2\t3\n", "\t"),
        ("a|b\n1,2|3\n4,5|6\n", "|"),
        ('a;b\n"x, y\nz";2\n', ";"),
        ("only\none\n", ","),
    ],
)
def test_detects_the_delimiter(tmp_path: Path, text: str, delimiter: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert detect_delimiter(path, "utf-8") == delimiter
