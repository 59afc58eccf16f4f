"""Galleries: enrolled, searched, replaced, removed; people who are not in one; what is damaged or of another model."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from mmcli.artifacts import store, tensors
from mmcli.artifacts.lock import locked
from mmcli.cli import app
from mmcli.models import gallery
from mmcli.vectors import index
from tests.conftest import ENCODERS, shared, write_csv
from tests.stages.test_identify import _draw

pytestmark = pytest.mark.slow
COLUMNS = ["picture", "light", "person", "note"]


def run(*arguments: object, code: int = 0) -> str:
    """What is said on stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.stderr
    return " ".join(result.stderr.split())


def told(*arguments: object) -> dict[str, Any]:
    """What is printed with --json."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def _make(folder: Path) -> None:
    """A model that tells six people apart by their pictures, and tables of theirs: pictures 0 and 1 enrolled, 2 and 3 new."""
    _draw(folder)
    root = folder / "artifacts"
    run("preprocess", folder / "closed.csv", "--task", "identify", "--ignore", "light", "-a", root)
    run("train-encoder", "--arch", "gradients", *ENCODERS, "--epochs", "4", "-a", root)
    run("fuse", "--method", "concat", "--seeds", "1", "--epochs", "10", "-a", root)
    rows = [[f"{own}-{number}.png", "dark", f"p{own}", f"{own}/{number}"] for own in range(8) for number in range(4)]
    write_csv(folder / "staff.csv", COLUMNS, [row for row in rows if row[2] < "p6" and row[0][2] in "01"])
    write_csv(folder / "more.csv", COLUMNS[:3], [row[:3] for row in rows if row[2] == "p6" and row[0][2] in "01"])
    write_csv(folder / "door.csv", COLUMNS, [row for row in rows if row[0][2] in "23"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, "galleries", _make)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, "people-of-galleries", _draw)


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it all, in which one works, with the gallery `staff`."""
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    run("enrol", "staff.csv", "--gallery", "staff")
    return tmp_path / "work"


def rows_of(root: Path = Path("artifacts"), name: str = "staff") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(root / "galleries" / name / "rows.parquet").to_pylist()
    return found


def hits(path: str = "hits.csv") -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_what_is_kept_needs_no_media(here: Path) -> None:
    """Several pictures of a person apart, in half precision, with the table's other cells; search by what was enrolled."""
    rows = rows_of()
    assert len(rows) == 12
    assert rows[1] == {"id": "0-1.png", "name": "p0", "light": "dark", "note": "0/1"}
    vectors = tensors.load(Path("artifacts/galleries/staff/vectors.safetensors"))["vectors"]
    assert vectors.dtype == torch.float16
    torch.testing.assert_close(vectors.float().norm(dim=1), torch.ones(12), atol=2e-3, rtol=0)
    for picture in here.glob("*-[01].png"):
        picture.unlink()
    run("search", "--gallery", "staff", "door.csv", "-k", "3")
    found = hits()
    assert len(found) == 16 * 3
    assert [row["rank"] for row in found[:3]] == ["1", "2", "3"]
    assert found[0]["query"] == "0-2.png"
    first = {row["query"]: row for row in found if row["rank"] == "1"}
    known = [row for query, row in first.items() if query < "6"]
    assert all(row["name"] == f"p{row['query'][0]}" for row in known)
    queries = tensors.load(Path("artifacts/galleries/staff/vectors.safetensors"))["vectors"].float().numpy()
    assert all(-1 <= float(row["similarity"]) <= 1 for row in found)
    assert queries.shape[0] == 12


def test_search_says_what_brute_force_says(here: Path) -> None:
    """Of a row that is enrolled: itself first, then by the cosines of the vectors kept; k beyond the rows gives all."""
    found = told("search", "--gallery", "staff", "--image", "3-0.png", "-k", "50")["hits"]
    vectors = tensors.load(Path("artifacts/galleries/staff/vectors.safetensors"))["vectors"].double().numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = vectors @ vectors[6]
    ids = [row["id"] for row in rows_of()]
    assert [own["id"] for own in found] == [ids[place] for place in np.argsort(-alike, kind="stable")]
    np.testing.assert_allclose([own["similarity"] for own in found], np.sort(alike)[::-1], atol=2e-3)
    assert found[0]["id"] == "3-0.png"
    assert found[0]["similarity"] > 0.999


