"""Names put into other words in another order, some of which only a picture tells: through every stage, from the shell."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import mmcli
from mmcli.cli import app
from mmcli.data.dataset import Dataset
from mmcli.errors import ExitCode
from mmcli.models import loading
from tests.conftest import ROOT, shared, write_csv
from tests.stages.test_export import check_same, records, run_alone

pytestmark = pytest.mark.slow
THINGS = {"cat": "Katze", "dog": "Hund", "house": "Haus", "tree": "Baum", "lamp": "Lampe", "bird": "Vogel"}
SIZES = {"small": "klein", "big": "gross", "old": "alt", "new": "neu"}
COLOURS = {"red": "rot", "green": "grün", "blue": "blau"}
SMALL = ["--set", "encoder.transformer.dim=32", "--set", "encoder.transformer.layers=1", "--set", "head.decoder.dim=32"]
SMALL += ["--set", "head.decoder.layers=1", "--set", "encoder.cnn.width=4", "--set", "encoder.cnn.stages=2"]
SMALL += ["--set", "training.learning_rate=0.004"]


def invoke(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def make(folder: Path) -> None:
    luck, rows = random.Random(0), []
    for number in range(330):
        thing, size, colour = (luck.choice([*words]) for words in (THINGS, SIZES, COLOURS))
        Image.new("RGB", (16, 16), colour).save(folder / f"{number}.png")
        text = f"{THINGS[thing]} {COLOURS[colour]} {SIZES[size]}"
        split = "train" if number < 240 else "val" if number < 280 else "test"
        rows.append([f"a {size} {thing}", f"{number}.png", text, split])
    table = write_csv(folder / "data.csv", ["name", "picture", "text", "split"], rows)
    root = folder / "artifacts"
    steps = [
        ["preprocess", table, "--target", "text", "--task", "text", "--type", "name=text", "--image-size", "16", "-a", root],
        ["train-encoder", "--epochs", "16", *SMALL, "-a", root],
        ["fuse", "--seeds", "1", "--epochs", "40", *SMALL[-2:], "-a", root],
        ["evaluate", "--quick", "-a", root],
    ]
    for step in steps:
        code, _, said = invoke(*step)
        assert code == ExitCode.DONE, said


@pytest.fixture(scope="session")
def translated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of such a table."""
    return shared(tmp_path_factory, "translation", make) / "artifacts"


def test_the_name_is_put_into_order_and_the_picture_tells_the_colour(translated: Path) -> None:
    heads = {
        name: loading.read_encoder(translated, name, kind).config["head"]["name"]
        for name, kind in (("name", "transformer"), ("picture", "cnn"))
    }
    assert heads == {"name": "decoder", "picture": "decoder"}
    metrics = json.loads((translated / "evaluation/metrics.json").read_text(encoding="utf-8"))
    test = metrics["test"]
    alone = test["columns"]["name"]
    assert 0.15 < alone["wer"]["value"] < 0.45  # a third of the words is not to be known
    assert test["fused"]["wer"]["value"] < alone["wer"]["value"] - 0.1


def test_the_fused_model_writes_as_the_lead_did_at_first(translated: Path) -> None:
    fused = loading.best(translated)
    assert list(fused.config["encoders"]) == ["name", "picture"]
    own = loading.read_encoder(translated, "name", "transformer").config["head"]
    assert fused.config["head"] == own


def test_predict_writes_what_was_evaluated(translated: Path, tmp_path: Path) -> None:
    table = translated.parent / "data.csv"
    code, _, said = invoke("predict", table, "-a", translated, "-o", tmp_path / "p.csv")
    assert code == ExitCode.DONE, said
    made = pd.read_csv(tmp_path / "p.csv")
    assert made["text_predicted_confidence"].between(0, 1).all()
    kept = pd.read_parquet(translated / "evaluation/predictions.parquet")
    assert made[made["split"] == "test"]["text_predicted"].tolist() == kept["text_predicted"].tolist()
    one = mmcli.load(translated).predict(pd.read_csv(table).head(3), media_root=table.parent)
    assert one["text_predicted"].tolist() == made["text_predicted"].tolist()[:3]


