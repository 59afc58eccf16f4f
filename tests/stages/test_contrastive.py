"""A table without a target, from its rows to columns found by others: three views of a hidden thing, some cells missing."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import mmcli
from mmcli.artifacts import store, tensors
from mmcli.cli import app
from mmcli.data.dataset import Dataset
from mmcli.jobs import aligning
from mmcli.models.recipe import build_answer, build_encoder, build_fusion
from mmcli.models.towers import TowerModel
from mmcli.reporting.console import Console
from mmcli.training.config import TrainingConfig
from mmcli.training.device import Compute, seed_everything
from mmcli.training.job import Job
from mmcli.training.loop import rehearse, train
from mmcli.training.steps import gradient
from mmcli.vectors import plain
from tests.conftest import SMALL, shared, write_csv

pytestmark = pytest.mark.slow
ROWS = 120
WORDS = [f"{a}{b}" for a in ("ka", "mo", "ti", "ru", "se") for b in ("lan", "vok", "pem", "gis", "dut")]


def _draw(folder: Path) -> None:
    """Each row hides a grid of 3 x 3 lights: drawn, drawn again inverted with noise, and told in a word for each light."""
    generator = np.random.default_rng(0)
    rows: list[list[Any]] = []
    for number in range(ROWS):
        lights = generator.integers(0, 2, 9)
        for name, light in (("a", lights), ("b", 1 - lights)):
            pixels = np.kron(light.reshape(3, 3), np.ones((10, 10))) * 0.8 + generator.normal(0, 0.05, (30, 30)) + 0.1
            Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8)).save(folder / f"{name}{number}.png")
        said = " ".join(WORDS[2 * place + int(light)] for place, light in enumerate(lights))
        split = "train" if number < 80 else "val" if number < 100 else "test"
        rows.append([f"a{number}.png", f"b{number}.png" if number % 10 else "", said if number % 7 else "", split])
    write_csv(folder / "views.csv", ["drawn", "inverted", "said", "split"], rows)


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, "views", _draw)


def run(*arguments: object, code: int = 0) -> str:
    """What is said on stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.stderr
    return " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def trained(views: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This process's own copy, which tests may change."""
    root = tmp_path_factory.mktemp("trained") / "root"
    made = shared(tmp_path_factory, "contrastive", lambda folder: _train(views, folder / "root"))
    shutil.copytree(made / "root", root)
    return root


def _train(views: Path, root: Path) -> None:
    arches = ["--arch", "gradients", "--arch", "pixels", "--arch", "axes", "--arch", "bag"]
    said = run("preprocess", views / "views.csv", "--task", "contrastive", "-a", root, "--image-size", "32")
    assert "'drawn' and 'inverted' share one encoder, as pictures that belong together" in said
    run("train-encoder", *arches, "--epochs", "2", "-a", root, "--set", "encoder.bag.buckets=512")
    run("fuse", "-a", root)
    run("evaluate", "-a", root)


def _metrics(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "evaluation" / "metrics.json").read_text())
    return found


def _fused(root: Path) -> dict[str, Any]:
    return store.read(root, "fusions/align", "fusion", "mmcli fuse").metrics


def test_columns_find_each_other(trained: Path) -> None:
    found = _metrics(trained)
    assert found["task"] == "contrastive"
    assert found["primary_metric"] == "mrr"
    told = found["test"]["retrieval"]
    assert told["drawn->inverted"]["recall_at_1"]["value"] > 0.9
    assert told["drawn->said"]["recall_at_10"]["value"] > 0.9
    assert told["drawn->inverted"]["gallery"] == 18 and told["inverted->drawn"]["gallery"] == 20
    assert told["drawn+inverted->said"]["mrr"]["low"] <= told["drawn+inverted->said"]["mrr"]["value"]
    chance = found["test"]["retrieval_baselines"]["chance"]["drawn->said"]["recall_at_1"]["value"]
    assert chance < 0.3
    assert set(found["test"]["baselines"]) == {"chance", "cosine", "linear"}
    assert found["test"]["fused"]["mrr"]["value"] > found["test"]["baselines"]["linear"]["mrr"]["value"] - 0.1
    assert "columns" not in found["test"] and "noise" in found["left_out"]
    assert found["trust"]["pairs"] or found["test"]["fused"]["mrr"]["value"] == 1.0
    report = (trained / "evaluation" / "report.html").read_text()
    assert "How well columns find each other" in report and "What each input is worth" not in report
    assert (trained / "evaluation" / "plots" / "recall-1.svg").exists()