def test_a_second_table_comes_behind_and_an_id_is_of_one_row(here: Path) -> None:
    assert "'0-0.png' is in galleries/staff already Add --replace" in run("enrol", "staff.csv", "--gallery", "staff", code=3)
    assert len(rows_of()) == 12
    assert told("enrol", "more.csv", "--gallery", "staff")["rows"] == 14
    rows = rows_of()
    assert [own["id"] for own in rows[-2:]] == ["6-0.png", "6-1.png"]
    assert (rows[-1]["note"], rows[0]["note"]) == (None, "0/0")
    manifest = json.loads(Path("artifacts/galleries/staff/artifact.json").read_text())
    assert manifest["command"] == "mmcli enrol staff.csv more.csv --gallery staff"
    twice = write_csv(here / "twice.csv", COLUMNS[:3], [["7-0.png", "dark", "p7"], ["7-0.png", "dark", "p7"]])
    assert "row 2 has the id '7-0.png', as has" in run("enrol", twice, "--gallery", "other", code=3)
    assert not list(Path("artifacts/galleries").glob("*other*"))


def test_rows_are_replaced_in_their_place(here: Path) -> None:
    before = tensors.load(Path("artifacts/galleries/staff/vectors.safetensors"))["vectors"]
    write_csv(here / "new.csv", ["id", "picture", "person"], [["2-0.png", "7-0.png", "p7"], ["9", "7-1.png", "p7"]])
    found = told("enrol", "new.csv", "--gallery", "staff", "--replace")
    assert (found["rows"], found["replaced"], found["enrolled"], found["names"]) == (13, 1, 2, 7)
    after, rows = tensors.load(Path("artifacts/galleries/staff/vectors.safetensors"))["vectors"], rows_of()
    assert [rows[4]["id"], rows[4]["name"], rows[5]["name"], rows[12]["id"]] == ["2-0.png", "p7", "p2", "9"]
    same = (before == after[:12]).all(1).tolist()
    assert same == [place != 4 for place in range(12)]
    assert rows[4]["picture"] == "7-0.png"


def test_rows_are_removed_by_their_id_or_their_name(here: Path) -> None:
    vectors = tensors.load(Path("artifacts/galleries/staff/vectors.safetensors"))["vectors"]
    assert "has no such row: unknown id or name 'p22'" in run("enrol", "--gallery", "staff", "--remove", "p22", code=3)
    said = run("enrol", "--gallery", "staff", "--remove", "p2", "--remove", "0-1.png")
    assert "3 rows removed (2 of 'p2', 1 of '0-1.png'); 9 rows of 5 names in all" in said
    assert "0-1.png" not in [row["id"] for row in rows_of()]
    kept = [place for place in range(12) if place not in {1, 4, 5}]
    assert torch.equal(tensors.load(Path("artifacts/galleries/staff/vectors.safetensors"))["vectors"], vectors[kept])
    flipped(Path("artifacts/galleries/staff/rows.parquet"))  # what was removed is told all the same
    assert "'p2', '0-1.png' had been removed" in run("enrol", "staff.csv", "--gallery", "staff", "--force")
    assert len(rows_of()) == 12
    run("enrol", "--gallery", "staff", *(word for own in range(6) for word in ("--remove", f"p{own}")))
    assert "galleries/staff is empty" in run("search", "--gallery", "staff", "--image", "0-0.png", code=3)
    assert "galleries/staff is empty" in run("predict", "door.csv", "--gallery", "staff", code=3)
    assert told("enrol", "staff.csv", "--gallery", "staff")["rows"] == 12


