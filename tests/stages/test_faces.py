"""Faces out of pictures, through the stages: told by columns, or found by a detector; alike in preprocess, predict, run.py."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from mmcli.cli import app
from mmcli.data.dataset import Dataset
from mmcli.media.pixels import square
from mmcli.models import predictor
from tests.conftest import ENCODERS, shared, write_csv
from tests.media import yunet

COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}


def run(*arguments: object, code: int = 0) -> str:
    """What is said on stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.stderr
    return " ".join(result.stderr.split())


def rejects(root: Path) -> list[list[str]]:
    with (root / "preprocess" / "rejects.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def stored(root: Path, column: str = "photo") -> torch.Tensor:
    """uint8 [N, 3, H, W] as preprocess wrote it."""
    dataset = Dataset.open(root)
    values = dataset.column(column).select(torch.arange(len(dataset.rows))).values
    pixels: torch.Tensor = dataset.input(column).first.denormalize(values)  # type: ignore[attr-defined]
    return pixels


def groups(folder: Path) -> Path:
    """12 group pictures of noise, on each a red and a blue square in other places, each a row; the label is the colour."""
    drawn, rows = np.random.default_rng(0), []
    for number in range(12):
        pixels = drawn.integers(60, 120, (48, 64, 3), dtype=np.uint8)
        for place, (name, colour) in enumerate(COLOURS.items()):
            left, top = 4 + 32 * place + int(drawn.integers(6)), 4 + int(drawn.integers(20))
            pixels[top : top + 16, left : left + 16] = colour
            split = ("train", "train", "val", "test")[number % 4]
            rows.append([f"{number}.png", json.dumps([left, top, 16, 16]), split, name])
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return write_csv(folder / "groups.csv", ["photo", "face", "split", "label"], rows)


def test_boxes_are_cut_and_told_and_no_input(tmp_path: Path) -> None:
    table, root = groups(tmp_path), tmp_path / "artifacts"
    said = run("preprocess", table, "--face-boxes", "face", "--face-margin", "0", "--image-size", "16", "-a", root)
    assert "faces: 'face' holds the boxes around those on 'photo'; no input" in said
    dataset = Dataset.open(root)
    assert dataset.inputs == ["photo"]
    assert dataset.schema["faces"] == {"photo": {"columns": ["face"], "points": False, "missing": "reject"}}
    with table.open() as file:
        rows = list(csv.DictReader(file))
    for pixels, row in zip(stored(root), rows, strict=True):
        left, top, wide, high = json.loads(row["face"])
        wanted = np.asarray(Image.open(tmp_path / row["photo"]).crop((left, top, left + wide, top + high)))
        assert (pixels.permute(1, 2, 0).numpy() == wanted).all()
    again = run("preprocess", table, "--face-boxes", "photo=face", "--face-margin", "0", "--image-size", "16", "-a", root)
    assert "up to date" in again
    wider = run("preprocess", table, "--face-boxes", "face", "--image-size", "16", "-a", root)
    assert "up to date" not in wider
    crop = torch.from_numpy(np.array(Image.open(tmp_path / "0.png"))).permute(2, 0, 1)[None]
    left, top, _, _ = json.loads(rows[0]["face"])
    rim = crop[..., top - 3 : top + 19, left - 3 : left + 19]  # 3.2 pixels of 16 on each side
    assert (stored(root)[0] == square(rim, 16, "stretch", 255)[0]).all()


def test_columns_of_their_own_for_each_number_in_fractions(tmp_path: Path) -> None:
    table = groups(tmp_path)
    frame = pd.read_csv(table)
    boxes = np.array([json.loads(own) for own in frame["face"]]) / [64, 48, 64, 48]
    frame[["x", "y", "w", "h"]] = boxes
    frame.drop(columns="face").to_csv(tmp_path / "each.csv", index=False)
    options = ("--face-margin", "0", "--image-size", "16")
    run("preprocess", table, "--face-boxes", "face", *options, "-a", tmp_path / "one")
    said = run("preprocess", tmp_path / "each.csv", "--face-boxes", "x,y,w,h", *options, "-a", tmp_path / "each")
    assert "column 'photo': 24 cells with a face told in fractions of the picture" in said
    assert "'x', 'y', 'w', 'h' hold the boxes" in said
    assert (stored(tmp_path / "one") == stored(tmp_path / "each")).all()


def test_a_broken_box_is_a_reject_with_row_column_and_value(tmp_path: Path) -> None:
    table, root = groups(tmp_path), tmp_path / "artifacts"
    frame = pd.read_csv(table, dtype=object)
    frame.loc[3, "face"] = "[1, 2, 0, 9]"
    frame.loc[5, "face"] = "nonsense"
    frame.loc[7, "face"] = None
    frame.loc[9, "face"] = "[200, 2, 9, 9]"
    frame.to_csv(table, index=False)
    options = ("preprocess", table, "--face-boxes", "face", "--image-size", "16", "-a", root)
    assert "4 of 24 cells of column 'photo' (16.7%) cannot be read" in run(*options, code=3)
    run(*options, "--max-bad", "20%")
    found = rejects(root)
    assert [(row, column, path) for row, column, path, _ in found] == [
        ("4", "photo", "1.png"),
        ("6", "photo", "2.png"),
        ("8", "photo", "3.png"),
        ("10", "photo", "4.png#xywh=200,2,9,9"),
    ]
    reasons = ["'face' holds '[1, 2, 0, 9]'", "'nonsense'", "no face box", "outside of the picture"]
    assert all(said in own[3] for own, said in zip(found, reasons, strict=True))
    run(*options, "--max-bad", "20%", "--face-missing", "whole")
    assert [row for row, *_ in rejects(root)] == ["4", "6", "10"]
    whole = torch.from_numpy(np.array(Image.open(tmp_path / "3.png"))).permute(2, 0, 1)[None]
    assert (stored(root)[7] == square(whole, 16, "stretch", 255)[0]).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--face-boxes", "faec"), "no column 'faec'. Did you mean 'face'?"),
        (("--face-boxes", "photos=face"), "no column 'photos'"),
        (("--face-boxes", "face,face"), "names 2 columns, expected 1 or 4"),
        (("--face-boxes", "label=face"), "'label' is no input"),
        (("--face-boxes", "face", "--face-landmarks", "face"), "told by face already"),
        (("--face-boxes", "face", "--input", "face"), "'face' is also --input"),
        (("--face-boxes", "face", "--target", "face"), "'face' is also --target"),
        (("--face-margin", "0.1"), "nothing tells where faces are"),
        (("--face-missing", "whole"), "no column tells where faces are"),
        (("--face-boxes", "face", "--face-missing", "detect"), "has no detector"),
        (("--face-missing", "no"), "unknown way 'no'"),
        (("--detector-score", "0.5"), "there is no detector"),
        (("--detector", "no.onnx"), "there is no file 'no.onnx'"),
    ],
)
def test_flags_that_cannot_be_meant(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert said in run("preprocess", groups(tmp_path), *arguments, "-a", tmp_path / "artifacts", code=2)


def test_two_columns_of_pictures_are_told_apart(tmp_path: Path) -> None:
    frame = pd.read_csv(groups(tmp_path))
    frame.insert(1, "other", frame["photo"])
    frame.to_csv(tmp_path / "two.csv", index=False)
    options = ("preprocess", tmp_path / "two.csv", "--image-size", "16", "-a", tmp_path / "artifacts")
    assert "of which pictures? there are photo, other" in run(*options, "--face-boxes", "face", code=2)
    run(*options, "--face-boxes", "other=face", "--face-margin", "0")
    other, photo = stored(tmp_path / "artifacts", "other"), stored(tmp_path / "artifacts", "photo")
    assert (other[0] == torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]).all()
    assert not (photo[0] == other[0]).all()


