"""What is said of wrong flags and names: at once, with what to type instead; as JSON where asked for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mmcli.cli import app
from mmcli.cli.run import _say_of_time
from mmcli.errors import ExitCode
from mmcli.options.run import Options
from mmcli.reporting.console import Console
from tests.cli.conftest import Typed


def run(*arguments: str) -> tuple[int, str, str]:
    """The exit code, standard output, and standard error without line ends."""
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"some words {i % 3},{i},{2 * i},a|b{i % 4},c{i % 2}\n" for i in range(60))
    (tmp_path / "t.csv").write_text("text,h,w,tags,label\n" + rows)
    for name in ("log.txt", "visits2.csv", "file"):
        (tmp_path / name).write_text("x\n1\n")
    return tmp_path


WRONG = [
    ("run t.csv --set epochs=3", 2, "'epochs' needs its section. Did you mean training.epochs?"),
    ("run t.csv --set epoch=3", 2, "Did you mean training.epochs?"),
    ("run t.csv --set gated.hidden=3", 2, "Did you mean fusion.gated.hidden?"),
    ("run t.csv --set trainin.epochs=3", 2, "unknown section 'trainin'. Did you mean 'training'?"),
    ("run visit.csv", 3, "there is no such file. Did you mean 'visits2.csv'?"),
    ("predict t.parquet", 3, "there is no such file. Did you mean 't.csv'?"),
    ("run no/t.csv", 3, "there is no such file, and no folder no"),
    ("inspect .", 3, "is a folder, not a table. Tables in it: t.csv, visits2.csv."),
    ("preprocess -", 2, "- (standard input) will not do Save it as a file first"),
    ("run t.csv --device gpu", 2, "--device gpu: unknown device 'gpu'. Did you mean 'cuda'?"),
    ("fuse --device cuda:first", 2, "E.g. --device cuda:1"),
    ("fuse --device metal", 2, "Did you mean 'mps'?"),
    ("fuse --precision fp16", 2, "--precision fp16: unknown precision 'fp16'. Did you mean 'bfloat16'?"),
    ("fuse --precision fp32", 2, "Did you mean 'float32'?"),
    ("run t.csv --task clasification", 2, "--task clasification: unknown task 'clasification'. Did you mean 'classification'?"),
    ("run t.csv --task multiclass", 2, "Did you mean 'classification'?"),
    ("run t.csv -a file", 2, "--artifacts file: that is a file, not a folder"),
    ("status -a file", 2, "--artifacts file: that is a file, not a folder"),
    ("optimize --pick small", 2, "--pick small: there are no models yet in artifacts to pick from"),
    ("optimize --skip prun", 2, "--skip prun: unknown step 'prun'. Did you mean 'prune'?"),
    ("preprocess t.csv -t label --set modality.audio.mels=40", 2, "the modality 'audio' is not in use here"),
    ("inspect t.csv -t label --set modality.audio.mels=40", 2, "In use: category, number."),
    ("preprocess t.csv -t label --set task.regression.decimal=comma", 2, "the task 'regression' is not in use here"),
    ("inspect t.csv -t label --set task.regression.decimal=comma", 2, "In use: classification."),
    (
        "run t.csv -m late --set fusion.gated.hidden=64",
        2,
        "--set fusion.gated.hidden=64: the fusion method 'gated' is not in use",
    ),
    ("run t.csv --no-optimize --set optimization.onnx.int8=true", 2, "the optimization 'onnx' is not in use here"),
    ("run t.csv --set optimization.prune.share=0.1", 2, "In use: finetune, calibrate, onnx."),
    ("run t.csv --set fuse.compute.threads=1", 2, "mmcli fuse has no use for 'compute' options here."),
    (
        "fuse --set training.mix=mixup",
        2,
        "mmcli fuse has no use for it. It is for: mmcli train-encoder.",
    ),
    ("run t.csv --set train-encoder.training.swap=false", 2, "It is for: mmcli fuse, mmcli optimize."),
    ("fuse --set run.training.epochs=3", 2, "mmcli fuse has no use for 'training' options here"),
    ("run t.csv -t label --contrast texts", 3, "--contrast texts: t.csv has no such column. Did you mean 'text'?"),
    ("evaluate --compare a", 2, "--compare needs 2 values: name them all, as --compare A B."),
]


@pytest.mark.parametrize(("line", "code", "said"), WRONG, ids=[line for line, _, _ in WRONG])
def test_wrong_flags_and_names(line: str, code: int, said: str, here: Path) -> None:
    found, output, errors = run(*line.split())
    assert (found, output) == (code, "")
    assert said in " ".join(errors.replace("│", " ").split())


def test_texts_to_contrast_with_are_refused_before_anything_is_trained(here: Path) -> None:
    for more in (["--dry-run"], []):
        code, _, errors = run("run", "t.csv", "-t", "label", "--contrast", "text", *more)
        assert (code, not (here / "artifacts" / "encoders").exists()) == (2, True)
        assert "--contrast is for targets that are texts, not for" in errors


def test_a_name_that_is_like_none_is_told_no_other(here: Path) -> None:
    read = ".csv, .tsv, .json, .jsonl, .parquet or .xlsx, also in .gz, .bz2, .xz or .zip"
    assert run("run", "nope.csv")[2] == f"error: nope.csv: there is no such file. Give a table: {read}."


def test_tables_that_are_packed_are_named_and_what_may_be_anything_is_not(here: Path) -> None:
    for name in ("visit.csv.gz", "visit.json", "visit.txt"):
        (here / name).write_text("x\n1\n")
    for typed in ("visits.csv.gz", "visits.csv", "visits.xlsx"):
        assert "Did you mean 'visits2.csv' or 'visit.csv.gz'?" in run("inspect", typed)[2]


def test_a_table_may_come_through_standard_input(here: Path) -> None:
    given = (here / "t.csv").read_bytes()
    result = CliRunner().invoke(app, ["inspect", "-", "--json", "-t", "label"], input=given)
    told = json.loads(result.stdout)
    assert (result.exit_code, told["rows"], told["target"]["classes"]) == (0, 60, {"c0": 30, "c1": 30})
    assert "next: mmcli preprocess FILE" in result.stderr


def test_predictions_and_json_do_not_share_standard_output(here: Path) -> None:
    code, output, errors = run("predict", "t.csv", "-o", "-", "--json")
    assert (code, json.loads(output)["code"]) == (2, 2)
    assert "--json and -o - would both write to standard output" in errors


@pytest.mark.parametrize("line", ["run nope.csv", "run t.csv -a file", "optimize --pick small", "run t.csv --set epochs=3"])
def test_paths_and_flags_are_checked_before_anything_heavy_is_imported(line: str, here: Path, typed: Typed) -> None:
    assert typed(*line.split())[0] == set()


@pytest.mark.parametrize("flag", ["--target", "--input", "--ignore"])
def test_several_columns_in_one_word(flag: str, here: Path) -> None:
    code, _, errors = run("preprocess", "t.csv", flag, "h, w")
    assert code == ExitCode.BAD_DATA
    assert f"Name each by itself: {flag} h {flag} w." in errors


def test_labels_without_a_mark_between_them_are_told_the_marks_that_there_are(here: Path) -> None:
    for command in ("preprocess", "inspect"):
        code, _, errors = run(command, "t.csv", "--task", "multilabel", "-t", "tags")
        assert code == ExitCode.BAD_DATA
        assert "cells hold '|' in 60 of 60" in errors
        assert "Give --label-separator '|'." in errors


def test_labels_in_lists_need_no_mark_between_them(here: Path) -> None:
    rows = [
        {"x": row * row % 17, "tags": [["cat", "dog", "bird"][row % 3], *(["owl"] if row % 2 else [])]} for row in range(60)
    ]
    (here / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for told in ([], ["--task", "multilabel"], ["--label-separator", ","]):
        for command in ("preprocess", "inspect"):
            assert run(command, "t.jsonl", "-t", "tags", *told)[0] == 0
        task = json.loads((here / "artifacts" / "preprocess" / "task.json").read_text())
        assert sorted(task["state"]["labels"]) == ["bird", "cat", "dog", "owl"]


def test_a_device_that_is_not_here_ends_run_before_any_work(here: Path) -> None:
    code, _, errors = run("run", "t.csv", "--device", "cuda:97")
    assert code == ExitCode.USAGE
    assert "--device cuda:97 cannot be used" in errors
    assert not (here / "artifacts").exists()


@pytest.mark.parametrize(
    ("line", "code", "error", "hint"),
    [
        ("run nope.csv --json", 3, "nope.csv: there is no such file.", "Give a table"),
        ("fuse --goal size --json", 2, "No such option: --goal", "--help"),
        ("fuse --seeds many --json", 2, "Invalid value for '--seeds'", "--help"),
        ("fuse --config absent.toml --json", 2, "--config absent.toml: there is no such file", "Looked in"),
        ("evaluate --json -a none", 4, "none/preprocess does not exist", "mmcli preprocess"),
        ("list nothing --json", 2, "unknown list 'nothing'", ""),
    ],
)
def test_errors_are_json_too(line: str, code: int, error: str, hint: str, here: Path) -> None:
    found, output, errors = run(*line.split())
    told = json.loads(output)
    assert found == told["code"] == code
    assert set(told) == {"error", "hint", "code"}
    assert error in told["error"]
    assert hint in told["hint"]
    assert errors


def test_the_next_step_carries_what_it_needs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "mm.toml").write_text("[training]\nepochs = 1\n")
    preprocess = ("preprocess", "t.csv", "-t", "label")
    assert run(*preprocess, "-a", "my dir", "--config", "mm.toml")[2].endswith(
        "next: mmcli train-encoder -a 'my dir' --config mm.toml"
    )
    assert run("status", "-a", "my dir")[2].endswith("next: mmcli train-encoder -a 'my dir'")
    assert json.loads(run("status", "-a", "my dir", "--json")[1])["next"] == "mmcli train-encoder -a 'my dir'"
    assert run("status", "-a", "none")[2].endswith("next: mmcli preprocess TABLE -a none (or: mmcli run TABLE -a none)")
    monkeypatch.setenv("MMCLI_ARTIFACTS", "my dir")
    assert run(*preprocess)[2].endswith("next: mmcli train-encoder")
    monkeypatch.delenv("MMCLI_ARTIFACTS")
    assert run(*preprocess)[2].endswith("next: mmcli train-encoder")


def test_what_a_time_bounds_is_said_before_anything_is_read_and_after_all_is_done(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = "bounds training; reading the table, the baselines and the proof take what they take"
    code, _, errors = run("run", "t.csv", "-t", "label", "--dry-run", "--time-budget", "90s")
    assert code == 0 and errors.startswith(f"--time-budget 90 s {bounds}"), errors
    assert bounds not in run("run", "t.csv", "-t", "label", "--dry-run")[2]
    context = SimpleNamespace(console=Console())
    for took in (89.0, 91.0):
        _say_of_time(took, Options(whole=90.0), context)  # type: ignore[arg-type]
    assert " ".join(capsys.readouterr().err.split()) == f"warning: all of it took 91 s, --time-budget was 90 s: it {bounds}"
