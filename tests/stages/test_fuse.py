"""fuse: all methods on one leaderboard, seeds that are averaged, gates that are shown, methods of one's own."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from mmcli import registry
from mmcli.artifacts import store, tensors
from mmcli.data.dataset import Dataset
from mmcli.data.streaming import StreamedFeatures
from mmcli.errors import ExitCode
from mmcli.jobs import deciding
from mmcli.jobs import fusion as fusion_job
from mmcli.models import forward, loading
from mmcli.models.networks import AveragedHeads
from mmcli.models.recipe import Recipe
from mmcli.selection import leaderboard
from mmcli.selection.leaderboard import Entry
from mmcli.signals import RaggedFeatures
from mmcli.stages.fuse import training
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as TaskConfig
from mmcli.training import device
from mmcli.training.loop import Trained
from tests.conftest import ENCODERS, run
from tests.fusions.test_contract import write

pytestmark = pytest.mark.slow
QUICK = ("--set=fuse.training.epochs=3",)


@pytest.fixture
def root(chain: Path, tmp_path: Path) -> Path:
    for part in ("preprocess", "encoders"):
        shutil.copytree(chain / part, tmp_path / "a" / part)
    return tmp_path / "a"


def test_options_of_methods_that_are_not_used_are_refused(root: Path) -> None:
    wide = ("--set=fusion.gated.hidden=8", "-a", root, *QUICK)
    code, output = run("fuse", "--method", "concat", *wide)
    assert code == ExitCode.USAGE
    assert "--set fusion.gated.hidden=8: the fusion method 'gated' is not in use here" in output
    assert "In use: concat." in output
    assert not (root / "fusions").exists()
    code, output = run("fuse", "--method", "all", "--seeds", 1, *wide)  # several processes make them, each some
    assert code == ExitCode.DONE, output
    assert store.read(root, "fusions/gated", "fusion", "").config["fusion"]["hidden"] == 8


def board(root: Path) -> Any:
    return json.loads((root / "leaderboard" / "leaderboard.json").read_text(encoding="utf-8"))


def test_all_methods_on_one_leaderboard(root: Path) -> None:
    code, output = run("fuse", "--method", "all", "--seeds", "2", "-a", root, *QUICK)
    assert code == ExitCode.DONE, output
    found = board(root)
    rows = {row["name"]: row for row in found["rows"]}
    methods = set(registry.parts("fusions")) - {"stacking", "compare", "align"}
    assert {name for name, row in rows.items() if row["kind"] == "fused"} == methods
    assert rows["stacking"]["kind"] == rows["compare"]["kind"] == "refused"
    assert "mmcli train-encoder --folds 5" in rows["stacking"]["reason"]
    assert "--share image_b=image_a" in rows["compare"]["reason"]
    assert "such methods go with --task contrastive" in rows["align"]["reason"]
    assert {row["name"] for row in found["rows"] if row["kind"] == "baseline"} == {"majority", "linear"}
    assert any(name.startswith("picture (cnn)") for name in rows)
    scores = [row["val"]["value"] for row in found["rows"] if row["val"]]
    assert scores == sorted(scores, reverse=True)
    assert len(rows["gated"]["seeds"]) == 2
    assert all(0 < rows[name]["p_value"] <= 1 for name in methods)
    assert found["verdict"] in output
    assert (root / "leaderboard" / "leaderboard.png").stat().st_size > 5000
    assert "| fusion | gated |" in (root / "leaderboard" / "leaderboard.md").read_text(encoding="utf-8")
    _, again = run("fuse", "--method", "gated", "--seeds", "2", "-a", root, *QUICK)
    assert "seed 0" not in again


def test_side_by_side_or_alone_the_bits_are_the_same(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "b"
    shutil.copytree(root, other)
    methods = [word for name in ("gated", "mean", "poe", "late") for word in ("--method", name)]
    for place, workers in ((root, 1), (other, 2)):
        assert run("fuse", *methods, "--seeds", 1, "--workers", workers, "-a", place, *QUICK)[0] == ExitCode.DONE
    for method in ("gated", "mean", "poe", "late"):
        hashes = {store.read(place, f"fusions/{method}", "fusion", "").manifest["hash"] for place in (root, other)}
        assert len(hashes) == 1, method


def before_calibration(folder: Path) -> torch.Tensor:
    """A fusion's outputs for all rows, as they are without its temperature."""
    weights = tensors.load(folder / "weights.safetensors")
    name = "temperature" if "temperature" in weights else "fusion_head.temperature"
    return tensors.load(folder / "outputs.safetensors")["outputs"] * weights[name]