def test_inspect_shows_the_faces(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = run("inspect", groups(tmp_path), "--face-boxes", "face", "--sample", "4", "-o", page)
    assert "'face' holds the boxes around those on 'photo'" in said
    assert page.read_text(encoding="utf-8").count("<img") == 4


def _chain(folder: Path) -> None:
    table, root = groups(folder), folder / "artifacts"
    run("preprocess", table, "--face-boxes", "face", "--image-size", "16", "-a", root)
    run("train-encoder", "--arch", "cnn", *ENCODERS, "--epochs", "8", "-a", root)
    run("fuse", "--method", "concat", "--seeds", "1", "--epochs", "10", "-a", root)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, "faces-chain", _chain)


def pixels_of(root: Path, table: Path) -> torch.Tensor:
    """What a model is given of the photos of a table."""
    model = predictor.load(root, "cpu", "float32")
    read = next(model.read_chunks(iter([pd.read_csv(table, dtype=object)]), str(table.parent)))
    return read.columns["photo"].values


@pytest.mark.slow
def test_predict_sees_what_preprocess_saw(chain: Path, tmp_path: Path) -> None:
    root = chain / "artifacts"
    dataset = Dataset.open(root)
    own = dataset.column("photo").select(torch.arange(24)).values
    assert torch.equal(pixels_of(root, chain / "groups.csv"), own)
    frame = pd.read_csv(chain / "groups.csv")
    marks = frame["face"].map(lambda box: "#xywh=" + ",".join(map(str, json.loads(box))))
    frame.assign(photo=[str(chain / name) for name in frame["photo"] + marks]).drop(columns="face").to_csv(
        tmp_path / "marked.csv", index=False
    )
    assert torch.equal(pixels_of(root, tmp_path / "marked.csv"), own)  # cells tell it as well
    said = run("predict", chain / "groups.csv", "-a", root, "-o", tmp_path / "found.csv")
    assert "lacks" not in said
    found = pd.read_csv(tmp_path / "found.csv")
    assert (found["label_predicted"] == found["label"]).mean() > 0.9  # both squares are on every picture
    told = run("predict", tmp_path / "marked.csv", "-a", root, "-o", tmp_path / "again.csv")
    assert "lacks 'face', by which faces on 'photo' are found" in told
    columns = ["label_predicted", "label_predicted_probability"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "again.csv")[columns], found[columns])


