"""The inputs that people have, as the scripts in tests/cases make them: each is read as the head of its script expects."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmcli.errors import ExitCode
from mmcli.tables.reading import open_table
from tests.making_cases import SAID, SCRIPTS, are_red_and_blue, inspect, kinds, make, mmcli, preprocess, values


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder that a script has made: `test_07_...` is of the script that begins with 07."""
    return make(request.node.name[5:7], tmp_path)


def test_every_script_has_its_test() -> None:
    found = "".join((Path(__file__).parent / name).read_text() for name in ("test_cases.py", "test_cases_runs.py"))
    assert set(re.findall(r"def test_(\d\d)_", found)) == {path.name[:2] for path in SCRIPTS}


@pytest.mark.parametrize("target", [(), ("--target", "label")])
def test_01_pictures_in_structs(case: Path, target: tuple[str, ...]) -> None:
    dataset, _ = preprocess(case / "data.parquet", *target)
    assert kinds(inspect(case / "data.parquet", *target)[0]) == {"image": "image"}
    assert are_red_and_blue(dataset)


def test_02_pictures_as_bytes(case: Path) -> None:
    dataset, _ = preprocess(case / "data.parquet")
    assert kinds(inspect(case / "data.parquet")[0]) == {"image": "image"}
    assert are_red_and_blue(dataset)


def test_04_long_names(case: Path) -> None:
    dataset, _ = preprocess(case / "data.csv")
    names = open_table(case / "data.csv").columns
    assert dataset.inputs == names[:2]
    assert values(dataset, names[1])[:3] == pytest.approx([0, 1.5, 3], abs=1e-5)
    assert all(len(path.name.encode()) < 255 for path in dataset.artifact.path.rglob("*"))


def test_05_half_a_character(case: Path) -> None:
    code, _, said = mmcli("preprocess", case / "data.jsonl", "-a", case / "art")
    assert code == ExitCode.BAD_DATA
    assert "row 8 (line 8), column 'text' holds \\ud83d, half of a character" in said
    assert "Mend or empty that cell." in said


def test_06_a_long_field(case: Path) -> None:
    told, _ = inspect(case / "data.csv")
    assert told["format"] == "CSV in utf-8, fields separated by semicolons"
    assert (told["rows"], kinds(told)) == (40, {"text": "text", "x": "number"})
    lengths = open_table(case / "data.csv").head(4)["text"].str.len().tolist()
    assert lengths == [26, 26, 200_001, 26]


def test_07_splits_in_numbers(case: Path) -> None:
    told, said = inspect(case / "data.csv", "--target", "label")
    assert (kinds(told), told["splits"]) == ({"x": "number"}, {"train": 40, "val": 10, "test": 10})
    assert "split: the column 'split', 0 train, 1 val, 2 test" in said


@pytest.mark.parametrize(
    ("name", "cells", "splits"),
    [
        ("data_split", "012", {"train": 40, "val": 10, "test": 10}),
        ("split", ["训练", "验证", "测试"], {"train": 40, "val": 10, "test": 10}),
        ("is_test", "001", {}),
        ("fold", "123", {}),
    ],
)
def test_07_columns_of_splits_are_never_inputs(case: Path, name: str, cells: list[str], splits: dict[str, int]) -> None:
    text = (case / "data.csv").read_text()
    text = re.sub(r",([012]),", lambda own: f",{cells[int(own[1])]},", text.replace("split", name))
    (case / "data.csv").write_text(text)
    told, said = inspect(case / "data.csv", "--target", "label")
    assert (kinds(told), told["splits"]) == ({"x": "number"}, splits)
    assert f"column {name!r}" in said


