"""The refit: one pipeline on all labelled rows, for as many epochs as folds say; nothing is chosen by rows that it knows."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

import mmcli
from mmcli.artifacts import layout, store
from mmcli.artifacts.store import Artifact
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError, ExitCode
from mmcli.jobs import fusion as fusion_job
from mmcli.models import calibration, loading
from mmcli.options.columns import Roles
from mmcli.reporting.metrics import shown
from mmcli.selection.tradeoff import unjudged
from mmcli.stages import Context, folds, fuse, train_encoder
from mmcli.stages.folds.dealing import folds_of
from mmcli.stages.folds.refitting import beside_of, fixed_by, rounded, sound
from tests.conftest import shared
from tests.stages.test_folds import context_of, in_folds, invoke, written

pytestmark = pytest.mark.slow
RUN = ("--target", "amount", "--ignore", "labels", "--ignore", "group", "--folds", "3", "--method", "gated", "--seeds", "2")
RUN = (*RUN, "--arch", "mlp", "--arch", "bag", "--preset", "fast", "--no-optimize", "--precision", "float32")
RUN = (*RUN, "--set=train-encoder.training.epochs=40", "--set=fuse.training.epochs=20", "--set=training.patience=5")
RUN = (*RUN, "--set=encoder.bag.buckets=512", "--set=encoder.mlp.hidden=8")


def run_in(root: Path, table: Path, *more: str) -> str:
    code, output = invoke("run", table, "-a", root, *RUN, *more)
    assert code == ExitCode.DONE, output
    return output


@pytest.fixture(scope="session")
def refitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts root of a run of three folds and a refit. Tests must not change it."""

    def make(folder: Path) -> None:
        run_in(folder / "a", written(folder / "data.csv"), "--refit")

    return shared(tmp_path_factory, "refitted", make) / "a"


def read(root: Path) -> Artifact:
    return store.read(root, layout.REFIT, "refit", "")


def fused_in(root: Path, number: int) -> Artifact:
    method = store.read(root, layout.FOLDED, "folded", "").config["method"]
    return store.read(layout.fold(root, number), layout.fusion(method), "fusion", "")


def test_it_trains_for_the_mean_of_the_folds_best_epochs(refitted: Path) -> None:
    of_folds = [loading.encoders_of(fused_in(refitted, number)) for number in (1, 2, 3)]
    own, found = loading.encoders_of(fused_in(refitted, 0)), set()
    for name, encoder in own.items():
        best = [each[name].metrics["best_epoch"] for each in of_folds]
        found |= set(best)
        wanted = int(fmean(best) + 0.5)
        assert encoder.metrics["epochs"] == encoder.metrics["best_epoch"] == wanted, f"{name}: {best}"
        assert len(pd.read_csv(encoder.path / "log.csv")) == wanted
        assert encoder.config["training"]["epochs"] == of_folds[0][name].config["training"]["epochs"], "the same descent"
    assert found != {40}, "some fold stopped early"
    best = [epoch for number in (1, 2, 3) for epoch in fused_in(refitted, number).metrics["best_epochs"]]
    assert len(best) == 6
    assert fused_in(refitted, 0).metrics["best_epochs"] == [int(fmean(best) + 0.5)] * 2
    assert read(refitted).metrics["fusion_epochs"] == [int(fmean(best) + 0.5)] * 2
    assert [rounded(own) for own in ((1, 2), (3, 4, 4), (0, 0))] == [2, 4, 1]


def test_all_labelled_rows_are_trained_on_and_no_other(refitted: Path) -> None:
    whole, own = Dataset.open(refitted), Dataset.open(layout.fold(refitted, 0))
    labelled = torch.cat([whole.splits["train"], whole.splits["val"]]).sort().values
    assert torch.equal(own.splits["train"], labelled)
    assert torch.equal(own.splits["test"], whole.splits["test"])
    assert read(refitted).metrics["rows"] == len(labelled) == 75
    assert own.artifact.metrics["train"] == 75
    assert own.artifact.metrics["val"] == 0


def test_what_it_is_worth_is_not_told_by_rows_that_it_knows(refitted: Path) -> None:
    metrics = read(refitted).metrics
    assert metrics["val"] == {}
    scores = [fused_in(refitted, number).metrics["val"]["mae"] for number in (1, 2, 3)]
    assert metrics["primary_metric"] == "mae"
    assert metrics["estimated"] == pytest.approx(fmean(scores))
    code, output = invoke("status", "-a", refitted)
    assert code == ExitCode.DONE
    assert "refit complete mae about" in output
    assert loading.best(refitted).name == layout.FOLDED, "it is taken by name alone"