def test_known_people_are_accepted_and_unknown_ones_are_not(here: Path) -> None:
    """By the threshold that val settled, or by another; the train rows know p6 and p7, the gallery does not."""
    said = run("predict", "door.csv", "--gallery", "staff", "-o", "seen.csv")
    rows = hits("seen.csv")
    accepted = sum(row["person_predicted_accepted"] == "True" for row in rows)
    assert f" {accepted} rows are accepted, with a similarity of " in said
    assert f"(settled on val); {len(rows) - accepted} are unknown" in said
    known = [row for row in rows if row["person"] < "p6"]
    unknown = [row for row in rows if row["person"] >= "p6"]
    assert all(row["person_predicted"] == row["person"] for row in known)
    assert all(row["person_predicted_row"][0] == row["person"][1] for row in known)
    assert sum(row["person_predicted_accepted"] == "True" for row in known) > 0.7 * len(known)
    assert not any(row["person_predicted"] == row["person"] for row in unknown)
    assert [row["person_predicted_accepted"] for row in unknown] == ["False"] * 4
    figures = told("predict", "door.csv", "--gallery", "staff", "-o", "seen.csv")
    assert (figures["accepted"], figures["unknown"]) == (accepted, len(rows) - accepted)
    assert -1 < figures["threshold"] < 1
    said = f"a similarity of {figures['threshold']:.3f} or more: taken for the same, by the threshold that val settled"
    for looked in (["--image", "3-0.png"], ["door.csv"]):
        assert told("search", "--gallery", "staff", *looked)["threshold"] == figures["threshold"]
        assert said in run("search", "--gallery", "staff", *looked)
    run("predict", "door.csv", "--gallery", "staff", "--threshold", "-1", "-o", "all.csv")
    assert all(row["person_predicted_accepted"] == "True" for row in hits("all.csv"))
    run("predict", "door.csv", "--gallery", "staff", "--threshold", "1", "-o", "none.csv")
    assert not any(row["person_predicted_accepted"] == "True" for row in hits("none.csv"))
    assert "--threshold goes with --gallery" in run("predict", "door.csv", "--threshold", "0.5", code=2)


def test_what_cannot_be_read_is_listed_and_not_enrolled(here: Path) -> None:
    Path("broken.png").write_bytes(b"no picture")
    rows = [["7-0.png", "dark", "p7"], ["broken.png", "dark", "p7"], ["7-1.png", "dark", ""], ["", "dark", "p7"]]
    write_csv(here / "bad.csv", ["picture", "light", "person"], rows)
    assert "row 4: no id" in run("enrol", "bad.csv", "--gallery", "bad", code=3)
    write_csv(here / "bad.csv", ["picture", "light", "person", "id"], [[*row, str(n)] for n, row in enumerate(rows)])
    said = run("enrol", "bad.csv", "--gallery", "bad")
    assert "1 cell cannot be read and counts as absent" in said
    assert "3 rows are left out, the first: row 2, '1': nothing of the row can be read" in said
    assert [row["id"] for row in rows_of(name="bad")] == ["0"]
    listed = hits("artifacts/galleries/bad/rejects.csv")
    assert [row["row"] for row in listed] == ["2", "2", "3", "4"]
    run("search", "--gallery", "staff", "bad.csv", "-o", "bad-hits.jsonl", "-k", "1")
    found = [json.loads(line) for line in Path("bad-hits.jsonl").read_text().splitlines()]
    assert [own["query"] for own in found] == ["0", "2"]
    assert [row["path"] for row in hits("bad-hits.rejects.csv")] == ["broken.png"]
    run("predict", "bad.csv", "--gallery", "staff", "-o", "bad-seen.csv")
    assert [row["person_predicted_accepted"] == "" or row["person_predicted"] == "" for row in hits("bad-seen.csv")] == [
        False,
        True,
        False,
        True,
    ]
    write_csv(here / "worse.csv", ["picture", "person"], [["broken.png", "p7"]])
    assert "no row can be enrolled" in run("enrol", "worse.csv", "--gallery", "worse", "--allow-missing", code=3)
    assert not list(Path("artifacts/galleries").glob("*worse*"))


@pytest.mark.parametrize("file", ["vectors.safetensors", "rows.parquet", "artifact.json"])
def test_a_flipped_bit_is_refused_with_the_command(here: Path, file: str) -> None:
    flipped(here / "artifacts" / "galleries" / "staff" / file)
    for command in (["search", "--image", "0-0.png"], ["predict", "door.csv"], ["enrol", "more.csv"]):
        said = run(*command, "--gallery", "staff", code=4)
        assert "is damaged" in said
        assert "Make it again:" in said and "--gallery staff --force" in said
    run("enrol", "staff.csv", "--gallery", "staff", "--force")
    assert len(told("search", "--gallery", "staff", "--image", "0-0.png")["hits"]) == 5


