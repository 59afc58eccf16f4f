"""A target that is a number or a boolean in its table: predictions are so too, in every kind of file; text stays text."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmcli
from mmcli.data.dataset import checked_schema
from mmcli.tables import typed
from tests.conftest import ENCODERS, run, shared
from tests.stages.test_export import run_alone

pytestmark = pytest.mark.slow
ROWS = 60
X = [place % 3 + place / 1000 for place in range(ROWS)]
SPLIT = [("train", "train", "train", "val", "test")[place // 3 % 5] for place in range(ROWS)]
QUICK = (*ENCODERS, "--set=training.epochs=12")
COLUMNS: dict[str, tuple[pa.Array, list[str]]] = {
    "int": (pa.array([None if n in (3, 7) else (-5, 10, 200)[n % 3] for n in range(ROWS)], pa.int16()), []),
    "bool": (pa.array([n % 3 == 1 for n in range(ROWS)]), []),
    "float": (pa.array([float(n % 3) for n in range(ROWS)]), ["--task", "classification"]),
    "grade": (pa.array([n % 3 + 1 for n in range(ROWS)]), ["--task", "ordinal"]),
    "who": (pa.array([n % 3 + 7 for n in range(ROWS)], pa.uint8()), ["--task", "identify"]),
    "digits": (pa.array([str(n % 3) for n in range(ROWS)]), ["--task", "classification"]),
}
KINDS = {"int": "int16", "bool": "bool", "float": "double", "grade": "int64", "who": "uint8", "digits": "string"}


def done(*arguments: object) -> str:
    code, said = run(*arguments)
    assert code == 0, said
    return said


def table(column: pa.Array) -> pa.Table:
    return pa.table({"x": X, "split": SPLIT, "y": column})


def _chain(column: pa.Array, options: list[str]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        pq.write_table(table(column), folder / "t.parquet")
        root = folder / "a"
        done("preprocess", folder / "t.parquet", "-t", "y", "-a", root, *options)
        done("train-encoder", "x", "--arch", "mlp", "-a", root, *QUICK)
        done("fuse", "--method", "concat", "--seeds", "1", "-a", root, *QUICK)
        done("evaluate", "-a", root)

    return make


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A model by the name of its column, and its folder."""
    column, options = COLUMNS[request.param]
    return request.param, shared(tmp_path_factory, f"typed-{request.param}", _chain(column, options))


def of_lines(path: Path, column: str) -> list[Any]:
    return [json.loads(line)[column] for line in path.read_text().splitlines()]


def of_csv(path: Path, column: str) -> list[str]:
    with path.open(newline="") as file:
        return [row[column] for row in csv.DictReader(file)]


