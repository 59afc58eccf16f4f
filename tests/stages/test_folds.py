"""Folds: whose val each row is, out-of-fold outputs, the average, what a kill leaves; that no model judges a row it knows."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections import Counter, deque
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

import mmcli
from mmcli.artifacts import layout, store
from mmcli.cli import app
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError, ExitCode
from mmcli.models import calibration, forward, loading
from mmcli.models import folds as averaging
from mmcli.models.folds import Folds
from mmcli.models.networks import AveragedHeads
from mmcli.models.recipe import Recipe
from mmcli.optimizations import Candidate
from mmcli.options import optimize as optimizing
from mmcli.options.columns import Roles
from mmcli.options.fuse import Options as FuseOptions
from mmcli.options.train_encoder import Budget
from mmcli.options.train_encoder import Options as EncoderOptions
from mmcli.reporting.console import Console
from mmcli.stages import Context, folds, fuse, optimize, preprocess, train_encoder
from mmcli.stages.folds.dealing import folds_of
from mmcli.tasks.regression import Config as Numbers
from mmcli.tasks.regression import Regression
from mmcli.training import device, workers
from tests.conftest import ENCODERS, shared, write_csv

pytestmark = pytest.mark.slow
RUN = ("--folds", "3", "--method", "gated", "--method", "late", "--seeds", "2", "--preset", "fast", "--image-size", "16")
RUN = (
    *RUN,
    *ENCODERS,
    "--precision",
    "float32",
    "--set=train-encoder.training.epochs=4",
    "--set=fuse.training.epochs=8",
    "--set=encoder.rnn.hidden=8",
)


def invoke(*arguments: str | Path) -> tuple[int, str]:
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


def run_in(table: Path, root: Path, *more: str) -> str:
    code, output = invoke("run", table, "-a", root, *RUN, *more)
    assert code == ExitCode.DONE, output
    return output


@pytest.fixture(scope="session")
def folded(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts root of a run of three folds. Tests must not change it."""
    return shared(tmp_path_factory, "folded", lambda folder: run_in(table, folder / "artifacts") and None) / "artifacts"


@pytest.fixture
def copy(folded: Path, tmp_path: Path) -> Path:
    shutil.copytree(folded, tmp_path / "artifacts")
    return tmp_path / "artifacts"


def context_of(root: Path) -> Context:
    return Context(root=root, console=Console(quiet=True), settings=Settings(), device="cpu", precision="float32", threads=1)


def read_folded(root: Path) -> Any:
    return store.read(root, layout.FOLDED, "folded", "")


def split_of(root: Path, number: int) -> list[str]:
    return list(pd.read_parquet(layout.fold(root, number) / "preprocess" / "rows.parquet")["split"])


def raw_of_fold(root: Path, number: int) -> Tensor:
    """What a fold's own model gives for every row, run by itself, its temperature taken off."""
    own = layout.fold(root, number)
    method = read_folded(root).config["method"]
    artifact = store.read(own, layout.fusion(method), "fusion", "")
    network = loading.load_fused(Dataset.open(own), artifact)
    compute = device.choose("cpu", "float32", 1)
    found = forward.outputs_for(network, Dataset.open(own), torch.arange(60), compute)
    return torch.as_tensor(found) * network.fusion_head.temperature


def test_each_train_row_is_val_once_and_no_test_row_ever_teaches_or_judges(folded: Path) -> None:
    first, *others = (split_of(folded, number) for number in (1, 2, 3))
    for row, split in enumerate(first):
        own = [fold[row] for fold in others]
        if split == "train":
            assert sorted(own) == ["train", "val"], "val of one fold, taught by the other"
        else:
            assert own == (["train"] * 2 if split == "val" else [split] * 2)
    assert [fold.count("val") for fold in others] == [18, 18]
    labels = pd.read_parquet(folded / "preprocess" / "rows.parquet")["target"]
    for fold in others:
        counts = Counter(label for label, split in zip(labels, fold, strict=True) if split == "val")
        assert max(counts.values()) - min(counts.values()) <= 1, "classes are spread evenly"


