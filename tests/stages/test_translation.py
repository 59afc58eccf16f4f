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
from mmcli.errors import ExitCode
from mmcli.models import loading
from tests.conftest import shared, write_csv

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
        ["fuse", "--seeds", "2", "--epochs", "40", *SMALL[-2:], "-a", root],
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
    wild = ["--set", "training.learning_rate=30", "--set", "training.epochs=2"]
    code, _, said = invoke("fuse", "--input", "name", "--method", "gated-cross-attention", "-a", root, *wild)
    assert code == ExitCode.DONE, said
    found = next(own for own in loading.fresh_fusions(root) if own.config["training"]["learning_rate"] == 30)
    assert found.metrics["val"] == pytest.approx(column.metrics["val"], rel=1e-4)  # features are kept in half precision
    assert len(found.config["seeds"]) == 1
