"""Identities from a table to a name: known ones and ones that train has never seen, with a column beside that tells nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mmcli.artifacts import tensors
from mmcli.cli import app
from mmcli.errors import ExitCode
from tests.conftest import ENCODERS, SMALL, shared, write_csv

pytestmark = pytest.mark.slow
PEOPLE, EACH = 8, 8


def _draw(folder: Path) -> None:
    """Each person is bars of their own, in the picture's own light; the note names the light."""
    generator = np.random.default_rng(0)
    rows = []
    for person in range(PEOPLE):
        bars = generator.uniform(0, 1, (4, 4))
        for number in range(EACH):
            light = ("dark", "bright")[number % 2]
            pixels = np.kron(bars, np.ones((8, 8))) * (0.4 if light == "dark" else 0.9) + generator.normal(0, 0.05, (32, 32))
            Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8)).save(folder / f"{person}-{number}.png")
            split = "train" if number < 4 else "val" if number < 6 else "test"
            rows.append([f"{person}-{number}.png", light, f"p{person}", split])
    write_csv(folder / "closed.csv", ["picture", "light", "person", "split"], rows)
    for row in rows:
        row[3] = {"p6": "val", "p7": "val", "p4": "test", "p5": "test"}.get(row[2], "train")
    write_csv(folder / "open.csv", ["picture", "light", "person", "split"], rows)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, "people", _draw)


def run(*arguments: object, code: int = 0) -> str:
    """What is said on stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.stderr
    return " ".join(result.stderr.split())


def _metrics(root: Path) -> dict[str, Any]:
    text = (root / "evaluation" / "metrics.json").read_text()
    found: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    return found


def test_known_people_are_named(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "closed"
    run("run", people / "closed.csv", "--task", "identify", "--seeds", "2", *SMALL[:-1], "-a", root)
    found = _metrics(root)
    assert found["task"] == "identify"
    assert found["primary_metric"] == "rank1"
    assert set(found["test"]["baselines"]) == {"chance", "nearest", "linear"}
    assert found["test"]["fused"]["rank1"]["value"] == 1.0
    assert found["test"]["columns"]["light"]["rank1"]["value"] < 0.5
    assert found["trust"]["pairs"]
    for drawing in ("cmc", "roc", "det", "similarities"):
        assert (root / "evaluation" / "plots" / f"{drawing}.svg").exists()
    shares = tensors.load(root / "fusions" / "gated" / "weights.safetensors")["members.0.beside.shares"]
    assert float(shares.sum()) == pytest.approx(1)
    run("predict", people / "closed.csv", "-o", tmp_path / "named.csv", "-a", root)
    with (tmp_path / "named.csv").open() as file:
        rows = list(csv.DictReader(file))
    test = [row for row in rows if row["split"] == "test"]
    assert all(row["person_predicted"] == row["person"] for row in test)
    assert sum(row["person_predicted_accepted"] == "True" for row in test) > len(test) / 2


def test_people_that_train_never_saw_are_told_apart(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "open"
    run("preprocess", people / "open.csv", "--task", "identify", "-a", root)
    run("train-encoder", *ENCODERS, "--epochs", "4", "-a", root)
    said = run("fuse", "--method", "concat", "--method", "transformer", "--epochs", "20", "-a", root)
    assert said.endswith(f"next: mmcli optimize -a {root}")
    assert run("status", "-a", root).endswith(f"next: mmcli optimize -a {root}")
    told_on_console = run("evaluate", "--slice", "light", "-a", root)
    told = (root / "evaluation" / "report.md").read_text()
    assert "mmcli enrol TABLE --gallery NAME" in told and "mmcli optimize" in told and "mmcli export" in told
    found = _metrics(root)
    page = (root / "evaluation" / "report.html").read_text()
    assert "taken for row" in page or not found["trust"]["errors"]
    assert "predicted p" not in page, "none of train could be right"
    assert len(found["trust"]["taken_for"]) == len(found["trust"]["errors"]) if found["trust"]["errors"] else True
    assert {own["value"] for own in found["trust"]["rates"]["values"]} == {"dark", "bright"}
    assert all(own["far"]["n"] and own["frr"]["n"] for own in found["trust"]["rates"]["values"])
    assert "--slice light: " in told_on_console and "report.html" in told_on_console
    assert found["primary_metric"] == "eer"
    assert found["test"]["fused"]["eer"]["value"] < 0.35
    assert found["test"]["fused"]["rank1"]["value"] > 0.8
    assert {own["name"] for own in found["trust"]["slices"] if own["kind"] == "light"} == {"dark", "bright"}


@pytest.mark.parametrize("said", [["supcon"], ["triplet"], ["arcface", "centres=3"]])
def test_vectors_learn_by_the_loss_that_is_named(people: Path, tmp_path: Path, said: list[str]) -> None:
    root, (loss, *more) = tmp_path / "losses", said
    run("preprocess", people / "closed.csv", "--task", "identify", "--ignore", "light", "-a", root)
    sets = [f"--set=head.embedding.{own}" for own in (f"loss={loss}", *more)]
    run("train-encoder", "--arch", "gradients", "--epochs", "2", *sets, "-a", root)
    [made] = (root / "encoders" / "picture").iterdir()
    config = json.loads((made / "artifact.json").read_text())["config"]["head"]
    assert config["embedding" if "embedding" in config else "config"]["loss"] == loss
    assert ("head.centres" in tensors.load(made / "weights.safetensors")) == (loss == "arcface")
    run("fuse", "--epochs", "2", *sets, "-a", root)


def test_a_loss_that_is_not_there_is_refused(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "losses"
    run("preprocess", people / "closed.csv", "--task", "identify", "--ignore", "light", "-a", root)
    said = run("train-encoder", "--set=head.embedding.loss=suppcon", "-a", root, code=ExitCode.USAGE)
    assert "expected arcface, supcon, triplet or pml:NAME, not 'suppcon'" in said


def test_encoders_learn_through_f_in_parts_of_a_batch(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "through"
    run("preprocess", people / "closed.csv", "--task", "identify", "-a", root)
    run("train-encoder", "--arch", "cnn", "--arch", "mlp", *ENCODERS, "--epochs", "4", "-a", root)
    run("fuse", "--train-encoders", "--epochs", "2", "--set", "training.accumulate=2", "-a", root)
    assert json.loads((root / "fusions" / "gated" / "artifact.json").read_text())["metrics"]["val"]["rank1"] > 0
