"""What predict gives back: the table's own rows and types, through files and pipes; and where it refuses."""

from __future__ import annotations

import io
import json
import shutil
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import mmcli
from mmcli.cli import app
from mmcli.errors import DataError, ExitCode
from tests.conftest import draw, write_csv

pytestmark = pytest.mark.slow


def invoke(*arguments: str | Path, given: bytes = b"") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=given)
    return result.exit_code, result.stdout, result.stderr


def typed() -> pa.Table:
    n = 9
    return pa.table(
        {
            "key": pa.array([2**60 + i for i in range(n)]),
            "word": pa.array(["apple", "box", None] * 3).dictionary_encode(),
            "flag": pa.array([True, None, False] * 3),
            "when": pa.array([1_700_000_000_000_000 + i for i in range(n)], pa.timestamp("us", "UTC")),
            "small": pa.array(range(n), pa.int8()),
            "list": pa.array([[1.5, None]] * n),
            "price": pa.array([Decimal("1.10")] * n),
            "raw": pa.array([b"\x00\xff"] * n),
            "struct": pa.array([{"a": 1, "b": ["x"]}] * n),
        }
    )


def test_parquet_keeps_the_types_of_its_columns(chain: Path, tmp_path: Path) -> None:
    table = typed()
    pq.write_table(table, tmp_path / "new.parquet")
    code, _, said = invoke("predict", tmp_path / "new.parquet", "-o", tmp_path / "p.parquet", "-a", chain)
    assert code == 0, said
    made = pq.read_table(tmp_path / "p.parquet")
    assert made.select(table.column_names).equals(table)
    assert made.schema.field("label_predicted").type == pa.string()
    assert made.schema.field("label_predicted_probability").type == pa.float64()
    frame = mmcli.load(chain).predict(tmp_path / "new.parquet")
    assert frame["key"].tolist() == table["key"].to_pylist()
    assert str(frame["small"].dtype) == "int8"
    assert frame["label_predicted"].tolist() == made["label_predicted"].to_pylist()


def test_the_order_of_rows_changes_no_prediction(chain: Path, tmp_path: Path) -> None:
    table = typed()
    pq.write_table(table.take([5, 1, 8, 0]), tmp_path / "some.parquet")
    pq.write_table(table, tmp_path / "all.parquet")
    for name in ("some", "all"):
        assert invoke("predict", tmp_path / f"{name}.parquet", "-o", tmp_path / f"{name}.jsonl", "-a", chain)[0] == 0
    some, every = (
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()] for name in ("some", "all")
    )
    assert some == [every[i] for i in (5, 1, 8, 0)]
    assert some[0]["key"] == 2**60 + 5
    assert some[0]["flag"] is False
    assert some[0]["list"] == [1.5, None]
    assert some[0]["struct"] == {"a": 1, "b": ["x"]}
    assert some[0]["price"] == "1.10"
    assert some[0]["raw"] == "data:;base64,AP8="


RECORDS = [
    {"word": "apple", "n": 1, "x": 1.0, "deep": {"a": [1, None]}, "flag": True},
    {"word": None, "n": 2**70, "x": -0.5, "deep": [], "more": "only here"},
    {"word": "box", "flag": False, "n": None},
]


@pytest.mark.parametrize("name", ["new.jsonl", "new.json"])
def test_json_comes_back_as_it_was(chain: Path, tmp_path: Path, name: str) -> None:
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS)
    (tmp_path / name).write_text(lines if name.endswith("l") else json.dumps(RECORDS))
    assert invoke("predict", tmp_path / name, "-o", tmp_path / "p.jsonl", "-a", chain)[0] == 0
    made = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    own = [{key: value for key, value in record.items() if not key.startswith("label")} for record in made]
    assert [json.dumps(record) for record in own] == [json.dumps(record) for record in RECORDS]
    assert all(0 < record["label_predicted_probability"] <= 1 for record in made)
    assert invoke("predict", tmp_path / name, "-o", tmp_path / "p.parquet", "-a", chain)[0] == 0
    schema = pq.read_schema(tmp_path / "p.parquet")
    assert [str(schema.field(name).type) for name in ("word", "n", "x", "flag", "more")] == [
        *("string", "string", "double", "bool", "string")  # no integer of Parquet holds 2^70
    ]


def test_csv_comes_back_as_it_was(chain: Path, tmp_path: Path) -> None:
    text = 'word,a,b\napple, 1.50 ,"two\nlines"\nbox,  ,007\n'
    (tmp_path / "new.csv").write_text(text)
    assert invoke("predict", tmp_path / "new.csv", "-o", tmp_path / "p.csv", "-a", chain)[0] == 0
    frame = pd.read_csv(tmp_path / "p.csv", dtype=str, keep_default_na=False)
    assert frame["a"].tolist() == [" 1.50 ", "  "]
    assert frame["b"].tolist() == ["two\nlines", "007"]