def test_a_gallery_of_a_model_that_changed_or_of_another_is_refused(here: Path) -> None:
    run("fuse", "--method", "mean", "--seeds", "1", "--epochs", "2")
    said = run("search", "--gallery", "staff", "--image", "0-0.png", "--model", "artifacts/fusions/mean", code=4)
    assert "galleries/staff holds vectors of fusions/concat, which cannot be compared with those of" in said
    run("enrol", "more.csv", "--gallery", "staff")  # by its own model, whichever is the better
    run("fuse", "--method", "concat", "--seeds", "1", "--epochs", "3")
    again = '"mmcli enrol staff.csv more.csv --gallery staff --force"'
    for command in (["search", "--image", "0-0.png"], ["predict", "door.csv"], ["enrol", "door.csv"]):
        said = run(*command, "--gallery", "staff", code=4)
        assert (
            f"galleries/staff is older than fusions/concat: its vectors are of a model that is gone Make it again: {again}"
            in said
        )
    assert "stale: fusions/concat has changed" in run("status")
    run("enrol", "staff.csv", "more.csv", "--gallery", "staff", "--force")
    assert len(rows_of()) == 14
    state = {own["name"]: own for own in told("status")["artifacts"]}["galleries/staff"]
    assert (state["state"], state["score"]) == ("complete", "14 rows of 7 names")


def test_errors_in_words(here: Path, table: Path) -> None:
    for command in (["search", "--image", "q.png"], ["predict", "door.csv"], ["enrol", "--remove", "p1"]):
        said = run(*command, "--gallery", "stuff", code=4)
        assert "there is no gallery 'stuff' in artifacts There are: staff." in said
    for name in ("a/b", "..", ".hidden", "", " "):
        assert "cannot be a name" in run("enrol", "staff.csv", "--gallery", name, code=2)
    assert "there is nothing to enrol" in run("enrol", "--gallery", "staff", code=2)
    assert "there is nothing to look up" in run("search", "--gallery", "staff", code=2)
    assert "Leave one out" in run("search", "--gallery", "staff", "door.csv", "--image", "q.png", code=2)
    assert "looks at no such column It looks at: picture (image)" in run("search", "--gallery", "staff", "--text", "x", code=2)
    assert "--value light=...: fusions/concat looks at no such" in run(
        "search", "--gallery", "staff", "--value", "light=dark", code=2
    )
    assert "picture nowhere.png:" in run("search", "--gallery", "staff", "--image", "nowhere.png", code=3)
    write_csv(here / "none.csv", ["other", "person"], [["x", "p1"]])
    assert "has none of the model's inputs: picture" in run("search", "--gallery", "staff", "none.csv", code=3)
    write_csv(here / "nameless.csv", ["picture"], [["0-3.png"]])
    assert "no column 'person', which says whom each row is of Name it: --name COL" in run(
        "enrol", "nameless.csv", "--gallery", "new", code=2
    )
    assert "already" in run("enrol", "staff.csv", "--gallery", "staff", "--dry-run", code=3)
    assert "was not written" in run("enrol", "more.csv", "--gallery", "staff", "--dry-run")
    assert len(rows_of()) == 12


def test_two_at_once_are_told(here: Path) -> None:
    with locked(Path("artifacts"), "galleries/staff"):
        assert "galleries/staff is being written by" in run("enrol", "more.csv", "--gallery", "staff", code=5)
    assert len(rows_of()) == 12


def test_a_model_of_classes_has_no_gallery(chain: Path, table: Path) -> None:
    assert "a gallery keeps unit vectors" in run("enrol", table, "--gallery", "g", "-a", chain, code=2)
    assert not (chain / "galleries").exists()


