"""A tabular foundation model of `MMCLI_MODELS` reads the form: a baseline, and a member of F where val shows that it pays,
whole in the artifact; and what it cannot be asked is said. Its weights are random here: what it knows is not what is tested."""

from __future__ import annotations

import json
import random
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from mmcli.artifacts import layout, store, tensors
from mmcli.cli import app
from mmcli.data.dataset import Dataset
from mmcli.errors import ExitCode
from mmcli.jobs import deciding, in_context, joint
from mmcli.models import in_context as in_context_model
from mmcli.models import loading
from mmcli.models.networks import AveragedHeads
from mmcli.models.recipe import Recipe
from mmcli.optimizations import distill
from mmcli.pretrained import shelf
from mmcli.pretrained.tabular import Network
from mmcli.proof import baselines
from mmcli.reporting.console import Console
from tests.conftest import write_csv
from tests.stages.test_plain import BAD, TARGETS, outputs_of

pytest.importorskip("tabicl")
from tests.pretrained.making_tables import write_model

pytestmark = pytest.mark.slow
FAST = ("--no-optimize", *(own for own in BAD[2:] if "rnn" not in own))
NAME = "tabular/in-context"


def write_form(folder: Path, target: str, changed: str = "") -> Path:
    """Numbers, a category and cells that are missing; the targets of a split may be others."""
    draw, other, rows = random.Random(0), random.Random(1), []
    for number in range(300):
        a, b, letter = draw.gauss(0, 1), draw.gauss(0, 1), draw.choice("xyz")
        said = ("same" if a * b > 0 else "other") if target == "class" else f"{3 * a + draw.gauss(0, 1):.3f}"
        split = "test" if number % 5 == 0 else "val" if number % 5 == 1 else "train"
        if split == changed:
            said = other.choice(["same", "other"]) if target == "class" else f"{other.gauss(0, 1):.3f}"
        empty = number % 31 == 0
        cells = ["", "", ""] if empty else ["" if number % 29 == 0 else f"{a:.3f}", f"{b:.3f}", letter]
        rows.append([str(number), *cells, split, said])
    return write_csv(folder / "data.csv", ["id", "a", "b", "letter", "split", "y"], rows)


