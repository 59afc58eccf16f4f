"""A text read off two pictures, of which each lacks words: through every stage, from the shell."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

import mmcli
from mmcli.artifacts import store
from mmcli.cli import app
from mmcli.errors import ExitCode
from mmcli.reporting.text_metrics import edits
from tests.conftest import shared, write_csv
from tests.stages.test_export import check_same, run_alone

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
        ["fuse", "--seeds", "1", "--epochs", "40"],
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
    losses = {tuple(sorted(own["inputs"])): own["value"] for own in test["subsets"]}
    assert losses["left", "right"] < min(losses[("left",)], losses[("right",)]) < losses[()]
    assert sum(test["shapley"]["values"].values()) == pytest.approx(losses[()] - losses["left", "right"])
    assert set(test["without"]) == {"left", "right"}
    assert "prediction sets" in metrics["left_out"]
    assert (read / "evaluation/report.html").stat().st_size > 10_000


def test_one_input_alone_is_its_columns_own_model(read: Path, tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    shutil.copytree(read, root)
    code, _, said = invoke("fuse", "--input", "left", "-a", root, "--force")
    assert code == ExitCode.DONE, said
    assert "nothing to fuse" in said
    fused = store.read(root, "fusions/gated-cross-attention", "fusion", "mmcli fuse")
    own = store.read(root, "encoders/left/crnn", "encoder", "mmcli train-encoder")
    assert fused.metrics["val"] == pytest.approx(own.metrics["val"], abs=1e-3)  # features are kept in half precision
    assert fused.metrics["best_epochs"] == [0]


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


def test_answers_that_are_nearly_as_likely(read: Path, tmp_path: Path) -> None:
    table = read.parent / "data.csv"
    code, _, said = invoke("predict", table, "-a", read, "-o", tmp_path / "p.csv", "--nbest", "3")
    assert code == ExitCode.DONE, said
    made = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    names = [name for name in made if name.startswith("says_predicted")]
    assert names == ["says_predicted", "says_predicted_confidence", "says_predicted_nbest_2", "says_predicted_nbest_3"]
    texts = made[["says_predicted", "says_predicted_nbest_2", "says_predicted_nbest_3"]]
    assert (texts.nunique(axis=1) == 3).all()
    code, _, said = invoke("predict", table, "-a", read, "-o", tmp_path / "q.csv", "--nbest", "9")
    assert code == ExitCode.USAGE
    assert "keeps 8 texts of a row" in said
    assert "--set task.text.beam=9" in said


def test_confidence_is_the_share_that_is_right_on_val(read: Path, tmp_path: Path) -> None:
    code, _, said = invoke("predict", read.parent / "data.csv", "-a", read, "-o", tmp_path / "p.csv")
    assert code == ExitCode.DONE, said
    made = pd.read_csv(tmp_path / "p.csv")
    val = made[made["split"] == "val"]
    shares = [
        1 - edits(one.split(), other.split()) / max(len(one.split()), len(other.split()))
        for one, other in zip(val["says_predicted"], val["says"], strict=True)
    ]
    wanted = min(sum(shares) / len(shares), 1 - 0.5 / (len(val) + 1))  # where all are right, half a row is allowed for
    assert val["says_predicted_confidence"].mean() == pytest.approx(wanted, abs=2e-3)


def test_times_are_of_sound_alone(read: Path, tmp_path: Path) -> None:
    table = read.parent / "data.csv"
    code, _, said = invoke("predict", table, "-a", read, "-o", tmp_path / "p.csv", "--words", tmp_path / "w.json")
    assert code == ExitCode.USAGE
    assert "no times of a recording" in said
    code, _, said = invoke("predict", table, "-a", read, "-o", tmp_path / "p.csv", "--words", tmp_path / "w.txt")
    assert code == ExitCode.USAGE
    assert "cannot tell a format" in said
    assert not list(tmp_path.iterdir())


def test_more_texts_for_the_language_model(read: Path, tmp_path: Path) -> None:
    more, root = tmp_path / "more.txt", tmp_path / "artifacts"
    given = ["preprocess", read.parent / "data.csv", "--target", "says", "--task", "text", "--image-size", "32", "-a", root]
    code, _, said = invoke(*given, "--lm-text", more)
    assert code == ExitCode.BAD_DATA, said
    assert "--lm-text" in said and "No such file" in said
    hashes = set()
    for line in ("red green", "green red", "green red"):
        more.write_text(line)
        code, _, said = invoke(*given, "--lm-text", more)
        assert code == ExitCode.DONE, said
        hashes.add((root / "preprocess/task.json").read_text())
    assert len(hashes) == 2
    assert "up to date" in said


def test_what_texts_are_held_against_is_learnt_from_only_where_it_is_named(read: Path, tmp_path: Path) -> None:
    table, first = read.parent / "data.csv", ("-t", "says", "--task", "text", "--contrast", "other", "--dry-run")
    code, _, said = invoke("run", table, *first, "-a", tmp_path / "a")
    assert code == ExitCode.DONE, said
    assert "'other' is no input, since --contrast holds answers against it" in said
    assert said.count("'other'") == 1
    code, _, said = invoke("run", table, *first, "-i", "left", "-i", "other", "-a", tmp_path / "a")
    assert code == ExitCode.DONE, said
    assert "is no input" not in said
    assert "input 'other'" in said


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
    assert "an input of the model" not in said
    page = (root / "evaluation/report.html").read_text(encoding="utf-8")
    assert "The right text is likelier than the one in other in" in page
    assert ("<del" in page) == (test["fused"]["exact"]["value"] < 1)  # differences are shown where there are some


def test_methods_without_steps_are_refused_with_a_way_out(read: Path) -> None:
    code, _, said = invoke("fuse", "--method", "gated", "-a", read)
    assert code == ExitCode.USAGE
    assert "gated gives no tokens in the order of a leading column, which the head ctc reads step by step" in said
    code, _, said = invoke("fuse", "--method", "perceiver", "-a", read)
    assert code == ExitCode.USAGE
    assert "--method cross-attention or gated-cross-attention" in said
    code, _, said = invoke("fuse", "--method", "cross-attention", "--order", "right", "--dry-run", "-a", read)
    assert code == ExitCode.DONE, said
    assert "right leads, since it is read step by step" in said


def test_an_export_reads_what_predict_reads(read: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    table, folder = read.parent / "data.csv", tmp_path / "exported"
    rows = pd.read_csv(table)
    rows.loc[::7, "left"] = None
    rows.loc[::11, "right"] = None
    rows.to_csv(read.parent / "gaps.csv", index=False)
    code, _, said = invoke("export", "--to", folder, "-a", read)
    assert code == ExitCode.DONE, said
    done = run_alone(folder, read.parent / "gaps.csv", "-o", tmp_path / "found.csv")
    assert done.returncode == 0, done.stderr
    exact = ("-a", read, "--precision", "float32")
    code, _, said = invoke("predict", read.parent / "gaps.csv", "-o", tmp_path / "wanted.csv", *exact)
    assert code == ExitCode.DONE, said
    check_same(tmp_path / "found.csv", tmp_path / "wanted.csv")
    checked = run_alone(folder)
    assert checked.returncode == 0, checked.stderr
    assert float(checked.stdout.splitlines()[0].rpartition(" ")[2]) < 1e-4
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert about["task"]["units"] == {"kind": "word", "units": sorted(WORDS)}
    assert "log-probabilities" in (folder / "README.md").read_text(encoding="utf-8")
    code, _, said = invoke("export", "--to", tmp_path / "pt", "--format", "torch-export", "-a", read)
    assert code == ExitCode.USAGE
    assert "its script knows no texts" in said
    assert not (tmp_path / "pt").exists()


def test_another_method_that_gives_steps_is_read_too(read: Path, tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    shutil.copytree(read, root)
    code, _, said = invoke("fuse", "--method", "cross-attention", "--seeds", "1", "--epochs", "40", "-a", root)
    assert code == ExitCode.DONE, said
    found = store.read(root, "fusions/cross-attention", "fusion", "").metrics["val"]
    assert found["wer"] < 0.25  # a third of the words is not to be seen in either picture


def test_optimizing_runs_texts_in_other_ways_and_says_what_is_not_for_them(read: Path, tmp_path: Path) -> None:

    pytest.importorskip("onnxscript")
    root = tmp_path / "artifacts"
    shutil.copytree(read, root)
    steps = [part for step in ("calibrate", "precision", "onnx", "quantize") for part in ("--only", step)]
    code, _, said = invoke("optimize", "-a", root, *steps)
    assert code == ExitCode.DONE, said
    made = json.loads((root / "optimized/artifact.json").read_text(encoding="utf-8"))["metrics"]
    reasons = {entry["step"]: entry.get("reason") for entry in made["history"]}
    assert reasons["calibrate"] == "it is for classes, labels and numbers, and these answers are texts"
    table = json.loads((root / "optimized/tradeoff.json").read_text(encoding="utf-8"))
    rows = {row["way"]: row for row in table["rows"] if not row.get("reason")}
    scores = {way: row["score"] for way, row in rows.items()}
    assert {"torch", "onnx", "onnx int8"} <= set(scores), table["rows"]
    assert scores["onnx"] == pytest.approx(scores["torch"], abs=0.5)
    assert all(score > 0.8 * scores["torch"] for score in scores.values()), scores
    code, _, said = invoke("optimize", "-a", root, *steps, "--pick", rows["onnx"]["name"])
    assert code == ExitCode.DONE, said
    code, _, said = invoke("predict", read.parent / "data.csv", "-a", root, "-o", tmp_path / "p.csv")
    assert code == ExitCode.DONE, said
    code, _, said = invoke("predict", read.parent / "data.csv", "-a", read, "-o", tmp_path / "q.csv", "--precision", "float32")
    assert code == ExitCode.DONE, said
    written = [pd.read_csv(tmp_path / name)["says_predicted"].tolist() for name in ("p.csv", "q.csv")]
    assert written[0] == written[1]


def test_texts_that_do_not_fit_into_the_steps_are_told_before_training(read: Path, tmp_path: Path) -> None:
    rows = [[str(read.parent / f"{number}-0.png"), "abcdefghijkl"[number % 4 :], "train"] for number in range(30)]
    rows += [[str(read.parent / f"{number}-0.png"), "abc", split] for number in range(30, 40) for split in ("val", "test")]
    table = write_csv(tmp_path / "long.csv", ["left", "says", "split"], rows)
    root = tmp_path / "artifacts"
    code, _, said = invoke(
        "preprocess", table, "--target", "says", "--task", "text", "--target-units", "char", "--image-size", "32", "-a", root
    )
    assert code == ExitCode.DONE, said
    code, _, said = invoke("train-encoder", "--epochs", "1", *QUICK, "--set", "encoder.crnn.stride=4", "-a", root)
    assert code == ExitCode.DONE, said
    assert "encoders/left/crnn: 30 of 30 train rows have texts that do not fit" in said  # 32 pixels leave 8 steps
    assert "12 units, 8 steps" in said
    assert "--target-units word or bpe, or a larger --image-size" in said
    code, _, said = invoke("train-encoder", "--epochs", "1", *QUICK, "-a", root)
    assert code == ExitCode.DONE, said
    assert "texts of 30 of 30 train rows need more than a step for 4 columns of pixels (of 0 more than for 2)" in said
    assert "its stride is 2" in said
    assert "do not fit" not in said
    assert mmcli_config(root)["encoder"]["stride"] == 2


def mmcli_config(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / "encoders/left/crnn/artifact.json").read_text(encoding="utf-8"))["config"])