@pytest.mark.slow
def test_another_face_of_a_known_picture_is_a_new_row(chain: Path, tmp_path: Path) -> None:
    root = chain / "artifacts"
    said = run("evaluate", chain / "groups.csv", "-a", root)
    assert "18 of 24 rows have the inputs of rows that the model was made from" in said
    frame = pd.read_csv(chain / "groups.csv")
    frame["face"] = "[1, 1, 9, 9]"
    frame["photo"] = [str(chain / name) for name in frame["photo"]]
    frame.to_csv(tmp_path / "others.csv", index=False)
    assert "have the inputs of rows" not in run("evaluate", tmp_path / "others.csv", "-a", root)


@pytest.mark.slow
def test_an_exported_model_cuts_the_same_faces(chain: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from tests.stages.test_export import check_same, run_alone

    frame = pd.read_csv(chain / "groups.csv", dtype=object)
    frame["photo"] = [str(chain / name) for name in frame["photo"]]
    frame.loc[4, "face"] = "no box"
    frame.to_csv(tmp_path / "new.csv", index=False)
    run("export", "-a", chain / "artifacts", "--to", tmp_path / "out")
    run("predict", tmp_path / "new.csv", "-a", chain / "artifacts", "-o", tmp_path / "wanted.csv", "--precision", "float32")
    done = run_alone(tmp_path / "out", tmp_path / "new.csv", "-o", tmp_path / "found.csv")
    assert done.returncode == 0, done.stderr
    assert "'face' holds 'no box'" in done.stderr
    check_same(tmp_path / "found.csv", tmp_path / "wanted.csv")


def squares(folder: Path) -> tuple[Path, Path]:
    """Pictures with red squares whose eyes are dark or light, a detector that sees them, and a table: 16 with one face, 4 with
    two of which the larger is meant, 2 without."""
    drawn, rows = np.random.default_rng(3), list[Any]()
    for number in range(22):
        tint = 255 * (number % 2)
        left, top = (16 + 32 * int(drawn.integers(2)) + 8, 16 + 8)
        own = [(left, top, 32)]
        if number >= 20:
            own = []
        elif number >= 16:
            own.append((100, 4, 16))
        yunet.scene(folder / f"{number}.png", own, tint=tint)
        rows.append([f"{number}.png", ("train", "train", "val", "test")[number // 2 % 4], "light" if tint else "dark"])
    return write_csv(folder / "squares.csv", ["photo", "split", "label"], rows), yunet.write(
        folder / "yunet.onnx", licence="MIT"
    )


def test_a_detector_finds_the_faces_and_says_how_many(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    (table, detector), root = squares(tmp_path), tmp_path / "artifacts"
    options = ("preprocess", table, "--image-size", "32", "--max-bad", "10%", "-a", root)
    said = run(*options, "--detector", detector)
    assert "column 'photo': 16 cells hold one face" in said
    assert "weights of others: yunet.onnx, which finds faces, licence: MIT" in said
    assert "column 'photo': 4 cells hold more faces than one, of which the largest is taken" in said
    assert "2 cells of column 'photo' cannot be read" in said
    assert [(row, reason) for row, _, _, reason in rejects(root)] == [
        (row, "no face was found (best score 0.00 < 0.6; --detector-score)") for row in ("21", "22")
    ]
    pixels = stored(root)
    light = pixels[1].permute(1, 2, 0).numpy()
    x, y = (yunet.PLACES[0] * 32).round().astype(int)
    assert light[y, x, 2] > 200  # the eye
    assert (stored(root)[17] == pixels[17]).all()
    assert "up to date" in run(*options, "--detector", detector)
    detector.write_bytes(yunet.write(tmp_path / "other.onnx", 160).read_bytes())
    assert "up to date" not in run(*options, "--detector", detector)
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    assert "ONNX Runtime cannot read it" in run(*options, "--detector", tmp_path / "broken.onnx", "--dry-run", code=2)
    boxes = ("--face-boxes", "split", "--detector", detector)
    assert "the detector has nothing to do" in run(*options, *boxes, code=2)


@pytest.mark.slow
def test_a_detector_goes_along_into_predictions_and_exports(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from tests.stages.test_export import check_same, run_alone

    (table, detector), root = squares(tmp_path), tmp_path / "artifacts"
    run("preprocess", table, "--detector", f"photo={detector}", "--image-size", "32", "--max-bad", "10%", "-a", root)
    detector.unlink()  # the artifact holds it
    run("train-encoder", "--arch", "cnn", *ENCODERS, "--epochs", "4", "-a", root)
    run("fuse", "--method", "concat", "--seeds", "1", "--epochs", "4", "-a", root)
    dataset = Dataset.open(root)
    assert torch.equal(pixels_of(root, table), dataset.column("photo").select(torch.arange(22)).values)
    run("export", "-a", root, "--to", tmp_path / "out")
    assert (tmp_path / "out" / "detectors" / "1.onnx").is_file()
    assert "- yunet.onnx, licence: MIT" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    run("evaluate", "--quick", "-a", root)
    for page in ("report.html", "report.md"):
        told = (root / "evaluation" / page).read_text(encoding="utf-8")
        assert "yunet.onnx, licence: MIT" in told
    said = run("predict", table, "-a", root, "-o", tmp_path / "wanted.csv", "--precision", "float32")
    assert "16 cells hold one face" in said
    done = run_alone(tmp_path / "out", table, "-o", tmp_path / "found.csv")
    assert done.returncode == 0, done.stderr
    assert "no face was found" in done.stderr
    check_same(tmp_path / "found.csv", tmp_path / "wanted.csv")


@pytest.mark.slow
def test_embeddings_of_others_take_part_like_any_encoder(tmp_path: Path) -> None:
    """An ONNX file of others reads faces that boxes tell; its artifact stands alone; who cannot run it says why."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from tests.encoders import faces
    from tests.stages.test_export import run_alone

    table, root = groups(tmp_path), tmp_path / "artifacts"
    network = faces.write(tmp_path / "arcface.onnx", licence="MIT")
    frame = pd.read_csv(table)
    frame["note"] = [f"{name} thing {row % 5}" for row, name in enumerate(frame["label"])]
    frame.to_csv(table, index=False)
    run("preprocess", table, "--face-boxes", "face", "--for", f"photo=onnx:{network}", "--type", "note=text", "-a", root)
    assert Dataset.open(root).input("photo").spec.shape == (3, 32, 32)
    said = run("train-encoder", "photo", "--arch", f"onnx:{network}", "--epochs", "20", "-a", root)
    assert "weights of others, arcface.onnx, licence: MIT" in said
    run("train-encoder", "note", "--arch", "bag", *ENCODERS, "--epochs", "5", "-a", root)
    network.unlink()
    run("fuse", "--method", "concat", "--seeds", "1", "--epochs", "10", "-a", root)
    evaluated = run("evaluate", "--quick", "-a", root)
    assert "arcface.onnx, licence: MIT" in (root / "evaluation" / "report.md").read_text(encoding="utf-8"), evaluated
    run("predict", table, "-a", root, "-o", tmp_path / "found.csv")
    found = pd.read_csv(tmp_path / "found.csv")
    assert (found["label_predicted"] == found["label"]).all()
    skipped = [word for step in ("distill", "finetune", "prune", "search", "aot", "ensemble") for word in ("--skip", step)]
    run("optimize", *skipped, *ENCODERS, "-a", root)
    tried = json.loads((root / "optimized" / "tradeoff.json").read_text())
    assert any(own["way"] == "onnx" and "score" in own for own in tried["rows"])
    said = run("export", "-a", root, "--to", tmp_path / "out")
    assert "will not take tables, only tensors: the encoder photo prepares its input in a way that only it knows" in said
    done = run_alone(tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "largest difference from PyTorch" in done.stdout


@pytest.mark.slow
def test_a_column_of_vectors_is_embeddings_of_others(tmp_path: Path) -> None:
    drawn, rows, root = np.random.default_rng(0), list[list[str]](), tmp_path / "artifacts"
    for person in range(18):
        own = drawn.normal(size=8)
        for view in range(4):
            values = [round(float(value), 4) for value in own + 0.3 * drawn.normal(size=8)]
            split = "train" if person < 10 else "val" if person < 14 else "test"
            rows.append([json.dumps(values), f"p{person:02}", split, f"{view}"])
    table = write_csv(tmp_path / "people.csv", ["vector", "person", "split", "view"], rows)
    run("preprocess", table, "--task", "identify", "--target", "person", "--ignore", "view", "-a", root)
    run("train-encoder", "--epochs", "5", *ENCODERS, "-a", root)
    run("fuse", "--method", "concat", "--seeds", "1", "--epochs", "5", "-a", root)
    run("evaluate", "--quick", "-a", root)
    told = json.loads((root / "evaluation" / "metrics.json").read_text())
    assert told["test"]["fused"]["rank1"]["value"] > 0.8


@pytest.mark.slow
def test_a_gallery_keeps_and_finds_faces_of_group_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people on each picture: which of them is looked for is told by a column, or by the cell itself."""
    from tests.stages.test_identify import _draw

    _draw(tmp_path)
    monkeypatch.chdir(tmp_path)
    rows, split_of = list[list[str]](), ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    for person in range(0, 8, 2):
        for number in range(8):
            group = Image.new("L", (80, 48), 128)
            for place in (0, 1):
                group.paste(Image.open(f"{person + place}-{number}.png"), (4 + 40 * place, 8))
                box = json.dumps([4 + 40 * place, 8, 32, 32])
                rows.append([f"g{person}-{number}.png", box, f"p{person + place}", split_of[number]])
            group.save(f"g{person}-{number}.png")
    header = ["picture", "face", "person", "split"]
    write_csv(tmp_path / "groups.csv", header, rows)
    write_csv(tmp_path / "staff.csv", header[:3], [row[:3] for row in rows if row[3] == "train"])
    write_csv(tmp_path / "door.csv", header[:3], [row[:3] for row in rows if row[3] == "test"])
    run("preprocess", "groups.csv", "--task", "identify", "--face-boxes", "face", "--face-margin", "0", "--image-size", "32")
    run("train-encoder", "--arch", "gradients", *ENCODERS, "--epochs", "4")
    run("fuse", "--method", "concat", "--seeds", "1", "--epochs", "10")
    run("enrol", "staff.csv", "--gallery", "staff")
    run("search", "door.csv", "--gallery", "staff", "-k", "1", "-o", "hits.csv")
    hits = pd.read_csv("hits.csv")
    assert (hits["name"] == [row[2] for row in rows if row[3] == "test"]).mean() > 0.9
    for place, box in enumerate(("4,8,32,32", "44,8,32,32")):
        found = CliRunner().invoke(
            app, ["search", "--gallery", "staff", "--image", f"g2-7.png#xywh={box}", "-k", "1", "--json"]
        )
        assert json.loads(found.stdout)["hits"][0]["name"] == f"p{2 + place}"
    assert "no face box" in run("search", "--gallery", "staff", "--image", "g2-7.png", code=3)
