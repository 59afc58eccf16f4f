"""A text read off two pictures, of which each lacks words: through every stage, from the shell."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

import mmcli
from mmcli.cli import app
from mmcli.errors import ExitCode
from tests.conftest import shared, write_csv

pytestmark = pytest.mark.slow
WORDS = ("red", "green", "blue", "black")
OTHER = dict(zip(WORDS, [*WORDS[1:], WORDS[0]], strict=True))
QUICK = ["--set", "encoder.crnn.width=8", "--set", "encoder.crnn.hidden=24"]


def invoke(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def bands(words: list[str], hidden: int, path: Path) -> str:
    """Three bands side by side, one of them left white."""
    image = Image.new("RGB", (48, 24), "white")
    for place, word in enumerate(words):
        if place != hidden:
            ImageDraw.Draw(image).rectangle((place * 16 + 2, 2, place * 16 + 13, 21), fill=word)
    image.save(path)
    return path.name


def make(folder: Path) -> None:
    luck, rows = random.Random(0), []
    for number in range(300):
        words = [luck.choice(WORDS) for _ in range(3)]
        hidden = luck.sample(range(3), 2)
        names = [bands(words, hidden[side], folder / f"{number}-{side}.png") for side in range(2)]
        split = "train" if number < 200 else "val" if number < 240 else "test"
        other = " ".join([OTHER[words[0]], *words[1:]])
        rows.append([*names, " ".join(words), other, "" if number == 240 else other, split])
    table = write_csv(folder / "data.csv", ["left", "right", "says", "other", "gap", "split"], rows)
    root = folder / "artifacts"
    steps = [
        ["preprocess", table, "-t", "says", "--task", "text", "-i", "left", "-i", "right", "--image-size", "32"],
        ["train-encoder", "--epochs", "12", *QUICK],
        ["fuse", "--seeds", "1"],
        ["evaluate", "--quick"],
    ]
    for step in steps:
        code, _, said = invoke(*step, "-a", root)
        assert code == ExitCode.DONE, said


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of such a table."""
    return shared(tmp_path_factory, "text", make) / "artifacts"


def test_both_pictures_together_say_more_than_each(read: Path) -> None:
    metrics = json.loads((read / "evaluation/metrics.json").read_text(encoding="utf-8"))
    test = metrics["test"]
    assert (metrics["task"], metrics["primary_metric"], metrics["reference"]) == ("text", "chrf", "nearest")
    alone = [own["wer"]["value"] for own in test["columns"].values()]
    assert min(alone) > 0.15  # a third of the words is not to be seen
    assert test["fused"]["wer"]["value"] < min(alone) - 0.05
    assert test["fused"]["chrf"]["value"] > test["baselines"]["nearest"]["chrf"]["value"]
    assert set(test["baselines"]) == {"medoid", "nearest", "empty", "nearest:left", "nearest:right"}
    assert test["baselines"]["empty"]["wer"]["value"] == 1
    assert {*test["incongruent"]} == {"left", "right"}
    assert all(own["gain"]["low"] > 0 for own in test["incongruent"].values())  # each picture is looked at
    assert test["shapley"]["metric"] == "loss"
    losses = {tuple(own["inputs"]): own["value"] for own in test["subsets"]}
    assert losses["left", "right"] < min(losses[("left",)], losses[("right",)]) < losses[()]
    assert sum(test["shapley"]["values"].values()) == pytest.approx(losses[()] - losses["left", "right"])
    assert set(test["without"]) == {"left", "right"}
    assert "prediction sets" in metrics["left_out"]
    assert (read / "evaluation/report.html").stat().st_size > 10_000


def test_predict_writes_the_text_and_how_sure_it_is(read: Path, tmp_path: Path) -> None:
    table = read.parent / "data.csv"
    code, _, said = invoke("predict", table, "-a", read, "-o", tmp_path / "p.csv")
    assert code == ExitCode.DONE, said
    made = pd.read_csv(tmp_path / "p.csv")
    assert made["says_predicted_confidence"].between(0, 1).all()
    kept = pd.read_parquet(read / "evaluation/predictions.parquet")
    again = made[made["split"] == "test"]["says_predicted"].tolist()
    assert again == kept["says_predicted"].tolist()
    one = mmcli.load(read).predict(pd.read_csv(table).head(3), media_root=table.parent)
    assert one["says_predicted"].tolist() == made["says_predicted"].tolist()[:3]