def test_08_decimal_commas(case: Path) -> None:
    dataset, said = preprocess(case / "data.csv", "--target", "ratio")
    assert values(dataset, "price")[:3] == pytest.approx([1000, 1037.41, 1074.82], abs=0.01)
    ratios = dataset.targets.double().flatten() * dataset.task.std[0] + dataset.task.mean[0]  # type: ignore[attr-defined]
    assert ratios.tolist()[:3] == pytest.approx([0.1, 0.111, 0.122], abs=1e-6)
    assert "column 'price': a comma stands before the decimals: 1.000,00 is 1000" in said
    assert "0,100 is 0.1" in said


def test_09_words_for_missing(case: Path) -> None:
    told, said = inspect(case / "data.csv", "--target", "y")
    assert (told["task"], kinds(told)) == ("regression", {"age": "number", "horsepower": "number"})
    assert {item["column"]: item["missing"] for item in told["columns"]} == {"age": 16, "horsepower": 14}
    assert "column 'age': 16 cells with 'NA', which counts as missing" in said
    assert "8 rows have no 'y': left out of training" in told["warnings"]
    dataset, _ = preprocess(case / "data.csv", "--target", "y")
    assert values(dataset, "age")[1] == pytest.approx(20.37, abs=1e-4)
    assert np.isnan(values(dataset, "age")[0])


def test_09_a_class_that_may_mean_missing_is_told(case: Path) -> None:
    text = "x,label\n" + "".join(f"{i * 7919 % 83},{['NA', 'Yes', 'yes', 'no'][i % 4]}\n" for i in range(80))
    (case / "data.csv").write_text(text)
    told, _ = inspect(case / "data.csv")
    assert any("'NA' is a class of 'label', in 20 rows" in line and "--na NA" in line for line in told["warnings"])
    assert any("look the same: 'Yes' (20 rows) and 'yes' (20 rows)" in line for line in told["warnings"])
    assert inspect(case / "data.csv", "--na", "NA")[0]["target"]["classes"] == {"Yes": 20, "yes": 20, "no": 20}


def test_09_numbers_that_may_mean_missing_are_told(case: Path) -> None:
    (case / "data.csv").write_text(re.sub(r"NA|\?", "-999", (case / "data.csv").read_text()))
    told, _ = inspect(case / "data.csv", "--target", "y")
    assert "column 'age': 16 cells are -999, all others 20.37 to 49.23: if it means missing, --na -999" in told["warnings"]
    assert "target 'y': 8 cells are -999, all others 3 to 35.39: if it means missing, --na -999" in told["warnings"]
    told, _ = inspect(case / "data.csv", "--target", "y", "--na", "-999")
    assert {item["column"]: item["missing"] for item in told["columns"]} == {"age": 16, "horsepower": 14}


@pytest.mark.parametrize("name", ["data.csv", "shuffled.csv", "shuffled.parquet"])
def test_10_row_names(case: Path, name: str) -> None:
    told, said = inspect(case / name, "--target", "label")
    assert kinds(told) == {"x": "number"}
    assert re.search(r"id: '(Unnamed: 0|__index_level_0__)', not an input", said)


def test_10_row_names_that_were_written_twice(case: Path) -> None:
    pd.read_csv(case / "data.csv").to_csv(case / "twice.csv")
    told, said = inspect(case / "twice.csv", "--target", "label")
    assert kinds(told) == {"x": "number"}
    assert "'Unnamed: 0.1'" in said and "'Unnamed: 0'" in said


def test_11_two_encodings(case: Path) -> None:
    code, _, said = mmcli("inspect", case / "data.csv")
    assert code == ExitCode.BAD_DATA
    assert "look like gb18030, but line 51 (row 50) is not" in said


def test_13_files_that_cannot_be_read(case: Path) -> None:
    pytest.importorskip("pillow_heif", reason="HEIC needs the extra heif")
    told, said = inspect(case / "data.csv")
    assert kinds(told) == {"photo": "image", "voice": "audio", "x": "number"}
    assert "column 'scan' names files that are not read (DICOM), e.g. 'm/IMG_0000.dcm': ignored" in said
    assert "none could be opened: a picture in HEIC that cannot be decoded" in told["columns"][0]["reason"]
    code, _, said = mmcli("preprocess", case / "data.csv", "-a", case / "art")
    assert code == ExitCode.BAD_DATA
    assert "40 of 40 cells of column 'photo' (100.0%) cannot be read" in said


