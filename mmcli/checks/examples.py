"""Cells to try parts on: values as a table has them, and tiny files that are made for the purpose. Knows no part.

A file of a user's own may bring others, that its part reads better, as a plain list: `EXAMPLES`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image, ImageDraw

CODECS = {".mp4": "libx264", ".mkv": "libx264", ".mov": "libx264", ".avi": "mpeg4", ".gif": "gif"}
TARGETS: dict[str, list[tuple[str | None, ...]]] = {
    "classification": [("a",), ("b",), ("c",)] * 8,
    "regression": [(str(number), f"{number * number % 7}%") for number in range(24)],
    "text": [("one two",), ("two three one",), ("Three, one",), ("a fourth text",), ("one one two",)] * 5,
    "identify": [("ann",), ("bob",), ("cem",)] * 8,
    "multilabel": [("a|b",), ("b|c",), (None,), ("c",)] * 6,
}
"""Task -> target cells that are of its kind."""


def write_wave(path: Path, seconds: float = 0.3, rate: int = 16000, hz: float = 440.0, channels: int = 1) -> Path:
    """A tone, as 16-bit WAV."""
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, np.repeat(0.3 * np.sin(2 * np.pi * hz * time)[:, None], channels, axis=1), rate, format="WAV")
    return path


def write_clip(path: Path, frames: int = 12, size: tuple[int, int] = (48, 32), rate: int = 10, codec: str = "") -> Path:
    """A clip whose frame i is grey of level 20 i: told apart after any compression."""
    with av.open(str(path), "w") as container:
        codec = codec or CODECS[path.suffix]
        stream: Any = container.add_stream(codec, rate=rate)
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
    """A round or square shape on white."""
    image = Image.new("RGB", (size, size), "white")
    box = (4, 4, size - 5, size - 5)
    (ImageDraw.Draw(image).ellipse if shape == "round" else ImageDraw.Draw(image).rectangle)(box, fill=colour)
    return image


@cache
def cells() -> dict[str, list[str | None]]:
    """Modality -> five cells: three fine ones, a missing one, and a bad one where there can be one."""
    folder = Path(_kept.enter_context(tempfile.TemporaryDirectory()))
    for number, colour in enumerate(("red", "blue", "green")):
        draw("round", colour).save(folder / f"{number}.png")
        write_wave(folder / f"{number}.wav", seconds=0.1 * (number + 1))
        write_clip(folder / f"{number}.mp4", frames=4 + number)
    (folder / "bad.png").write_bytes(b"not a picture")
    (folder / "bad.wav").write_bytes(b"RIFF, and no more")
    (folder / "bad.mp4").write_bytes(b"not a clip")

    def files(suffix: str) -> list[str | None]:
        return [*(str(folder / f"{number}{suffix}") for number in range(3)), None, str(folder / f"bad{suffix}")]

    return {
        "image": files(".png"),
        "text": ["one two", "南瓜灯", "a third", None, "two\n three"],
        "number": ["1.5", "-2", "1,000", None, "many"],
        "category": ["red", "red", "red", None, "green"],
        "date": ["2026-01-31", "2025-12-24", "1999-01-01", None, "yesterday"],
        "vector": ["[1, 2, 3]", "[0.5, 1e3, -2]", "[3, 2, 1]", None, "[1, 2]"],
        "audio": files(".wav"),
        "video": files(".mp4"),
    }


def five(examples: Sequence[str]) -> list[str | None]:
    """Five such cells of examples that a file brings: three of them, a missing one, and one that it may not expect."""
    return [*(str(cell) for cell in examples[:3]), None, "\x07?"]


_kept = contextlib.ExitStack()
"""Holds the folder of the files as long as the process lives."""
