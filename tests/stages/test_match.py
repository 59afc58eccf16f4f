"""A chain whose task is whether two pictures belong together, from the table to predictions and a graph."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from mmcli.artifacts import store, tensors
from mmcli.data.dataset import Dataset
from mmcli.jobs.fusion import embeddings
from mmcli.models import loading
from mmcli.proof import baselines
from mmcli.reporting import verification
from tests.conftest import shared, write_csv
from tests.jobs.test_shared import SMALL, _draw, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def matched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a table of pairs and of the artifacts of `run --task match`."""

    def make(folder: Path) -> None:
        _draw(folder)
        table = pd.read_csv(folder / "data.csv")
        wrong = table.index[table["split"] == "test"][0]  # which no model can get right: an error to show
        table.loc[wrong, "same"] = {"yes": "no", "no": "yes"}[table.loc[wrong, "same"]]
        table.to_csv(folder / "data.csv", index=False)
        run("run", folder / "data.csv", "-a", folder / "artifacts", *SMALL, "--preset", "fast", "--task", "match")

    return shared(tmp_path_factory, "matched", make)


def test_run_alone_does_it_all(matched: Path) -> None:
    root = matched / "artifacts"
    text = (root / "evaluation" / "metrics.json").read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert found["task"] == "match" and found["reference"] == "cosine"
    assert {"auroc", "accuracy", "eer"} <= set(found["test"]["optimized"])
    assert "tar_at_far_0.1" not in found["test"]["optimized"], "so few impostors tell no such rate"
    assert {path.name for path in (root / "encoders" / "photo_a").iterdir() if path.is_dir()} >= {
        "cnn",
        "colours",
        "edges",
        "gradients",
        "pixels",
    }
    board = json.loads((root / "leaderboard" / "leaderboard.json").read_text())
    kinds = {row["name"]: row["kind"] for row in board["rows"]}
    assert kinds["compare"] == "fused" and kinds["cosine"] == "baseline"
    report = (root / "evaluation" / "report.html").read_text()
    assert "True pairs accepted by impostors accepted" in report and "True pairs refused by impostors accepted" in report
    assert "Scores of both kinds of pairs" in report and "equal error rate" in report
    assert found["operating_points"] == [] and "What thresholds accept" not in report
    errors = report[report.index('id="errors"') : report.index('id="data"')].split('class="card"')[1:]
    assert errors and all(card.count("<img") == 2 for card in errors), "both pictures of a pair are shown"


def test_the_report_says_what_thresholds_accept(matched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "IMPOSTORS", 0.1)  # so that these few are enough for a rate of .1
    shutil.copytree(matched / "artifacts", tmp_path / "artifacts")
    run("evaluate", "-a", tmp_path / "artifacts", "--force")
    found = json.loads((tmp_path / "artifacts" / "evaluation" / "metrics.json").read_text())
    (own,) = found["operating_points"]
    assert own["far"] == 0.1 and own["tar"] == found["test"]["optimized"]["tar_at_far_0.1"]["value"]
    for page in ("report.html", "report.md"):
        said = (tmp_path / "artifacts" / "evaluation" / page).read_text()
        assert "What thresholds accept" in said and f"{own['probability']:.6f}" in said


def test_one_column_alone_cannot_know(matched: Path) -> None:
    root = matched / "artifacts"
    board = json.loads((root / "leaderboard" / "leaderboard.json").read_text())
    rows = [row for row in board["rows"] if row["kind"] == "column" and "photo" in row["name"]]
    assert rows and all(row["note"] == "alone it cannot know" and ":" not in row["name"] for row in rows)
    assert "cannot know" not in board["verdict"]
    assert "the cosine baseline" in board["verdict"]
    found = json.loads((root / "evaluation" / "metrics.json").read_text())
    assert found["warnings"] == [] and "cannot know" not in found["verdict"]
    assert "the cosine of the columns as they are" in found["verdict"]
    best = {}  # of each column the best alone on val, as fuse tells it
    for row in rows:
        best[row["name"].partition(" ")[0]] = max(best.get(row["name"].partition(" ")[0], 0), row["val"]["value"])
    dataset = Dataset.open(root)
    columns = loading.best_by_input(loading.encoders_of(loading.fresh_fusions(root)[0]))
    for name, encoder in ((name, own) for name, own in columns.items() if name in best):
        assert loading.alone(encoder)["auroc"] == pytest.approx(best[name])
        own = tensors.of(encoder, loading.kept_file(encoder, loading.EMBEDDINGS))
        val = dataset.splits["val"]
        assert dataset.task.score(own["outputs"][val], dataset.targets[val])["auroc"] == pytest.approx(best[name])