def test_shared_encoders_lie_there_once_and_equal_cells_are_known(trained: Path) -> None:
    assert not (trained / "encoders" / "inverted").exists()
    dataset = Dataset.open(trained)
    known = dataset.targets
    assert known.shape == (ROWS, 4)
    assert known[:, 0].tolist() == list(range(ROWS))
    assert int((known[:, 2] < 0).sum()) == 12  # of 120, each tenth lacks the inverted one
    said = [own for own in known[:, 3].tolist() if own >= 0]
    assert len(set(said)) < len(said)  # some rows hide the same lights


def test_training_never_leaves_val_worse_than_it_began(views: Path, trained: Path, tmp_path: Path) -> None:
    fused = _fused(trained)
    run("fuse", "-a", trained, "--epochs", "1", "--learning-rate", "5.0", "--force")
    harmed = _fused(trained)
    assert harmed["best_epochs"] == [0]
    run("fuse", "-a", trained, "--force")
    again = _fused(trained)
    assert again["val"] == fused["val"]
    assert again["val"]["mrr"] >= harmed["val"]["mrr"]
    run("evaluate", "-a", trained)


def test_predict_writes_likeness_and_vectors_and_a_model_gives_them(views: Path, trained: Path, tmp_path: Path) -> None:
    run("predict", views / "views.csv", "-o", tmp_path / "out.csv", "-a", trained, "--embeddings")
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[10]["together_predicted_drawn_inverted"] == ""
    assert float(rows[101]["together_predicted_drawn_inverted"]) > 0.3
    vector = json.loads(rows[101]["together_embedding_drawn"])
    assert len(vector) == 128 and np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    assert rows[10]["together_embedding_inverted"] == ""
    model = mmcli.load(trained)
    table = pd.read_csv(views / "views.csv", dtype=str).iloc[100:]
    asks, there = model.column_vectors(table.reset_index(drop=True), ["drawn", "inverted"], str(views))
    answers, known = model.column_vectors(table.reset_index(drop=True), ["said"], str(views))
    assert bool(there.all()) and int((~known).sum()) == sum(number % 7 == 0 for number in range(100, 120))
    first = (asks @ answers.T)[known][:, known].argmax(1)
    assert float((first == torch.arange(len(first))).float().mean()) > 0.5
    with pytest.raises(mmcli.errors.ConfigError, match="It has vectors of drawn, inverted, said"):
        model.column_vectors(table, ["other"], str(views))


def test_new_rows_are_scored_as_the_test_rows_were(views: Path, trained: Path, tmp_path: Path) -> None:
    table = pd.read_csv(views / "views.csv", dtype=str, keep_default_na=False).iloc[100:]
    table.to_csv(tmp_path / "new.csv", index=False)
    command = ("evaluate", tmp_path / "new.csv", "--media-root", views, "-a", trained)

    def scored(*more: object) -> dict[str, Any]:
        result = CliRunner().invoke(app, [str(own) for own in (*command, *more, "--json", "--quiet")])
        assert result.exit_code == 0, result.stderr
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    found, wanted = scored(), _metrics(trained)["test"]
    assert found["rows"] == 20
    assert found["retrieval"] == wanted["retrieval"]
    assert found["scores"]["model"]["mrr"] == wanted["fused"]["mrr"]
    assert set(found["scores"]) == {"model", "baseline: chance"}
    said = run(*command)
    assert "drawn->said" in said and "fusions/align on 20 rows of" in said
    for copied in ("a", "b"):  # the same bytes by other names: no row is held against its double
        for number in range(100, 120):
            (tmp_path / f"{copied}{number + 100}.png").write_bytes((views / f"{copied}{number}.png").read_bytes())
    twice = table.assign(**{name: table[name].str.replace(r"(\d+)", lambda m: str(int(m[1]) + 100), regex=True)
                            for name in ("drawn", "inverted")})  # fmt: skip
    absolute = table.assign(**{name: [cell and str(views / cell) for cell in table[name]] for name in ("drawn", "inverted")})
    pd.concat([absolute, twice]).to_csv(tmp_path / "new.csv", index=False)
    command = ("evaluate", tmp_path / "new.csv", "-a", trained)
    doubled = scored()
    table.assign(inverted="", said="").to_csv(tmp_path / "alone.csv", index=False)
    alone = run("evaluate", tmp_path / "alone.csv", "--media-root", views, "-a", trained, code=3)
    assert "alone.csv has 0 rows in which two columns or more are there" in alone
    assert doubled["rows"] == 40
    for direction, own in doubled["retrieval"].items():
        assert own["mrr"]["value"] == pytest.approx(found["retrieval"][direction]["mrr"]["value"], abs=1e-6)


