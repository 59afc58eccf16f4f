"""optimize on a tiny chain: what is kept, what is picked, what a kill leaves; and what is done with the result."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from mmcli.artifacts import store, tensors
from mmcli.cli import app
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.errors import ExitCode
from mmcli.models import forward, loading, predictor, runners
from mmcli.options.optimize import Options
from mmcli.reporting.console import Console
from mmcli.reporting.counts import agreed, counted
from mmcli.selection import search
from mmcli.stages import Context
from mmcli.stages.optimize.writing import _detail
from tests.conftest import SMALL

pytestmark = pytest.mark.slow
TUNE = tuple(option for option in SMALL if option.startswith("--set=optimize"))
SEARCH = ("--join", "--only", "search")
"""What tests of the search alone ask for: the steps after it take longer than all its trials."""


def invoke(*arguments: str | Path | float) -> tuple[int, str]:
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def copy(chain: Path, tmp_path: Path) -> Path:
    shutil.copytree(chain, tmp_path / "artifacts")
    return tmp_path / "artifacts"


def optimized(root: Path) -> Any:
    return store.read(root, "optimized", "optimized", "")


def test_every_model_tried_has_its_score_and_its_cost_or_a_reason(chain: Path) -> None:
    table = json.loads((chain / "optimized" / "tradeoff.json").read_text())
    rows = {row["name"]: row for row in table["rows"]}
    assert {"fused", "student", "pruned"} <= set(rows)
    assert any(name.endswith("onnx") for name in rows)
    assert any("int8" in name for name in rows)
    assert "takes a minute" in rows["aot"]["reason"]
    for row in rows.values():
        if "cost" in row:
            cost = row["cost"]
            assert 0 < cost["p50_ms_1"] <= cost["p95_ms_1"]
            assert 0 < cost["p50_ms_32"] <= cost["p95_ms_32"]
            assert cost["size_mb"] > 0
            assert cost["peak_mb"] >= round(cost["size_mb"], 1) - 0.1
            assert row["gain"]["low"] <= row["gain"]["value"] <= row["gain"]["high"]
        else:
            assert row["reason"]
    kept = {entry["step"] for entry in optimized(chain).metrics["history"] if entry["kept"]} - {"fused"}
    assert bool(rows["fused"].get("superseded")) == (bool(kept) and kept <= {"calibrate", "finetune"})
    picked = rows[table["picked"]]
    assert picked["allowed"]
    assert picked["gain"]["low"] >= -0.005 * picked["score"] - 1e-9
    for name in ("student", "pruned"):  # other weights: no interval on so few rows is a point
        assert rows[name]["gain"]["low"] < rows[name]["gain"]["high"]
        assert not rows[name].get("allowed")
    assert (chain / "optimized" / "tradeoff.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("rate", ["0.3", "1e-7"])  # it gets worse; its loss moves by less than a fiftieth
def test_fine_tuning_ends_where_its_first_epochs_show_that_it_is_in_vain(copy: Path, rate: str) -> None:
    worse = (f"--set=optimize.training.learning_rate={rate}", "--set=optimize.training.epochs=3")
    for tries, epochs in ((1, 1), (0, 3)):
        said = ("--only", "finetune", "--force", *worse, f"--set=optimization.finetune.tries={tries}")
        code, output = invoke("optimize", "-a", copy, *said)
        assert code == ExitCode.DONE, output
        metrics = optimized(copy).metrics
        (entry,) = (own for own in metrics["history"] if own["step"] == "finetune")
        assert not entry["kept"]
        told = "after 1 epoch val is no better"
        assert (entry["reason"] == told, told in output) == (tries == 1, tries == 1)
        assert metrics["steps"]["finetune"]["epochs"] == epochs


def test_what_a_step_left_reads_on_from_why() -> None:
    assert _detail("finetune", {"epochs": 1, "share": 0.25}) == "after 1 epoch, 25% of the way to the new weights"
    assert _detail("finetune", {"epochs": 3, "share": 1.0}) == "after 3 epochs, 100% of the way to the new weights"


def test_fine_tuning_goes_on_where_its_first_epochs_gain(copy: Path) -> None:
    raw = ("--learning-rate", "1e-6", "--set", "training.decisions=false")  # F has learnt nothing yet
    code, output = invoke("fuse", "-a", copy, "--method", "gated", "--epochs", "1", "--seeds", "1", "--force", *raw)
    assert code == ExitCode.DONE, output
    said = ("--only", "finetune", "--force", "--set=optimize.training.learning_rate=0.003", "--set=optimize.training.epochs=4")
    code, output = invoke("optimize", "-a", copy, *said, "--set=optimization.finetune.tries=2")
    assert code == ExitCode.DONE, output
    metrics = optimized(copy).metrics
    assert metrics["steps"]["finetune"]["epochs"] == 4
    assert "share" in metrics["steps"]["finetune"]


def test_the_outputs_kept_are_what_the_model_gives_however_it_is_run(chain: Path, table: Path) -> None:
    artifact, dataset = optimized(chain), Dataset.open(chain)
    kept = tensors.load(artifact.file(loading.OUTPUTS))["outputs"]
    loaded = predictor.load(chain)
    assert loaded.artifact.name == "optimized"
    way = artifact.config["way"]
    precision = {runners.TORCH: loaded.compute.precision, runners.BFLOAT16: "bfloat16"}.get(way, "float32")
    compute = replace(loaded.compute, precision=precision)
    by_torch = forward.outputs_for(loaded.network, dataset, torch.arange(len(dataset.rows)), compute)
    # A temperature may have made the outputs large: of those beyond ten, a share.
    share = float((kept - by_torch).abs().max() / by_torch.abs().max().clamp(min=10.0))
    assert share < (0.02 if "int8" in way or precision == "bfloat16" else 1e-4), way
    frame = loaded.predict(table)
    shares = kept.softmax(1).max(1).values
    torch.testing.assert_close(torch.tensor(frame["label_predicted_probability"]).float(), shares, atol=2e-2, rtol=0.05)


def test_each_model_of_the_table_is_picked_at_once_whatever_else_is_asked(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcli.stages.optimize.take_steps", never)
    rows = optimized(copy).json("tradeoff.json")["rows"]
    runnable = [row["name"] for row in rows if "cost" in row]
    assert len(runnable) > sum(bool(row.get("front")) for row in rows)
    for name in runnable:
        code, output = invoke("optimize", "-a", copy, "--pick", name, "--max-drop", "1%", "--trials", "9", "--goal", "size")
        assert code == ExitCode.DONE, output
        assert f"picked '{name}'" in output
        after = optimized(copy)
        assert after.metrics["picked"] == name
        kept = tensors.load(after.file(loading.OUTPUTS))["outputs"]
        val = Dataset.open(copy).splits["val"]
        score = next(row["score"] for row in rows if row["name"] == name)
        found = Dataset.open(copy).task.score(kept[val], Dataset.open(copy).targets[val])["accuracy"]
        assert found == pytest.approx(score), "it is that model's weights, run in its way"


def never(*_: object) -> None:
    raise AssertionError("made anew")


def test_a_model_that_is_not_in_the_table_is_refused_before_any_work(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcli.stages.optimize.run", never)
    before = (copy / "optimized" / "artifact.json").read_bytes()
    name = optimized(copy).json("tradeoff.json")["rows"][0]["name"]
    code, output = invoke("optimize", "-a", copy, "--pick", name[:-1] + "x", "--trials", "2", "--force")
    assert code == ExitCode.USAGE
    assert (
        f"--pick {name[:-1]}x: unknown model '{name[:-1]}x'. Did you mean '{name}'? Those that were measured: {name}; "
        in output
    )
    assert (copy / "optimized" / "artifact.json").read_bytes() == before


def test_another_goal_drop_or_step_less_picks_among_what_was_measured(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcli.stages.optimize.take_steps", never)
    same = ("optimize", "-a", copy, "--trials", "3", *SMALL[-1:])
    first = optimized(copy).json("tradeoff.json")
    code, output = invoke(*same, "--max-drop", "99%", "--goal", "size")
    assert code == ExitCode.DONE, output
    assert "picked from what was measured before (--force makes and measures all anew)" in output
    loose = optimized(copy).json("tradeoff.json")
    sizes = {row["name"]: row["cost"]["size_mb"] for row in loose["rows"] if row.get("allowed")}
    assert sizes[loose["picked"]] == min(sizes.values())
    assert len(sizes) > sum(bool(row.get("allowed")) for row in first["rows"])
    code, output = invoke(
        *same, "--max-drop", "99%", "--goal", "size", "--skip", "onnx", "--skip", "quantize", "--coverage", 0.8
    )
    assert code == ExitCode.DONE, output
    assert "onnx" not in optimized(copy).metrics["picked"]
    assert "int8" not in optimized(copy).metrics["picked"]
    assert optimized(copy).metrics["conformal"]["coverage"] == 0.8
    code, output = invoke(*same)
    assert code == ExitCode.DONE, output
    assert optimized(copy).json("tradeoff.json") == first


def test_what_is_asked_for_the_first_time_is_made(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def note(*arguments: Any) -> None:
        made.append(sorted(arguments[0]))
        raise KeyboardInterrupt

    monkeypatch.setattr("mmcli.stages.optimize.take_steps", note)
    kept = {entry["step"] for entry in optimized(copy).metrics["history"] if entry["kept"]} - {"fused"}
    others = [("--trials", "9"), ("--trials", "3", "--set=optimization.prune.share=0.3"), ("--trials", "3", "--seed", "5")]
    others += [("--trials", "3", "--skip", step) for step in kept]
    for other in others:
        invoke("optimize", "-a", copy, *other, *SMALL[-1:])
    assert len(made) == len(others)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--goal", "fast"), "--goal fast: unknown goal"),
        (("--max-drop", "much"), "--max-drop 'much' is not a share"),
        (("--time-budget", "soon"), "--time-budget 'soon' is not a time"),
        (("--skip", "serch"), "Did you mean 'search'?"),
        (("--only", "calibrate", "--set", "optimization.onnx.int8=false"), "'onnx' is not in use here"),
        (("--skip", "prune", "--set", "optimization.prune.share=0.1"), "'prune' is not in use here"),
    ],
)
def test_wrong_flags_say_what_is_right(chain: Path, flags: tuple[str, ...], said: str) -> None:
    code, output = invoke("optimize", "-a", chain, *flags)
    assert code == ExitCode.USAGE
    assert said in output


def test_a_killed_search_goes_on_with_no_trial_lost_or_repeated(copy: Path) -> None:
    """Killed in the middle of a trial, the next call counts those that are done, and makes the broken one again."""
    shutil.rmtree(copy / "search")
    command = [sys.executable, "-m", "mmcli", "optimize", "-a", str(copy), *SEARCH, "--time-budget", "600s", "--trials", "200"]
    command += ["--set", "optimize.training.epochs=60"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while len(list((copy / "search").glob("*/[0-9]*.safetensors"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    done = {trial.number for trial in _trials(copy) if trial.state.name in {"COMPLETE", "PRUNED"}}
    kept = {f"{trial.number}.safetensors" for trial in _trials(copy) if trial.state.name == "COMPLETE"}
    assert done
    code, output = invoke(
        "optimize",
        "-a",
        copy,
        *SEARCH,
        "--trials",
        str(len(done) + 2),
        "--time-budget",
        "60s",
        "--set=optimize.training.epochs=60",
    )
    assert code == ExitCode.DONE, output
    assert f"search: {counted(len(done), 'trial')} {agreed(len(done), 'are')} there already" in output
    assert kept <= {path.name for path in (copy / "search").glob("*/[0-9]*.safetensors")}
    finished = [trial for trial in _trials(copy) if trial.state.name in {"COMPLETE", "PRUNED"}]
    assert len(finished) == len(done) + 2
    assert not [trial for trial in _trials(copy) if trial.state.name == "RUNNING"]
    tried = [tuple(sorted(t.params.items())) for t in finished]
    assert len(set(tried)) == len(tried)


def test_two_processes_share_a_search(copy: Path) -> None:
    shutil.rmtree(copy / "search")
    command = [sys.executable, "-m", "mmcli", "optimize", "-a", str(copy), *SEARCH, "--time-budget", "60s", "--trials", "8"]
    command += ["--set", "optimize.training.epochs=3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    invoke("optimize", "-a", copy, *SEARCH, "--trials", "1", "--set=optimize.training.epochs=3")
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=600)
        assert process.returncode == 0, said.decode()
    finished = [trial for trial in _trials(copy) if trial.state.is_finished()]
    assert [trial.state.name for trial in finished].count("FAIL") == 0
    assert len(finished) == len(_trials(copy)) - _waiting(copy) == 8  # exactly as many as were asked for, each made once
    weights = {int(path.stem) for path in (copy / "search").glob("*/[0-9]*.safetensors")}
    assert weights == {trial.number for trial in finished if trial.state.name == "COMPLETE"}
    assert not [path for path in (copy / "search").rglob("*") if path.name.startswith(".") or "writing" in path.name]


def _trials(root: Path) -> list[Any]:
    import optuna

    from mmcli.selection.journal import SealedLog

    (log,) = (root / "search").glob("*/study.log")
    storage = optuna.storages.JournalStorage(SealedLog(log))
    (name,) = optuna.get_all_study_names(storage)
    found: list[Any] = optuna.load_study(study_name=name, storage=storage).trials
    return found


def _waiting(root: Path) -> int:
    return [trial.state.name for trial in _trials(root)].count("WAITING")


def test_what_is_installed_later_is_tried(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same call is up to date, until a package that a step lacked is there."""
    from mmcli.stages import optimize

    made = []
    monkeypatch.setattr(store, "up_to_date", lambda _, __, fingerprint: made.append(fingerprint))
    options = Options(trials=3)
    context = Context(root=copy, console=Console(quiet=True), settings=Settings())
    for missing in (("torchao",), (), ()):
        monkeypatch.setattr(optimize, "find_spec", lambda name, gone=missing: None if name in gone else object())
        monkeypatch.setattr(optimize, "_done_before", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            optimize.run(options, context)
    assert made[0] != made[1] == made[2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("fuse", "--method", "late", "--set", "head.linear.dropout=0.3"), "head 'linear' is not in use here"),
        (
            ("optimize", "--only", "calibrate", "--set", "training.epochs=3"),
            "none of the steps that are taken trains: calibrate",
        ),
    ],
    ids=["a head", "epochs"],
)
def test_what_would_change_nothing_is_refused(chain: Path, line: tuple[str, ...], said: str) -> None:
    code, output = invoke(line[0], "-a", chain, *line[1:])
    assert code == ExitCode.USAGE
    assert said in output


