"""Tables small enough to train on in seconds, and one chain that the tests of later stages share."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

os.environ.setdefault("COLUMNS", "120")
ROOT = Path(__file__).parent.parent
SMALL = (
    "--set=encoder.cnn.width=4",
    "--set=encoder.cnn.stages=2",
    "--set=encoder.bag.buckets=512",
    "--set=encoder.bag.dim=16",
    "--set=encoder.rnn.hidden=8",
    "--set=encoder.rnn.embedding=8",
    "--set=train-encoder.training.epochs=4",
    "--set=fuse.training.epochs=6",
    "--set=optimize.training.epochs=2",
)
"""Options that make every model tiny."""

WORDS = {"round": ["apple", "ball", "苹果", "球"], "square": ["box", "window", "箱子", "窗户"]}


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def draw(shape: str, colour: str, size: int = 24) -> Image.Image:
    image = Image.new("RGB", (size, size), "white")
    box = (4, 4, size - 5, size - 5)
    (ImageDraw.Draw(image).ellipse if shape == "round" else ImageDraw.Draw(image).rectangle)(box, fill=colour)
    return image


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 rows: a picture of a shape in a colour, a word for the shape; the label joins the two."""
    folder = tmp_path_factory.mktemp("table")
    draw_from = random.Random(0)
    rows = []
    for number in range(60):
        shape, colour = ("round", "square")[number % 2], ("red", "blue")[number // 2 % 2]
        name = f"pictures/{number}.png"
        (folder / "pictures").mkdir(exist_ok=True)
        draw("round", colour).save(folder / name)
        split = ("train", "train", "train", "val", "test")[number // 4 % 5]
        rows.append([f"r{number}", name, draw_from.choice(WORDS[shape]), split, f"{colour} {shape}"])
    return write_csv(folder / "data.csv", ["id", "picture", "word", "split", "label"], rows)


@pytest.fixture(scope="session")
def chain(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts root of a whole chain over `table`, tiny. Tests must not change it."""
    from typer.testing import CliRunner

    from mmcli.cli import app

    root = tmp_path_factory.mktemp("chain") / "artifacts"
    arguments = ["run", str(table), "--artifacts", str(root), "--image-size", "16", *SMALL]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return root