def test_what_does_not_fit_is_refused_in_words(views: Path, trained: Path, tmp_path: Path) -> None:
    said = run("preprocess", views / "views.csv", "--task", "contrastive", "--target", "said", "-a", tmp_path, code=2)
    assert "--task contrastive learns from the columns themselves, and has no target" in said
    said = run("preprocess", views / "views.csv", "--task", "contrastive", "--input", "said", "-a", tmp_path, code=3)
    assert "there is one input, said: it takes two that belong together" in said
    said = run("fuse", "--method", "gated", "-a", trained, code=2)
    assert "gated fuses features: such targets go with methods of alignment" in said
    run("optimize", "-a", trained)


def test_encoders_and_projections_train_together_and_a_sigmoid_will_do(views: Path, trained: Path) -> None:
    run(
        "fuse", "-a", trained, "--train-encoders", "--epochs", "1", "--set", "head.aligned.loss=sigmoid",
        "--set", "fusion.align.hidden=8",
    )  # fmt: skip
    weights = tensors.load(trained / "fusions" / "align" / "weights.safetensors")
    assert "fusion_head.head.shift" in weights and any(name.startswith("fusion_head.fusion.more.0") for name in weights)
    assert mmcli.load(trained).network.task.aligns_columns


def test_run_needs_nothing_but_the_task(views: Path, tmp_path: Path) -> None:
    said = run("run", views / "views.csv", "--task", "contrastive", "--no-optimize", *SMALL[:-1], "-a", tmp_path / "all")
    assert "It is" in said or "level within noise" in said
    assert _metrics(tmp_path / "all")["test"]["retrieval"]["drawn->inverted"]["recall_at_1"]["value"] > 0.7


