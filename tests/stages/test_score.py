"""evaluate TABLE: the scores of new rows are those of their predictions; what cannot be scored is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import mmcli
from mmcli.cli import app
from mmcli.errors import ExitCode

pytestmark = pytest.mark.slow


def invoke(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def rows(chain: Path) -> pd.DataFrame:
    """The table that the chain was made from, its paths made whole."""
    manifest = json.loads((chain / "preprocess/artifact.json").read_text(encoding="utf-8"))
    table = Path(manifest["config"]["table"])
    frame = pd.read_csv(table, dtype=str)
    for column in frame:
        there = frame[column].map(lambda cell: isinstance(cell, str) and (table.parent / cell).is_file())
        frame.loc[there, column] = frame.loc[there, column].map(lambda cell: str((table.parent / cell).resolve()))
    return frame


def test_it_is_the_score_of_what_predict_writes(chain: Path, rows: pd.DataFrame, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    rows.to_csv(new, index=False)
    before = sorted(str(file) for file in chain.rglob("*"))
    code, out, said = invoke("evaluate", new, "-a", chain, "--json")
    assert code == 0, said
    found = json.loads(out)
    assert sorted(str(file) for file in chain.rglob("*")) == before
    predicted = mmcli.load(chain).predict(new)
    right = (predicted["label_predicted"] == rows["label"]).mean()
    assert found["scores"]["model"]["accuracy"]["value"] == pytest.approx(right)
    assert found["rows"] == len(rows)
    counts = json.loads((chain / "preprocess/artifact.json").read_text(encoding="utf-8"))["metrics"]
    taught = counts["train"] + counts["val"]
    assert f"{taught} of {len(rows)} rows have the inputs of rows that the model was made from" in " ".join(said.split())
    share = rows["label"].value_counts(normalize=True)
    assert found["scores"]["baseline: majority"]["accuracy"]["value"] in [pytest.approx(own) for own in share]


def test_slices_and_rows_that_cannot_be_scored(chain: Path, rows: pd.DataFrame, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    rows = rows.assign(kind=["a", "b"] * (len(rows) // 2) + ["a"] * (len(rows) % 2))
    rows.loc[0, "label"] = "never seen"
    rows.loc[1, "label"] = ""
    rows.to_csv(new, index=False)
    code, out, said = invoke("evaluate", new, "-a", chain, "--json", "--slice", "kind")
    assert code == 0, said
    found = json.loads(out)
    assert found["rows"] == len(rows) - 2
    assert "'never seen'; the first: row 1" in " ".join(said.split())
    assert f"1 of {len(rows)} rows has no label" in " ".join(said.split())
    sizes = {value: own["accuracy"]["n"] for value, own in found["slices"]["kind"].items()}
    assert sizes == (rows["kind"][2:].value_counts()).to_dict()


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (lambda frame: frame.drop(columns="label"), ExitCode.BAD_DATA, "no column 'label', which is to be predicted"),
        (lambda frame: frame.assign(label="never"), ExitCode.BAD_DATA, "no row has a target that the model knows"),
    ],
)
def test_it_refuses(chain: Path, rows: pd.DataFrame, tmp_path: Path, change, code: int, told: str) -> None:  # type: ignore[no-untyped-def]
    change(rows).to_csv(tmp_path / "new.csv", index=False)
    ended, _, said = invoke("evaluate", tmp_path / "new.csv", "-a", chain)
    assert ended == code
    assert told in " ".join(said.split())


def test_history_tells_what_was_made_and_what_was_replaced(chain: Path, tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    shutil.copytree(chain, root)
    code, out, _ = invoke("status", "--history", "--json", "-a", root)
    assert code == 0
    made = json.loads(out)["history"]
    names = [entry["name"] for entry in made]
    assert names[0] == "preprocess"
    assert "evaluation" in names
    assert all(entry["command"] and entry["hash"] for entry in made)
    with (root / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({**made[0], "created": "2099-01-01T00:00:00"}) + "\n{cut off")
    _, _, said = invoke("status", "--history", "-a", root)
    assert said.count("replaced") == 1
    assert "2099-01-01" in said


def test_files_that_are_not_there_and_the_two_ways_out(chain: Path, rows: pd.DataFrame, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    rows.assign(picture=[f"gone/{row}.png" for row in range(len(rows))]).to_csv(new, index=False)
    code, _, said = invoke("evaluate", new, "-a", chain)
    assert code == ExitCode.BAD_DATA
    assert "--media-root" in said
    assert "--allow-missing" in said
    code, _, said = invoke("evaluate", new, "-a", chain, "--allow-missing", "--media-root", tmp_path)
    assert code == ExitCode.DONE, said
    assert f"--media-root {tmp_path}" in said.partition("next:")[2]
    assert invoke("evaluate", "-a", chain, "--allow-missing")[0] == ExitCode.USAGE


def test_rows_with_other_inputs_are_new(chain: Path, rows: pd.DataFrame, tmp_path: Path) -> None:
    rows.assign(word=rows["word"] + " indeed").to_csv(tmp_path / "new.csv", index=False)
    code, _, said = invoke("evaluate", tmp_path / "new.csv", "-a", chain)
    assert code == 0, said
    assert "was made from" not in said


def test_another_table_is_refused_where_models_lie(chain: Path, rows: pd.DataFrame, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    rows.assign(more="x").to_csv(other, index=False)
    before = (chain / "preprocess/artifact.json").read_bytes()
    code, _, said = invoke("preprocess", other, "-a", chain, "--target", "label", "--input", "word")
    assert code == ExitCode.USAGE
    assert "holds models of another table" in " ".join(said.split())
    assert "--force" in said
    assert invoke("preprocess", other, "-a", chain, "--target", "label", "--dry-run")[0] == ExitCode.USAGE
    table = Path(json.loads(before)["config"]["table"])
    shutil.copy2(table, tmp_path / "renamed.csv")  # the same table by another name
    code, _, said = invoke(
        "preprocess", tmp_path / "renamed.csv", "-a", chain, "--target", "label", "--input", "word", "--dry-run"
    )
    assert code == ExitCode.DONE, said
    assert (chain / "preprocess/artifact.json").read_bytes() == before
    root = tmp_path / "copied"
    shutil.copytree(chain, root)
    code, _, said = invoke("preprocess", other, "-a", root, "--target", "label", "--input", "word", "--force")
    assert code == ExitCode.DONE, said