def test_the_fused_model_begins_with_plain_cosines(matched: Path) -> None:
    """The weights of cosines are fitted on val, and the model is no worse there than what learns nothing."""
    root = matched / "artifacts"
    dataset, fusion = Dataset.open(root), loading.fresh_fusions(root)[0]
    network = loading.load_fused(dataset, fusion)
    compare = network.fusion_head.fusion  # type: ignore[union-attr]
    assert len(compare.groups) == 5 and bool((compare.weights >= 0).all()) and bool((compare.weights > 0).any())  # type: ignore[arg-type, union-attr, operator]
    reference = baselines.ensure(dataset, ["photo_a", "photo_b", "word"], None)  # type: ignore[arg-type]
    assert fusion.metrics["val"]["auroc"] >= reference.metrics["cosine"]["val"]["auroc"]


def test_the_cosine_baseline_is_that_of_the_pixels(matched: Path) -> None:
    root = matched / "artifacts"
    dataset = Dataset.open(root)
    read = [loading.read_encoder(root, name, "pixels") for name in ("photo_a", "photo_b")]
    one, other = (embeddings(own, dataset).pooled.float() for own in read)
    reference = baselines.ensure(dataset, ["photo_a", "photo_b", "word"], None)  # type: ignore[arg-type]
    odds = baselines.outputs(reference, dataset)["cosine"]
    difference = (odds[:, 1] - odds[:, 0]) - (one * other).sum(1)
    assert float(difference.std()) < 1e-2, "the baseline is the cosine less a threshold"


def test_predictions_say_the_answer_the_probability_and_the_cosine(matched: Path, tmp_path: Path) -> None:
    table = pd.read_csv(matched / "data.csv").tail(12)
    own = write_csv(matched / "new.csv", list(table.columns), table.astype(str).to_numpy().tolist())
    run("predict", own, "-a", matched / "artifacts", "-o", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    assert set(found["same_predicted"]) <= {"yes", "no"}
    assert ((found["same_predicted_probability"] > 0.5) == (found["same_predicted"] == "yes")).all()
    assert found["same_predicted_cosine"].between(-1.001, 1.001).all()


def test_a_graph_holds_the_shared_weights_once_and_answers_the_same(matched: Path, tmp_path: Path) -> None:
    run("export", "-a", matched / "artifacts", "--to", tmp_path / "exported")
    weights = tensors.load(matched / "artifacts" / "optimized" / loading.WEIGHTS)
    graph = tmp_path / "exported" / "model.onnx"
    stem = next(own for name, own in weights.items() if name.endswith("body.stem.weight"))
    assert graph.read_bytes().count(stem.contiguous().numpy().tobytes()) == 1
    table = matched / "data.csv"
    run("predict", table, "-a", matched / "artifacts", "-o", tmp_path / "one.csv")
    made = subprocess.run(
        [sys.executable, "run.py", str(table), "-o", str(tmp_path / "two.csv")],
        cwd=tmp_path / "exported",
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    one, two = (pd.read_csv(tmp_path / name) for name in ("one.csv", "two.csv"))
    assert (one["same_predicted"] == two["same_predicted"]).mean() > 0.95
    gap = (one["same_predicted_probability"] - two["same_predicted_probability"]).abs()
    assert gap.max() < 0.05


def test_match_without_columns_that_share_says_what_to_do(matched: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mmcli.cli import app

    words = ["preprocess", str(matched / "data.csv"), "-a", str(tmp_path), "--task", "match", "--no-share"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 2 and "--share photo_b=photo_a" in found.output
    found = CliRunner().invoke(app, [*words[:4], "--dry-run"])
    assert "--task match asks" in " ".join(found.output.split())


def test_the_heads_move_no_encoder(matched: Path) -> None:
    artifact = store.read(matched / "artifacts", "encoders/photo_a/cnn", "encoder", "")
    weights = tensors.load(artifact.file(loading.WEIGHTS))
    assert {"pair.scale", "pair.shift"} <= set(weights) and any(name.startswith("heads.1.") for name in weights)
    assert isinstance(weights["pair.scale"], torch.Tensor)
