"""A recogniser whose search takes a language model, exported: it reads what `mmcli predict` reads, in each kind of units."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmcli.errors import ExitCode
from mmcli.tasks.text import Text
from mmcli.text.lattice import Search
from tests.conftest import shared, write_csv
from tests.stages.test_export import check_same, run_alone
from tests.stages.test_text import QUICK, WORDS, bands, invoke

pytestmark = pytest.mark.slow
SEARCH = Search(5, 0.5, 1.0, slope=2.0, intercept=0.5, stranger=1.0)


def made(folder: Path, units: str, *options: str) -> Path:
    """The artifacts of a model that reads colours in a picture, trained for too short a time to read them well."""
    luck, rows = random.Random(0), []
    for number in range(60):
        words = [luck.choice(WORDS[number % 2 :]) for _ in range(2)]
        split = "train" if number < 40 else "val" if number < 50 else "test"
        rows.append([bands([*words, "white"], 2, folder / f"{number}.png"), " ".join(words), split])
    table = write_csv(folder / "data.csv", ["shown", "says", "split"], rows)
    root = folder / "artifacts"
    steps = [
        ["preprocess", table, "-t", "says", "--task", "text", "--image-size", "64", "--target-units", units, *options],
        ["train-encoder", "--arch", "crnn", "--epochs", "6", *QUICK],
        ["fuse", "--seeds", "1"],
    ]
    for step in steps:
        code, _, said = invoke(*step, "-a", root)
        assert code == ExitCode.DONE, said
    return root


@pytest.fixture(scope="session")
def spelt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of one that reads letter by letter."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Text, "tuned", lambda *_, **__: SEARCH)
            made(folder, "char", "--lm-words", "en")

    return shared(tmp_path_factory, "spelt", make) / "artifacts"


def compared(root: Path, folder: Path, out: Path, *more: str) -> pd.DataFrame:
    """What both write of the table with such options, once it is the same."""
    table = root.parent / "data.csv"
    done = run_alone(folder, table, "-o", out / "found.csv", *more)
    assert done.returncode == 0, done.stderr
    exact = ["-a", root, "--precision", "float32"]
    assert invoke("predict", table, "-o", out / "wanted.csv", *exact, *more)[0] == ExitCode.DONE
    check_same(out / "found.csv", out / "wanted.csv")
    return pd.read_csv(out / "found.csv", keep_default_na=False)


def test_an_export_searches_as_predict_does(spelt: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "exported"
    code, _, said = invoke("export", "--to", folder, "-a", spelt)
    assert code == ExitCode.DONE, said
    assert re.search(r"language_model.npz: [1-9]\.\d MB, to search for texts as mmcli predict does", said)
    assert "words of the language 'en'" in (folder / "README.md").read_text(encoding="utf-8")
    texts = compared(spelt, folder, tmp_path, "--nbest", "3")
    assert (texts["says_predicted_nbest_2"] != "").all()
    compared(spelt, folder, tmp_path, "--beam", "2")
    greedy = compared(spelt, folder, tmp_path, "--beam", "1")
    assert (texts["says_predicted"] != greedy["says_predicted"]).sum() > 10  # what would be lost
    done = run_alone(folder, spelt.parent / "data.csv", "--nbest", "6")
    assert (done.returncode, done.stderr.strip()) == (1, "error: --nbest 6: this model keeps 5 texts of a row")
    done = run_alone(folder)  # the rows that came along
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 9
    check_described(folder)
    code, _, said = invoke("export", "--to", folder, "-a", spelt, "--format", "safetensors")
    assert code == ExitCode.DONE, said
    assert (folder / "language_model.npz").exists()
    assert "weighs it: `mmcli.text.prefixes`" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("units", "options"), [("word", ()), ("bpe", ("--target-vocab", "264"))])
def test_so_it_does_in_other_units(
    units: str, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(Text, "tuned", lambda *_, **__: SEARCH)
    root, folder = made(tmp_path, units, *options), tmp_path / "exported"
    code, _, said = invoke("export", "--to", folder, "-a", root)
    assert code == ExitCode.DONE, said
    texts = compared(root, folder, tmp_path, "--nbest", "3")
    frames = run_alone(folder, tmp_path / "data.csv", "-o", tmp_path / "greedy.csv", "--beam", "1")
    assert frames.returncode == 0, frames.stderr
    greedy = pd.read_csv(tmp_path / "greedy.csv", keep_default_na=False)
    assert (texts["says_predicted"] != greedy["says_predicted"]).any()


def test_graphs_of_optimize_are_searched_so_too(spelt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(Text, "tuned", lambda *_, **__: SEARCH)
    root, table = tmp_path / "artifacts", spelt.parent / "data.csv"
    shutil.copytree(spelt, root)
    assert invoke("predict", table, "-a", root, "-o", tmp_path / "p.csv", "--precision", "float32")[0] == ExitCode.DONE
    assert invoke("predict", table, "-a", root, "-o", tmp_path / "g.csv", "--beam", "1")[0] == ExitCode.DONE
    code, _, said = invoke("optimize", "-a", root, "--only", "onnx")
    assert code == ExitCode.DONE, said
    rows = json.loads((root / "optimized/tradeoff.json").read_text(encoding="utf-8"))["rows"]
    (name,) = [row["name"] for row in rows if row["way"] == "onnx" and not row.get("reason")]
    code, _, said = invoke("optimize", "-a", root, "--only", "onnx", "--pick", name)
    assert code == ExitCode.DONE, said
    assert invoke("predict", table, "-a", root, "-o", tmp_path / "o.csv")[0] == ExitCode.DONE
    torch, greedy, graph = (pd.read_csv(tmp_path / f"{name}.csv")["says_predicted"].tolist() for name in "pgo")
    assert graph == torch
    assert sum(one != other for one, other in zip(graph, greedy, strict=True)) > 10


def check_described(folder: Path) -> None:
    task = json.loads((folder / "model.json").read_text(encoding="utf-8"))["task"]
    assert task["search"]["language_model"] == "language_model.npz"
    assert not {"grams", "lexicon", "language"} & set(task["state"])
    assert {name: task["search"][name] for name in ("width", "lm_weight", "length_bonus", "stranger")} == {
        "width": 5,
        "lm_weight": 0.5,
        "length_bonus": 1.0,
        "stranger": 1.0,
    }
    with np.load(folder / "language_model.npz", allow_pickle=False) as arrays:
        assert arrays["sizes"].dtype == np.int64
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "beam of 5 prefixes" in readme
    assert "`language_model.npz` is the language model in that beam" in readme


def test_what_is_read_greedily_brings_no_language_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(Text, "tuned", lambda *_, **__: Search(1, slope=2.0))
    root, folder = made(tmp_path, "char"), tmp_path / "exported"
    folder.mkdir()
    for name in ("model.json", "language_model.npz"):  # of another export
        (folder / name).touch()
    code, _, said = invoke("export", "--to", folder, "-a", root, "--force")
    assert code == ExitCode.DONE, said
    assert "language_model" not in said
    assert not (folder / "language_model.npz").exists()
    assert "the likeliest unit of each step" in (folder / "README.md").read_text(encoding="utf-8")
    done = run_alone(folder, tmp_path / "data.csv", "-o", tmp_path / "found.csv", "--nbest", "4")
    assert done.returncode == 0, done.stderr
    exact = ["-a", root, "--precision", "float32", "--nbest", "4"]
    assert invoke("predict", tmp_path / "data.csv", "-o", tmp_path / "wanted.csv", *exact)[0] == ExitCode.DONE
    check_same(tmp_path / "found.csv", tmp_path / "wanted.csv")
    assert (pd.read_csv(tmp_path / "found.csv", keep_default_na=False)["says_predicted_nbest_3"] != "").any()
    for flags, said in (
        (["--beam", "4"], "error: --beam 4: this model follows no beam"),
        (["--nbest", "0"], "error: --nbest 0: 1 or more"),
        (["--nbest", "25"], "error: --nbest 25: this model keeps 24 texts of a row"),
    ):
        done = run_alone(folder, tmp_path / "data.csv", *flags)
        assert (done.returncode, done.stderr.strip()) == (1, said)
    done = run_alone(folder, "--nbest", "2")
    assert (done.returncode, done.stderr.strip()) == (1, "error: --nbest is of a table: name one")
