"""The fast part of `tests.faults.cells`, and what its largest kinds come to: see docs/security.md."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmcli.data.sharding import resolved
from mmcli.exports import resizing
from mmcli.media import addresses, frames, pictures, pixels, sound
from mmcli.modalities.audio import Audio
from mmcli.modalities.audio import Config as AudioConfig
from mmcli.modalities.image import Config, Image
from tests.faults import cells, media

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forks")


def test_there_are_hostile_cells_enough() -> None:
    assert len({(own.modality, own.name) for own in cells.cells("http://127.0.0.1:1")}) >= 250


def test_some_hostile_cells_are_rejects_in_time() -> None:
    command = [sys.executable, "-m", "tests.faults.cells", "--count", "16", "--fetch-timeout", "0.5"]
    made = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert made.stdout.splitlines()[-1] == "16 hostile cells: 0 wrong", made.stdout[-3000:] + made.stderr[-2000:]


def rejected(folder: Path, name: str, data: bytes, config: Config | None = None) -> str:
    """Why a picture cannot be read."""
    (folder / name).write_bytes(data)
    image = Image(config or Config(), (0.5,) * 3, (0.5,) * 3)
    made = image.transform(resolved([name], str(folder), image))
    assert [reject.position for reject in made.rejects] == [0]
    assert not made.column.present.any()
    return made.rejects[0].reason


def test_max_pixels_count_what_is_decoded(tmp_path: Path) -> None:
    small = Config(max_pixels=1000)
    rgb = media.png(30, 30, media.zeros(30 * 181), bits=16)
    assert "16 bits a channel, takes 14,400 bytes, over 4 * max_pixels = 1000" in rejected(tmp_path, "a.png", rgb, small)
    clear = media.png(30, 30, media.zeros(30 * 121), colour=6)
    assert "with transparency, takes 6,300 bytes" in rejected(tmp_path, "b.png", clear, small)
    assert Image(small, (0.5,) * 3, (0.5,) * 3).transform([str(tmp_path / "a.png")]).rejects
    assert not Image(Config(max_pixels=4000), (0.5,) * 3, (0.5,) * 3).transform([str(tmp_path / "a.png")]).rejects


def test_scans_are_counted_with_what_they_go_over(tmp_path: Path) -> None:
    assert "3,000 scans of 800 x 800" in rejected(tmp_path, "a.jpg", media.scans(2991, 800), Config(max_pixels=10**6))
    (tmp_path / "b.jpg").write_bytes(media.scans(200, 64))
    assert pictures.read(str(tmp_path / "b.jpg"), 0, 10**6, {}).pixels.shape == (64, 64, 3)


def test_frames_are_counted_together() -> None:
    many = frames.Index(list(range(3000)), [0], 0.1, 2000, 2000, False, form="gif")
    with pytest.raises(ValueError, match="3,000 frames of 2000 x 2000, to be decoded one after the other, are over 24"):
        frames.bounded(many, 40_000_000, 3000)
    few = frames.Index(list(range(80)), [0], 0.1, 2000, 2000, False, form="gif")
    assert frames.bounded(few, 40_000_000, 3000) == 240
    usual = frames.Index(list(range(900)), [0, 300], 0.1, 1280, 720, True, form="matroska,webm")
    assert frames.bounded(usual, 40_000_000, 3000) == 3000
    wide = frames.Index(list(range(900)), [0, 300], 0.1, 4000, 2500, True, form="matroska,webm")
    assert frames.bounded(wide, 40_000_000, 3000) == 400


def test_a_long_picture_is_padded_small_and_alike_in_exports() -> None:
    draw = np.random.default_rng(0)
    long = draw.integers(0, 255, (3, 20_000, 3), dtype=np.uint8)
    grid = torch.from_numpy(long).permute(2, 0, 1)[None]
    made = pixels.square(grid, 16, "pad", 255)[0]
    assert made.shape == (3, 16, 16)
    assert (made[:, 0] == 255).all()  # above it
    assert torch.equal(made, torch.from_numpy(resizing.square(long, 16, "pad", 255)))


def test_rates_and_samples_that_are_none(tmp_path: Path) -> None:
    audio = Audio(AudioConfig(), [0.0] * 80, [1.0] * 80)
    for name, data, why in (
        ("rate.wav", media.wave(2**32 - 1), "it claims 4,294,967,295 samples a second; no recording has more than 4,000,000"),
        (
            "loud.wav",
            media.wave(form=3, bits=32, data=np.full(99, 3e38, "<f4").tobytes()),
            "it holds samples of 3e+38, where 1",
        ),
        ("nan.wav", media.wave(form=3, bits=32, data=np.full(99, np.nan, "<f4").tobytes()), "not finite numbers"),
    ):
        (tmp_path / name).write_bytes(data)
        made = audio.transform([str(tmp_path / name)])
        assert why in made.rejects[0].reason
    samples = np.random.default_rng(0).integers(-999, 999, (5000, 3), dtype="<i2")
    (tmp_path / "three.wav").write_bytes(media.wave(channels=3, data=samples.tobytes()))
    mono, rate = sound.read(str(tmp_path / "three.wav"), 1.0)
    assert rate == 16000
    assert np.allclose(mono, samples.mean(1) / 32768, atol=1e-6)


def test_a_member_that_is_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_BOMB_BYTES", 1 << 20)
    (tmp_path / "a").mkdir()
    cell = cells.zipped(bytes(1 << 22))(tmp_path / "a")
    (path,) = resolved([cell], str(tmp_path / "a"), Image)
    with pytest.raises(ValueError, match=r"unpacked it has 4,194,304 bytes, the archive [\d,]+: that is a bomb"):
        addresses.fetch(str(path))
