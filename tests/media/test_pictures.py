"""Pictures: what is bounded, and what only looks as if it were too much."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcli.media import pictures, turbojpegs


def jpeg(progressive: bool, side: int = 64) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, progressive=progressive)
    return file.getvalue()


def test_scans_are_those_of_the_picture() -> None:
    assert turbojpegs._scans(jpeg(progressive=False)) == 1
    many = turbojpegs._scans(jpeg(progressive=True))
    assert many > 3
    assert turbojpegs._scans(jpeg(progressive=True) + b"\xff\xda" * 1000) == many
    first = jpeg(progressive=True)
    behind = 4 + int.from_bytes(first[4:6], "big")
    assert turbojpegs._scans(first[:behind] + b"\0junk" + first[behind:]) == many  # libjpeg passes over it


def test_a_photo_with_a_clip_behind_it_is_read(tmp_path: Path) -> None:
    """Telephones append clips and gain maps, in which the mark of a scan stands by chance."""
    path = tmp_path / "motion.jpg"
    path.write_bytes(jpeg(progressive=False) + b"ftypmp42" + b"\xff\xda\x00" * 5000)
    assert pictures.read(str(path), 0, 64 * 64 * 4, {}).pixels.shape == (64, 64, 3)


def test_too_many_scans_are_refused_with_what_allows_more(tmp_path: Path) -> None:
    whole = jpeg(progressive=True)
    place = whole.index(b"\xff\xda")
    end = whole.index(b"\xff", place + 2 + int.from_bytes(whole[place + 2 : place + 4], "big"))
    path = tmp_path / "scans.jpg"
    path.write_bytes(whole[:place] + whole[place:end] * 3000 + b"\xff\xd9")
    with pytest.raises(ValueError, match=r"scans of 64 x 64 are over 20 \* max_pixels = 4096 \(--max-pixels allows more\)"):
        pictures.read(str(path), 0, 64 * 64, {})