def test_13_names_of_files_that_are_not_there_are_no_text(case: Path) -> None:
    table = pd.read_csv(case / "data.csv")
    for name in ("photo", "voice", "scan"):
        table[name] = table[name].str.removeprefix("m/")
    table[["scan", "x", "label"]].to_csv(case / "scans.csv", index=False)
    told, said = inspect(case / "scans.csv")
    assert (kinds(told), told["ignored"]) == ({"x": "number"}, ["scan"])
    assert "column 'scan' names files that are not read (.dcm)" in said
    for name in ("photo", "voice"):
        table[[name, "x", "label"]].to_csv(case / "media.csv", index=False)
        code, _, said = mmcli("inspect", case / "media.csv")
        assert (code, "none of the first 40 files is there" in said) == (ExitCode.BAD_DATA, True)


@pytest.mark.parametrize("name", ["data.csv", "blank.csv"])
def test_14_names_without_a_suffix(case: Path, name: str) -> None:
    assert kinds(inspect(case / name)[0]) == {"photo": "image", "x": "number"}
    assert are_red_and_blue(preprocess(case / name)[0])


def test_14_names_that_lack_the_suffix_of_their_files_are_no_text(case: Path) -> None:
    text = (case / "blank.csv").read_text().replace(".png ", "")
    for path in (case / "m").iterdir():
        if not path.suffix:
            path.unlink()
    (case / "blank.csv").write_text(text)
    told, said = inspect(case / "blank.csv")
    assert (kinds(told), told["ignored"]) == ({"x": "number"}, ["photo"])
    assert "column 'photo' names files without their suffix, 'm/cfcd208495d5' for" in said


def test_15_lists_of_labels(case: Path) -> None:
    dataset, _ = preprocess(case / "data.jsonl", "--target", "tags", "--label-separator", ",")
    state = json.loads((dataset.artifact.path / "task.json").read_text())
    assert (state["task"], state["state"]["labels"]) == ("multilabel", ["bird", "cat", "dog"])
    rows = [json.loads(line)["tags"] for line in (case / "data.jsonl").read_text().splitlines()]
    found = [[name for name, here in zip(state["state"]["labels"], row, strict=True) if here] for row in dataset.targets]
    assert found == [sorted(row) for row in rows]


def test_15_lists_as_numpy_prints_them(case: Path) -> None:
    rows = [json.loads(line) for line in (case / "data.jsonl").read_text().splitlines()]
    table = pd.DataFrame({"text": [row["text"] for row in rows], "tags": [str(np.array(row["tags"])) for row in rows]})
    table.to_csv(case / "data.csv", index=False)
    dataset, _ = preprocess(case / "data.csv", "--target", "tags")
    assert json.loads((dataset.artifact.path / "task.json").read_text())["state"]["labels"] == ["bird", "cat", "dog"]


def test_16_a_target_far_from_nought_is_said_with_all_its_digits(case: Path) -> None:
    _, said = inspect(case / "data.csv", "--target", "t")
    assert "numbers, 1764000000 to 1764003360" in said


def test_18_names_that_look_the_same(case: Path) -> None:
    told, _ = inspect(case / "data.csv", "--target", "label")
    assert told["target"]["classes"] == {"café": 40, "tea": 40}
    dataset, said = preprocess(case / "data.csv", "--target", "label")
    assert dataset.task.state()["classes"] == ["café", "tea"]
    assert dataset.input("tabular").members["place"].state()["names"] == ["Zürich", "Bern"]
    assert "35 cells of 'label' have blanks around them or other marks: 'tea ' is taken as 'tea'" in said


def test_20_frames_of_clips(case: Path) -> None:
    lines = (case / SAID).read_text().splitlines()
    made = [line for line in lines if "cannot be made" not in line]
    assert len(made) >= 8, lines
    assert [line for line in made if not line.endswith("OK")] == []