def test_an_index_is_measured_and_not_trusted_when_others_made_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    made = told("enrol", "staff.csv", "--gallery", "fast", "--index")
    assert 0.9 < made["recall_at_10"] <= 1
    artifact = store.read(Path("artifacts"), "galleries/fast", "gallery", "")
    assert artifact.manifest["files"]["index.usearch"]["fleeting"]
    exact = told("search", "--gallery", "fast", "--image", "4-2.png", "--exact")["hits"]
    assert told("search", "--gallery", "fast", "--image", "4-2.png")["hits"] == exact
    assert told("enrol", "more.csv", "--gallery", "fast")["rows"] == 14
    assert "recall_at_10" in store.read(Path("artifacts"), "galleries/fast", "gallery", "").metrics
    loaded = []
    monkeypatch.setattr(index.Index, "load", classmethod(lambda cls, path, vectors: loaded.append(path) or cls.of(vectors)))
    gallery.read(Path("artifacts"), "fast", exact=False)
    assert len(loaded) == 1
    monkeypatch.setenv("XDG_DATA_HOME", str(here / "elsewhere"))  # another user's key
    assert gallery.read(Path("artifacts"), "fast", exact=False).index is not None
    assert len(loaded) == 1
    flipped(here / "artifacts" / "galleries" / "fast" / "index.usearch")
    assert "is damaged" in run("search", "--gallery", "fast", "--image", "4-2.png", code=4)