def test_n_best_lists_and_times_are_of_texts(chain: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "new.csv", ["word"], [["apple"], ["box"]])
    for asked, said in ((["--nbest", "2"], "there is but one"), (["--words", tmp_path / "w.json"], "follow no steps")):
        code, _, told = invoke("predict", path, "-a", chain, "-o", tmp_path / "p.csv", *asked)
        assert code == ExitCode.USAGE
        assert said in " ".join(told.split())
    assert [file.name for file in tmp_path.iterdir()] == ["new.csv"]


def test_columns_of_the_same_name_are_replaced_and_named(chain: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "new.csv", ["label_predicted", "word"], [["mine", "apple"], ["mine", "box"]])
    code, _, said = invoke("predict", path, "-o", tmp_path / "p.csv", "-a", chain, "-q")
    assert code == 0
    assert "has 'label_predicted' already: replaced by the new predictions" in said
    frame = pd.read_csv(tmp_path / "p.csv", dtype=str)
    assert list(frame.columns[:2]) == ["label_predicted", "word"]
    assert "mine" not in frame["label_predicted"].tolist()
    with pytest.warns(UserWarning, match="has label_predicted already"):
        mmcli.load(chain).predict(path)


def test_through_pipes(chain: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "new.csv", ["word", "n"], [["apple", "1"], ["箱子", "2"]])
    assert invoke("predict", path, "-o", tmp_path / "p.csv", "-a", chain)[0] == 0
    wanted = (tmp_path / "p.csv").read_text(encoding="utf-8")
    code, written, _ = invoke("predict", "-", "-o", "-", "-a", chain, given=path.read_bytes())
    assert (code, written) == (0, wanted)
    parquet = io.BytesIO()
    pd.DataFrame({"word": ["apple", "箱子"], "n": [1, 2]}).to_parquet(parquet)
    assert invoke("predict", "-", "-o", "-", "-a", chain, given=parquet.getvalue())[1] == wanted
    lines = '{"word": "apple", "n": 1}\n{"word": "箱子", "n": 2}\n'.encode()
    assert invoke("predict", "-", "-o", "-", "-a", chain, given=lines)[1] == wanted
    assert invoke("predict", path, "-o", "-", "--json", "-a", chain)[0] == ExitCode.USAGE
    code, _, said = invoke("inspect", "-", given=b"a;b\n" + b"1;x\n2;y\n" * 20)
    assert code == 0
    assert "next: mmcli preprocess FILE" in said
    code, _, said = invoke("preprocess", "-", "-a", tmp_path / "a", given=b"a,b\n1,2\n")
    assert code == ExitCode.USAGE
    assert "Save it as a file first" in said
    code, _, said = invoke("predict", "-", "-a", chain, given=b"")
    assert code == ExitCode.BAD_DATA
    assert "standard input is empty" in said


def test_most_files_missing_is_an_error(chain: Path, tmp_path: Path) -> None:
    draw("round", "red").save(tmp_path / "ok.png")
    rows = [["ok.png", "apple"], ["gone1.png", "box"], ["gone2.png", "box"], ["", "box"]]
    path = write_csv(tmp_path / "new.csv", ["picture", "word"], rows)
    code, _, said = invoke("predict", path, "-o", tmp_path / "p.csv", "-a", chain)
    assert code == ExitCode.BAD_DATA
    assert "column 'picture': 2 of 3 files are not there" in said
    assert "gone1.png" in said
    assert "--media-root" in said
    assert not list(tmp_path.glob("*p.csv*"))
    assert invoke("predict", path, "-o", tmp_path / "p.csv", "-a", chain, "--allow-missing")[0] == 0
    frame = pd.DataFrame(rows, columns=["picture", "word"])
    model = mmcli.load(chain)
    with pytest.raises(DataError, match="'picture': 3 of 3 files are not there"):
        model.predict(frame, media_root=tmp_path / "elsewhere")
    assert len(model.predict(frame, media_root=tmp_path, allow_missing=True)) == 4
    shutil.copy(tmp_path / "ok.png", tmp_path / "gone1.png")
    assert invoke("predict", path, "-o", tmp_path / "p.csv", "-a", chain)[0] == 0


def test_a_frame_keeps_its_types(chain: Path) -> None:
    frame = pd.DataFrame({"word": ["apple", None, "box"], "n": [1, 2, 3], "t": pd.date_range("2024-01-01", periods=3)})
    made = mmcli.load(chain).predict(frame)
    pd.testing.assert_frame_equal(made[["word", "n", "t"]], frame)
    with pytest.raises(DataError, match=r"row 2, column 'word' holds \\ud83d"):
        mmcli.load(chain).predict(pd.DataFrame({"word": ["apple", "cut \ud83d"]}, dtype=object))


@pytest.mark.parametrize("flag", ["-o", "--words"])
def test_the_table_itself_is_never_written_over(chain: Path, tmp_path: Path, flag: str) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text('{"word": "ball"}\n')
    other = tmp_path / "x" / ".." / "t.jsonl"
    (tmp_path / "x").mkdir()
    code, _, said = invoke("predict", table, "-a", chain, flag, other)
    assert (code, f"{flag} {other} is the table itself" in said) == (ExitCode.USAGE, True)
    assert table.read_text() == '{"word": "ball"}\n'