def test_a_damaged_study_is_told_and_force_begins_anew(copy: Path) -> None:
    (file,) = (copy / "search").glob("*/study.log")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    command = ("optimize", "-a", copy, *SEARCH, "--trials", "1", "--set=optimize.training.epochs=2")
    code, output = invoke(*command)
    assert code == ExitCode.ARTIFACT
    assert "study.log, cannot be used: it is damaged after step" in " ".join(output.split())
    assert "mmcli optimize --force" in output
    killed = file.parent.with_name(f".{file.parent.name}-killed") / "study.log"  # while it threw this study away
    killed.parent.mkdir()
    killed.touch()
    code, output = invoke(*command, "--force")
    assert code == ExitCode.DONE, output
    assert "is damaged: the search begins anew" in output
    assert not killed.parent.exists()
    assert [trial.state.name for trial in _trials(copy)].count("COMPLETE") == 1


def test_the_search_is_another_where_its_encoders_are(copy: Path) -> None:
    (study,) = [path for path in (copy / "search").iterdir() if path.is_dir()]
    code, output = invoke("optimize", "-a", copy, *SEARCH, "--trials", "1", "--set=optimize.training.epochs=2", "--seed", "5")
    assert code == ExitCode.DONE, output
    assert len([path for path in (copy / "search").iterdir() if path.is_dir()]) == 2
    assert study.parent.name == search.FOLDER


