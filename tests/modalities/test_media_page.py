"""The section "Media" of docs/cases.md lists what is read: every item of it is made and read here, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from mmcli import registry
from mmcli.data.schema import infer
from mmcli.media import files as media
from mmcli.media import sound
from mmcli.modalities.audio import Audio
from mmcli.modalities.image import Config, Image
from mmcli.options.columns import Roles
from mmcli.tables.reading import open_table
from tests.conftest import ROOT, write_clip, write_csv, write_wave
from tests.modalities import clips, media_kinds
from tests.modalities.media_kinds import CELLS, HZ, PICTURES, SECONDS, SOUNDS


def listed(title: str) -> list[str]:
    """The items under a heading of the page's section "Media"."""
    section = (ROOT / "docs" / "cases.md").read_text(encoding="utf-8").partition("\n## Media\n")[2].partition("\n## ")[0]
    part = section.partition(f"\n### {title}\n")[2].partition("\n### ")[0]
    return re.findall(r"^- (.+?)$", part, re.MULTILINE)


@pytest.mark.parametrize(
    ("title", "made"), [("Clips", clips.CLIPS), ("Sound", SOUNDS), ("Pictures", PICTURES), ("Cells", CELLS)]
)
def test_the_page_lists_what_is_made_here(title: str, made: dict[str, object]) -> None:
    assert listed(title) == list(made)


@pytest.mark.parametrize("name", SOUNDS)
def test_each_recording_is_read(tmp_path: Path, name: str) -> None:
    try:
        path = SOUNDS[name].write(tmp_path)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"cannot be made here: {error}")
    samples, rate = sound.read(str(path), 2.0)
    assert rate == SOUNDS[name].rate
    assert len(samples) / rate == pytest.approx(SECONDS, abs=0.15)
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * rate / len(middle) == pytest.approx(HZ, abs=1.5 * rate / len(middle))
    assert np.abs(middle).max() == pytest.approx(0.4, abs=0.12)
    guess = Audio.sniff([path.name] * 3, str(tmp_path))
    assert guess.confidence > 0.98, guess


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_read(tmp_path: Path, name: str) -> None:
    kind = PICTURES[name]
    if "heif" in name:
        pytest.importorskip("pillow_heif")
    path = tmp_path / f"picture{kind.suffix}"
    path.write_bytes(kind.data())
    modality = Image.fit(Config(size=8, store="uint8"), iter([str(path)] * 3))
    again = Image.from_state(modality.state())
    encoded = again.transform([str(path)])
    assert not encoded.rejects
    left, right = encoded.column.values[0, :, 4, 0].tolist(), encoded.column.values[0, :, 4, -1].tolist()
    assert np.abs(np.subtract([left, right], kind.sides)).max() <= kind.near, (left, right)
    if "animated, named" not in name:
        assert Image.sniff([path.name] * 3, str(tmp_path)).confidence > 0.98


MEDIA = {"image": "a.png", "audio": "a.wav", "video": "a.mp4", "vector": "a.npy"}


def make(folder: Path, kind: str) -> Path:
    path = folder / MEDIA[kind]
    if kind == "image":
        media_kinds.halves().save(path)
        media_kinds.halves().save(folder / "other.png")
    elif kind == "audio":
        write_wave(path)
    elif kind == "vector":
        np.save(path, np.arange(40.0))
    else:
        write_clip(path, frames=4)
    if kind != "image":
        (folder / "other.png").write_bytes(path.read_bytes())
    return path


@pytest.mark.parametrize("kind", MEDIA)
@pytest.mark.parametrize("name", CELLS)
def test_each_cell_is_read(tmp_path: Path, name: str, kind: str) -> None:
    """As a column of a table: taken for what its files are, and read like the plain path."""
    path = make(tmp_path, kind)
    cell = CELLS[name](path)
    table = write_csv(tmp_path / "t.csv", ["x", "media", "label"], [[str(row), cell, "ab"[row % 2]] for row in range(6)])
    found = infer(open_table(table), Roles(inputs=("media",), target=("label",)))
    assert [item.modality for item in found.columns] == [kind], found.columns
    several = "several" in name or "separated" in name or name in {"names in lines", "a list as Python prints it"}
    assert any("the first is taken" in line for line in found.announcements) == several
    part = registry.load("modalities", kind)
    fitted = part.fit(registry.config_of(part)(), iter([str(path)]))
    plain, odd = (fitted.transform([own]) for own in (str(path), media.resolve(cell, str(tmp_path))))
    assert not odd.rejects
    assert torch.equal(plain.column.values, odd.column.values)