def test_evaluate_has_it_beside_the_average(refitted: Path) -> None:
    summary = json.loads((refitted / "evaluation" / "metrics.json").read_text())
    own = summary["folds"]["refit"]
    dataset = Dataset.open(refitted)
    test = dataset.splits["test"]
    outputs = loading.outputs(read(refitted), dataset)[test]
    assert summary["test"]["refit"]["mae"]["value"] == pytest.approx(dataset.task.score(outputs, dataset.targets[test])["mae"])
    assert own["test"] == summary["test"]["refit"]["mae"]
    assert own["cost"]["size_mb"] < summary["folds"]["cost"]["average"]["size_mb"] / 2
    assert "The refit, one pipeline trained on all 75 rows, reaches" in summary["verdict"]
    assert "trained on all 75 rows of train and val" in (refitted / "evaluation" / "report.html").read_text(encoding="utf-8")


def test_optimize_has_its_cost_and_marks_its_score(refitted: Path, tmp_path: Path) -> None:
    root = tmp_path / "a"
    shutil.copytree(refitted, root)
    code, output = invoke("optimize", "-a", root, "--only", "calibrate")
    assert code == ExitCode.DONE, output
    metrics = read(root).metrics
    assert "by name" in output
    assert f"about {shown(metrics['estimated'])}" in output
    assert "is one pipeline, trained on all 75 rows, so that they cannot judge it" in output
    code, output = invoke("optimize", "-a", root, "--pick", "refit")
    assert code == ExitCode.USAGE, output
    assert "--pick refit: that is a model of its own" in output
    cells = unjudged("refit", metrics)
    assert cells[:4] == ["refit", "by name", f"about {shown(metrics['estimated'])}", "not known"]
    assert cells[8] == f"{metrics['cost']['size_mb']:.1f}"
    judged = {**metrics, "val": {"mae": 2.5, "loss": 1.0}}
    assert unjudged("refit", judged)[2:4] == [shown(2.5), "by val alone"]


def test_it_is_exported_by_name(refitted: Path, tmp_path: Path) -> None:
    to = tmp_path / "out"
    code, output = invoke("export", "-a", refitted, "--model", refitted / "refit", "--format", "safetensors", "--to", to)
    assert code == ExitCode.DONE, output
    assert "export: refit as safetensors" in output
    assert any(own.suffix == ".safetensors" for own in to.iterdir())


def test_it_stands_alone_and_predicts_by_name(refitted: Path) -> None:
    dataset = Dataset.open(refitted)
    frame = mmcli.load(refitted / layout.REFIT).predict(refitted.parent / "data.csv")
    outputs = dataset.task.decode(loading.outputs(read(refitted), dataset))
    found = pd.to_numeric(frame["amount_predicted"])
    wanted = pd.to_numeric(pd.Series(next(iter(outputs.values()))))
    assert (found.to_numpy() == pytest.approx(wanted.to_numpy(), abs=0.11)) is True