def test_seeds_are_averaged(root: Path) -> None:
    for seed in (0, 1):
        assert run("fuse", "--seeds", 1, "--seed", seed, "-a", root, *QUICK)[0] == ExitCode.DONE
        (root / "fusions" / "gated").rename(root / f"alone-{seed}")
    assert run("fuse", "--seeds", 2, "-a", root, *QUICK)[0] == ExitCode.DONE
    alone = [before_calibration(root / f"alone-{seed}") for seed in (0, 1)]
    together = before_calibration(root / "fusions" / "gated")
    torch.testing.assert_close(together, (alone[0] + alone[1]) / 2, atol=1e-5, rtol=1e-4)


def test_the_whole_model_computes_what_the_fusion_left(root: Path) -> None:
    """From raw rows through encoders, own heads and all seeds: of a method of each family."""
    dataset = Dataset.open(root)
    index = torch.arange(len(dataset.rows))
    for method in ("gated", "transformer", "late", "evidential"):
        assert run("fuse", "--method", method, "--seeds", 2, "-a", root, *QUICK)[0] == ExitCode.DONE
        artifact = store.read(root, f"fusions/{method}", "fusion", "")
        network = loading.load_fused(dataset, artifact)
        outputs = forward.outputs_for(network, dataset, index, device.choose("cpu", "float32"))
        torch.testing.assert_close(outputs, tensors.load(artifact.file(loading.OUTPUTS))["outputs"], atol=0.02, rtol=0.02)


def test_gates_are_shown_and_written_for_each_row(root: Path, table: Path, tmp_path: Path) -> None:
    code, output = run("fuse", "--explain", "--seeds", 1, "-a", root, *QUICK)
    assert code == ExitCode.DONE
    assert "weights say how much of a column entered, not how much it mattered" in output
    assert "blue round" in output
    out = tmp_path / "p.csv"
    assert run("predict", table, "-a", root, "--explain", "-o", out)[0] == ExitCode.DONE
    weights = pd.read_csv(out).filter(like="label_weight_")
    names = list(store.read(root, "fusions/gated", "fusion", "").config["encoders"])
    assert list(weights.columns) == [f"label_weight_{name}" for name in names]
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-4)
    saved = tensors.load(root / "fusions" / "gated" / "outputs.safetensors")["weights"]
    np.testing.assert_allclose(weights.to_numpy(), saved.numpy(), atol=0.02)
    run("fuse", "--method", "concat", "--seeds", 1, "-a", root, *QUICK)
    code, output = run("predict", table, "-a", root, "--model", root / "fusions" / "concat", "--explain", "-o", out)
    assert code == ExitCode.USAGE
    assert "which has no weights" in output


def test_stacking_learns_from_out_of_fold_predictions(root: Path) -> None:
    code, output = run("fuse", "--method", "stacking", "-a", root, *QUICK)
    assert code == ExitCode.USAGE
    assert "Run: mmcli train-encoder --folds 5" in output
    options = ("--arch", "cnn", "--arch", "bag", "--folds", 3, *ENCODERS, "--set=training.epochs=4")
    shutil.rmtree(root / "encoders")
    assert run("train-encoder", "-a", root, *options)[0] == ExitCode.DONE
    dataset = Dataset.open(root)
    for column, architecture in (("picture", "cnn"), ("word", "bag")):
        saved = tensors.load(root / "encoders" / column / architecture / "embeddings.safetensors")
        own, unseen = saved["outputs"], saved["outputs_out_of_fold"]
        train = dataset.splits["train"]
        assert all(not torch.equal(own[row], unseen[row]) for row in train)
        rest = torch.cat([dataset.splits["val"], dataset.splits["test"]])
        assert torch.equal(own[rest], unseen[rest])
        assert not list((root / "encoders" / column / architecture).glob("fold-*"))
    code, output = run("fuse", "--method", "stacking", "--seeds", 1, "-a", root, *QUICK)
    assert code == ExitCode.DONE, output


