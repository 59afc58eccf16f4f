"""Tables small enough to train on in seconds, and one chain that the tests of later stages share."""

from __future__ import annotations

import csv
import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image, ImageDraw

os.environ.setdefault("COLUMNS", "120")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers are the parallelism
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MMCLI_THREADS", "1")
os.environ["MMCLI_CACHE"] = tempfile.mkdtemp()  # choices of how to compute are not those of the user's machine
ROOT = Path(__file__).parent.parent
SMALL = (
    "--set=encoder.cnn.width=4",
    "--set=encoder.cnn.stages=2",
    "--set=encoder.bag.buckets=512",
    "--set=encoder.bag.dim=16",
    "--set=encoder.rnn.hidden=8",
    "--set=encoder.rnn.embedding=8",
    "--set=train-encoder.training.epochs=4",
    "--set=fuse.training.epochs=20",
    "--set=optimize.training.epochs=2",
)
"""Options that make every model tiny."""

WORDS = {"round": ["apple", "ball", "苹果", "球"], "square": ["box", "window", "箱子", "窗户"]}
MANNERS = ["a", "the", "my", "one", "some", "this", "that", "any", "no", "each", "这个", "那个"]


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_wave(path: Path, seconds: float = 0.3, rate: int = 16000, hz: float = 440.0, channels: int = 1) -> Path:
    """A tone, as 16-bit WAV."""
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, np.repeat(0.3 * np.sin(2 * np.pi * hz * time)[:, None], channels, axis=1), rate, format="WAV")
    return path


def write_clip(path: Path, frames: int = 12, size: tuple[int, int] = (48, 32), rate: int = 10, codec: str = "") -> Path:
    """A clip whose frame i is grey of level 20 i: told apart after any compression."""
    with av.open(str(path), "w") as container:
        codec = codec or {".mp4": "libx264", ".mkv": "libx264", ".mov": "libx264", ".avi": "mpeg4", ".gif": "gif"}[path.suffix]
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), min(20 * number, 255), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=stream.pix_fmt)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
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
        rows.append(
            [f"r{number}", name, f"{draw_from.choice(MANNERS)} {draw_from.choice(WORDS[shape])}", split, f"{colour} {shape}"]
        )
    return write_csv(folder / "data.csv", ["id", "picture", "word", "split", "label"], rows)


@pytest.fixture(scope="session")
def chain(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts root of a whole chain over `table`, tiny. Tests must not change it."""
    from typer.testing import CliRunner

    from mmcli.cli import app

    root = tmp_path_factory.mktemp("chain") / "artifacts"
    arguments = ["run", str(table), "--artifacts", str(root), "--image-size", "16", "--trials", "3", *SMALL]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return root