@pytest.mark.parametrize("made", COLUMNS, indirect=True)
def test_predictions_have_the_type_of_the_target(made: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = made
    for suffix in ("parquet", "jsonl", "csv"):
        done("predict", folder / "t.parquet", "-a", folder / "a", "-o", tmp_path / f"p.{suffix}")
    whole = pq.read_table(tmp_path / "p.parquet")
    assert str(whole.schema.field("y_predicted").type) == str(whole.schema.field("y").type) == KINDS[name]
    found, right = whole["y_predicted"].to_pylist(), COLUMNS[name][0].to_pylist()
    assert {type(own) for own in found} == {type(right[0])}
    assert set(found) == set(right) - {None}  # not all one class
    assert sum(a == b for a, b in zip(found, right, strict=True)) > ROWS / 2
    assert [json.dumps(own) for own in of_lines(tmp_path / "p.jsonl", "y_predicted")] == [json.dumps(own) for own in found]
    assert of_csv(tmp_path / "p.csv", "y_predicted") == [str(own) for own in found]
    assert {*of_csv(tmp_path / "p.csv", "y_predicted")} <= {*of_csv(tmp_path / "p.csv", "y")}  # as the table has it there
    tested = pq.read_table(folder / "a" / "evaluation" / "predictions.parquet")
    assert [str(tested.schema.field(own).type).removeprefix("large_") for own in ("y", "y_predicted")] == [KINDS[name]] * 2
    rows = [row - 1 for row in tested["row"].to_pylist()]
    assert tested["y"].to_pylist() == [right[row] for row in rows]
    if name != "who":
        assert [own for own in whole.column_names if own.startswith("y_predicted_probability_")] == [
            f"y_predicted_probability_{own}" for own in sorted(map(str, set(right) - {None}))
        ]


@pytest.mark.parametrize("made", ["int"], indirect=True)
def test_the_type_is_of_the_train_table_whatever_is_predicted(made: tuple[str, Path], tmp_path: Path) -> None:
    _, folder = made
    (tmp_path / "n.jsonl").write_text('{"x": 1.0}\n{"x": 2.0, "y": "?"}\n')
    done("predict", tmp_path / "n.jsonl", "-a", folder / "a", "-o", tmp_path / "p.jsonl")
    done("predict", tmp_path / "n.jsonl", "-a", folder / "a", "-o", tmp_path / "p.parquet")
    assert of_lines(tmp_path / "p.jsonl", "y_predicted") == [10, 200]
    assert pq.read_schema(tmp_path / "p.parquet").field("y_predicted").type == pa.int16()
    frame = mmcli.load(folder / "a").predict(tmp_path / "n.jsonl")
    assert frame["y_predicted"].tolist() == [10, 200]


@pytest.mark.parametrize("made", ["int", "bool"], indirect=True)
def test_exports_write_the_text_that_the_table_has(made: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = made
    done("predict", folder / "t.parquet", "-a", folder / "a", "-o", tmp_path / "p.csv")
    done("export", "-a", folder / "a", "--to", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "model.json").read_text())["type"] == KINDS[name]
    told = run_alone(tmp_path / "out", tmp_path / "p.csv", "-o", tmp_path / "r.csv")
    assert told.returncode == 0, told.stderr
    assert of_csv(tmp_path / "r.csv", "y_predicted") == of_csv(tmp_path / "p.csv", "y_predicted")


@pytest.mark.parametrize("made", ["int"], indirect=True)
def test_older_artifacts_predict_text_and_can_be_compared(
    made: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(typed, "of_columns", lambda *_: {})  # as older versions wrote it
        _chain(*COLUMNS["int"])(tmp_path)
    old, new = tmp_path / "a", made[1] / "a"
    assert "types" not in json.loads((old / "preprocess" / "schema.json").read_text())
    done("predict", tmp_path / "t.parquet", "-a", old, "-o", tmp_path / "p.parquet")
    found = pq.read_table(tmp_path / "p.parquet")["y_predicted"]
    assert (found.type, set(found.to_pylist())) == (pa.string(), {"-5", "10", "200"})
    assert set(pq.read_table(old / "evaluation" / "predictions.parquet")["y"].to_pylist()) == {"-5", "10", "200"}
    said = done("evaluate", "--compare", old, new)
    assert "on the same 12 test rows the first alone is right in 0, the second alone in 0" in said
    done("preprocess", tmp_path / "t.parquet", "-t", "y", "-a", old)  # anew, nothing forced
    assert json.loads((old / "preprocess" / "schema.json").read_text())["types"] == {"y": "int16"}


@pytest.mark.parametrize("types", [{"x": "int64"}, ["y"], {"y": "object"}, {"y": 3}], ids=str)
@pytest.mark.parametrize("made", ["int"], indirect=True)
def test_types_that_cannot_be_are_damage(made: tuple[str, Path], types: Any) -> None:
    schema = json.loads((made[1] / "a" / "preprocess" / "schema.json").read_text())
    assert checked_schema(schema)["types"] == {"y": "int16"}
    with pytest.raises(ValueError, match=r"types are told|has no type"):
        checked_schema({**schema, "types": types})


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([1, 2.5, "3"], ["--task", "classification"]),
        ([0.5, 7.25, 3.0], ["--task", "regression"]),
        ([["a", 1], ["a"], [1]], ["--task", "multilabel"]),
        (['["a", "b"]', '["b"]', '["a"]'], ["--task", "multilabel"]),
        ([12, 345, 6], ["--task", "text"]),
    ],
    ids=["mixed", "numbers", "mixed-labels", "labels-as-text", "text"],
)
def test_other_targets_have_no_type(tmp_path: Path, values: list[Any], options: list[str]) -> None:
    rows = zip(X, SPLIT, values * (ROWS // 3), strict=True)
    lines = [json.dumps({"x": x, "split": split, "y": y}) for x, split, y in rows]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    done("preprocess", tmp_path / "t.jsonl", "-t", "y", "-a", tmp_path / "a", *options)
    assert "types" not in json.loads((tmp_path / "a" / "preprocess" / "schema.json").read_text())


LISTS: dict[str, tuple[list[list[Any]], pa.DataType]] = {
    "texts": ([["a", "b"], ["b"], []], pa.list_(pa.string())),
    "numbers": ([[10, 7], [10], []], pa.large_list(pa.int16())),
}


@pytest.mark.parametrize("name", LISTS)
def test_labels_that_are_lists_are_predicted_as_lists(name: str, tmp_path: Path) -> None:
    values, kind = LISTS[name]
    given = [None if place in (3, 7) else values[place % 3] for place in range(ROWS)]
    _chain(pa.array(given, kind), ["--task", "multilabel"])(tmp_path)
    table_of, root = tmp_path / "t.parquet", tmp_path / "a"
    for suffix in ("parquet", "jsonl", "csv"):
        done("predict", table_of, "-a", root, "-o", tmp_path / f"p.{suffix}")
    whole = pq.read_table(tmp_path / "p.parquet")
    assert whole.schema.field("y_predicted").type == whole.schema.field("y").type
    found = whole["y_predicted"].to_pylist()
    assert {json.dumps(own) for own in found} == {json.dumps(own) for own in values}
    assert sum(own == values[place % 3] for place, own in enumerate(found)) > ROWS / 2
    assert of_lines(tmp_path / "p.jsonl", "y_predicted") == found
    assert mmcli.load(root).predict(table_of)["y_predicted"].tolist() == found
    as_names = [json.dumps([str(label) for label in own]) for own in found]
    assert of_csv(tmp_path / "p.csv", "y_predicted") == as_names, "as text, as it was"
    tested = pq.read_table(root / "evaluation" / "predictions.parquet")["y_predicted"].to_pylist()
    assert set(tested) <= set(as_names)
    again = tmp_path / "again.parquet"  # what was written is a table again
    done("predict", tmp_path / "p.jsonl", "-a", root, "-o", again)
    assert pq.read_table(again)["y_predicted"].to_pylist() == found


def test_lists_of_json_lines_are_predicted_as_lists(tmp_path: Path) -> None:
    rows = zip(X, SPLIT, [["a", "b"], ["b"], []] * (ROWS // 3), strict=True)
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"x": x, "split": split, "y": y}) + "\n" for x, split, y in rows))
    root = tmp_path / "a"
    done("preprocess", tmp_path / "t.jsonl", "-t", "y", "-a", root)
    assert json.loads((root / "preprocess" / "schema.json").read_text())["types"] == {"y": "list<string>"}
    done("train-encoder", "x", "--arch", "mlp", "-a", root, *QUICK)
    done("fuse", "--method", "concat", "--seeds", "1", "-a", root, *QUICK)
    for suffix in ("parquet", "jsonl"):
        done("predict", tmp_path / "t.jsonl", "-a", root, "-o", tmp_path / f"p.{suffix}")
    found, right = of_lines(tmp_path / "p.jsonl", "y_predicted"), of_lines(tmp_path / "p.jsonl", "y")
    assert {json.dumps(own) for own in found} == {json.dumps(own) for own in right}
    whole = pq.read_table(tmp_path / "p.parquet")
    assert whole.schema.field("y_predicted").type == whole.schema.field("y").type
    assert whole["y_predicted"].to_pylist() == found