def test_a_gallery_for_other_stores(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("export", "--gallery", "staff")
    found = pq.read_table("staff.parquet")
    assert found.column_names == ["id", "name", "light", "note", "vector"]
    assert found.column("id").to_pylist() == [row["id"] for row in rows_of()]
    vectors = tensors.load(Path("artifacts/galleries/staff/vectors.safetensors"))["vectors"].float()
    assert found.column("vector").to_pylist() == vectors.tolist()
    assert "staff.parquet is there already" in run("export", "--gallery", "staff", code=2)
    run("export", "--gallery", "staff", "--force")
    assert "--format onnx is for models" in run("export", "--gallery", "staff", "--format", "onnx", code=2)
    assert "--format parquet is for galleries" in run("export", "--format", "parquet", code=2)
    assert "there is no gallery 'stuff'" in run("export", "--gallery", "stuff", code=4)
    monkeypatch.setitem(sys.modules, "lancedb", None)
    said = run("export", "--gallery", "staff", "--format", "lancedb", code=2)
    assert "--format lancedb needs the package lancedb" in said and "pip install '.[lancedb]'" in said


def test_a_gallery_in_lancedb(here: Path) -> None:
    lancedb = pytest.importorskip("lancedb")
    for more in ([], ["--force"]):
        run("export", "--gallery", "staff", "--format", "lancedb", "-o", "stores/all", *more)
        vectors = tensors.load(Path("artifacts/galleries/staff/vectors.safetensors"))["vectors"].float()
        table = lancedb.connect("stores/all").open_table("staff")
        assert table.count_rows() == 12
        assert table.search(vectors[5].numpy()).limit(1).to_list()[0]["id"] == "2-1.png"


def test_an_exported_model_looks_rows_up_by_itself(here: Path) -> None:
    """As mmcli predict does; two files, and one to be found; the names of train rows do not go along."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from tests.stages.test_export import check_same, each_alone, run_alone

    run("export", "--to", "out")
    run("export", "--gallery", "staff", "--format", "npz", "-o", "staff.npz")
    run("predict", "door.csv", "--gallery", "staff", "-o", "wanted.csv", "--precision", "float32")
    done = run_alone(here / "out", "door.csv", "-o", "found.csv", "--gallery", "staff.npz")
    assert done.returncode == 0, done.stderr
    check_same(here / "found.csv", here / "wanted.csv")
    about = json.loads(Path("out/model.json").read_text())
    assert (about["task"]["names"], about["task"]["state"]) == ([], {})
    assert not any(f"p{own}" in Path("out/model.json").read_text() for own in range(8))
    wrong = (
        (("--find", "3-2.png"), "name it with --gallery"),
        (("--gallery", "staff.npz"), "name a table too"),
        (("--compare", "no.png", "3-2.png"), "no.png:"),
        (("door.csv", "--compare", "3-2.png", "3-2.png"), "leave one out"),
    )
    same, other, likest, *refused = each_alone(
        here / "out",
        [
            ("--compare", "0-2.png", "0-2.png"),
            ("--compare", "0-2.png", "3-2.png", "--threshold", "1"),
            ("--find", "3-2.png", "--gallery", "staff.npz", "-k", "2"),
            *(line for line, _ in wrong),
        ],
    )
    for (_, said), done in zip(wrong, refused, strict=True):
        assert done.returncode == 1
        assert said in done.stderr
    assert same.stdout.startswith("similarity 1.0000: the same (from 0.")
    assert "not the same" in other.stdout
    wanted = told("search", "--gallery", "staff", "--image", "3-2.png", "-k", "2")["hits"]
    found = [line.split() for line in likest.stdout.splitlines()]
    assert [(own["id"], own["name"]) for own in wanted] == [(line[0], line[1]) for line in found]
    assert [round(own["similarity"], 3) for own in wanted] == pytest.approx([float(line[2]) for line in found], abs=1e-2)
    run("search", "door.csv", "--gallery", "staff", "-k", "2", "-o", "hits.csv", "--precision", "float32")
    done = run_alone(here / "out", "door.csv", "-o", "found.csv", "--gallery", "staff.npz", "-k", "2")
    assert done.returncode == 0, done.stderr
    for own, right in zip(hits("found.csv"), hits("hits.csv"), strict=True):
        assert float(own.pop("similarity")) == pytest.approx(float(right.pop("similarity")), abs=1e-5)
        assert own == right
    vectors = run_alone(here / "out", "door.csv").stdout.splitlines()
    assert vectors[0] == "picture,light,person,note,person_embedding"
    own = np.array(json.loads(next(csv.reader([vectors[1]]))[-1]))
    assert np.linalg.norm(own) == pytest.approx(1, abs=1e-4)


def test_a_gallery_of_some_columns(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not looked at counts as absent; a further table is looked at in the same way."""
    root = tmp_path / "artifacts"
    run("preprocess", people / "closed.csv", "--task", "identify", "-a", root)
    run("train-encoder", "picture", "--arch", "gradients", *ENCODERS, "--epochs", "2", "-a", root)
    run("train-encoder", "light", "--arch", "mlp", *ENCODERS, "--epochs", "2", "-a", root)
    run("fuse", "--method", "concat", "--seeds", "1", "--epochs", "2", "--set", "training.decisions=false", "-a", root)
    with (people / "closed.csv").open() as file:
        rows = list(csv.reader(file))
    write_csv(people / "alone.csv", ["picture", "person"], [[row[0], row[2]] for row in rows[1:]])
    run("enrol", people / "closed.csv", "--gallery", "both", "-a", root)
    run("enrol", people / "closed.csv", "--gallery", "some", "--column", "picture", "-a", root)
    run("enrol", people / "alone.csv", "--gallery", "alone", "-a", root)
    both, some, alone = (
        tensors.load(root / "galleries" / name / "vectors.safetensors")["vectors"] for name in ("both", "some", "alone")
    )
    assert torch.equal(some, alone)
    assert not torch.equal(both, some)
    assert rows_of(root, "some")[0]["light"] == "dark"
    command = json.loads((root / "galleries" / "some" / "artifact.json").read_text())["command"]
    assert command == f"mmcli enrol {people / 'closed.csv'} --gallery some --column picture -a {root}"
    found = told(
        "search",
        people / "closed.csv",
        "--gallery",
        "some",
        "--column",
        "picture",
        "-k",
        "1",
        "-o",
        tmp_path / "h.csv",
        "-a",
        root,
    )
    assert found["hits"] == 64
    assert all(row["query"] == row["id"] and float(row["similarity"]) > 0.999 for row in hits(str(tmp_path / "h.csv")))
    assert "was begun with picture" in run(
        "enrol", people / "alone.csv", "--gallery", "some", "--column", "light", "-a", root, code=2
    )
    assert "--column pictur: unknown input 'pictur'. Did you mean 'picture'?" in run(
        "search", people / "alone.csv", "--gallery", "some", "--column", "pictur", "-a", root, code=2
    )


def test_what_would_be_lost_or_ignored_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy("door.csv", "hits.csv")
    before = Path("hits.csv").read_bytes()
    assert "written over the table itself" in run("search", "hits.csv", "--gallery", "staff", code=2)
    assert Path("hits.csv").read_bytes() == before
    both = ("--image", "a0-0.png", "--value", "picture=a0-1.png")
    assert "both say what is in 'picture'" in run("search", "--gallery", "staff", *both, code=2)
    assert "--id is for a table" in run("search", "--gallery", "staff", "--image", "x.png", "--id", "note", code=2)
    for flag in (("--column", "picture"), ("--force",), ("--encoding", "utf-8")):
        said = run("enrol", "--gallery", "staff", "--remove", "p0", *flag, code=2)
        assert f"{flag[0]} has nothing to do there" in said
    assert len(rows_of()) == 12
    write_csv(Path("one.csv"), COLUMNS[:3], [[f"{own}-0.png", "dark", f"p{own}"] for own in range(4)])
    run("enrol", "one.csv", "--gallery", "once", "--id", "person", "--name", "person")
    assert [row["id"] for row in rows_of(name="once")] == [row["name"] for row in rows_of(name="once")]


def test_the_command_that_makes_a_gallery_again_reads_the_tables_as_they_were_read(here: Path) -> None:
    Path("chinese.csv").write_bytes("picture,person,工号\n0-2.png,张三,一\n0-3.png,张三,二\n".encode("gb18030"))
    run("enrol", "chinese.csv", "--gallery", "zh", "--encoding", "gb18030", "--id", "工号")
    write_csv(Path("more2.csv"), ["picture", "person", "工号"], [["1-2.png", "李四", "三"]], encoding="gb18030")
    run("enrol", "more2.csv", "--gallery", "zh", "--encoding", "gb18030")
    command = gallery.read(Path("artifacts"), "zh").artifact.manifest["command"]
    assert command == "mmcli enrol chinese.csv more2.csv --gallery zh --id '工号' --encoding gb18030"


def test_a_gallery_that_changed_meanwhile_is_read_anew(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process enrols between the first look and the lock: nothing of what it did is lost."""
    from mmcli.stages import enrol

    held, begun = enrol.check_ids, []

    def meanwhile(*given: Any) -> set[str]:
        found = held(*given)
        if not begun:
            begun.append(True)
            run("enrol", "more.csv", "--gallery", "staff")
        return found

    monkeypatch.setattr(enrol, "check_ids", meanwhile)
    write_csv(Path("late.csv"), COLUMNS[:3], [["7-0.png", "dark", "p7"]])
    run("enrol", "late.csv", "--gallery", "staff")
    config = gallery.read(Path("artifacts"), "staff").artifact.config
    assert config["tables"] == ["staff.csv", "more.csv", "late.csv"]
    assert {row["name"] for row in rows_of()} == {f"p{own}" for own in range(8)}


def eight(name: str = "small") -> dict[str, torch.Tensor]:
    return tensors.load(Path(f"artifacts/galleries/{name}/vectors.safetensors"))


def test_vectors_in_eight_bits(here: Path) -> None:
    """Half a step off at most, a little over half the bytes, the same first hits; what is measured is said."""
    said = run("enrol", "staff.csv", "--gallery", "small", "--vectors", "int8")
    assert "% of the 10 nearest are those of float16, half the size; measured on 12 of 12 rows" in said
    measured = store.read(Path("artifacts"), "galleries/small", "gallery", "").metrics["int8"]
    assert 0.9 < measured["recall_at_10"] <= 1
    assert f"int8: {measured['recall_at_10']:.1%} of" in said
    kept, whole = eight(), eight("staff")["vectors"]
    assert {name: (own.dtype, own.shape) for name, own in kept.items()} == {
        "vectors": (torch.int8, whole.shape),
        "scales": (torch.float16, whole.shape[:1]),
    }
    sizes = [sum(own.numel() * own.element_size() for own in eight(name).values()) for name in ("small", "staff")]
    assert sizes[0] < 0.52 * sizes[1]
    scales = kept["scales"].float()[:, None]
    assert ((kept["vectors"].float() * scales - whole.float()).abs() <= scales / 2 + 1e-6).all()
    found = []
    for name in ("staff", "small"):
        run("search", "--gallery", name, "door.csv", "-k", "2")
        found.append([row for row in hits() if row["rank"] == "1"])
    assert [row["id"] for row in found[0]] == [row["id"] for row in found[1]]
    pairs = zip(*found, strict=True)
    assert all(abs(float(one["similarity"]) - float(other["similarity"])) < 0.01 for one, other in pairs)
    run("predict", "door.csv", "--gallery", "staff", "-o", "whole.csv")
    run("predict", "door.csv", "--gallery", "small", "-o", "eight.csv")
    assert [row["person_predicted_row"] for row in hits("whole.csv")] == [
        row["person_predicted_row"] for row in hits("eight.csv")
    ]
    run("export", "--gallery", "small")
    written = torch.tensor(pq.read_table("small.parquet").column("vector").to_pylist())
    torch.testing.assert_close(written, kept["vectors"].float() * scales)
    run("export", "--gallery", "small", "--format", "npz")
    assert np.load("small.npz")["vectors"].dtype == np.float16
    np.testing.assert_allclose(np.load("small.npz")["vectors"], written.numpy(), atol=1e-3)


def test_a_gallery_stays_in_eight_bits(here: Path) -> None:
    """Rows that come, that are replaced and that go leave those of the others as they were, to the bit."""
    run("enrol", "staff.csv", "--gallery", "small", "--vectors", "int8")
    before = eight()
    said = run("enrol", "more.csv", "--gallery", "small", "--vectors", "float16", code=2)
    assert "--vectors float16: galleries/small was begun with int8 Leave --vectors out" in said
    assert "measured on 12 of 12 rows" in run("enrol", "more.csv", "--gallery", "small")  # of two rows nothing is measured
    command = json.loads(Path("artifacts/galleries/small/artifact.json").read_text())["command"]
    assert command == "mmcli enrol staff.csv more.csv --gallery small --vectors int8"
    write_csv(here / "new.csv", ["id", "picture", "person"], [["2-0.png", "7-0.png", "p7"]])
    replaced = told("enrol", "new.csv", "--gallery", "small", "--replace")["int8"]
    assert (replaced["among"], replaced["drawn"]) == (12, 12)
    after = eight()
    same = (before["vectors"] == after["vectors"][:12]).all(1) & (before["scales"] == after["scales"][:12])
    assert same.tolist() == [place != 4 for place in range(12)]
    run("enrol", "--gallery", "small", "--remove", "p0")
    for name, own in eight().items():
        assert own.dtype == after[name].dtype
        assert torch.equal(own, after[name][2:])
    assert told("search", "--gallery", "small", "--image", "3-0.png")["hits"][0]["id"] == "3-0.png"
    assert "--vectors has nothing to do there" in run(
        "enrol", "--gallery", "small", "--remove", "p1", "--vectors", "int8", code=2
    )
    run("enrol", "staff.csv", "--gallery", "small", "--force")
    assert eight()["vectors"].dtype == torch.float16
    few = run("enrol", "more.csv", "--gallery", "small", "--force", "--vectors", "int8")
    assert "int8: half the size; there are too few rows to measure what it misses" in few


def test_eight_bits_without_their_scales_are_refused(here: Path) -> None:
    run("enrol", "staff.csv", "--gallery", "small", "--vectors", "int8")
    kept = eight()
    shape = (12, kept["vectors"].shape[1])
    assert gallery.kind_of({"vectors": "int8"}) == "int8" and gallery.kind_of({}) == "float16"
    assert gallery.kept_by_eight(torch.eye(11), 0) == {}
    with pytest.raises(ValueError, match="no scales"):
        gallery._kept({"vectors": kept["vectors"]}, shape, "int8")
    with pytest.raises(ValueError, match="in float16"):
        gallery._kept(kept, shape, "float16")
    with pytest.raises(ValueError, match="no number"):
        gallery._kept({**kept, "scales": torch.full((12,), torch.inf, dtype=torch.float16)}, shape, "int8")