def test_a_method_of_ones_own_fuses_and_predicts(
    root: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = write(tmp_path)
    code, output = run("fuse", "--method", mine, "--seeds", 1, "-a", root, *QUICK)
    assert code == ExitCode.DONE, output
    assert (root / "fusions" / "Mine" / "artifact.json").exists()
    assert " Mine " in output
    out = tmp_path / "p.csv"
    monkeypatch.setattr(registry, "_trusted", {})
    predict = ("predict", table, "-a", root, "--model", root / "fusions" / "Mine", "-o", out)
    code, output = run(*predict)
    assert code == ExitCode.ARTIFACT
    assert "add: --trust mine.py" in output
    assert run(*predict, "--trust", tmp_path / "mine.py")[0] == ExitCode.DONE
    assert len(pd.read_csv(out)) == 60
    assert run("check", mine)[0] == ExitCode.DONE
    code, output = run("check", write(tmp_path, formula="4 * dim"))
    assert code == ExitCode.FAILED
    assert "mend parameters are as the formula says first" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--method", "gatde"), "Did you mean 'gated'?"),
        (("--order", "pictur"), "Did you mean 'picture'?"),
        (("--order", "word"), "does not look at the order"),
        (("--train-encoders", "--seeds", "3"), "--seeds is for fusing on embeddings"),
    ],
)
def test_wrong_options_are_named(root: Path, arguments: tuple[str, ...], said: str) -> None:
    code, output = run("fuse", *arguments, "-a", root)
    assert code == ExitCode.USAGE
    assert said in output


def test_the_order_asked_for_is_that_of_the_model(root: Path) -> None:
    assert run("fuse", "--method", "sequential", "--seeds", 1, "--order", "word", "-a", root, *QUICK)[0] == ExitCode.DONE
    names = list(store.read(root, "fusions/sequential", "fusion", "").config["encoders"])
    assert names[-1] == "picture"
    assert names[0].startswith("word")


TASK = Classification.fit(TaskConfig(), [("a",), ("b",)], ["y"])


def test_the_board_knows_noise_from_gain() -> None:
    """400 rows: 90 right of 100 against 80, paired, is no accident; one row more is."""
    targets = torch.zeros(400, dtype=torch.int64)

    def outputs(right: int) -> torch.Tensor:
        return torch.where(torch.arange(400)[:, None] < right, torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]]))

    entries = [
        Entry("column", "one", outputs(320)),
        Entry("column", "other", outputs(300)),
        Entry("fused", "better", outputs(360)),
        Entry("fused", "alike", outputs(321)),
        Entry("baseline", "linear", outputs(310)),
        Entry("refused", "none", None, reason="why"),
    ]
    ranked = leaderboard.rank(entries, targets, TASK, 0)
    assert [row.entry.name for row in ranked] == ["better", "alike", "one", "linear", "other", "none"]
    better, alike, one = ranked[:3]
    assert better.gain is not None and better.gain.value == pytest.approx(0.1) and better.gain.low > 0
    assert better.p_value is not None and better.p_value < 0.01
    assert alike.p_value is not None and alike.p_value > 0.3
    assert one.gain is None
    assert "Fusing beats the best single column by 0.100" in leaderboard.verdict(ranked, TASK)
    without = leaderboard.rank([entries[0], entries[4], Entry("fused", "worse", outputs(300))], targets, TASK, 0)
    assert "No method beats the best single column here" in leaderboard.verdict(without, TASK)
    alone = leaderboard.verdict(ranked, TASK, alone=True)
    assert "; best encoder alone, one: " in alone and " It beats the best encoder alone by 0.100" in alone
    assert "Fusing" not in alone and "column" not in alone + leaderboard.verdict(without, TASK, alone=True)
    rival = leaderboard.over_reference(ranked, targets, TASK, 0)
    assert rival is not None and rival.value == pytest.approx(0.125)
    assert f"; it beats the linear baseline by {rival}." in leaderboard.verdict(ranked, TASK, rival)
    behind = leaderboard.over_reference(without, targets, TASK, 0)
    assert behind is not None
    assert "; the linear baseline is better (by +0.025 [" in leaderboard.verdict(without, TASK, behind)
    perhaps = replace(behind, high=0.01)
    assert "; the linear baseline is as good or better (by +0.025 [" in leaderboard.verdict(without, TASK, perhaps)


def test_what_a_row_says_beside_its_name_stands_in_the_table_alone() -> None:
    outputs = torch.tensor([[1.0, 0.0]] * 20)
    entries = [Entry("column", "b (rnn)", outputs, note="alone it cannot know"), Entry("fused", "own", outputs)]
    ranked = leaderboard.rank([*entries, Entry("baseline", "linear", outputs)], torch.tensor([0, 1] * 10), TASK, 0)
    assert any(row[1] == "b (rnn): alone it cannot know" for row in leaderboard.table(ranked, "macro_f1")[1])
    assert "cannot know" not in leaderboard.verdict(ranked, TASK)
    told = {row["name"]: row["note"] for row in leaderboard.as_json(ranked, "", TASK)["rows"]}
    assert told == {"b (rnn)": "alone it cannot know", "own": "", "linear": ""}


