"""Spoilt columns: nothing at level 0, more at higher levels, absent cells stay absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from mmcli import registry
from mmcli.modalities import Modality
from mmcli.signals import Column
from tests.conftest import write_clip


def fitted(name: str, cells: list[str], **options: Any) -> Modality:
    part = registry.load("modalities", name)
    modality: Modality = part.fit(registry.config_of(part)(**options), iter(cells))
    return modality


def example(name: str, folder: Path) -> tuple[Modality, list[str | None]]:
    generator = np.random.default_rng(0)
    if name == "image":
        Image.fromarray(generator.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(folder / "a.png")
        return fitted(name, [str(folder / "a.png")], size=32), [str(folder / "a.png"), None]
    if name == "video":
        write_clip(folder / "a.mp4")
        return fitted(name, [str(folder / "a.mp4")], size=16, frames=4), [str(folder / "a.mp4"), None]
    if name == "audio":
        soundfile.write(folder / "a.wav", 0.1 * generator.normal(size=16000) * np.linspace(0.2, 1, 16000), 16000)
        return fitted(name, [str(folder / "a.wav")]), [str(folder / "a.wav"), None]
    if name == "text":
        text = "the quick brown fox jumps over the lazy dog, 敏捷的棕色狐狸跳过懒狗"
        return fitted(name, [text] * 5), [text, None]
    if name == "number":
        return fitted(name, ["1", "2", "3"]), ["2", None]
    if name == "vector":
        return fitted(name, ["[1, 2]", "[3, 5]"]), ["[1, 2]", None]
    return fitted("category", ["a", "b", "a", "b"]), ["a", None]


NAMES = ["image", "video", "audio", "text", "number", "vector", "category"]


@pytest.mark.parametrize("name", NAMES)
def test_more_noise_is_further_away(name: str, tmp_path: Path) -> None:
    modality, cells = example(name, tmp_path)
    column = modality.restore(modality.transform(cells).column)
    assert modality.corruptions

    def distance(other: Column) -> float:
        if name == "text":
            one, two = (modality.texts(own)[0] for own in (column, other))  # type: ignore[attr-defined]
            return float(one != two) + abs(len(one) - len(two)) / 1e3
        return float((other.values.float() - column.values.float()).nan_to_num().abs().mean())

    for how in modality.corruptions:
        found = [modality.corrupt(column, how, level, torch.Generator().manual_seed(1)) for level in (0.0, 0.3, 1.0)]
        assert all(torch.equal(own.present, column.present) for own in found), how
        assert distance(found[0]) <= (0.05 if how == "jpeg" else 1e-3), how
        assert distance(found[2]) > 0, how
        if name not in {"text", "category"}:
            assert distance(found[1]) <= distance(found[2]) * 1.05, how


def test_typos_keep_most_of_a_text(tmp_path: Path) -> None:
    modality, cells = example("text", tmp_path)
    column = modality.transform(cells).column
    spoilt = modality.texts(modality.corrupt(column, "typos", 0.3, torch.Generator().manual_seed(0)))[0]  # type: ignore[attr-defined]
    original = modality.texts(column)[0]  # type: ignore[attr-defined]
    assert 0.7 * len(original) < len(spoilt) < 1.3 * len(original)
    assert spoilt != original


def test_noise_in_a_recording_has_the_power_that_is_asked(tmp_path: Path) -> None:
    """At level 1 as much as the recording: twice the power in all; at 0.1 a hundredth more."""
    modality, cells = example("audio", tmp_path)
    column = modality.transform(cells).column

    def power(own: Column) -> float:
        mean, std = torch.tensor(modality.mean), torch.tensor(modality.std)  # type: ignore[attr-defined]
        return float((own.values.float() * std + mean).exp().mean())

    clean = power(column)
    for level, factor in ((1.0, 2.0), (0.1, 1.01)):
        noisy = modality.corrupt(column, "background noise", level, torch.Generator().manual_seed(0))
        assert power(noisy) / clean == pytest.approx(factor, rel=0.1)


def test_noise_reaches_no_higher_than_recordings_of_a_lower_rate(tmp_path: Path) -> None:
    """Noise at 8,000 samples a second, read at 16,000: a fifth more is a fifth more, and bands that were empty stay so."""
    generator = np.random.default_rng(0)
    for name, wave in (("clean", generator.standard_normal(16000)), ("noisy", 1.1 * generator.standard_normal(16000))):
        soundfile.write(tmp_path / f"{name}.wav", wave / 16, 8000, subtype="FLOAT")
    modality = fitted("audio", [str(tmp_path / "clean.wav")])
    clean, right = (modality.transform([str(tmp_path / f"{name}.wav")]).column for name in ("clean", "noisy"))
    noisy = modality.corrupt(clean, "background noise", 0.21**0.5, torch.Generator().manual_seed(0))
    mean, std = torch.tensor(modality.mean), torch.tensor(modality.std)  # type: ignore[attr-defined]
    powers = [(own.values.float() * std + mean).exp().mean(0) for own in (clean, noisy, right)]
    for after in powers[1:]:
        assert (after / powers[0])[:60].median() == pytest.approx(1.21, abs=0.02)
    torch.testing.assert_close(powers[1][72:], powers[0][72:])
    again = type(modality).from_state(json.loads(json.dumps(modality.state())))
    assert again.reach == 8000  # type: ignore[attr-defined]


@pytest.mark.parametrize(("rate", "mels"), [(16000, 80), (8000, 40)])
@pytest.mark.parametrize("db", [10, 0, -5])
def test_noise_is_as_loud_as_white_noise_that_is_added_to_the_waveform(tmp_path: Path, rate: int, mels: int, db: int) -> None:
    """Of a low-pitched sound, most of whose bands are far below the noise: band by band the same power, and as uneven."""
    generator, seconds = np.random.default_rng(0), 4
    time = np.arange(rate * seconds) / rate
    wave = sum(np.sin(2 * np.pi * 140 * n * time + n) / n for n in range(1, 8)) * (1 + np.sin(2 * np.pi * 3 * time)) / 8
    noise = generator.standard_normal(len(wave)) * np.sqrt(np.mean(wave**2)) * 10 ** (-db / 20)
    paths = [str(tmp_path / f"{name}.wav") for name in ("clean", "noisy")]
    for path, samples in zip(paths, (wave, wave + noise), strict=True):
        soundfile.write(path, samples / 16, rate, subtype="FLOAT")
    modality = fitted("audio", [paths[0]], sample_rate=rate, mels=mels, normalize="none")
    clean, right = (modality.transform([path]).column for path in paths)
    noisy = modality.corrupt(clean, "background noise", 10 ** (-db / 20), torch.Generator().manual_seed(0))
    powers = [own.values.float().exp() for own in (noisy, right)]
    ratio = 10 * torch.log10(powers[0].mean(0) / powers[1].mean(0))
    assert float(ratio.mean().abs()) < 0.3  # decibels
    assert float(ratio.abs().median()) < 0.6
    high = slice(mels // 2, mels)  # nothing but noise is there: how uneven it is, in logarithms
    uneven = [own.values.float()[:, high].std(0).mean() for own in (noisy, right)]
    assert float(uneven[0] / uneven[1]) == pytest.approx(1, abs=0.15)
