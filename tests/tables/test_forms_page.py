"""docs/cases.md says which encodings and table files are understood: every item of its lists is made and read here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmcli.errors import DataError
from mmcli.tables.reading import open_table
from tests.tables.forms import CELLS, ENCODINGS, FORMS, REFUSED

PAGE = Path(__file__).parents[2] / "docs" / "cases.md"


def listed(section: str, part: str = "") -> list[str]:
    """The items of the lists of a section, or of a part of it."""
    text = PAGE.read_text(encoding="utf-8")
    own = re.split(r"^## ", text, flags=re.MULTILINE)
    found = next(piece for piece in own if piece.startswith(f"{section}\n"))
    if part:
        found = next(piece for piece in re.split(r"^### ", found, flags=re.MULTILINE) if piece.startswith(f"{part}\n"))
    return re.findall(r"^- (.*)$", found, re.MULTILINE)


def test_the_page_lists_what_is_tested() -> None:
    assert listed("Encodings") == list(ENCODINGS)
    assert listed("Table files", "Read") == list(FORMS)
    assert listed("Table files", "Refused, with what to do") == list(REFUSED)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(form: str, tmp_path: Path) -> None:
    table = open_table(FORMS[form](tmp_path))
    rows = [record for chunk in table.chunks(5) for record in chunk.to_dict("records")]
    assert table.columns == ["x", "text", "label"]
    assert [float(str(row["x"])) for row in rows] == [float(row["x"]) for row in CELLS]
    assert [str(row["text"]).strip() for row in rows] == [row["text"] for row in CELLS]
    assert [row["label"] for row in rows] == [row["label"] for row in CELLS]
    assert next(part.frame.to_dict("records") for part in table.parts(5))[0] == rows[0]


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_refused_says_what_to_do(form: str, tmp_path: Path) -> None:
    make, remedy = REFUSED[form]
    path = make(tmp_path)
    with pytest.raises(DataError) as error:
        for _ in open_table(path).chunks():
            pass
    assert remedy in error.value.remedy
    assert str(path) in error.value.message


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("repeated", [1, 30])
def test_every_encoding_is_found(name: str, repeated: int, tmp_path: Path) -> None:
    encoding, text = ENCODINGS[name]
    path = tmp_path / "t.csv"
    header, _, body = text.partition("\n")
    path.write_bytes(f"{header}\n{body * repeated}".encode(encoding))
    table = open_table(path)
    mark = table.delimiter
    lines = [mark.join(map(str, row)) for chunk in table.chunks() for row in chunk.to_numpy()]
    assert [mark.join(table.columns), *lines] == [header, *body.splitlines() * repeated]
    told = encoding in {"utf-8", "utf-8-sig", "utf-16"}
    assert bool(table.warnings) != told  # what was guessed is said, with an example
    assert told or any(char in table.warnings[0] for char in text if ord(char) > 127)