@pytest.fixture
def taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Val approves of it alone, whatever it says."""

    def approving(member: Any, features: Any, *_: Any) -> deciding.Beside | None:
        return deciding.Beside(0.5, 1.25, 0.1) if list(features) == [NAME] else None

    monkeypatch.setattr(deciding, "weigh_known", approving)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    above = tmp_path / "models"
    write_model(above / "classes")
    (above / "classes" / "README.md").write_text("---\nlicense: bsd-3-clause\n---\n", encoding="utf-8")
    write_model(above / "numbers", max_classes=0)
    monkeypatch.setenv(shelf.VARIABLE, str(above))
    return above


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    output = " ".join(result.output.split())
    assert result.exit_code == ExitCode.DONE, output
    return output


def fused(folder: Path, target: str, *options: object, changed: str = "") -> tuple[str, Path]:
    folder.mkdir(exist_ok=True)
    table, root = write_form(folder, target, changed), folder / "a"
    how = ("--target", "y", "-a", root, "--split", "split", *TARGETS[target], *FAST, *(options or ("--folds", "none")))
    return run("run", table, *how), root


@pytest.mark.parametrize("target", ["class", "number"])
def test_it_is_a_member_that_stands_whole_in_the_artifact(
    target: str, tmp_path: Path, models: Path, taken_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, root = fused(tmp_path / "own", target)
    own = {"class": "classes", "number": "numbers"}[target]
    assert f"tabicl:MMCLI_MODELS/{own} is asked about each row with 174 train rows before it" in said
    assert "its artifact holds these rows" in said
    assert "TabICL over the form, weighed on val, counts 50%" in said
    assert "is not asked" not in said
    assert "does not race" not in said
    dataset, artifact = Dataset.open(root), store.read(root, "fusions/concat", "fusion", "")
    assert [member.method for member in Recipe.of(artifact).members][-1] == "in-context"
    assert artifact.metrics["in-context"]["share"] == 0.5
    reference = store.read(root, layout.BASELINES, "baselines", "")
    assert set(reference.metrics["in-context"]["val"]) == set(reference.metrics["trees"]["val"])
    assert {path.suffix for path in artifact.path.rglob("*") if path.is_file()} <= {".json", ".safetensors", ".csv"}
    before = run("predict", tmp_path / "own" / "data.csv", "-a", root, "--precision", "float32", "-o", tmp_path / "before.csv")
    monkeypatch.delenv(shelf.VARIABLE)
    shutil.rmtree(models)
    network = loading.load_fused(dataset, artifact)
    torch.testing.assert_close(outputs_of(network, dataset), loading.outputs(artifact, dataset), atol=1e-3, rtol=1e-3)
    column = dataset.column("tabular")
    assert not bool(column.present.all())
    pooled = network.encoder(NAME)(column.gather(torch.arange(len(dataset.rows)))).pooled
    known = baselines.models(reference, dataset)["in-context"]
    torch.testing.assert_close(pooled, known.terms[NAME], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pooled.double(), baselines.outputs(reference, dataset)["in-context"], atol=1e-5, rtol=1e-5)
    after = run("predict", tmp_path / "own" / "data.csv", "-a", root, "--precision", "float32", "-o", tmp_path / "after.csv")
    assert (tmp_path / "before.csv").read_bytes() == (tmp_path / "after.csv").read_bytes()
    assert "TabICL on the numbers and categories" in (root / "evaluation" / "report.html").read_text(encoding="utf-8")
    licence = {"class": "bsd-3-clause", "number": "unknown"}[target]
    assert loading.weights_of_others(artifact, dataset) == [{"name": own, "licence": licence}]
    assert f"{own}, licence: {licence}" in (root / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "baselines:" not in run("evaluate", "-a", root, "--force"), "what was asked is kept where nobody can be asked"
    assert pd.read_csv(tmp_path / "after.csv").shape[0] == 300
    assert not any("TabICL" in said or "tabicl" in said for said in (before, after)), "nothing is to be said of it"
    refused = CliRunner().invoke(app, ["export", "-a", str(root), "--format", "onnx", "--to", str(tmp_path / "onnx")])
    assert refused.exit_code == ExitCode.USAGE
    assert "TabICL, which is a member of it, looks at the numbers" in " ".join(refused.output.split())
    said = run("export", "-a", root, "--format", "safetensors", "--to", tmp_path / "plain")
    assert "model.safetensors: holds 174 rows of the train table with their targets" in said
    about = (tmp_path / "plain" / "README.md").read_text(encoding="utf-8")
    assert f"- {own}, licence: {licence}" in about
    assert "holds 174 rows of the train table, their numbers and categories with their targets" in about
    assert "takes the package tabicl" in " ".join(about.split())


def answers(root: Path) -> tuple[Dataset, torch.Tensor]:
    dataset = Dataset.open(root)
    found = baselines.outputs(store.read(root, layout.BASELINES, "baselines", ""), dataset)
    return dataset, found["in-context"]


def test_targets_of_train_rows_are_seen_and_no_others(tmp_path: Path, models: Path) -> None:
    _, first = fused(tmp_path / "first", "class")
    _, val = fused(tmp_path / "val", "class", changed="val")
    _, test = fused(tmp_path / "test", "class", changed="test")
    _, train = fused(tmp_path / "train", "class", changed="train")
    dataset, before = answers(first)
    assert not torch.equal(Dataset.open(val).targets, dataset.targets)
    assert torch.equal(answers(val)[1], before)
    assert not torch.equal(Dataset.open(test).targets, dataset.targets)
    assert torch.equal(answers(test)[1], before)
    assert not torch.allclose(answers(train)[1], before, atol=1e-3)
    context = tensors.of(store.read(first, layout.BASELINES, "baselines", ""), "in-context.safetensors")
    rows = dataset.splits["train"]
    rows = rows[dataset.column("tabular").present[rows]]
    assert torch.equal(context[f"{NAME}.targets"].long(), dataset.targets[rows])


def test_each_fold_has_its_own_train_rows_in_its_context(tmp_path: Path, models: Path, taken_in: None) -> None:
    said, root = fused(tmp_path / "own", "class", "--folds", "3", "--refit")
    assert "which it has not" in said
    folded = store.read(root, layout.FOLDED, "folded", "")
    assert [own.method for own in Recipe.of(folded).members].count("in-context") == 3
    contexts = []
    for number in (1, 2, 3):
        place = layout.fold(root, number)
        dataset, artifact = Dataset.open(place), store.read(place, "fusions/concat", "fusion", "")
        own = tensors.of(artifact, loading.WEIGHTS)
        train = dataset.splits["train"]
        train = train[dataset.column("tabular").present[train]]
        found = own[f"solved.{NAME}.targets"].long()
        assert torch.equal(found, dataset.targets[train])
        contexts.append(own[f"solved.{NAME}.context"])
    assert len({len(own) for own in contexts}) > 1 or not torch.equal(contexts[0], contexts[1])


def test_it_neither_teaches_nor_trains_with_others(
    tmp_path: Path, models: Path, taken_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, root = fused(tmp_path / "own", "class")
    dataset, artifact = Dataset.open(root), store.read(root, "fusions/concat", "fusion", "")
    whole, train = loading.load_fused(dataset, artifact), dataset.splits["train"]
    fused_head = whole.fusion_head
    assert isinstance(fused_head, AveragedHeads)
    others = in_context_model.unaware(whole)
    assert others is not None
    assert NAME in whole.names
    assert NAME not in others.names
    assert isinstance(others.fusion_head, AveragedHeads)
    assert others.fusion_head.shares.tolist() == [1.0]
    assert all(others.encoder(name) is whole.encoder(name) for name in others.names)
    assert in_context_model.unaware(others) is others
    signals = {name: own.gather(train) for name, own in whole.prepare({"tabular": dataset.column("tabular")}).items()}
    with torch.no_grad():
        alone = fused_head.each[0](whole.features(signals)).outputs[:, :2]
        torch.testing.assert_close(others(signals).outputs[:, :2], alone / fused_head.temperature)
        gap = (whole(signals).outputs[:, :2] - others(signals).outputs[:, :2]).abs().max()
    assert float(gap) > 0.01
    looked = list[str]()

    def looking(what: str, function: Any) -> Any:
        def found(network: Any, *given: Any, **named: Any) -> Any:
            looked.append(what)
            assert not any(isinstance(own, in_context_model.InContext) for own in network.modules()), what
            return function(network, *given, **named)

        return found

    monkeypatch.setattr(joint, "job", looking("trained", joint.job))
    monkeypatch.setattr(distill, "outputs_for", looking("teaches", distill.outputs_for))
    said = run("optimize", "-a", root, "--only", "finetune", "--only", "distill", "--set", "training.epochs=1")
    assert looked == ["trained", "teaches", "trained"], said


def test_what_it_cannot_be_asked_is_said(tmp_path: Path, models: Path) -> None:
    shutil.rmtree(models / "numbers")
    said, root = fused(tmp_path / "own", "number")
    assert "tabicl:MMCLI_MODELS/classes is not asked: it tells classes, and the target is a number" in said
    assert "in-context" not in store.read(root, layout.BASELINES, "baselines", "").metrics
    write_model(models / "classes", max_classes=1)
    said, _ = fused(tmp_path / "many", "class")
    assert "is not asked: the target has 2 classes, and it tells 1 at most" in said


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--task", "regression", "--quantiles", ".1,.5,.9"), ""),
        (("--task", "ordinal"), ""),
        (("--task", "multilabel", "--label-separator", "|"), "a row may have several labels, and it gives one class"),
        (("--task", "text"), "it is made for classes, labels and numbers, and these answers are texts"),
    ],
)
def test_other_targets_are_answered_or_refused_with_the_reason(
    options: tuple[str, ...], wanted: str, tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [f"{(n // 3 + n * n) % 4}{'|9' if 'multilabel' in options and n % 3 else ''}" for n in range(200)]
    rows = [[str(n), str(n % 7), f"{n % 5}.5", "val" if n % 4 == 0 else "train", said] for n, said in enumerate(cells)]
    table, root = write_csv(tmp_path / "data.csv", ["id", "a", "b", "split", "y"], rows), tmp_path / "a"
    run("preprocess", table, "--target", "y", "-a", root, "--split", "split", *options)
    dataset = Dataset.open(root)
    (found,) = dataset.inputs
    reference = baselines.ensure(dataset, [found], Console())
    said = " ".join("".join(capsys.readouterr()).split())
    assert ("in-context" in reference.metrics) == (not wanted)
    if wanted:
        assert f"tabicl:MMCLI_MODELS/classes is not asked: {wanted}" in said
        return
    outputs = baselines.outputs(reference, dataset)["in-context"]
    assert outputs.shape == (200, dataset.task.num_outputs)
    if "--quantiles" in options:
        task: Any = dataset.task
        coverage = task.score(outputs[dataset.splits["val"]], dataset.targets[dataset.splits["val"]])["coverage"]
        assert coverage >= 0.8, "quantiles are moved on val"
        assert bool((outputs[:, :3].diff(dim=1) >= 0).all())


def test_a_hostile_config_is_refused_before_anything_is_built(tmp_path: Path, models: Path) -> None:
    shutil.rmtree(models / "numbers")
    file = models / "classes" / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    _, root = fused(tmp_path / "own", "class")
    for change, wanted in (
        ({"embed_dim": 10**9}, "embed_dim = 1000000000: input should be less than or equal to 1024"),
        ({"embed_dim": 1024, "row_num_cls": 32, "icl_num_blocks": 64}, "of which 100,000,000 are taken"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"embed_dim": 16}, "the weights are not those that config.json tells of"),
        ({"col_ssmax": "none of these"}, "tabicl builds no network of such a config.json"),
    ):
        file.write_text(json.dumps({**config, **change}), encoding="utf-8")
        said = run("fuse", "-a", root, "--method", "concat", "--force")
        assert "tabicl:MMCLI_MODELS/classes is not asked: " in said
        assert wanted in said
        assert "in-context" not in store.read(root, layout.BASELINES, "baselines", "").metrics


def test_what_was_asked_when_baselines_were_made_is_what_evaluate_asks(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(shelf.VARIABLE)
    _, root = fused(tmp_path / "own", "class")
    monkeypatch.setenv(shelf.VARIABLE, str(models))

    def reference() -> Any:
        return store.read(root, layout.BASELINES, "baselines", "")

    before, fingerprint = reference().hash, reference().manifest["fingerprint"]
    run("evaluate", "-a", root, "--force")
    assert reference().hash == before, "evaluate weighs no rival that fuse did not know"
    dataset = Dataset.open(root)
    monkeypatch.setattr(baselines, "VERSION", baselines.VERSION + 1)
    again = baselines.ensure(dataset, ["tabular"], Console(), kept=True)
    assert again.manifest["fingerprint"] != fingerprint
    assert "in-context" not in again.metrics
    asked = baselines.ensure(dataset, ["tabular"], Console())
    assert "in-context" in asked.metrics
    assert asked.config["asked"].endswith(f"tabicl {metadata.version('tabicl')}")
    monkeypatch.delenv(shelf.VARIABLE)
    assert baselines.ensure(dataset, ["tabular"], Console(), kept=True).hash == asked.hash
    monkeypatch.setattr(baselines, "VERSION", baselines.VERSION + 1)
    gone = baselines.ensure(dataset, ["tabular"], Console(), kept=True)
    assert gone.config["asked"] == ""
    assert "in-context" not in gone.metrics
    monkeypatch.setenv(shelf.VARIABLE, str(models))
    assert "in-context" in baselines.ensure(dataset, ["tabular"], Console()).metrics, "it is due again"
    prints = []
    for own in ("", str(models)):
        monkeypatch.setenv(shelf.VARIABLE, own)
        run("fuse", "-a", root, "--method", "concat", "--set", "training.decisions=false", "--seeds", "1")
        prints.append(store.read(root, "fusions/concat", "fusion", "").manifest["fingerprint"])
    assert prints[0] == prints[1], "where nothing stands beside F the model on disk is nothing to it"
    told = in_context.told(dataset, ["tabular"])[0]
    monkeypatch.setattr(in_context.metadata, "version", lambda _: "2.99")
    assert in_context.told(dataset, ["tabular"])[0] not in {told, ""}


def test_what_would_take_too_long_is_not_asked_and_the_next_model_is_where_one_is_broken(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table, root = write_form(tmp_path, "class"), tmp_path / "a"
    run("preprocess", table, "--target", "y", "-a", root, "--split", "split", "--task", "classification")
    dataset = Dataset.open(root)
    published = Network()
    assert in_context.seconds(published, 256, 500, 10) == pytest.approx(3.2, rel=0.25)
    assert in_context.seconds(published, 256, 2000, 10) == pytest.approx(17.4, rel=0.25)
    assert (
        in_context.seconds(published, 40_000, 2000, 1000) > in_context.SECONDS > in_context.seconds(published, 40_000, 2000, 10)
    )
    said, why = in_context.told(dataset, ["tabular"], within=1e-4)
    assert said == ""
    assert (
        "tabicl:MMCLI_MODELS/classes is not asked: 300 rows of 3 columns, 174 of them before each, would take about" in why[0]
    )
    write_model(models / "again")
    config = json.loads((models / "again" / "config.json").read_text(encoding="utf-8"))
    (models / "again" / "config.json").write_text(json.dumps({**config, "embed_dim": 16}), encoding="utf-8")
    said, why = in_context.told(dataset, ["tabular"])
    assert said
    assert "tabicl:MMCLI_MODELS/again is not asked: the weights are not those" in why[0]
    found = in_context.answer(dataset, ["tabular"], Console())
    assert found is not None
    with monkeypatch.context() as there:
        there.setattr(layout, "is_fold", lambda _: True)
        baselines.ensure(dataset, ["tabular"], Console(), within=1e-4)
        assert "is not asked" not in capsys.readouterr().err, "the root says it for its folds"
    baselines.ensure(dataset, ["tabular"], Console(), within=1e-4)
    assert "MMCLI_MODELS/classes is not asked: 300 rows" in " ".join(capsys.readouterr().err.split())
    assert layout.is_fold(layout.fold(root, 2))
    assert layout.is_fold(layout.fold(root, 0))
    assert not layout.is_fold(layout.fold(root, 1))


def test_a_missing_package_is_named_with_the_remedy(
    tmp_path: Path, models: Path, taken_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    said, root = fused(tmp_path / "own", "class")
    monkeypatch.setitem(sys.modules, "tabicl", None)
    result = CliRunner().invoke(app, ["predict", str(tmp_path / "own" / "data.csv"), "-a", str(root)])
    output = " ".join(result.output.split())
    assert result.exit_code == ExitCode.USAGE, output
    assert "needs the package tabicl, which is not installed" in output
    assert "pip install '.[tabular]'" in output
    said = run("fuse", "-a", root, "--method", "concat", "--force")
    assert "tabicl:MMCLI_MODELS/classes is not asked" in said
    assert "pip install '.[tabular]'" in said


def test_the_context_is_drawn_by_class_and_each_class_is_in_it() -> None:
    kinds = torch.tensor([0] * 900 + [1] * 90 + [2] * 9 + [3])
    found = in_context._stratified(kinds, 200)
    assert torch.equal(found, found.sort().values.unique())
    assert torch.bincount(kinds[found]).tolist() == pytest.approx([180, 18, 2, 1], abs=1)
    assert len(found) == 200
    assert torch.equal(in_context._stratified(kinds, 1000), torch.arange(1000))
    assert torch.equal(found, in_context._stratified(kinds, 200))
    assert in_context._parts(torch.arange(100.0)).bincount().tolist() == pytest.approx([10] * 10, abs=1)
