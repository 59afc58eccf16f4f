"""An exported model of columns that belong together: run.py gives the vectors of predict and the hits of search by itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mmcli.artifacts import tensors
from mmcli.cli import app
from tests.conftest import ENCODERS, shared, write_csv
from tests.stages.test_contrastive import _draw, _train, run
from tests.stages.test_export import each_alone, records, run_alone

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures that share their encoders, and a text; some cells missing."""
    return shared(tmp_path_factory, "views", _draw)


def _export(views: Path, made: Path, folder: Path) -> None:
    root = folder / "root"
    shutil.copytree(made / "root", root)
    run("enrol", views / "views.csv", "--gallery", "drawings", "--column", "drawn", "--id", "drawn", "-a", root)
    run("export", "-a", root, "--to", folder / "out")
    run("export", "-a", root, "--gallery", "drawings", "--format", "npz", "-o", folder / "drawings.npz")


@pytest.fixture(scope="module")
def exported(views: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`root`, its export `out`, and a gallery of the drawn pictures."""
    made = shared(tmp_path_factory, "contrastive", lambda folder: _train(views, folder / "root"))
    return shared(tmp_path_factory, "exported-columns", lambda folder: _export(views, made, folder))


def check_near(found: Path, wanted: Path, near: float = 1e-5) -> None:
    """The same columns and rows; numbers and vectors up to what float32 leaves."""
    ours, theirs = records(found), records(wanted)
    assert list(ours[0]) == list(theirs[0])
    assert len(ours) == len(theirs)
    for own, right in zip(ours, theirs, strict=True):
        for column, cell in own.items():
            if "together_" in column and cell and right[column]:
                np.testing.assert_allclose(json.loads(cell), json.loads(right[column]), atol=near, err_msg=column)
            else:
                assert cell == right[column], column


def told(*arguments: object) -> list[dict[str, Any]]:
    """The hits that mmcli search tells."""
    result = CliRunner().invoke(app, [str(own) for own in ("search", *arguments, "--json", "--precision", "float32")])
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)["hits"]
    return found


def test_a_table_gets_likeness_and_vectors(views: Path, exported: Path, tmp_path: Path) -> None:
    done = run_alone(exported / "out", views / "views.csv", "-o", tmp_path / "found.csv")
    assert done.returncode == 0, done.stderr
    command = ("predict", "-a", exported / "root", "--precision", "float32", "--embeddings", "-o", tmp_path / "wanted.csv")
    run(*command, views / "views.csv")
    check_near(tmp_path / "found.csv", tmp_path / "wanted.csv")
    rows = records(tmp_path / "found.csv")
    assert rows[10]["together_predicted_drawn_inverted"] == rows[10]["together_embedding_inverted"] == ""
    assert rows[10]["together_predicted"] == rows[10]["together_predicted_drawn_said"] != ""
    said = [[row["said"]] for row in rows]
    table = write_csv(tmp_path / "said.csv", ["said"], said)
    done = run_alone(exported / "out", table, "-o", tmp_path / "found.csv")
    assert "lacks the columns drawn, inverted: absent in every row" in done.stderr
    run(*command, table)
    check_near(tmp_path / "found.csv", tmp_path / "wanted.csv")
    alone = records(tmp_path / "found.csv")
    assert alone[1]["together_predicted"] == "" and json.loads(alone[1]["together_embedding_said"])


def check_hits(found: Path, wanted: Path) -> list[dict[str, str]]:
    """The same hits of the same rows, as alike but for the rounding of half precision."""
    ours, theirs = records(found), records(wanted)
    for own, right in zip(ours, theirs, strict=True):
        assert float(own.pop("similarity")) == pytest.approx(float(right.pop("similarity")), abs=1e-5)
        assert own == right
    return ours


def test_rows_get_the_hits_of_search(views: Path, exported: Path, tmp_path: Path) -> None:
    table, gallery = views / "views.csv", ("--gallery", exported / "drawings.npz")
    search = (
        "search",
        "--gallery",
        "drawings",
        "-a",
        exported / "root",
        "--precision",
        "float32",
        "-o",
        tmp_path / "wanted.csv",
    )
    done = run_alone(exported / "out", table, *gallery, "--column", "said", "-o", tmp_path / "found.csv")
    assert done.returncode == 0, done.stderr
    assert "rows have no hits, since nothing of them can be read, the first: row 1" in done.stderr
    run(*search, table, "--column", "said")
    hits = check_hits(tmp_path / "found.csv", tmp_path / "wanted.csv")
    assert len(hits) == 5 * sum(bool(row["said"]) for row in records(table))
    assert hits[0]["query"] == "2" and hits[0]["rank"] == "1"
    both = ("--column", "inverted", "--column", "said", "--id", "drawn")
    done = run_alone(exported / "out", table, *gallery, *both, "-k", "2", "-o", tmp_path / "found.csv")
    run(*search, table, *both, "-k", "2")
    hits = check_hits(tmp_path / "found.csv", tmp_path / "wanted.csv")
    assert [row["query"] for row in hits[:4]] == ["a1.png", "a1.png", "a2.png", "a2.png"]  # of the first row both are absent
    alone = write_csv(tmp_path / "alone.csv", ["inverted"], [[str(views / "b101.png")]])
    done = run_alone(exported / "out", alone, *gallery, "-o", tmp_path / "found.csv")
    run(*search, alone)
    assert check_hits(tmp_path / "found.csv", tmp_path / "wanted.csv")[0]["query"] == str(views / "b101.png")


def test_a_picture_or_a_text_is_found_and_two_are_compared(views: Path, exported: Path) -> None:
    out, gallery, rows = exported / "out", ("--gallery", exported / "drawings.npz"), records(views / "views.csv")
    said, where = rows[101]["said"], ("-a", exported / "root", "--gallery", "drawings", "-k", "3")
    asked: tuple[tuple[tuple[Any, ...], tuple[str, str]], ...] = (
        (("--find-text", said), ("--text", said)),
        (("--find", said, "--column", "said"), ("--text", said)),
        (("--find", views / "b101.png", "--column", "inverted"), ("--value", f"inverted={views / 'b101.png'}")),
    )
    pictures = ("--compare", views / "a101.png", views / "a101.png", "--column", "drawn", "--threshold", "0.5")
    two = ("--compare", views / "a101.png", said, "--column", "drawn", "--column", "said")
    lines = [(*given, *gallery, "-k", "3") for given, _ in asked]
    *every, least, alike, same = each_alone(out, [*lines, ("--find-text", said, *gallery, "--threshold", "2"), two, pictures])
    for (_, wanted), done in zip(asked, every, strict=True):
        assert done.returncode == 0, done.stderr
        found = [line.split("  ") for line in done.stdout.splitlines()]
        hits = told(*wanted, *where)
        assert [(own["id"], own["name"]) for own in hits] == [(line[0], line[1]) for line in found]
        assert [own["similarity"] for own in hits] == pytest.approx([float(line[2]) for line in found], abs=1e-4)
        assert all(len(line) == 3 for line in found)  # val has settled nothing that they are accepted by
    assert least.stdout.count("not accepted") == 5
    predicted = exported / "root" / "together.csv"
    run("predict", views / "views.csv", "-a", exported / "root", "--precision", "float32", "-o", predicted)
    row = records(predicted)[101]
    assert alike.stdout == f"similarity {float(row['together_predicted_drawn_said']):.4f}\n"
    assert same.stdout == "similarity 1.0000: the same (from 0.5000 on)\n"


def test_what_cannot_be_looked_up_is_told(views: Path, exported: Path) -> None:
    gallery, picture = ("--gallery", exported / "drawings.npz"), views / "a1.png"
    wrong: tuple[tuple[tuple[Any, ...], str], ...] = (
        (("--find", picture, *gallery), "--find: say which of drawn, inverted it is of, by --column"),
        (("--find", picture), "--find looks in a gallery: name it with --gallery"),
        (("--find-text", "x"), "--find-text looks in a gallery"),
        (("--find-text", "x", *gallery, "--column", "drawn"), "--find-text: of the columns drawn none is of texts"),
        (("--find-text", " ", *gallery), "' ' says nothing to the model: it counts as missing"),
        (("--find", views / "no.png", "--column", "drawn", *gallery), "no.png:"),
        (("--compare", picture, "x", "--find-text", "x"), "are asked one at a time"),
        (("--compare", picture, picture), "--compare: say which of drawn, inverted it is of"),
        (("--compare", picture, picture, *gallery), "leave --gallery out"),
        (("--compare", picture, picture, "--column", "draw"), "--column draw: the model looks at drawn, inverted, said"),
        ((views / "views.csv", "--column", "said"), "--column goes with --gallery"),
        ((views / "views.csv", "-k", "2"), "-k is how many rows of a gallery are told"),
        ((views / "views.csv", "--id", "said"), "--id says what the rows of a table are called"),
        ((views / "views.csv", *gallery, "--id", "sad"), "--id sad: "),
        ((views / "views.csv", *gallery, "--threshold", "0.5"), "each hit is told with its similarity"),
    )
    every = each_alone(exported / "out", [arguments for arguments, _ in wrong])
    for (arguments, said), done in zip(wrong, every, strict=True):
        assert done.returncode == 1, arguments
        assert said in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_the_rows_that_came_along_and_the_readme(exported: Path) -> None:
    done = run_alone(exported / "out")
    assert float(done.stdout.splitlines()[0].rpartition(" ")[2]) < 1e-4
    assert len(done.stdout.splitlines()) == 9
    about = json.loads((exported / "out" / "model.json").read_text())
    assert about["task"]["columns"] == ["drawn", "inverted", "said"] and about["task"]["state"] == {}
    text = (exported / "out" / "README.md").read_text()
    assert "`outputs` [rows, 3, 128]" in text and "python run.py --find-text TEXT --gallery icons.npz" in text
    assert "threshold" not in text


@pytest.mark.parametrize("form", ["onnx-int8", "safetensors"])
def test_other_formats(form: str, views: Path, exported: Path, tmp_path: Path) -> None:
    run("export", "-a", exported / "root", "--format", form, "--to", tmp_path / "out")
    example = tensors.load(tmp_path / "out" / "example.safetensors")
    assert example["outputs"].shape == (8, 3, 128)
    if form == "safetensors":
        assert (tmp_path / "out" / "model.safetensors").exists()
        return
    done = run_alone(tmp_path / "out", views / "views.csv", "-o", tmp_path / "found.csv")
    whole = run_alone(exported / "out", views / "views.csv", "-o", tmp_path / "wanted.csv")
    assert done.returncode == whole.returncode == 0
    check_near(tmp_path / "found.csv", tmp_path / "wanted.csv", near=0.05)
    rows = records(tmp_path / "found.csv")
    assert rows[10]["together_embedding_inverted"] == rows[0]["together_embedding_said"] == ""


def test_torch_export_is_refused(exported: Path, tmp_path: Path) -> None:
    said = run("export", "-a", exported / "root", "--format", "torch-export", "--to", tmp_path / "out", code=2)
    assert "its script knows no a vector for each column" in said


def test_one_picture_one_text_and_fields(views: Path, tmp_path: Path) -> None:
    """Where there is one column of files and one of texts, nothing has to be said of columns; fields are one column together,
    and what has no encoder in the model has no vectors."""
    rows = [
        [row["drawn"], row["said"] or "none", str(place % 9), "ab"[place % 2]]
        for place, row in enumerate(records(views / "views.csv"))
    ]
    table, root = write_csv(views / "one.csv", ["drawn", "said", "size", "make"], rows), tmp_path / "root"
    run("preprocess", table, "--task", "contrastive", "-a", root, "--image-size", "32")
    run("train-encoder", "--arch", "pixels", "--arch", "axes", "--arch", "mlp", *ENCODERS, "--epochs", "1", "-a", root)
    run("fuse", "--epochs", "2", "-a", root)
    run("enrol", table, "--gallery", "texts", "--column", "said", "-a", root)
    run("export", "-a", root, "--to", tmp_path / "out")
    run("export", "-a", root, "--gallery", "texts", "--format", "npz", "-o", tmp_path / "texts.npz")
    done = run_alone(tmp_path / "out", table, "-o", tmp_path / "found.csv")
    assert done.returncode == 0, done.stderr
    run("predict", table, "-a", root, "--precision", "float32", "--embeddings", "-o", tmp_path / "wanted.csv")
    check_near(tmp_path / "found.csv", tmp_path / "wanted.csv")
    done = run_alone(tmp_path / "out", "--find", views / "a3.png", "--gallery", tmp_path / "texts.npz", "-k", "2")
    wanted = told("--image", views / "a3.png", "--gallery", "texts", "-k", "2", "-a", root)
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == [own["id"] for own in wanted]