def test_a_fold_has_the_very_tensors_of_the_root(folded: Path) -> None:
    whole, own = (Dataset.open(layout.fold(folded, number)).artifact for number in (1, 2))
    theirs = own.manifest["files"]
    differ = {file for file, entry in whole.manifest["files"].items() if theirs[file]["sha256"] != entry["sha256"]}
    assert differ == {"rows.parquet"}
    shards = [file for file in whole.manifest["files"] if file.endswith("00000.safetensors")]
    assert shards
    assert all((whole.path / file).samefile(own.path / file) for file in shards)
    assert all(torch.equal(Dataset.open(folded).column(name).values, Dataset(own).column(name).values) for name in ("word",))


def test_outputs_are_out_of_fold_of_labelled_rows_and_the_mean_of_all_folds_of_test_rows(folded: Path) -> None:
    artifact, dataset = read_folded(folded), Dataset.open(folded)
    outputs = loading.outputs(artifact, dataset)
    network = loading.load_fused(dataset, artifact)
    found = outputs * network.fusion_head.temperature
    raw = {number: raw_of_fold(folded, number) for number in (1, 2, 3)}
    of_row = folds_of(dataset, 3, keep_val=False, seed=0)
    assert Counter(of_row.tolist()) == {0: 12, 1: 12, 2: 18, 3: 18}
    close = {"atol": 1e-4, "rtol": 1e-4}
    for number, own in raw.items():
        torch.testing.assert_close(found[of_row == number], own[of_row == number], **close)
        assert torch.equal(of_row == number, torch.tensor([split == "val" for split in split_of(folded, number)]))
    mean = torch.stack(list(raw.values())).mean(0)
    torch.testing.assert_close(found[of_row == 0], mean[of_row == 0], **close)
    far = (found - mean)[of_row > 0].abs().mean()
    assert far > 5 * (found - mean)[of_row == 0].abs().mean(), "one that judges by all members at once would be seen"


def test_the_method_is_the_best_by_out_of_fold_outputs(folded: Path) -> None:
    metrics, dataset = read_folded(folded).metrics, Dataset.open(folded)
    scores = {name: metrics["methods"][name] for name in ("gated", "late")}
    assert scores[read_folded(folded).config["method"]] == max(scores.values())
    of_row = folds_of(dataset, 3, keep_val=False, seed=0)
    judged = (of_row > 0).nonzero()[:, 0]
    for name, score in scores.items():
        own = torch.zeros(60, 4)
        for number in (1, 2, 3):
            artifact = store.read(layout.fold(folded, number), layout.fusion(name), "fusion", "")
            own[of_row == number] = loading.outputs(artifact, dataset)[of_row == number]
        assert dataset.task.score(own[judged], dataset.targets[judged])["accuracy"] == pytest.approx(score)
    assert metrics["out_of_fold"]["accuracy"]["n"] == metrics["rows"] == 48