def test_right_texts_are_set_against_others_that_differ_by_a_word(read: Path, tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    shutil.copytree(read, root)
    code, _, said = invoke("evaluate", "--quick", "--contrast", "gap", "-a", root)
    assert code == ExitCode.BAD_DATA and "--contrast gap: 1 of 60 test rows lack a text, the first: row 241" in said
    code, _, said = invoke("evaluate", "--quick", "--contrast", "othr", "-a", root)
    assert code == ExitCode.USAGE and "--contrast othr" in said and "other" in said
    code, _, said = invoke("evaluate", "--contrast", "other", "-a", root)
    assert code == ExitCode.DONE, said
    test = json.loads((root / "evaluation/metrics.json").read_text(encoding="utf-8"))["test"]
    assert test["contrast"]["other"]["n"] == 60 and test["contrast"]["other"]["low"] > 0.6
    assert test["masked_source"] == {}  # no input is a text
    page = (root / "evaluation/report.html").read_text(encoding="utf-8")
    assert "The right text is likelier than the one in other in" in page
    assert ("<del" in page) == (test["fused"]["exact"]["value"] < 1)  # differences are shown where there are some


def test_methods_without_steps_and_exports_are_refused_with_a_way_out(read: Path, tmp_path: Path) -> None:
    code, _, said = invoke("fuse", "--method", "gated", "-a", read)
    assert code == ExitCode.USAGE
    assert "gated fuses features: such targets go with methods of token" in said
    code, _, said = invoke("fuse", "--method", "perceiver", "-a", read)
    assert code == ExitCode.USAGE
    assert "--method gated-cross-attention" in said
    code, _, said = invoke("export", "--to", tmp_path / "x", "-a", read)
    assert code == ExitCode.USAGE
    assert "mmcli predict" in said
    assert not (tmp_path / "x").exists()


def test_optimizing_leaves_out_what_is_not_for_texts_and_says_why(read: Path, tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    shutil.copytree(read, root)
    code, _, said = invoke("optimize", "-a", root, "--only", "calibrate", "--only", "precision", "--only", "onnx")
    assert code == ExitCode.DONE, said
    table = json.loads((root / "optimized/tradeoff.json").read_text(encoding="utf-8"))
    reasons = {row["name"]: row.get("reason") for row in table["rows"]}
    assert reasons["onnx"] == "it is for classes, labels and numbers, and these answers are texts"
    code, out, said = invoke("predict", read.parent / "data.csv", "-a", root, "-o", "-")
    assert code == ExitCode.DONE, said
    assert "says_predicted" in out


def test_texts_that_do_not_fit_into_the_steps_are_told_before_training(read: Path, tmp_path: Path) -> None:
    rows = [[str(read.parent / f"{number}-0.png"), "abcdefghijkl"[number % 4 :], "train"] for number in range(30)]
    rows += [[str(read.parent / f"{number}-0.png"), "abc", split] for number in range(30, 40) for split in ("val", "test")]
    table = write_csv(tmp_path / "long.csv", ["left", "says", "split"], rows)
    root = tmp_path / "artifacts"
    code, _, said = invoke(
        "preprocess", table, "--target", "says", "--task", "text", "--target-units", "char", "--image-size", "32", "-a", root
    )
    assert code == ExitCode.DONE, said
    code, _, said = invoke("train-encoder", "--epochs", "1", *QUICK, "-a", root)
    assert code == ExitCode.DONE, said
    assert "encoders/left/crnn: 30 of 30 train rows have texts that do not fit" in said  # 32 pixels leave 8 steps
    assert "12 units, 8 steps" in said
    assert "--target-units word or bpe, or a larger --image-size" in said