def test_a_run_that_is_killed_in_it_goes_on_to_the_same_bits(
    refitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, real = tmp_path / "a", fuse.run
    shutil.copytree(refitted, root)
    shutil.rmtree(root / "folds" / "refit")
    shutil.rmtree(root / "refit")

    def killed(options: Any, context: Context, *more: float) -> Any:
        if context.root.name == "refit":
            raise KeyboardInterrupt
        return real(options, context, *more)

    table = refitted.parent / "data.csv"
    with monkeypatch.context() as patched:
        patched.setattr("mmcli.stages.fuse.run", killed)
        invoke("run", table, "-a", root, *RUN, "--refit")
    assert not store.exists(root, layout.REFIT)
    encoders = [store.read(layout.fold(root, 0), name, "encoder", "") for name in layout.encoder_names(layout.fold(root, 0))]
    assert len(encoders) == 2
    run_in(root, table, "--refit")
    again = [store.read(layout.fold(root, 0), str(own.name), "encoder", "") for own in encoders]
    assert [own.manifest for own in again] == [own.manifest for own in encoders], "what was done stays"
    assert read(root).hash == read(refitted).hash
    assert "refit: up to date" in run_in(root, table, "--refit")
    shutil.rmtree(layout.fold(root, 3) / "fusions")
    assert loading.fresh_refit(root) is None, "it stands on the folds"
    folds.leave_out(context_of(root))
    assert not (root / "refit").exists()


def in_refit(context: Context, keep_val: bool) -> Artifact:
    """Goes on from `in_folds`."""
    taken, own = folds.deal_refit(3, keep_val, folds.taken_over(("late",), context), context)
    assert taken.methods == ("late",)
    encoders = train_encoder.Options(architectures=("mlp", "bag"), columns=taken.owners, chosen=taken.of_owners)
    train_encoder.run(encoders, own)
    fuse.run(fuse.Options(methods=taken.methods, seeds=1, encoders=taken.encoders, board=False), own)
    folds.refit(3, keep_val, context)
    return read(context.root)


def test_what_it_decides_by_and_how_it_swaps_comes_of_the_folds(tmp_path: Path) -> None:
    roles = Roles(target=("labels",), group="group", ignore=("amount",), task="multilabel", label_separator="|")
    context = in_folds(written(tmp_path / "data.csv"), tmp_path / "a", roles, keep_val=False)
    fused = {number: fused_in(context.root, number) for number in (1, 2, 3)}
    fixed = fixed_by(fused)
    shares = []
    for own in fused.values():
        dataset = Dataset.open(own.root)
        shares.append(fusion_job.swap_share(fusion_job.embeddings(loading.encoders_of(own)["word"], dataset), dataset))
    assert fixed.swap["word"] == pytest.approx(fmean(shares))
    linear = [loading.encoders_of(own)["word"].metrics["linear"] for own in fused.values()]
    told = fixed.encoders["encoders/word/bag"]["linear"]
    assert told["strength"] == sorted(own["strength"] for own in linear)[1]
    assert told["solved"] == pytest.approx(fmean(own["solved"] for own in linear))
    folded = store.read(context.root, layout.FOLDED, "folded", "")
    assert set(sound(folded, 3, context)) == {1, 2, 3}
    wrong = replace(folded, manifest={**folded.manifest, "metrics": {**folded.metrics, "wrong": [2]}})
    assert fixed_by(sound(wrong, 3, context)) == fixed_by({1: fused[1], 3: fused[3]}) != fixed
    artifact, dataset = in_refit(context, keep_val=False), Dataset.open(context.root)
    assert loading.encoders_of(artifact)["word"].metrics["linear"] == pytest.approx(told)
    of_row, labels = folds_of(dataset, 3, keep_val=False, seed=0), len(dataset.task.labels)  # type: ignore[attr-defined]
    raw = torch.zeros(90, 2 * labels)
    for number, own in fused.items():
        network = loading.load_fused(Dataset.open(own.root), own)
        raw[of_row == number] = loading.outputs(own, dataset)[of_row == number] * network.fusion_head.temperature
    judged = (of_row > 0).nonzero()[:, 0]
    logits, right = raw[judged, :labels], dataset.targets[judged]
    wanted = dataset.task._thresholds(logits.double().numpy(), right)  # type: ignore[attr-defined]
    head = loading.load_fused(dataset, artifact).fusion_head
    outputs = loading.outputs(artifact, dataset) * head.temperature
    torch.testing.assert_close(outputs[0, labels:].double(), torch.from_numpy(wanted), atol=1e-3, rtol=1e-3)
    settled = torch.cat([logits, outputs[judged, labels:]], 1)
    assert float(head.temperature) == pytest.approx(calibration.temperature(settled, right, dataset.task), rel=1e-4)


def test_val_that_is_kept_judges_it(tmp_path: Path) -> None:
    roles = Roles(target=("amount",), ignore=("labels", "group"))
    context = in_folds(written(tmp_path / "data.csv"), tmp_path / "a", roles, keep_val=True)
    artifact, dataset = in_refit(context, keep_val=True), Dataset.open(context.root)
    own, val = Dataset.open(layout.fold(context.root, 0)).splits, dataset.splits["val"]
    assert torch.equal(own["val"], val)
    assert torch.equal(own["train"], dataset.splits["train"])
    wanted = dataset.task.score(loading.outputs(artifact, dataset)[val], dataset.targets[val])
    assert artifact.metrics["val"] == pytest.approx(wanted)
    assert artifact.metrics["rows"] == 60


def test_what_folds_cannot_stand_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--refit with --train-encoders"):
        folds.check_refit(fuse.Options(train_encoders=True), context_of(tmp_path))
    soup = replace(context_of(tmp_path), settings=Settings({"training": {"soup": 4}}))
    with pytest.raises(ConfigError, match=r"--refit with training\.soup"):
        folds.check_refit(fuse.Options(), soup)


def test_the_columns_decisions_count_as_in_most_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    def fold(share: float, temperature: float, weight: float) -> Any:
        beside = {"beside": {"share": share, "temperature": temperature, "gain": 0.1}} if share else {}
        saved = {"members.2.fusion.preference": torch.tensor([weight, 0.0]), "members.2.temperature": torch.tensor(4.0)}
        return SimpleNamespace(metrics=beside, config={"seeds": [0, 1]}, saved=saved)

    monkeypatch.setattr("mmcli.stages.folds.refitting.tensors.of", lambda own, _: own.saved)
    found = beside_of([fold(0.25, 2.0, 1.0), fold(0.75, 8.0, 2.0), fold(0, 1, 9.0)])
    assert found == {"share": 0.5, "temperature": pytest.approx(4), "own_temperature": pytest.approx(4), "preference": [1.5, 0]}
    assert beside_of([fold(0.25, 2.0, 1.0), fold(0, 1, 0)]) is None, "half of them is not most"