def test_an_encoder_goes_on_where_it_was_stopped_to_the_same_bits(trained: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(trained)

    def job(name: str) -> Job:
        seed_everything(0)
        encoder = build_encoder("bag", {"buckets": 512, "dim": 8}, dataset.input("said").spec)
        dims = {"said": 8, "drawn": plain.AXES, "inverted": plain.AXES}
        align = build_fusion("align", {"dim": 8}, dims, dataset.task, [])
        head = build_answer({"name": "aligned", "config": {}}, dataset.task, align.dim)
        network = TowerModel(encoder, ["said"], align, head)
        prepared = encoder.prepare(dataset.column("said"))
        encoder.fit(prepared.select(dataset.splits["train"]))
        (tmp_path / name).mkdir(exist_ok=True)
        config = TrainingConfig(epochs=3, batch_size=32)
        cpu = Compute(torch.device("cpu"), "float32")
        return aligning.job(network, {"said": prepared}, dataset, config, cpu, seed=0, folder=tmp_path / name, label=name)

    straight = job("straight")
    train(straight, Console(quiet=True))
    assert rehearse(job("stopped"), Console(quiet=True), 1, None) == (1, False)
    again = job("stopped")
    train(again, Console(quiet=True))
    wanted = straight.module.state_dict()
    assert all(torch.equal(own, wanted[name]) for name, own in again.module.state_dict().items())
    kept = straight.module.kept()
    assert {name.partition(".")[0] for name in kept} == {"encoder", "head"}


def test_a_batch_in_parts_has_the_gradient_of_the_whole(trained: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(trained)
    seed_everything(0)
    options = {"buckets": 512, "dim": 8, "ngram_dropout": 0.0, "dropout": 0.0}
    encoder = build_encoder("bag", options, dataset.input("said").spec)
    dims = {"said": 8, "drawn": plain.AXES, "inverted": plain.AXES}
    align = build_fusion("align", {"dim": 8, "dropout": 0.0}, dims, dataset.task, [])
    head = build_answer({"name": "aligned", "config": {}}, dataset.task, align.dim)
    prepared = encoder.prepare(dataset.column("said"))
    encoder.fit(prepared.select(dataset.splits["train"]))
    network = TowerModel(encoder, ["said"], align, head)
    cpu = Compute(torch.device("cpu"), "float32")
    config = TrainingConfig(augment="none")
    made = aligning.job(network, {"said": prepared}, dataset, config, cpu, seed=0, folder=tmp_path, label="parts")
    batch, found = made.rows.gather(dataset.splits["train"][:30]), []
    for parts in (1, 3):
        made.module.zero_grad()
        gradient(made, batch, parts)
        found.append([own.grad.clone() for own in made.module.parameters() if own.grad is not None])
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-4 * one.norm()  # sums in another order tell most where they are nearly nought
    assert sum(float(one.norm()) for one in found[0]) > 0.1


def test_rows_of_one_group_are_known_and_those_of_none_are_their_own(tmp_path: Path) -> None:
    rows = [[f"text {n}", f"Text number {n}", f"g{n // 3}" if n % 7 else ""] for n in range(60)]
    table = write_csv(tmp_path / "texts.csv", ["one", "other", "set"], rows)
    said = run("inspect", table, "--task", "contrastive", "--group", "set")
    assert "no target: 2 columns that belong together: one, other" in said
    run("preprocess", table, "--task", "contrastive", "--group", "set", "-a", tmp_path / "root")
    dataset = Dataset.open(tmp_path / "root")
    groups = dataset.targets[:, 0].tolist()
    assert groups[1] == groups[2] and groups[4] == groups[5] != groups[1]
    assert len({groups[n] for n in range(0, 60, 7)}) == 9
    assert dataset.task.columns == ("one", "other") and dataset.target == "together"


def test_columns_find_each_other_in_a_gallery(views: Path, trained: Path, tmp_path: Path) -> None:
    """Pictures are enrolled, texts look for them; of one that is typed too."""
    table = views / "views.csv"
    run("enrol", table, "--gallery", "drawings", "--column", "drawn", "--id", "drawn", "-a", trained)
    run("search", table, "--gallery", "drawings", "--column", "said", "-k", "10", "-o", tmp_path / "hits.csv", "-a", trained)
    with (tmp_path / "hits.csv").open() as file:
        hits = list(csv.DictReader(file))
    test = [row for row in hits if int(row["query"]) > 100]
    found = sum(row["id"] == f"a{int(row['query']) - 1}.png" for row in test)
    assert found > 0.9 * len({row["query"] for row in test})
    frame = pd.read_csv(table)
    wanted = mmcli.load(trained)
    (text, there), (pictures, _) = (wanted.column_vectors(frame, [name], str(views)) for name in ("said", "drawn"))
    assert bool(there[1])
    result = CliRunner().invoke(
        app, ["search", "--gallery", "drawings", "--text", frame["said"][1], "-k", "3", "--json", "-a", str(trained)]
    )
    assert "threshold" not in json.loads(result.stdout) and "taken for the same" not in result.output, "val settles none"
    typed = json.loads(result.stdout)["hits"]
    alike = pictures @ text[1]
    assert [own["id"] for own in typed] == [frame["drawn"][int(place)] for place in alike.argsort(descending=True)[:3]]
    assert typed[0]["similarity"] == pytest.approx(float(alike.max()), abs=2e-2)  # bfloat16 where the processor has it


def test_labels_are_texts_to_be_found(views: Path, trained: Path, tmp_path: Path) -> None:
    """Without any training on them; the column of texts itself is not looked at."""
    with (views / "views.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test" and row["said"]][:6]
    write_csv(views / "few.csv", list(rows[0]), [list(row.values()) for row in rows])
    labels = ",".join(dict.fromkeys(row["said"] for row in rows))
    run("predict", views / "few.csv", "--labels", labels, "-o", tmp_path / "named.csv", "-a", trained)
    with (tmp_path / "named.csv").open() as file:
        named = list(csv.DictReader(file))
    assert sum(row["together_predicted"] == row["said"] for row in named) >= 5
    assert all(
        float(row["together_predicted_similarity"])
        == max(float(row[f"together_predicted_similarity_{label}"]) for label in labels.split(","))
        for row in named
    )
    write_csv(views / "bare.csv", ["drawn", "inverted"], [[row["drawn"], row["inverted"]] for row in rows])
    run("predict", views / "bare.csv", "--labels", labels, "--template", "{}", "-o", tmp_path / "bare.csv", "-a", trained)
    with (tmp_path / "bare.csv").open() as file:
        bare = list(csv.DictReader(file))
    assert [row["together_predicted_similarity"] for row in bare] == [row["together_predicted_similarity"] for row in named]
    for more, said in (
        (("--labels", "one"), "two at least, and none twice"),
        (("--labels", "a,b", "--template", "x"), "has no {} for the label"),
        (("--template", "a {}"), "--template and --label-column go with --labels"),
        (("--labels", "a,b", "--label-column", "drawn"), "no column of texts There are: said."),
        (("--labels", "a,b", "--gallery", "g"), "two ways to name rows"),
    ):
        assert said in run("predict", views / "few.csv", *more, "-a", trained, code=2)
