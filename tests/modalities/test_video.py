from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from mmcli.media import frames
from mmcli.modalities.video import Config, Video, decode
from tests.conftest import write_clip


def levels(frames: torch.Tensor) -> list[int]:
    """Which frame of `write_clip` each is, by its grey level."""
    return [round(value / 20) for value in frames.float().mean((1, 2, 3)).tolist()]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi", ".gif"])
def test_frames_are_those_on_show_in_the_middle_of_equal_stretches(tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / f"a{suffix}", frames=12, rate=10)
    frames, times, _ = decode(str(path), Config(size=16, frames=4))
    # Twelve frames of 0.1 s in four stretches of 0.3 s: the middles are 0.15, 0.45, 0.75 and 1.05 s.
    assert levels(frames) == [1, 4, 7, 10]
    np.testing.assert_allclose(times, [0.1, 0.4, 0.7, 1.0], atol=0.02)


def test_a_short_clip_repeats_frames(tmp_path: Path) -> None:
    frames, _, _ = decode(str(write_clip(tmp_path / "a.mp4", frames=3)), Config(size=16, frames=6))
    assert levels(frames) == [0, 0, 1, 1, 2, 2]


def test_a_long_clip_is_decoded_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 32, 32, "yuv420p", 10
        for number in range(500):
            grey = np.full((32, 32, 3), number // 2, dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    needed: list[tuple[int, int]] = []
    original = frames.decoded
    monkeypatch.setattr(
        frames, "decoded", lambda found, clip, runs, *rest: (needed.extend(runs), original(found, clip, runs, *rest))[1]
    )
    shown, times, _ = decode(str(path), Config(size=16, frames=4))
    assert sum(last - first + 1 for first, last in needed) <= 4 * 10
    np.testing.assert_allclose(shown.float().mean((1, 2, 3)), [31, 93, 156, 218], atol=2.5)
    np.testing.assert_allclose(times, [2.5, 7.5, 12.5, 17.5], atol=0.1)


def test_where_too_much_would_be_decoded_the_nearest_keyframes_are_taken(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", frames=12)  # one keyframe, the first
    frames, times, exact = decode(str(path), Config(size=16, frames=3, max_decoded=4))
    assert not exact
    said = Video(Config(size=16, frames=3, max_decoded=4)).transform([str(path)]).remarks
    assert said == {"whose nearest keyframes were taken (max_decoded = 4)": 1}
    assert levels(frames) == [0, 0, 0]
    assert times.tolist() == [0, 0, 0]


def test_rotation_is_honoured(tmp_path: Path) -> None:
    upright, turned = tmp_path / "a.mp4", tmp_path / "b.mp4"
    with av.open(str(upright), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        pixels = np.zeros((32, 64, 3), dtype=np.uint8)
        pixels[:, :32] = 255  # the left half is white
        for _ in range(3):
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    data = bytearray(upright.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # the matrix of the track header, 16.16 fixed point
    quarter = [0, 1 << 16, 0, -(1 << 16) & 0xFFFFFFFF, 0, 0, 0, 0, 1 << 30]
    data[place : place + 36] = b"".join(value.to_bytes(4, "big") for value in quarter)
    turned.write_bytes(data)
    straight, _, _ = decode(str(upright), Config(size=16, frames=1))
    rotated, _, _ = decode(str(turned), Config(size=16, frames=1))
    assert straight[0, 0, :, :6].min() > 240
    assert rotated[0, 0, :6, :].min() > 240  # turned clockwise, left becomes top
    assert rotated[0, 0, -6:, :].max() < 15


def test_a_gif_that_moves_is_a_clip_and_one_that_does_not_is_an_image(tmp_path: Path) -> None:
    write_clip(tmp_path / "moving.gif", frames=4)
    Pillow.new("RGB", (8, 8)).save(tmp_path / "still.gif")
    assert Video.sniff(["moving.gif"] * 3, str(tmp_path)).confidence > 0.99
    assert Video.sniff(["still.gif"] * 3, str(tmp_path)).confidence == 0


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_fit(tmp_path: Path, fit: str) -> None:
    frames, _, _ = decode(str(write_clip(tmp_path / "a.mp4", frames=12, size=(64, 32))), Config(size=16, frames=1, fit=fit))
    top = frames[0, :, 0].float().mean().item()
    assert (top < 5) == (fit == "pad")