def test_training_through_begins_with_what_f_has_learnt_on_the_embeddings(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmcli.stages.fuse import plans

    same = ("-a", root, "--precision", "float32", *QUICK)
    assert run("fuse", "--seeds", "1", *same)[0] == ExitCode.DONE
    alone = before_calibration(root / "fusions" / "gated")
    monkeypatch.setitem(plans.TRAINING_THROUGH, "learning_rate", 1e-12)
    assert run("fuse", "--train-encoders", *same)[0] == ExitCode.DONE
    through = before_calibration(root / "fusions" / "gated")
    torch.testing.assert_close(through, alone, atol=0.02, rtol=0.02)  # embeddings are in float16


def test_options_of_training_through_reach_it(root: Path) -> None:
    code, output = run("fuse", "--align", "0.1", "-a", root, *QUICK)
    assert code == ExitCode.USAGE
    assert "Add --train-encoders" in output
    through = ("--train-encoders", "-a", root, "--set=fuse.training.epochs=2")
    found = []
    for more in ((), ("--align", "0.5"), ("--set=training.balance=0.5",), ("--set=training.anchor=1",)):
        assert run("fuse", *through, *more)[0] == ExitCode.DONE
        found.append(tensors.load(root / "fusions" / "gated" / "outputs.safetensors")["outputs"])
    assert all(not torch.equal(found[0], other) for other in found[1:])


def test_all_tokens_of_each_row_are_kept_where_that_is_asked_for(root: Path) -> None:
    dataset = Dataset.open(root)
    code, output = run("train-encoder", "word", "--arch", "rnn", "--tokens", "0", "--set=training.epochs=1", "-a", root)
    assert code == ExitCode.DONE, output
    artifact = loading.read_encoder(root, "word", "rnn")
    kept, found = tensors.load(artifact.file(loading.EMBEDDINGS)), fusion_job.embeddings(artifact, Dataset.open(artifact.root))
    lengths = dataset.column("word").lengths
    assert lengths is not None
    assert kept["offsets"].diff().tolist() == lengths.clamp(min=0).tolist()
    assert len(tensors.load(artifact.file(loading.TOKENS))["tokens"]) == kept["offsets"][-1]
    network = loading.load_encoder(dataset, artifact)
    rows = torch.tensor([3, 41, 7])
    with torch.no_grad():
        made = network.encoder(network.encoder.prepare(dataset.column("word")).gather(rows))
    gathered = found.gather(rows)
    assert torch.equal(gathered.mask, made.mask)
    torch.testing.assert_close(gathered.tokens.float()[made.mask], made.tokens[made.mask], atol=0.02, rtol=0.02)
    code, output = run("fuse", "--method", "transformer", "--seeds", "1", "-a", root, *QUICK)
    assert code == ExitCode.DONE, output
    outputs = loading.outputs(store.read(root, "fusions/transformer", "fusion", ""), dataset)
    network_outputs = forward.outputs_for(
        loading.load_fused(dataset, store.read(root, "fusions/transformer", "fusion", "")),
        dataset,
        rows,
        device.choose("cpu", "float32"),
    )
    torch.testing.assert_close(outputs[rows], network_outputs, atol=0.05, rtol=0.05)


def test_an_order_is_refused_where_the_lead_gives_only_tokens_that_no_head_reads(root: Path) -> None:
    code, output = run("fuse", "--method", "cross-attention", "--order", "word", "--dry-run", "-a", root)
    assert code == ExitCode.USAGE
    assert "the method cross-attention does not look at the order of the columns" in output


def test_tokens_beyond_the_memory_are_read_from_disk_to_the_same_bits(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = run("train-encoder", "word", "--arch", "rnn", "--tokens", "0", "--set=training.epochs=1", "-a", root)
    assert code == ExitCode.DONE, output
    command = ("fuse", "--method", "memory", "--seeds", "1", "-a", root, *QUICK)
    assert run(*command)[0] == ExitCode.DONE
    whole = store.read(root, "fusions/memory", "fusion", "")
    kept = {name: whole.file(name).read_bytes() for name in (loading.OUTPUTS, loading.WEIGHTS)}
    assert isinstance(fusion_job.embeddings(loading.read_encoder(root, "word", "rnn"), Dataset.open(root)), RaggedFeatures)
    monkeypatch.setenv("MMCLI_MEMORY", "1k")
    assert run(*command)[0] == ExitCode.DONE
    assert store.read(root, "fusions/memory", "fusion", "").manifest == whole.manifest  # how it is held, it is up to date
    taken: list[str] = []
    load = tensors.load
    monkeypatch.setattr(tensors, "load", lambda path: taken.append(path.name) or load(path))
    assert run(*command, "--force")[0] == ExitCode.DONE
    assert loading.TOKENS not in taken
    assert isinstance(fusion_job.embeddings(loading.read_encoder(root, "word", "rnn"), Dataset.open(root)), StreamedFeatures)
    again = store.read(root, "fusions/memory", "fusion", "")
    assert {name: again.file(name).read_bytes() for name in kept} == kept
    assert again.metrics["val"] == whole.metrics["val"]


def test_an_encoder_writes_all_tokens_batch_by_batch(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[int] = []
    add = tensors.Growing.add
    monkeypatch.setattr(tensors.Growing, "add", lambda self, rows: added.append(len(rows)) or add(self, rows))
    code, output = run("train-encoder", "word", "--arch", "rnn", "--tokens", "0", "--set=training.epochs=1", "-a", root)
    assert code == ExitCode.DONE, output
    artifact = loading.read_encoder(root, "word", "rnn")
    rows, batches = len(Dataset.open(root).rows), len(added)
    assert batches == -(-rows // 256)
    assert sum(added) == int(tensors.load(artifact.file(loading.EMBEDDINGS))["offsets"][-1])
    assert artifact.manifest["files"][loading.TOKENS]["tensors"]["tokens"][:2] == ["float16", sum(added)]


def test_a_head_where_a_method_has_none_is_refused(root: Path) -> None:
    code, output = run("fuse", "--method", "late", "--head", "linear", "-a", root, *QUICK)
    assert code == ExitCode.USAGE
    assert "--head: late fuses the columns' own predictions" in output


def test_the_columns_own_decisions_stand_beside_f_in_the_artifact(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def approve(member: Any, *_: Any) -> deciding.Beside:
        member.temperature.fill_(3.0)
        return deciding.Beside(0.4, 2.0, 0.1)

    monkeypatch.setattr(deciding, "weigh", approve)
    code, output = run("fuse", "--method", "gated", "--seeds", "2", "-a", root, *QUICK)
    assert code == ExitCode.DONE, output
    assert "what its columns decide by themselves, weighed on val, counts 40%" in output
    dataset, fused = Dataset.open(root), store.read(root, "fusions/gated", "fusion", "")
    assert [member.method for member in Recipe.of(fused).members] == ["gated", "gated", "late"]
    network = loading.load_fused(dataset, fused)
    heads = network.fusion_head
    assert isinstance(heads, AveragedHeads)
    torch.testing.assert_close(heads.shares, torch.tensor([0.3, 0.3, 0.4]))
    assert [float(own.temperature) for own in heads.each] == [2.0, 2.0, 3.0]
    everything = torch.arange(len(dataset.rows))
    found = forward.outputs_for(network, dataset, everything, device.choose("cpu", "float32"))
    torch.testing.assert_close(found, loading.outputs(fused, dataset), atol=0.02, rtol=0.02)  # embeddings are float16
    # A method of decisions has nothing else: nothing is put beside it.
    run("fuse", "--method", "late", "--seeds", "1", "-a", root, *QUICK)
    assert "beside" not in store.read(root, "fusions/late", "fusion", "").config


@pytest.mark.parametrize(("right_since", "groups", "kept"), [(31, 40, False), (40, 40, True), (40, 4, False), (20, 40, False)])
def test_what_began_as_a_column_is_to_be_better_beyond_noise(right_since: int, groups: int, kept: bool) -> None:
    """One row of 40 more that is right proves nothing, nor do ten that are of one group."""
    task = Classification.fit(TaskConfig(), [("a",), ("b",)], ["label"])
    right = torch.zeros(40, dtype=torch.int64)
    dataset: Any = SimpleNamespace(
        task=task, targets=right, splits={"val": torch.arange(40)}, groups=lambda _: np.arange(40) * groups // 40
    )
    module = torch.nn.Module()
    module.register_buffer("count", torch.tensor(right_since))

    def answers() -> Tensor:
        wrong = torch.arange(40) >= module.get_buffer("count")
        return torch.stack([~wrong, wrong], 1).float() * 4

    began, said = {"count": torch.tensor(30)}, list[str]()
    context: Any = SimpleNamespace(console=SimpleNamespace(note=said.append))
    trained = Trained(3, [{}], {})
    found = training._no_worse(module, began, trained, answers, dataset, "gated", context)
    assert found.val["accuracy"] == (right_since if kept else 30) / 40
    assert int(module.get_buffer("count")) == (right_since if kept else 30)
    assert found.best_epoch == (3 if kept else 0)
    assert any("no better beyond noise" in text for text in said) == (not kept)