def test_a_model_that_knows_a_row_has_no_say_on_it(folded: Path) -> None:
    """Members of folds 2 and 3, both trained on val, are made to shout; val, and what is set by it, must not hear them."""
    dataset, artifact = Dataset.open(folded), read_folded(folded)
    settings = optimizing.Options(only=("calibrate",))
    compute = device.choose("cpu", "float32", 1)
    bench = optimize.bench_for(artifact, dataset, Settings(), compute, settings, context_of(folded))
    own = Folds.of(artifact, dataset)
    assert own is not None
    assert torch.equal(bench.judged, own.judged(dataset))
    network = loading.load_fused(dataset, artifact)
    heads = network.fusion_head
    assert isinstance(heads, AveragedHeads)
    before, val = bench.val_outputs(network), dataset.splits["val"]
    plain = forward.outputs_for(network, dataset, val, compute)
    for member, fold in zip(heads.each, own.members, strict=True):
        if fold != 1:
            member.temperature.fill_(0.25)
    of_val = own.of_row[bench.judged] == 1
    after = bench.val_outputs(network)
    torch.testing.assert_close(after[of_val], before[of_val])
    assert not torch.allclose(after[~of_val], before[~of_val])
    assert not torch.allclose(forward.outputs_for(network, dataset, val, compute), plain)
    targets = dataset.targets[bench.judged]
    everything = forward.outputs_for(network, dataset, bench.judged, compute)
    honest = calibration.temperature(after, targets, dataset.task, heads.made_at)
    by_all = calibration.temperature(everything, targets, dataset.task, heads.made_at)
    assert honest != by_all
    temperature = float(heads.temperature)
    bench.calibrated(Candidate("fused", network, Recipe.of(artifact)))
    assert float(heads.temperature) == pytest.approx(temperature * honest)


def test_what_optimize_makes_is_judged_out_of_fold_and_says_what_it_left_out(copy: Path) -> None:
    code, output = invoke(
        "optimize", "-a", copy, "--only", "calibrate", "--only", "prune", "--only", "search", "--only", "onnx"
    )
    assert code == ExitCode.DONE, output
    assert "models are judged by 48 rows of train and val, out of fold" in output
    optimized, dataset = store.read(copy, "optimized", "optimized", ""), Dataset.open(copy)
    assert optimized.config["base"] == layout.FOLDED
    reasons = {row["name"]: row["reason"] for row in optimized.json("tradeoff.json")["rows"] if "reason" in row}
    assert "most members of an average of folds were trained" in reasons["prune"]
    history = {entry["step"]: entry for entry in optimized.metrics["history"]}
    assert "most members of an average of folds were trained" in history["search"]["reason"]
    assert optimized.metrics["conformal"]["rows"] == 48
    own, outputs = Folds.of(optimized, dataset), loading.outputs(optimized, dataset)
    assert own is not None
    network = loading.load_fused(dataset, optimized)
    every = own.outputs(network, dataset, torch.arange(60), device.choose("cpu", "float32", 1))
    share = float((outputs - every).abs().max() / every.abs().max().clamp(min=10.0))
    assert share < 0.02
    judged = own.judged(dataset)
    row = next(row for row in optimized.json("tradeoff.json")["rows"] if row["name"] == optimized.metrics["picked"])
    assert dataset.task.score(outputs[judged], dataset.targets[judged])["accuracy"] == pytest.approx(row["score"])
    assert loading.best(copy).name == "optimized"
    code, output = invoke("optimize", "-a", copy, "--method", "late", "--only", "calibrate")
    assert code == ExitCode.DONE, output
    assert loading.best(copy).name == layout.FOLDED, "one pipeline does not stand before the average of folds"


def test_the_report_has_the_average_the_single_pipeline_and_what_the_average_costs(folded: Path) -> None:
    summary = json.loads((folded / "evaluation" / "metrics.json").read_text())
    assert {"optimized", "folded", "fused"} <= set(summary["test"])
    found = summary["folds"]
    assert (found["count"], found["rows"], found["out_of_fold"]["n"]) == (3, 48, 48)
    assert found["single"] == summary["test"]["fused"]["accuracy"]
    assert found["cost"]["average"]["size_mb"] > 2 * found["cost"]["single"]["size_mb"]
    assert "It is of the average of 3 folds of" in summary["verdict"]
    assert set(summary["test"]["columns"]) == {"picture", "word"}
    assert "average of 3 folds" in (folded / "evaluation" / "report.html").read_text(encoding="utf-8")


