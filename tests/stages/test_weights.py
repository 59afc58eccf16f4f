"""--weight: rows that count for more than others, from the table to the proof."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from mmcli.cli import app
from mmcli.data.dataset import Dataset
from mmcli.errors import ExitCode
from tests.conftest import ENCODERS, write_csv

ROWS = 80
QUICK = ("--set=train-encoder.training.epochs=3", "--set=fuse.training.epochs=5")
SPLIT = ("train", "train", "train", "val", "test")


def table(path: Path, weights: Sequence[object], rows: int = ROWS) -> Path:
    words = [
        [("good", "bad", "fine")[n % 3] + f" {'abcd'[n % 4] * 3}", str(n % 7), ("up", "down")[n % 3 % 2], SPLIT[n // 3 % 5]]
        for n in range(rows)
    ]
    cells = [[*row, "" if own is None else str(own)] for row, own in zip(words, weights, strict=True)]
    return write_csv(path, ["note", "size", "label", "split", "w"], cells)


def invoke(*arguments: object, code: ExitCode = ExitCode.DONE) -> str:
    done = CliRunner().invoke(app, [str(own) for own in arguments])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def test_a_column_of_weights_is_no_input_and_is_one_on_average_over_train(tmp_path: Path) -> None:
    weights = [1 + n % 4 for n in range(ROWS)]
    said = invoke("preprocess", table(tmp_path / "t.csv", weights), "-t", "label", "--weight", "w", "-a", tmp_path / "a")
    assert "weight: 'w', not an input; rows count for 1 to 4 in learning and in scores" in said
    dataset = Dataset.open(tmp_path / "a")
    assert dataset.schema["roles"]["weight"] == "w"
    assert {member for name in dataset.inputs for member in dataset.input(name).members} == {"note", "size"}
    train, own = dataset.splits["train"], torch.tensor(weights, dtype=torch.float64)
    assert dataset.weights is not None
    torch.testing.assert_close(dataset.weights, own / own[train].mean())
    right, found = dataset.task.parted(dataset.targets)
    assert found is not None
    torch.testing.assert_close(found, dataset.weights.float())
    assert right.tolist() == [("up", "down")[n % 3 % 2] == "up" for n in range(ROWS)]
    total, squares = own[train].sum(), own[train].square().sum()
    assert f"tell as much as {total * total / squares:.0f} that count alike" in said
    assert "rows count for 1 to 4" not in invoke("inspect", tmp_path / "t.csv", "-t", "label", "--weight", "w")


@pytest.mark.parametrize("wrong", [None, "-1", "much", "inf", "nan"])
@pytest.mark.parametrize("command", ["preprocess", "inspect"])
def test_what_is_no_weight_is_named_with_its_row(tmp_path: Path, wrong: str | None, command: str) -> None:
    path = table(tmp_path / "t.csv", [wrong if n == 6 else n % 3 for n in range(ROWS)])
    extra = () if command == "inspect" else ("-a", tmp_path / "a")
    said = invoke(command, path, "-t", "label", "--weight", "w", *extra, code=ExitCode.BAD_DATA)
    what = "is missing" if wrong is None else f"{wrong!r} is not a number from 0 up"
    assert f"row 7, column 'w': {what}, and rows are to count by it (--weight)" in said
    assert "1 as any other" in said


def test_what_weights_cannot_be(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [0 if SPLIT[n // 3 % 5] == "val" else 1 for n in range(ROWS)])
    asked, root = ("preprocess", path, "-t", "label"), ("-a", tmp_path / "a")
    said = invoke(*asked, "--weight", "w", *root, code=ExitCode.BAD_DATA)
    assert "val rows have the weight 0" in said
    assert "--weight w is also --input" in invoke(*asked, "--weight", "w", "-i", "w", *root, code=ExitCode.USAGE)
    assert "--weight label is also --target" in invoke(*asked, "--weight", "label", *root, code=ExitCode.USAGE)
    assert "--weight v" in invoke(*asked, "--weight", "v", *root, code=ExitCode.BAD_DATA)
    said = invoke(*asked, "--weight", "w", "--task", "text", *root, code=ExitCode.USAGE)
    assert "the task text does not learn classes, labels or numbers of single rows, and counts all rows alike" in said
    assert "classification, multilabel, ordinal, regression" in said


@pytest.mark.slow
def test_weights_of_one_are_no_weights_to_the_bit(tmp_path: Path) -> None:
    scores: dict[str, tuple[Any, Any]] = {}
    for name, options in (("without", ("--ignore", "w")), ("with", ("--weight", "w"))):
        path = table(tmp_path / name / "t.csv", [1] * ROWS)
        root = tmp_path / name / "a"
        said = invoke(
            "run", path, "-t", "label", "-a", root, *options, *ENCODERS, *QUICK, "--preset", "fast", "--precision", "float32"
        )
        assert ("'w' is 1 in every row, which changes nothing" in said) == (name == "with")
        found = json.loads((root / "evaluation" / "metrics.json").read_text())
        test = {kind: found["test"][kind] for kind in ("fused", "columns", "baselines")}  # optimize picks by measured time
        weights = {
            f"{file.parent.relative_to(root)}/{own}": entry["sha256"]
            for file in sorted([*root.glob("encoders/*/*/artifact.json"), *root.glob("fusions/*/artifact.json")])
            for own, entry in json.loads(file.read_text())["files"].items()
            if own == "weights.safetensors"
        }
        scores[name] = (test, weights)
    assert len(scores["with"][1]) >= 3
    assert scores["with"] == scores["without"]


@pytest.mark.slow
def test_a_whole_chain_counts_by_weights_and_tables_are_scored_by_them(tmp_path: Path) -> None:
    weights = [5 if n % 3 % 2 else 1 for n in range(ROWS)]
    path, root = table(tmp_path / "t.csv", weights), tmp_path / "a"
    methods = ("--method", "gated", "--method", "evidential")
    invoke("run", path, "-t", "label", "--weight", "w", "-a", root, *ENCODERS, *QUICK, *methods)
    found = json.loads((root / "evaluation" / "metrics.json").read_text())
    assert found["weight"] == "w"
    dataset = Dataset.open(root)
    test = dataset.splits["test"]
    right, own = dataset.task.parted(dataset.targets[test])
    assert own is not None
    share = float(own[right == 0].sum() / own.sum())  # down is rarer, and counts for more
    assert share > 0.5 > float((right == 0).float().mean())
    assert found["test"]["baselines"]["majority"]["accuracy"]["value"] == pytest.approx(share)
    assert "which count by" in (root / "evaluation" / "report.html").read_text()
    new = table(tmp_path / "new.csv", weights[:30], rows=30)
    scored = json.loads(CliRunner().invoke(app, ["evaluate", str(new), "-a", str(root), "--json", "-q"]).stdout)
    assert scored["weight"] == "w"
    heavy = sum(5 for n in range(30) if n % 3 % 2)
    majority = scored["scores"]["baseline: majority"]["accuracy"]["value"]
    assert majority == pytest.approx(heavy / sum(weights[:30]))
    bare = write_csv(tmp_path / "bare.csv", ["note", "size", "label"], [["good aaa", "1", "up"], ["bad bbb", "2", "down"]] * 5)
    said = invoke("evaluate", bare, "-a", root)
    assert "has no column 'w', by which rows counted (--weight): here all count alike" in said
    invoke("predict", bare, "-a", root, "-o", tmp_path / "p.csv")


def test_class_weight_is_for_classes_and_labels(tmp_path: Path) -> None:
    path, root = table(tmp_path / "t.csv", list(range(ROWS))), ("-a", tmp_path / "a")
    said = invoke("preprocess", path, "-t", "label", "--ignore", "w", "--class-weight", "balanced", *root)
    assert "2 classes, which count alike" in said
    task = Dataset.open(tmp_path / "a").task
    assert (task.config.class_weights, task.primary_metric) == ("balanced", "balanced_accuracy")
    said = invoke("preprocess", path, "-t", "w", "--class-weight", "balanced", *root, code=ExitCode.USAGE)
    assert "--class-weight: for the task classification, and the task is regression" in said
    said = invoke("preprocess", path, "-t", "label", "--class-weight", "rare", *root, code=ExitCode.USAGE)
    assert "--class-weight" in said
    labels = [[row, "p|q" if n % 2 else "q|s" if n % 3 else "p", str(n % 5)] for n, row in enumerate(["x", "y"] * 40)]
    path = write_csv(tmp_path / "l.csv", ["note", "tags", "size"], labels)
    asked = ("-t", "tags", "--label-separator", "|", "--class-weight", "balanced", "-a", tmp_path / "b")
    assert "3 labels, of which each counts alike with it and without" in invoke("preprocess", path, *asked)
    assert Dataset.open(tmp_path / "b").task.primary_metric == "macro_f1"
