"""Known texts beside a network that has learnt nothing: through every stage, from the shell, and without mmcli."""

from __future__ import annotations

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmcli.data.dataset import Dataset
from mmcli.errors import ExitCode
from mmcli.models import loading
from mmcli.models.recipe import Recipe
from tests.conftest import shared, write_csv
from tests.stages.test_export import check_same, run_alone
from tests.stages.test_translation import COLOURS, SIZES, SMALL, THINGS, invoke

pytestmark = pytest.mark.slow


def make(folder: Path) -> None:
    luck, rows = random.Random(1), []
    for number in range(200):
        thing, size, colour = (luck.choice([*words]) for words in (THINGS, SIZES, COLOURS))
        text = f"{THINGS[thing]}: {COLOURS[colour]}, {SIZES[size]}"
        split = "train" if number < 110 else "val" if number < 155 else "test"
        rows.append(["" if number == 199 else f"{size} {colour} {thing}", str(number % 7), text, split])
    table = write_csv(folder / "data.csv", ["name", "number", "text", "split"], rows)
    root = folder / "artifacts"
    steps = [
        ["preprocess", table, "-t", "text", "--task", "text", "--type", "name=text", "-i", "name", "-i", "number", "-a", root],
        ["train-encoder", "--epochs", "1", *SMALL[:8], "-a", root],
        ["fuse", "--seeds", "1", "--epochs", "1", "-a", root],
        ["evaluate", "--quick", "-a", root],
    ]
    for step in steps:
        code, _, said = invoke(*step)
        assert code == ExitCode.DONE, said


@pytest.fixture(scope="session")
def recalled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of such a table."""
    return shared(tmp_path_factory, "recall", make) / "artifacts"


def test_val_takes_them_in_and_test_is_the_better_for_it(recalled: Path) -> None:
    fused = loading.fresh_fusions(recalled)[0]
    assert fused.metrics["recall"]["share"] >= 0.5
    assert {own["architecture"] for own in fused.config["solved"]["recall"].values()} == {"bag", "plain", "words"}
    found = json.loads((recalled / "evaluation/metrics.json").read_text(encoding="utf-8"))["test"]
    column = found["columns"]["name"]["chrf"]["value"]
    assert column < 40  # the network has learnt nothing
    assert found["fused"]["chrf"]["value"] > 60
    assert found["fused"]["chrf"]["value"] > found["baselines"]["nearest"]["chrf"]["value"]


def test_predictions_are_those_of_the_test_rows_scored(recalled: Path, tmp_path: Path) -> None:
    table = pd.read_csv(recalled.parent / "data.csv", dtype=str)
    code, _, said = invoke("predict", recalled.parent / "data.csv", "-a", recalled, "-o", tmp_path / "found.csv")
    assert code == ExitCode.DONE, said
    found = pd.read_csv(tmp_path / "found.csv", dtype=str)["text_predicted"]
    known = set(table["text"][:110])
    again = table.index[(table["split"] == "test") & table["text"].isin(known)]
    assert len(again) > 10
    assert (found[again] == table["text"][again]).mean() > 0.5
    assert found.notna().sum() >= 199  # a name that is missing leaves the number


def test_an_export_recites_without_mmcli(recalled: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    table, folder = recalled.parent / "data.csv", tmp_path / "exported"
    code, _, said = invoke("export", "--to", folder, "-a", recalled)
    assert code == ExitCode.DONE, said
    done = run_alone(folder, table, "-o", tmp_path / "found.csv")
    assert done.returncode == 0, done.stderr
    assert invoke("predict", table, "-a", recalled, "-o", tmp_path / "wanted.csv", "--precision", "float32")[0] == 0
    check_same(tmp_path / "found.csv", tmp_path / "wanted.csv")


def test_without_them_the_network_stands_alone(recalled: Path) -> None:
    off = ["--set", "training.decisions=false", "--seeds", "1", "--epochs", "1", "--method", "memory"]
    code, _, said = invoke("fuse", *off, "-a", recalled)
    assert code == ExitCode.DONE, said
    found = next(own for own in loading.fresh_fusions(recalled) if own.config["method"] == "memory")
    assert "recall" not in found.metrics
    assert "solved" not in found.config


def test_a_model_that_is_built_again_follows_as_many_texts(recalled: Path) -> None:
    dataset, fused = Dataset.open(recalled), loading.fresh_fusions(recalled)[0]
    whole, recipe = loading.load_fused(dataset, fused), Recipe.of(fused)
    for beam in (1, 3):
        told = replace(recipe, head={**recipe.head, "config": {**recipe.head["config"], "beam": beam}})
        again: Any = loading.built(told, dataset, whole.state_dict())
        assert {own.head.beam for own in again.fusion_head.each} == {beam}


def test_a_term_of_its_own_is_not_the_encoder_that_inputs_share(recalled: Path) -> None:
    dataset, recipe = Dataset.open(recalled), Recipe.of(loading.fresh_fusions(recalled)[0])
    bag = {"input": "name", "architecture": "bag", "encoder": recipe.encoders["name/recall"]["encoder"] | {"dim": 8}}
    both = {"a": bag, "b": {**bag, "owner": "name"}, "name/recall": recipe.encoders["name/recall"]}
    made = replace(recipe, encoders=both)._encoders(dataset)
    assert made["a"] is made["b"]
    assert made["name/recall"] is not made["a"]
    assert (made["a"].dim, made["name/recall"].dim) == (8, 256)


def test_a_student_is_taught_what_is_not_known_by_heart(recalled: Path, tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    shutil.copytree(recalled, root)
    only = [part for name in ("beam", "distill") for part in ("--only", name)]
    code, _, said = invoke("optimize", "-a", root, *only, "--set", "training.epochs=1", "--max-drop", "0.9")
    assert code == ExitCode.DONE, said
    told = re.search(r'"other_texts": ?(\d+)', (root / "optimized/artifact.json").read_text(encoding="utf-8"))
    assert told is not None
    assert int(told[1]) > 30  # of 110, which it would write without a fault
    assert invoke("evaluate", "--quick", "-a", root)[0] == ExitCode.DONE