def test_the_beam_may_be_another_after_training(translated: Path, tmp_path: Path) -> None:
    table = translated.parent / "data.csv"
    for width in ("1", "8"):
        code, _, said = invoke("predict", table, "-a", translated, "-o", tmp_path / f"{width}.csv", "--beam", width)
        assert code == ExitCode.DONE, said
    one, eight = (mmcli.load(translated) for _ in range(2))
    one.follow(1)
    eight.follow(8)
    rows = pd.read_csv(table).head(40)
    found = [next(own.predict_chunks(iter([rows]), str(table.parent))).outputs.nbests() for own in (one, eight)]
    assert {len(nbest) for nbest in found[0]} == {1}
    assert max(len(nbest) for nbest in found[1]) > 4
    assert (
        pd.read_csv(tmp_path / "1.csv")["text_predicted"].tolist()[:40]
        == one.predict(rows, table.parent)["text_predicted"].tolist()
    )


def test_an_export_writes_what_predict_writes_without_mmcli(translated: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    table, folder = translated.parent / "data.csv", tmp_path / "exported"
    code, _, said = invoke("export", "--to", folder, "-a", translated)
    assert code == ExitCode.DONE, said
    some = [row | {"picture": str(table.parent / row["picture"])} for row in records(table)[::5]]
    few = write_csv(tmp_path / "few.csv", list(some[0]), [list(row.values()) for row in some])
    for given, *options in ([few, "--beam", "1"], [few, "--beam", "6"], [table]):
        done = run_alone(folder, given, "-o", tmp_path / "found.csv", *options)
        assert done.returncode == 0, done.stderr
        wanted = ["predict", given, "-a", translated, "-o", tmp_path / "wanted.csv", "--precision", "float32", *options]
        assert invoke(*wanted)[0] == ExitCode.DONE
        check_same(tmp_path / "found.csv", tmp_path / "wanted.csv")
    done = run_alone(folder)
    assert done.returncode == 0, done.stderr
    error, *rows = done.stdout.splitlines()
    assert float(error.rpartition(" ")[2]) < 1e-3
    assert len(rows) == 8
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "`step.onnx` how likely each unit is" in readme
    assert {path.name for path in folder.iterdir()} >= {"model.onnx", "step.onnx"}
    for form in ("safetensors", "onnx-int8"):  # takes the place of the graphs, and brings others
        code, _, said = invoke("export", "--to", folder, "-a", translated, "--format", form)
        assert code == ExitCode.DONE, said
        assert (folder / "step.onnx").exists() is (form == "onnx-int8")
    done = run_alone(folder, table, "-o", tmp_path / "found.csv")
    found, wanted = pd.read_csv(tmp_path / "found.csv"), pd.read_csv(tmp_path / "wanted.csv")
    assert (found["text_predicted"] == wanted["text_predicted"]).mean() > 0.9
    code, _, said = invoke("export", "--to", tmp_path / "pt", "-a", translated, "--format", "torch-export")
    assert code == ExitCode.USAGE
    assert "take a search, which a graph has not" in said


def test_an_export_of_the_sample_table_writes_what_predict_writes(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    root, media = tmp_path / "a", ROOT / "sample_data"
    rows = records(media / "texts.csv")[::2]
    for row in rows:
        row |= {name: str(media / row[name]) for name in ("sound", "picture")}
    table = write_csv(tmp_path / "texts.csv", list(rows[0]), [list(row.values()) for row in rows])
    tiny = ["--head", "decoder", "--epochs", "3", *SMALL[4:8], "--set", "head.decoder.ctc_weight=0.3", "-a", root]
    narrow = ["--set", "encoder.crnn.width=4", "--set", "encoder.crnn.hidden=8"]
    for step in (
        ["preprocess", table, "--target", "text", "--input", "sound", "--input", "picture", "-a", root],
        ["train-encoder", "sound", "--arch", "crnn", *narrow, *tiny],
        ["train-encoder", "picture", "--arch", "crnn", *narrow, *tiny],
        ["fuse", "--seeds", "1", "--epochs", "1", "-a", root],
        ["export", "--to", tmp_path / "exported", "-a", root],
        ["predict", table, "-a", root, "-o", tmp_path / "wanted.csv", "--precision", "float32"],
    ):
        code, _, said = invoke(*step)
        assert code == ExitCode.DONE, said
    done = run_alone(tmp_path / "exported", table, "-o", tmp_path / "found.csv")
    assert done.returncode == 0, done.stderr
    check_same(tmp_path / "found.csv", tmp_path / "wanted.csv")


def test_optimizing_runs_in_other_precisions_and_says_what_is_not_for_texts(translated: Path, tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    shutil.copytree(translated, root)
    code, _, said = invoke("optimize", "-a", root, "--only", "calibrate", "--only", "precision", "--only", "quantize")
    assert code == ExitCode.DONE, said
    rows = json.loads((root / "optimized/tradeoff.json").read_text(encoding="utf-8"))["rows"]
    ran = [row["name"] for row in rows if row.get("cost")]
    assert {name.removeprefix("fused, ") for name in ran} > {"int8 weights", "int8 dynamic"}
    assert {"fused, float32", "fused, bfloat16"} & set(ran)
    code, out, said = invoke("predict", translated.parent / "data.csv", "-a", root, "-o", "-")
    assert code == ExitCode.DONE, said
    assert "text_predicted" in out


def test_what_training_spoils_is_taken_back(translated: Path, tmp_path: Path) -> None:
    """F begins as the first column; a rate at which nothing can be learnt leaves it there."""
    root, column = tmp_path / "artifacts", loading.read_encoder(translated, "name", "transformer")
    shutil.copytree(translated, root)
    wild = ["--set", "training.learning_rate=30", "--set", "training.epochs=2", "--set", "training.decisions=false"]
    code, _, said = invoke("fuse", "--input", "name", "--method", "gated-cross-attention", "-a", root, *wild)
    assert code == ExitCode.DONE, said
    found = next(own for own in loading.fresh_fusions(root) if own.config["training"]["learning_rate"] == 30)
    assert found.metrics["val"] == pytest.approx(column.metrics["val"], rel=1e-4)  # features are kept in half precision
    assert len(found.config["seeds"]) == 1
    wild[1] = "training.learning_rate=2"  # with two columns 30 ends in numbers that are none, which is an error
    more = ["fuse", "--method", "gated-cross-attention", "--order", "name", "--seeds", "3", "-a", root, *wild]
    code, _, said = invoke(*more)
    assert code == ExitCode.DONE, said
    assert "other seeds begin as the same column, and are left out" in said
    found = next(own for own in loading.fresh_fusions(root) if own.config["training"]["learning_rate"] == 2)
    assert found.config["seeds"] == [0]
    assert len(loading.load_fused(Dataset.open(root), found).inputs) == 2
    assert found.metrics["val"] == pytest.approx(column.metrics["val"], rel=1e-4)


def test_optimizing_offers_beams_a_student_and_graphs(translated: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    root, table = tmp_path / "artifacts", translated.parent / "data.csv"
    shutil.copytree(translated, root)
    only = [part for name in ("search", "beam", "prune", "distill", "onnx") for part in ("--only", name)]
    code, _, said = invoke(
        "optimize", "-a", root, *only, "--set", "training.epochs=4", "--max-drop", "0.5", "--time-budget", "60m"
    )
    assert code == ExitCode.DONE, said
    assert "it is for classes, labels and numbers, and these answers are texts" in said  # search, and prune
    found = json.loads((root / "optimized/tradeoff.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in found["rows"] if row.get("cost")}
    assert {"fused", "beam 1", "beam 8", "student", "fused, onnx", "fused, onnx int8"} <= {
        name.removesuffix(", float32") for name in rows
    }
    assert rows["student"]["extra"]["parameters"] < rows["beam 1"]["extra"]["parameters"] / 2
    student = json.loads((root / "optimized/candidates/student/recipe.json").read_text(encoding="utf-8"))["recipe"]
    assert (student["head"]["config"]["dim"], student["encoders"]["name"]["encoder"]["layers"]) == (16, 1)
    for name in ("fused, onnx", "beam 1"):
        code, _, said = invoke(
            "optimize", "-a", root, *only, "--set", "training.epochs=4", "--time-budget", "60m", "--pick", name
        )
        assert code == ExitCode.DONE, said
        model = mmcli.load(root, precision="float32")
        assert model.artifact.name == "optimized"
        texts = model.predict(pd.read_csv(table).tail(30), media_root=table.parent)["text_predicted"].tolist()
        other = mmcli.load(translated / "fusions/gated-cross-attention", precision="float32")
        other.follow(1 if name == "beam 1" else 4)
        assert texts == other.predict(pd.read_csv(table).tail(30), media_root=table.parent)["text_predicted"].tolist()
    assert (root / "optimized/candidates").is_dir()
    assert not (root / "optimized/step.onnx").exists()  # a beam of 1 runs in torch