@pytest.mark.parametrize("form", ["onnx", "onnx-int8", "safetensors"])
def test_an_exported_model_runs_without_mmcli(chain: Path, tmp_path: Path, form: str) -> None:
    to = tmp_path / "exported"
    code, output = invoke("export", "-a", chain, "--format", form, "--to", to)
    assert code == ExitCode.DONE, output
    assert "differ from PyTorch's by" in output
    about = json.loads((to / "model.json").read_text())
    assert about["task"]["names"] == ["blue round", "blue square", "red round", "red square"]
    assert about["largest_difference_from_pytorch"] <= (0.2 if form == "onnx-int8" else 1e-4)
    assert {"picture", "word"} <= {own["input"] for own in about["tensors"].values()}
    assert about["inputs"]["word"]["columns"]["word"]["state"]["tokenizer"]
    if form == "onnx-int8":
        import onnx

        types = {tensor.data_type for tensor in onnx.load(str(to / "model.onnx")).graph.initializer}
        assert types & {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    if form.startswith("onnx"):
        done = subprocess.run([sys.executable, to / "run.py"], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert "largest difference from PyTorch" in done.stdout
        assert sum(line.split("  ")[0] in about["task"]["names"] for line in done.stdout.splitlines()) == 8
        assert "mmcli" not in (to / "run.py").read_text()


def test_export_refuses_a_folder_with_other_files(chain: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    code, output = invoke("export", "-a", chain, "--to", tmp_path)
    assert code == ExitCode.USAGE
    assert "holds other files" in output
    code, output = invoke("export", "-a", chain, "--format", "onxx")
    assert code == ExitCode.USAGE
    assert "Did you mean 'onnx'?" in output


def test_sets_and_embeddings_of_new_rows(chain: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    code, output = invoke("predict", table, "-a", chain, "-o", out, "--sets", "--embeddings")
    assert code == ExitCode.DONE, output
    frame = pd.read_parquet(out)
    classes = {"blue round", "blue square", "red round", "red square"}
    for predicted, members in zip(frame["label_predicted"], frame["label_predicted_set"], strict=True):
        assert predicted in members.split("|")
        assert set(members.split("|")) <= classes
    sizes = {len(cell) for cell in frame["label_embedding"]}
    assert len(sizes) == 1
    assert sizes.pop() >= 8


def test_metrics_tell_what_matters_and_what_to_trust(chain: Path) -> None:
    found = json.loads((chain / "evaluation" / "metrics.json").read_text())
    test, trust = found["test"], found["trust"]
    names = {"picture", "word"}
    assert [set(row["inputs"]) for row in test["subsets"]] == [names, {"picture"}, {"word"}, set()]
    assert set(test["shapley"]["values"]) == names
    full, none = test["subsets"][0]["value"], test["subsets"][-1]["value"]
    assert sum(test["shapley"]["values"].values()) == pytest.approx(full - none, abs=1e-6)
    assert set(test["missing_curve"]) == set(test["noise_curve"]) == names
    assert set(test["noise_curve"]["picture"]) == {"noise", "blur", "jpeg"}
    assert {"score", "additive_score", "gain"} <= set(test["emap"])
    assert {"weighted_f1", "mcc"} <= set(test["optimized"])
    assert 0 <= trust["conformal"]["coverage"] <= 1
    assert {"slices", "errors", "suspects", "duplicates"} <= set(trust)
    assert set(found["paired"]) >= {"fused", "linear", "picture", "word"}
    assert 0 <= found["paired"]["linear"]["mcnemar"]["p_value"] <= 1
    card = (chain / "evaluation" / "report.md").read_text()
    assert "## Intended use and limits" in card
    assert "&lt;" not in card
    page = (chain / "evaluation" / "report.html").read_text()
    assert "What each input is worth" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_two_evaluations_side_by_side(copy: Path, chain: Path) -> None:
    code, output = invoke("evaluate", "-a", chain, "--compare", chain, copy / "evaluation")
    assert code == ExitCode.DONE, output
    assert "accuracy" in output
    assert "on the same 12 test rows the first alone is right in 0, the second alone in 0: within noise" in output
    code, output = invoke("evaluate", "--compare", chain, copy / "fusions")
    assert code == ExitCode.ARTIFACT
    assert "there is no evaluation in" in output


def test_slices_by_a_column_of_the_table(copy: Path) -> None:
    code, output = invoke("evaluate", "-a", copy, "--slice", "word", "--quick")
    assert code == ExitCode.DONE, output
    found = json.loads((copy / "evaluation" / "metrics.json").read_text())
    assert "noise_curve" not in found["test"]
    code, output = invoke("evaluate", "-a", copy, "--slice", "wrd")
    assert code == ExitCode.USAGE
    assert "--slice wrd: unknown column 'wrd'" in output
    assert not math.isnan(found["test"]["fused"]["accuracy"]["value"])


def test_an_ensemble_is_the_mean_of_trials_and_of_the_fused_model_each_by_its_count(chain: Path) -> None:
    from mmcli.config.settings import Settings
    from mmcli.models.recipe import Recipe
    from mmcli.stages import Context
    from mmcli.stages.optimize import Options, bench_for
    from mmcli.training.device import choose

    dataset = Dataset.open(chain)
    base = store.read(chain, "fusions/gated", "fusion", "")
    context = Context(root=chain, console=Console(quiet=True))
    bench = bench_for(base, dataset, Settings({"training": {"epochs": 2}}), choose("cpu", "float32"), Options(), context)
    first, second = bench.search().done()[:2]
    made = bench.of_trials({first: 2, second: 1}, "ensemble", Recipe.of(base), base=3)
    everything = torch.arange(len(dataset.rows))
    temperature = loading.load_fused(dataset, base).fusion_head.temperature
    assert temperature != 1
    fused = tensors.load(base.file(loading.OUTPUTS))["outputs"] * temperature
    expected = (2 * first.outputs(dataset.task) + second.outputs(dataset.task) + 3 * fused) / 6
    found = forward.outputs_for(made.network, dataset, everything, bench.compute)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)  # cached embeddings are in float16
    assert len(made.recipe.members) == 2 + len(Recipe.of(base).members)


def test_each_candidate_has_a_file_of_its_own(tmp_path: Path) -> None:
    from mmcli.optimizations import Candidate, Workbench
    from mmcli.optimizations.onnx import Config, Onnx

    bench: Any = Workbench.__new__(Workbench)
    object.__setattr__(bench, "folder", tmp_path)
    files = [
        proposed.file
        for name in ("tuned", "one member")
        for proposed in Onnx(Config()).proposals(Candidate(name, None, None), bench)  # type: ignore[arg-type]
    ]
    assert len(set(files)) == 4


def test_a_graph_of_torch_runs_without_mmcli(copy: Path, tmp_path: Path) -> None:
    """Where an encoder is recurrent the refusal says what to use."""
    to = tmp_path / "exported"
    shutil.rmtree(copy / "optimized")  # what is picked there, and so which inputs are left, depends on the machine
    code, output = invoke("export", "-a", copy, "--format", "torch-export", "--to", to)
    assert code == ExitCode.USAGE
    assert "Use --format onnx, or safetensors." in output
    code, output = invoke("fuse", "--encoder", "word=bag", "--seeds", 1, "-a", copy, "--set", "training.epochs=1")
    assert code == ExitCode.DONE, output
    code, output = invoke("export", "-a", copy, "--format", "torch-export", "--to", to)
    assert code == ExitCode.DONE, output
    assert "as a pickle" in (to / "README.md").read_text()
    done = subprocess.run([sys.executable, to / "run.py"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "largest difference from PyTorch" in done.stdout