@pytest.fixture
def server(case: Path) -> Iterator[str]:
    """The case's folder on a web server."""
    handler = functools.partial(_Quiet, directory=str(case))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as own:
        thread = threading.Thread(target=own.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{own.server_address[1]}"
        own.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("name", ["zip", "file", "back", "tilde", "http"])
def test_21_addresses(case: Path, server: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (case / "home").mkdir()
    (case / "home" / "pics").symlink_to(case / "my pics")
    monkeypatch.setenv("HOME", str(case / "home"))
    path = case / f"{name}.csv"
    path.write_text(path.read_text().replace("127.0.0.1:8765", server))
    dataset, _ = preprocess(path)
    assert kinds(inspect(path)[0]) == {"photo": "image", "x": "number"}
    assert are_red_and_blue(dataset)


def test_21_addresses_that_refuse_and_files_that_are_not_there(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(case))
    text = (case / "http.csv").read_text()
    (case / "http.csv").write_text(text.replace("127.0.0.1:8765", "127.0.0.1:9"))
    code, _, said = mmcli("inspect", case / "http.csv")
    assert code == ExitCode.BAD_DATA
    assert "column 'photo': none of the first 3 addresses can be read" in said
    assert "http://127.0.0.1:9/my%20pics/p0.png: the connection was refused" in said
    code, _, said = mmcli("inspect", case / "tilde.csv")
    assert (code, f"the first would be {case}/pics/p0.png" in said) == (ExitCode.BAD_DATA, True)


def test_24_columns_that_are_empty_in_a_split(case: Path) -> None:
    dataset, said = preprocess(case / "data.csv", "--target", "label")
    assert dataset.schema["inputs"] == {"tabular": ["num_no_val", "x"], "text_no_val": ["text_no_val"]}
    for name in ("num", "text", "cat", "date"):
        assert f"column '{name}_no_train' has no value in any train row: left out" in said
    for name in ("num", "text"):
        assert f"column '{name}_no_val' has no value in any val row" in said


def test_26_several_files_in_a_cell(case: Path) -> None:
    dataset, said = preprocess(case / "data.csv")
    assert "column 'photo': 14 cells with several files, of which the first is taken" in said
    assert are_red_and_blue(dataset)
    told, said = inspect(case / "data.jsonl")
    assert kinds(told) == {"photo": "image", "x": "number"}
    assert "column 'photo' has cells that name several files" in said
    assert are_red_and_blue(preprocess(case / "data.jsonl")[0])


@pytest.mark.parametrize("name", ["array.json", "excel.csv", "data.csv.gz", "trailing.csv", "title.csv", "oldmac.csv"])
def test_27_forms_of_tables(case: Path, name: str) -> None:
    table = open_table(case / name)
    assert table.columns == ["x", "text", "label"]
    expected = [[str(round(i * 0.7 % 3, 2)), f"word {i % 9} and more", "ab"[i % 2]] for i in range(60)]
    assert [row.tolist() for chunk in table.chunks() for row in chunk.to_numpy()] == expected
    assert inspect(case / name)[0]["target"]["classes"] == {"a": 30, "b": 30}


def test_29_leaks_are_told(case: Path) -> None:
    told, _ = inspect(case / "data.csv", "--target", "label")
    assert told["splits"] == {"train": 200, "val": 50, "test": 50}
    assert any("input 'leak' alone tells the target 'label'" in line for line in told["warnings"])


def test_30_long_texts_without_a_blank(case: Path) -> None:
    start = time.monotonic()
    dataset, said = preprocess(case / "data.jsonl")
    assert time.monotonic() - start < 10  # a fifth of a second where nothing else runs; it was half a minute
    assert "column 'text': 2 cells cut to 256 tokens" in said
    lengths = dataset.column("text").lengths
    assert lengths is not None and lengths.max() == 256
