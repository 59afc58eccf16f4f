"""What the stages leave behind, on one tiny chain; and what they do when something changed."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import mmcli
from mmcli.artifacts import layout, store, tensors
from mmcli.cli import app
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.errors import ArtifactError, ExitCode
from mmcli.layers.blocks import bounded_tokens
from mmcli.models import forward, loading
from mmcli.options.run import SETTINGS
from tests.conftest import CHAIN, ENCODERS, ROOT, draw, write_csv

pytestmark = pytest.mark.slow


def invoke(*arguments: str | Path) -> tuple[int, str]:
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def invoke_json(*arguments: str | Path) -> Any:
    """What a command prints on stdout."""
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, [*(str(argument) for argument in arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def copy(chain: Path, tmp_path: Path) -> Path:
    """A chain that a test may change."""
    shutil.copytree(chain, tmp_path / "artifacts")
    return tmp_path / "artifacts"


def test_metrics_json_has_every_key(chain: Path) -> None:
    metrics = json.loads((chain / "evaluation" / "metrics.json").read_text())
    assert metrics["task"] == "classification"
    assert metrics["primary_metric"] == "accuracy"
    test = metrics["test"]
    places = [
        test["fused"],
        test["optimized"],
        *test["columns"].values(),
        *test["baselines"].values(),
        *test["without"].values(),
    ]
    assert set(test["columns"]) == set(test["without"]) == {"picture", "word"}
    assert set(test["baselines"]) == {"majority", "linear"}
    for place in places:
        assert set(place) == {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "auroc", "ece", "weighted_f1", "mcc"}
        for score in place.values():
            assert set(score) == {"value", "low", "high", "n"}
            assert score["n"] == 12
    assert test["baselines"]["majority"]["log_loss"]["value"] == pytest.approx(math.log(4), abs=0.1)


def test_the_report_is_one_file_that_stands_alone(chain: Path) -> None:
    page = (chain / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert page.count("<img") == page.count("data:image/png")
    assert json.loads((chain / "evaluation" / "metrics.json").read_text())["verdict"][:20] in page
    drawn = {p.stem for p in (chain / "evaluation" / "plots").iterdir()}
    assert page.count('<svg class="chart"') == len(drawn)
    wanted = {"leaderboard", "confusion", "reliability", "ablation", "shapley", "missing", "noise-1", "noise-2", "tradeoff"}
    assert drawn >= wanted


def test_predictions_of_the_test_rows_agree_with_the_metrics(chain: Path) -> None:
    frame = pd.read_parquet(chain / "evaluation" / "predictions.parquet")
    metrics = json.loads((chain / "evaluation" / "metrics.json").read_text())
    accuracy = (frame["label"] == frame["label_predicted"]).mean()
    assert accuracy == pytest.approx(metrics["test"]["optimized"]["accuracy"]["value"])


def test_the_best_preset_looks_at_every_second_pixel(chain: Path) -> None:
    assert loading.read_encoder(chain, "picture", "cnn").config["encoder"]["stem"] == 2
    settings = Settings.gather().over(SETTINGS["best"])
    for name in ("cnn", "cnn-rnn"):
        assert settings.part("encoders", name).stem == 2  # type: ignore[attr-defined]


def test_embeddings_of_every_row_are_kept(chain: Path) -> None:
    artifact = loading.fresh_encoders(chain, "word")[0]
    kept = tensors.load(artifact.file(loading.EMBEDDINGS))
    assert kept["pooled"].shape[0] == kept["tokens"].shape[0] == kept["outputs"].shape[0] == 60
    assert kept["pooled"].dtype == torch.float16
    assert kept["tokens"].shape[1] <= 16
    dataset = Dataset.open(chain)
    scores = dataset.task.score(kept["outputs"][dataset.splits["val"]], dataset.targets[dataset.splits["val"]])
    assert scores["accuracy"] == pytest.approx(artifact.metrics["val"]["accuracy"])


def test_embeddings_are_what_the_saved_encoder_makes(chain: Path) -> None:
    dataset = Dataset.open(chain)
    for architecture in ("bag", "rnn"):
        artifact = loading.read_encoder(chain, "word", architecture)
        network = loading.load_encoder(dataset, artifact)
        prepared = network.encoder.prepare(dataset.column("word"))
        with torch.no_grad():
            made = network.encoder(prepared.gather(torch.arange(60)))
        kept = tensors.load(artifact.file(loading.EMBEDDINGS))
        torch.testing.assert_close(made.pooled, kept["pooled"].float(), atol=0.02, rtol=0.02)


def test_every_encoder_of_an_input_is_fused_or_only_the_best(copy: Path) -> None:
    candidates = {a.config["architecture"]: a.metrics["val"]["accuracy"] for a in loading.fresh_encoders(copy, "word")}
    assert set(candidates) == {"bag", "rnn"}
    chosen = store.read(copy, "fusions/gated", "fusion", "").config["encoders"]
    assert set(chosen) == {"picture", "word/bag", "word/rnn"}
    code, output = invoke("fuse", "--best-only", "-a", copy, "--set", "training.epochs=1")
    assert code == 0, output
    chosen = store.read(copy, "fusions/gated", "fusion", "").config["encoders"]
    assert candidates[chosen["word"]["architecture"]] == max(candidates.values())
    code, output = invoke("fuse", "--encoder", "word=rnn", "-a", copy, "--set", "training.epochs=1")
    assert code == 0, output
    assert store.read(copy, "fusions/gated", "fusion", "").config["encoders"]["word"]["architecture"] == "rnn"


def test_a_second_run_does_nothing(copy: Path, table: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file() and ".locks" not in p.parts}
    code, output = invoke("run", table, "-a", copy, "--image-size", 16, *CHAIN)
    assert code == 0, output
    assert {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file() and ".locks" not in p.parts} == before


def test_another_fusion_needs_no_training_of_encoders(copy: Path) -> None:
    for name in layout.encoders(copy):
        (copy / layout.encoder(*name) / "log.csv").unlink()  # nothing may need to be made again
    code, output = invoke("fuse", "-m", "parallel", "-m", "sequential", "-a", copy, "--set", "training.epochs=2")
    assert code == 0, output
    assert set(layout.fusions(copy)) == {"gated", "concat", "sequential"}
    for line in ("linear", "majority", "picture (cnn)", "word ("):
        assert line in output


def test_modality_dropout_outlasts_the_fusion(copy: Path) -> None:
    """Fine-tuning without it would unlearn what it was asked for."""
    code, output = invoke("fuse", "--modality-dropout", 0.3, "-a", copy, "--set", "training.epochs=1")
    assert code == 0, output
    network = loading.load_fused(Dataset.open(copy), store.read(copy, "fusions/gated", "fusion", ""))
    assert network.fusion_head.modality_dropout == 0.3
    code, output = invoke("fuse", "--encoder", "word=rrn", "-a", copy)
    assert code == ExitCode.USAGE
    assert "Did you mean 'rnn'?" in output


def test_training_through_keeps_the_encoders_it_trained(copy: Path) -> None:
    code, output = invoke("fuse", "--train-encoders", "-a", copy, "--set", "training.epochs=1", "--precision", "float32")
    assert code == 0, output
    artifact = store.read(copy, "fusions/gated", "fusion", "")
    network = loading.load_fused(Dataset.open(copy), artifact)
    own = loading.load_encoder(Dataset.open(copy), loading.read_encoder(copy, "picture", "cnn"))
    assert not torch.equal(network.encoder("picture").absent, torch.ones(1))
    assert any(
        not torch.equal(a, b) for a, b in zip(network.encoder("picture").parameters(), own.encoder.parameters(), strict=True)
    )


def test_what_was_made_from_something_that_changed_is_stale(copy: Path) -> None:
    code, _ = invoke("train-encoder", "picture", "-a", copy, "--seed", "7", *ENCODERS, "--set", "training.epochs=1")
    assert code == 0
    states = {entry["name"]: entry["state"] for entry in invoke_json("status", "-a", copy)["artifacts"]}
    assert states["preprocess"] == states["encoders/picture/cnn"] == "complete"
    assert states["fusions/gated"] == "stale: encoders/picture/cnn has changed"
    with pytest.raises(ArtifactError, match="fusions/gated is older than encoders/picture/cnn"):
        mmcli.load(copy / "fusions" / "gated")
    code, output = invoke("optimize", "-a", copy)
    assert code == ExitCode.ARTIFACT
    assert "mmcli fuse" in output


def test_damage_is_found_and_named(copy: Path) -> None:
    weights = copy / "fusions" / "gated" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    shutil.rmtree(copy / "optimized")
    code, output = invoke("optimize", "-a", copy)
    assert code == ExitCode.ARTIFACT
    assert "weights.safetensors is damaged" in output
    assert "--force" in output


def test_the_optimized_model_is_no_worse_on_val(chain: Path) -> None:
    metrics = store.read(chain, "optimized", "optimized", "").metrics
    assert metrics["after"]["val"]["accuracy"] >= metrics["before"]["val"]["accuracy"]
    assert metrics["after"]["val"]["loss"] <= metrics["before"]["val"]["loss"] + 0.01  # it may be run in int8
    for key in ("p50_ms_1", "p95_ms_1", "p50_ms_32", "p95_ms_32", "rows_per_s", "size_mb", "peak_mb"):
        assert metrics["after"][key] > 0


def test_absent_inputs_in_evaluation_are_the_absent_embedding(chain: Path) -> None:
    dataset = Dataset.open(chain)
    loaded = mmcli.load(chain, "cpu", "float32")
    outputs = forward.outputs_for(loaded.network, dataset, torch.arange(4), loaded.compute, absent=["picture", "word"])
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(*forward.outputs_for(loaded.network, dataset, torch.arange(2), loaded.compute))


def predictions(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_predict_keeps_rows_and_adds_columns(chain: Path, table: Path, tmp_path: Path) -> None:
    code, output = invoke("predict", table, "-o", tmp_path / "p.csv", "-a", chain)
    assert code == 0, output
    frame, original = predictions(tmp_path / "p.csv"), predictions(table)
    assert frame[original.columns].equals(original)
    shares = frame[[c for c in frame if c.startswith("label_predicted_probability_")]].astype(float)
    assert shares.shape[1] == 4
    assert (shares.sum(axis=1) - 1).abs().max() < 1e-4
    assert (frame["label_predicted_probability"].astype(float) - shares.max(axis=1)).abs().max() < 1e-6


def test_predict_agrees_with_the_evaluation(chain: Path, table: Path) -> None:
    frame = mmcli.load(chain).predict(table)
    kept = pd.read_parquet(chain / "evaluation" / "predictions.parquet").set_index("id")
    tests = frame[frame["split"] == "test"].set_index("id")
    assert (tests["label_predicted"] == kept["label_predicted"][tests.index]).all()


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl"])
def test_predict_writes_every_format(chain: Path, table: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    code, output = invoke("predict", table, "-o", path, "-a", chain)
    assert code == 0, output
    from mmcli.tables.reading import open_table

    frame = next(open_table(path).chunks(100))
    assert len(frame) == 60
    assert frame["word"].tolist() == predictions(table)["word"].tolist()


def test_predict_takes_bad_missing_and_unknown_cells(chain: Path, tmp_path: Path) -> None:
    draw("round", "red").save(tmp_path / "ok.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    rows = [["ok.png", "苹果"], ["bad.png", "never seen"], ["", ""], ["gone.png", "box"]]
    path = write_csv(tmp_path / "new.csv", ["picture", "word"], rows)
    code, output = invoke("predict", path, "-o", tmp_path / "p.csv", "-a", chain)
    assert code == 0, output
    assert predictions(tmp_path / "p.csv")["picture"].tolist() == ["ok.png", "bad.png", "", "gone.png"]
    rejects = predictions(tmp_path / "p.rejects.csv")
    assert rejects["row"].tolist() == ["2", "4"]
    assert rejects["path"].tolist() == ["bad.png", "gone.png"]
    assert "2 cells cannot be read" in output
    long = write_csv(tmp_path / "long.csv", ["picture", "word"], [["ok.png", "apple " * 5000], ["", "box"]])
    code, output = invoke("predict", long, "-o", tmp_path / "p.csv", "-a", chain)
    assert code == 0, output
    assert "column 'word': 1 cell cut to" in output
    assert "cannot be read" not in output
    assert not (tmp_path / "p.rejects.csv").exists(), "those of the call before"
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_predict_writes_no_formulas_unless_asked(chain: Path, tmp_path: Path) -> None:
    rows = [["", "=1+1", "-3"], ["", "box", "+cmd|x"], ["=gone.png", "apple", "@a"]]
    path = write_csv(tmp_path / "new.csv", ["picture", "word", "more"], rows)
    code, output = invoke("predict", path, "--allow-missing", "-o", tmp_path / "p.csv", "-a", chain)
    assert code == 0, output
    frame = predictions(tmp_path / "p.csv")
    assert frame["word"].tolist() == ["'=1+1", "box", "apple"]
    assert frame["more"].tolist() == ["-3", "'+cmd|x", "'@a"]
    assert predictions(tmp_path / "p.rejects.csv")["path"].tolist() == ["'=gone.png"]
    assert "4 cells of" in output and "--raw leaves them" in output.replace("\n", " ")
    code, output = invoke("predict", path, "--allow-missing", "-o", tmp_path / "p.csv", "-a", chain, "--raw")
    assert code == 0, output
    assert predictions(tmp_path / "p.csv")["word"].tolist() == ["=1+1", "box", "apple"]
    assert predictions(tmp_path / "p.rejects.csv")["path"].tolist() == ["=gone.png"]
    assert "--raw" not in output
    invoke("predict", path, "--allow-missing", "-o", tmp_path / "p.jsonl", "-a", chain)
    assert '"word": "=1+1"' in (tmp_path / "p.jsonl").read_text(), "only CSV is opened in a spreadsheet"


def test_predict_announces_absent_columns(chain: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "new.csv", ["word"], [["apple"], ["box"]])
    code, output = invoke("predict", path, "-o", tmp_path / "p.csv", "-a", chain)
    assert code == 0
    assert "lacks the column picture" in output
    nothing = write_csv(tmp_path / "none.csv", ["other"], [["x"]])
    code, output = invoke("predict", nothing, "-o", tmp_path / "p2.csv", "-a", chain)
    assert code == ExitCode.BAD_DATA
    assert "has none of the model's inputs: picture, word" in output
    assert not (tmp_path / "p2.csv").exists()


def test_predict_does_not_overwrite_its_table(chain: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "new.csv", ["word"], [["apple"]])
    assert invoke("predict", path, "-o", path, "-a", chain)[0] == ExitCode.USAGE
    assert invoke("predict", path, "-o", tmp_path / "x.xlsx", "-a", chain)[0] == ExitCode.USAGE


def test_python_interface_on_a_frame(chain: Path) -> None:
    frame = pd.DataFrame({"word": ["apple", None, "box"]})
    predicted = mmcli.load(chain).predict(frame)
    assert predicted["word"].tolist()[0] == "apple"
    assert len(predicted) == 3
    assert predicted["label_predicted"].notna().all()


def test_inspect_says_what_columns_are(table: Path) -> None:
    data = invoke_json("inspect", table)
    assert {item["column"]: item["modality"] for item in data["columns"]} == {"picture": "image", "word": "text"}
    assert data["splits"] == {"train": 36, "val": 12, "test": 12}
    assert data["rows"] == 60


def test_inspect_shows_what_the_model_will_see(tmp_path: Path) -> None:
    """One page without files beside it, for a table of every modality; a bad file and an empty cell are said in it."""
    page = tmp_path / "seen.html"
    code, output = invoke("inspect", ROOT / "sample_data" / "data.csv", "--sample", 3, "--html", "-o", page)
    assert code == 0, output
    text = page.read_text(encoding="utf-8")
    assert text.count("<article>") == 3
    for part in ("data:image/png;base64,", "frames at", "frames x bands", "weekday", "4 numbers", ">absent<"):
        assert part in text
    assert 'src="/' not in text
    assert "--html" not in output.splitlines()[-1]


def test_status_of_nothing_says_where_to_start(tmp_path: Path) -> None:
    code, output = invoke("status", "-a", tmp_path / "none")
    assert code == 0
    assert "mmcli preprocess TABLE" in output


def test_tokens_are_averaged_over_runs_of_equal_length() -> None:
    tokens = torch.arange(12.0).reshape(2, 6, 1)
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    short, kept = bounded_tokens(tokens, mask, 3)
    assert short[0, :, 0].tolist() == [0.5, 2.5, 4.5]
    assert short[1, :2, 0].tolist() == [6.0, 7.0]
    assert kept.tolist() == [[True] * 3, [True, True, False]]