def test_the_average_predicts_and_stands_in_status(folded: Path, table: Path) -> None:
    frame = mmcli.load(folded / layout.FOLDED).predict(table)
    outputs = loading.outputs(read_folded(folded), Dataset.open(folded))
    test = Dataset.open(folded).splits["test"]
    shares = outputs.softmax(1).max(1).values[test]
    found = torch.tensor(frame["label_predicted_probability"].to_numpy(dtype="float64")).float()[test]
    torch.testing.assert_close(found, shares, atol=2e-2, rtol=0.05)
    code, output = invoke("status", "-a", folded)
    assert code == ExitCode.DONE
    assert "folded complete" in output
    code, output = invoke("status", "-a", folded / "folds" / "2")
    assert "fusions/late complete" in output
    assert "stale" not in output


def test_a_run_that_is_killed_in_a_fold_goes_on_to_the_same_bits(
    folded: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, real = tmp_path / "artifacts", fuse.run

    def killed(options: Any, context: Context, *more: float) -> Any:
        if context.root.name == "3":
            raise KeyboardInterrupt
        return real(options, context, *more)

    with monkeypatch.context() as patched:
        patched.setattr("mmcli.stages.fuse.run", killed)
        invoke("run", table, "-a", root, *RUN, "--no-optimize", "--threads", "1")  # one fold after the other
    assert not store.exists(root, layout.FOLDED)
    second = store.read(root / "folds" / "2", "fusions/late", "fusion", "")
    run_in(table, root, "--no-optimize")
    assert store.read(root / "folds" / "2", "fusions/late", "fusion", "").manifest == second.manifest, "what was done stays"
    assert read_folded(root).hash == read_folded(folded).hash
    assert "folded: up to date" in run_in(table, root, "--no-optimize")


def test_another_process_trains_a_fold_too_and_its_warnings_are_seen(folded: Path, table: Path, tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    shutil.copytree(folded, root)
    for number in ("2", "3"):
        shutil.rmtree(root / "folds" / number / "fusions")
    output = run_in(table, root, "--no-optimize", "--threads", "2", "--verbose", "--set=training.mix=mixup")
    assert re.search(r"folds that other processes trained: [23]\b", output)
    for number in (2, 3):
        assert f"fold {number} of 3: " in output
    assert output.count("training.mix does nothing here") >= 3


def test_options_say_the_same_after_json() -> None:
    encoders = EncoderOptions(columns=("a",), chosen={"a": ["cnn"]}, epochs=0.5, time_budget=9.0, budget=Budget(epochs=2))
    fusion = FuseOptions(methods=("gated", "late"), encoders={"a": ["cnn"]}, order=("b",), seeds=2, board=False)
    assert EncoderOptions.again(json.loads(json.dumps(asdict(encoders)))) == encoders
    assert FuseOptions.again(json.loads(json.dumps(asdict(fusion)))) == fusion


def test_what_a_process_prints_besides_events_loses_no_fold(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "from mmcli.training import workers\n"
        "def main():\n"
        "    workers.heard()\n"
        "    for name, _ in workers.pieces():\n"
        "        print(name)\n"
        "def bare():\n"
        "    import sys\n"
        "    sys.stdin.readline(); sys.stdin.readline(); print('hello', flush=True); sys.stdin.readline()\n"
    )
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    queue = workers.Queue(deque("ab"), workers.Clock(None), 2)
    with workers.helped(queue, lambda: workers.start("loud", {}, path), Console(quiet=True)):
        pass
    assert (queue.made, list(queue.waiting)) == ({"a", "b"}, [])
    (tmp_path / "bare.py").write_text("from loud import bare as main\n")
    queue = workers.Queue(deque("ab"), workers.Clock(None), 2)
    with workers.helped(queue, lambda: workers.start("bare", {}, path), Console(quiet=True)):
        pass
    assert (queue.made, sorted(queue.waiting)) == (set(), ["a", "b"])  # what it said was no event: all is given back


def test_a_fold_that_another_process_fails_at_is_trained_here(
    folded: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, trained, real = tmp_path / "artifacts", [], fuse.run

    def seen(options: Any, context: Context, *more: float) -> Any:
        trained.append(context.root.name)
        return real(options, context, *more)

    monkeypatch.setattr(workers.sys, "executable", "/bin/false")
    monkeypatch.setattr("mmcli.stages.fuse.run", seen)
    shutil.copytree(folded, root)
    for number in ("2", "3"):
        shutil.rmtree(root / "folds" / number / "fusions")
    run_in(table, root, "--no-optimize", "--threads", "2")
    assert sorted(trained) == ["2", "3", "artifacts"]
    assert read_folded(root).hash == read_folded(folded).hash


def test_another_number_of_folds_deals_anew_and_leaves_nothing_behind(copy: Path) -> None:
    before = split_of(copy, 2)
    folds.deal(2, False, context_of(copy))
    assert not (copy / "folds" / "3").exists()
    assert split_of(copy, 2) != before
    assert split_of(copy, 2).count("val") == 36
    stale = store.stale_parent(store.read(copy / "folds" / "2", "fusions/late", "fusion", ""))
    assert stale == "encoders/picture/cnn" or str(stale).startswith(("encoders/", "preprocess"))
    assert loading.fresh_folded(copy) is None
    assert loading.best(copy).name.startswith("fusions/"), "what stands on other folds is not used"


def test_val_rows_may_be_kept_out_of_training(copy: Path) -> None:
    folds.deal(3, True, context_of(copy))
    first = split_of(copy, 1)
    for number in (2, 3):
        own = split_of(copy, number)
        assert {now for was, now in zip(first, own, strict=True) if was == "val"} == {"kept"}
        assert own.count("val") == 18
        assert len(Dataset.open(layout.fold(copy, number)).splits["train"]) == 18
    of_row = folds_of(Dataset.open(copy), 3, keep_val=True, seed=0)
    assert set(of_row[Dataset.open(copy).splits["val"]].tolist()) == {0}, "none is trained on them: all may judge"


def test_without_folds_the_single_pipeline_is_the_model_again(copy: Path) -> None:
    assert loading.best(copy).name in {layout.FOLDED, "optimized"}
    shutil.rmtree(copy / "optimized")
    assert loading.best(copy).name == layout.FOLDED
    folds.leave_out(context_of(copy))
    assert loading.best(copy).name.startswith("fusions/")
    assert (copy / "folds" / "2" / "fusions").is_dir()


def test_parents_in_folds_are_watched(copy: Path) -> None:
    shutil.rmtree(copy / "optimized")
    artifact = read_folded(copy)
    assert store.stale_parent(artifact) is None
    shutil.rmtree(copy / "folds" / "3" / "encoders" / "word")
    assert str(store.stale_parent(artifact)).startswith("folds/3/")
    assert loading.best(copy).name.startswith("fusions/")


@pytest.mark.parametrize("task", ["text", "match", "identify"])
def test_targets_whose_answers_are_not_averaged_refuse_folds(task: str) -> None:
    table = {"task": task, "rows": {"train": 100, "val": 20}}
    with pytest.raises(ConfigError, match=f"--folds 5: folds are for classes, labels and numbers.* the task is {task}"):
        folds.count_of(5, "best", table)
    assert folds.count_of(None, "best", table) == 1
    assert folds.count_of(1, "best", table) == 1


def test_folds_that_cannot_be_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    rows = [[str(int(n % 5 == n % 7)), f"{n % 5 + 0.5}", f"{n % 7 + 0.5}"] for n in range(70)]
    table = write_csv(tmp_path / "pairs.csv", ["label", "size_a", "size_b"], rows)
    code, said = invoke("run", table, "--task", "match", "--target", "label", "--folds", "5", "-a", tmp_path / "a")
    assert code == ExitCode.USAGE, said
    assert "the task is match" in said
    assert not (tmp_path / "a" / "preprocess").exists()


def test_folds_come_by_themselves_where_rows_are_few_and_time_is_no_matter() -> None:
    few, many = ({"task": "regression", "rows": {"train": rows, "val": 500}} for rows in (2000, 2500))
    assert [folds.count_of(None, preset, few) for preset in ("fast", "balanced", "best")] == [1, 1, 5]
    assert folds.count_of(None, "best", many) == 1
    assert folds.count_of(4, "fast", many) == 4


def test_too_few_rows_or_groups_for_folds_say_so(copy: Path) -> None:
    with pytest.raises(ConfigError, match="36 rows of train cannot be dealt into 39 parts"):
        folds.deal(40, False, context_of(copy))


def test_the_average_is_taken_unless_a_fold_has_learnt_nothing(folded: Path) -> None:
    dataset = Dataset.open(folded)
    own = Folds((1, 2, 3), folds_of(dataset, 3, keep_val=False, seed=0))
    right = torch.nn.functional.one_hot(dataset.targets, 4).float() * 3
    assert averaging.gone_wrong(right, own, dataset) == []
    harder = torch.where((own.of_row == 2)[:, None], right / 4, right)
    assert averaging.gone_wrong(harder, own, dataset) == [], "rows may be harder than others"
    gone_wrong = torch.where((own.of_row == 2)[:, None], -right, right)
    assert averaging.gone_wrong(gone_wrong, own, dataset) == [2]
    assert averaging.gone_wrong(-right, own, dataset) == [], "nor has the single pipeline learnt anything"


def in_folds(table: Path, root: Path, roles: Roles, keep_val: bool) -> Context:
    """A pipeline of three folds over a number and a word, by `late` and one seed."""
    settings = Settings({"encoder": {"bag": {"buckets": 512, "dim": 16}, "mlp": {"hidden": 8, "members": 1}}})
    context = replace(context_of(root), settings=replace(settings, values={**settings.values, "training": {"epochs": 8}}))
    preprocess.run(table, preprocess.Options(roles=roles), context)
    encoders, fusion = train_encoder.Options(architectures=("mlp", "bag")), fuse.Options(methods=("late",), seeds=1)
    train_encoder.run(encoders, context)
    fuse.run(fusion, context)
    folds.deal(3, keep_val, context)
    taken = folds.taken_over(("late",), context)
    assert {name: list(own) for name, own in taken.encoders.items()} == {"size": ["mlp"], "word": ["bag"]}, taken
    for number in (2, 3):
        own = folds.context_of(number, 3, context)
        train_encoder.run(replace(encoders, columns=taken.owners, chosen=taken.of_owners), own)
        fuse.run(replace(fusion, encoders=taken.encoders, board=False), own)
        assert not store.exists(own.root, layout.LEADERBOARD)
        assert store.exists(own.root, layout.BASELINES), "of its own train rows: a member may be made of them"
    folds.run(3, keep_val, taken, context)
    return context


def written(path: Path) -> Path:
    """90 rows in groups of three: a number, a word; their sum, and labels for each."""
    rows = []
    for i in range(90):
        size, word = i * 7 % 10, ("up", "down")[i // 3 % 2]
        labels = "|".join([*(["big"] if size > 4 else []), *(["high"] if word == "up" else []), "any"])
        split = ("train", "train", "train", "train", "val", "test")[i // 3 % 6]
        rows.append(
            [str(size), f"it goes {word}, {i:02d} of them", f"g{i // 3}", split, f"{size + 5 * (word == 'up')}.5", labels]
        )
    return write_csv(path, ["size", "word", "group", "split", "amount", "labels"], rows)


def test_labels_have_thresholds_by_all_rows_and_groups_stay_whole(tmp_path: Path) -> None:
    roles = Roles(target=("labels",), group="group", ignore=("amount",), task="multilabel", label_separator="|")
    context = in_folds(written(tmp_path / "data.csv"), tmp_path / "a", roles, keep_val=False)
    dataset, artifact = Dataset.open(context.root), read_folded(context.root)
    of_row, group = folds_of(dataset, 3, keep_val=False, seed=0), dataset.rows["group"].tolist()
    for number in (2, 3):
        judged = {name for name, own in zip(group, of_row.tolist(), strict=True) if own == number}
        assert judged.isdisjoint(name for name, own in zip(group, of_row.tolist(), strict=True) if own not in {number})
    network = loading.load_fused(dataset, artifact)
    heads = network.fusion_head
    assert isinstance(heads, AveragedHeads)
    labels = len(dataset.task.labels)  # type: ignore[attr-defined]
    outputs = loading.outputs(artifact, dataset)
    thresholds = outputs[:, labels:] * heads.temperature
    torch.testing.assert_close(thresholds, thresholds[:1].expand_as(thresholds), msg="one set of thresholds for all folds")
    judged = (of_row > 0).nonzero()[:, 0]
    logits, right = (outputs * heads.temperature)[judged, :labels], dataset.targets[judged]
    wanted = dataset.task._thresholds(logits.double().numpy(), right)  # type: ignore[attr-defined]
    torch.testing.assert_close(thresholds[0].double(), torch.from_numpy(wanted), atol=1e-4, rtol=1e-4)


def test_numbers_are_averaged_and_val_that_is_kept_is_judged_by_the_average(tmp_path: Path) -> None:
    roles = Roles(target=("amount",), ignore=("labels", "group"))
    context = in_folds(written(tmp_path / "data.csv"), tmp_path / "a", roles, keep_val=True)
    dataset, artifact = Dataset.open(context.root), read_folded(context.root)
    of_row, val = folds_of(dataset, 3, keep_val=True, seed=0), dataset.splits["val"]
    each = torch.stack(
        [
            forward.outputs_for(
                loading.load_fused(Dataset.open(own), store.read(own, "fusions/late", "fusion", "")),
                Dataset.open(own),
                torch.arange(90),
                device.choose("cpu", "float32", 1),
            )
            for own in (layout.fold(context.root, number) for number in (1, 2, 3))
        ]
    )
    outputs = loading.outputs(artifact, dataset)
    torch.testing.assert_close(outputs[val], each.mean(0)[val], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(outputs[of_row == 2], each[1][of_row == 2], atol=1e-4, rtol=1e-4)
    assert artifact.metrics["rows"] == 75


def test_of_methods_that_are_level_the_one_of_least_loss_is_picked(folded: Path) -> None:
    task, luck = Dataset.open(folded).task, torch.Generator().manual_seed(0)
    targets = torch.randint(4, (200,), generator=luck)
    right = torch.nn.functional.one_hot(targets, 4).float() * 3
    wrong = torch.nn.functional.one_hot((targets + 1) % 4, 4).float() * 3

    def of(mistakes: int, sure: float) -> torch.Tensor:
        return torch.where((torch.arange(200) < mistakes)[:, None], wrong, right) * sure

    outputs = {"most right": of(20, 4.0), "level": of(22, 0.7), "behind": of(60, 0.7)}
    assert averaging.picked(outputs, targets, task) == "level"
    outputs = {"most right": of(20, 4.0), "behind": of(60, 0.7)}  # of less loss, but surely less often right
    losses = {name: task.score(own, targets)["loss"] for name, own in outputs.items()}
    assert losses["behind"] < losses["most right"]
    assert averaging.picked(outputs, targets, task) == "most right"
    numbers = Regression.fit(Numbers(), [(str(value),) for value in range(10)], ["y"])
    truth = numbers.encode([(str(value),) for value in range(10)])
    even, once = truth + 0.1, truth.clone()
    once[0] += 0.8
    assert numbers.score(once, truth)["loss"] > numbers.score(even, truth)["loss"]
    assert averaging.picked({"even": even, "once": once}, truth, numbers) == "once"  # of numbers the error is what counts
