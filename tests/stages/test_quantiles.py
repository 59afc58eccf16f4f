"""Quantiles of a number, and classes in an order: from the table to the export, and what is refused on the way."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mmcli.cli import app
from mmcli.data.dataset import Dataset
from mmcli.errors import ExitCode
from mmcli.judging.quantiles import Shifts
from mmcli.models import predictor
from mmcli.models.networks import FusedModel
from tests.conftest import ENCODERS, shared, write_csv
from tests.stages.test_export import run_alone

ROWS = 150
WORDS = ("poor", "fair", "good", "superb")
SPLIT = ("train", "train", "train", "val", "test")
QUICK = (*ENCODERS, "--set=training.epochs=6")
LEVELS = ("price_q05", "price_q50", "price_q95")


def table(path: Path) -> Path:
    """The price spreads more the larger x is; grades and words say in which quarter x lies, now and then the next."""
    draw = random.Random(0)
    rows = []
    for number in range(ROWS):
        x = draw.random()
        place = min(max(int(4 * x + draw.choice((-0.3, 0, 0, 0.3))), 0), 3)
        note = f"{WORDS[place] if draw.random() < 0.5 else 'plain'} {draw.choice('abcd') * 3}"
        price = 10 * x + (0.2 + 2 * x) * draw.gauss(0, 1)
        rows.append([f"{x:.4f}", note, SPLIT[number % 5], f"{price:.3f}", WORDS[place], str(place + 1)])
    return write_csv(path, ["x", "note", "split", "price", "word", "grade"], rows)


def invoke(*arguments: object, code: ExitCode = ExitCode.DONE) -> str:
    done = CliRunner().invoke(app, [str(own) for own in arguments])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _chain(*options: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        root, rows = folder / "a", table(folder / "t.csv")
        invoke("preprocess", rows, "-a", root, "--ignore", "grade", "--type", "note=text", *options)
        for column, architecture in (("x", "mlp"), ("note", "bag")):
            invoke("train-encoder", column, "--arch", architecture, "-a", root, *QUICK)
        invoke("fuse", "--method", "gated", "--method", "late", "--seeds", "2", "-a", root, *QUICK)
        invoke("evaluate", "-a", root)
        invoke("predict", rows, "-a", root, "-o", folder / "predicted.csv", "--precision", "float32")

    return make


@pytest.fixture(scope="session")
def quantiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = ("-t", "price", "--quantiles", ".05,.95", "--ignore", "word")
    return shared(tmp_path_factory, "quantiles", _chain(*asked))


@pytest.fixture(scope="session")
def grades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = ("-t", "word", "--task", "ordinal", "--order", ",".join(WORDS), "--ignore", "price")
    return shared(tmp_path_factory, "grades", _chain(*asked))


@pytest.mark.slow
def test_quantiles_go_from_the_table_to_predictions(quantiles: Path) -> None:
    root = quantiles / "a"
    summary = json.loads((root / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    scores = summary["test"]["fused"]
    assert {"mae", "rmse", "r2", "pinball", "coverage", "width"} <= set(scores)
    assert summary["primary_metric"] == "mae"
    assert {"quantiles", "linear", "trees"} <= set(summary["test"]["baselines"])
    kept = pd.read_parquet(next((root / "evaluation").glob("predictions.parquet")))
    assert {*LEVELS, "price_predicted"} <= set(kept.columns)
    inside = (kept["price_q05"] <= kept["price"].astype(float)) & (kept["price"].astype(float) <= kept["price_q95"])
    assert scores["coverage"]["value"] == pytest.approx(inside.mean(), abs=0.04)  # rounded, at most one row of 30
    made = records(quantiles / "predicted.csv")
    each = np.array([[float(row[name]) for name in LEVELS] for row in made])
    assert (np.diff(each, axis=1) >= 0).all()
    assert [row["price_predicted"] for row in made] == [row["price_q50"] for row in made]
    right, val = np.array([float(row["price"]) for row in made]), np.arange(ROWS) % 5 == 3
    inside = (each[:, 0] <= right) & (right <= each[:, 2])
    assert 28 <= inside[val].sum() <= 30  # val, by which they were settled: one of 30 below, and one above, or on the end
    task = Dataset.open(root).task
    assert task.levels == (0.05, 0.5, 0.95)


@pytest.mark.slow
def test_all_members_are_settled_by_the_whole(quantiles: Path) -> None:
    network = predictor.load(quantiles / "a" / "fusions" / "gated", "cpu").network
    assert isinstance(network, FusedModel)
    found = [own.shifts for own in network.fusion_head.modules() if isinstance(own, Shifts)]
    assert len(found) >= 2
    assert all(np.allclose(own, found[0]) for own in found)
    assert float(found[0].abs().sum()) > 0


@pytest.mark.slow
def test_a_new_table_is_scored_by_all_metrics(quantiles: Path, grades: Path) -> None:
    for folder, wanted in ((quantiles, {"pinball", "coverage", "width"}), (grades, {"rank_mae", "qwk", "accuracy"})):
        done = CliRunner().invoke(app, ["evaluate", str(folder / "t.csv"), "-a", str(folder / "a"), "--json"])
        assert done.exit_code == ExitCode.DONE, done.output
        told = json.loads(done.stdout)
        assert wanted <= set(told["scores"]["model"])


@pytest.mark.slow
def test_the_order_of_words_is_kept_through_every_artifact(grades: Path) -> None:
    root = grades / "a"
    task = Dataset.open(root).task
    assert task.classes == list(WORDS)  # type: ignore[attr-defined]
    assert predictor.load(root, "cpu").task.classes == list(WORDS)  # type: ignore[attr-defined]
    summary = json.loads((root / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    assert summary["primary_metric"] == "rank_mae"
    assert summary["higher_is_better"] is False
    scores = {name: own["rank_mae"]["value"] for name, own in summary["test"]["baselines"].items()}
    assert summary["test"]["fused"]["rank_mae"]["value"] < scores["median"]
    assert [own["name"] for own in summary["classes"]] == list(WORDS)
    made = records(grades / "predicted.csv")
    shares = np.array([[float(row[f"word_predicted_probability_{name}"]) for name in WORDS] for row in made])
    median = np.minimum((shares.cumsum(1) < 0.5 - 1e-5).sum(1), 3)
    off = [row["word_predicted"] != WORDS[place] for row, place in zip(made, median, strict=True)]
    assert sum(off) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quantiles", "grades"])
def test_the_export_answers_as_predict_does(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder: Path = request.getfixturevalue(name)
    invoke("export", "-a", folder / "a", "--to", tmp_path / "out")
    done = run_alone(tmp_path / "out", folder / "t.csv", "-o", tmp_path / "alone.csv")
    assert done.returncode == 0, done.stderr
    ours, theirs = records(tmp_path / "alone.csv"), records(folder / "predicted.csv")
    assert list(ours[0]) == list(theirs[0])
    for own, right in zip(ours, theirs, strict=True):
        for column, cell in own.items():
            if right[column] != cell:
                assert abs(float(cell) - float(right[column])) <= 1e-4 * max(1.0, abs(float(right[column]))), column


def test_what_is_refused_and_what_is_said(tmp_path: Path) -> None:
    path, root = table(tmp_path / "t.csv"), ("-a", tmp_path / "a")
    asked = ("preprocess", path, *root)
    said = invoke(*asked, "-t", "word", "--task", "ordinal", "--order", "poor,fair,god,superb", code=ExitCode.BAD_DATA)
    first = next(n for n, row in enumerate(records(path), 1) if row["word"] == "good")
    assert f"row {first}: the target 'word' is 'good', which --order 'poor,fair,god,superb' lacks. Did you mean 'god'?" in said
    said = invoke(*asked, "-t", "word", "--task", "ordinal", code=ExitCode.BAD_DATA)
    assert "row 1: the target 'word' is" in said
    assert "words have no order of their own" in said
    own = ",".join(dict.fromkeys(row["word"] for row in records(path)))
    assert f"its own classes put in that order: --order {own}." in said and len(own.split(",")) == len(WORDS)
    said = invoke(*asked, "-t", "word", "--order", ",".join(WORDS), code=ExitCode.USAGE)
    assert "--order: for the task ordinal, and the task is classification" in said
    said = invoke(*asked, "-t", "word", "--task", "ordinal", "--order", "poor,fair,poor", code=ExitCode.USAGE)
    assert "'poor' stands twice" in said
    said = invoke(*asked, "-t", "word", "--quantiles", ".1,.9", code=ExitCode.USAGE)
    assert "--quantiles: for the task regression, and the task is classification" in said
    for wrong, why in (
        (".1,1.5", "numbers between 0 and 1"),
        ("low", "numbers between 0 and 1"),
        (".1,.1", "0.1 stands twice"),
    ):
        assert why in invoke(*asked, "-t", "price", "--quantiles", wrong, code=ExitCode.USAGE)
    more = ("--set", "preprocess.task.regression.loss=absolute")
    said = invoke(*asked, "-t", "price", "--quantiles", ".1,.9", *more, code=ExitCode.USAGE)
    assert "quantiles are learnt by the pinball loss: absolute would do nothing" in said
    said = invoke(*asked, "-t", "grade", "--ignore", "word")
    assert "'grade' holds whole numbers from 1 to 4, as grades have: --task ordinal learns their order" in said
    assert "--task ordinal learns" not in invoke(*asked, "-t", "word", "--ignore", "grade", "--force")
