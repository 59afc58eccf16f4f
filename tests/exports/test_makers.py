"""What a modality makes of a cell, its plain twin makes too: of ordinary cells, odd ones, missing and unreadable ones."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as Pillow

from mmcli import registry
from mmcli.config import validate
from mmcli.exports import jpegs
from mmcli.exports.made import MAKERS, Made, Maker
from mmcli.media import turbojpegs
from mmcli.modalities import Modality
from tests.conftest import draw, write_clip, write_wave
from tests.modalities import clips
from tests.modalities.media_kinds import PICTURES, SOUNDS

Cells = Sequence[str | None]


def fitted(name: str, cells: Cells, **options: Any) -> Modality:
    kind = registry.load("modalities", name)
    made: Modality = kind.fit(validate(registry.config_of(kind), options, name), iter([c for c in cells if c is not None]))
    return made


def twin(modality: Modality, folder: Path) -> Maker:
    """Set up from what an export says of the modality."""
    state = json.loads(json.dumps(modality.state()))
    if "tokenizer" in state:
        (folder / "tokenizer.json").write_text(json.dumps(state["tokenizer"]), encoding="utf-8")
        state["tokenizer"] = "tokenizer.json"
    module, _, kind = MAKERS[type(modality).__module__.rpartition(".")[2]].partition(".")
    made: Maker = getattr(importlib.import_module(f"mmcli.exports.{module}"), kind)(state, folder)
    return made


def check(modality: Modality, cells: Cells, folder: Path, ulps: int = 0) -> Made:
    """Holds the twin against the modality; values may differ by so many units in the last place of float16."""
    encoded = modality.transform(cells)
    signal = modality.restore(encoded.column).gather(torch.arange(len(cells)))
    made = twin(modality, folder)(cells)
    assert made.present.tolist() == signal.present.tolist()
    assert made.rejects == [(reject.position, reject.reason) for reject in encoded.rejects]
    assert made.remarks == encoded.remarks
    for own, wanted in ((made.lengths, signal.lengths), (made.times, signal.times)):
        assert (own is None) == (wanted is None)
        if own is not None and wanted is not None:
            np.testing.assert_array_equal(own, wanted.numpy())
    wanted_values = signal.values.numpy()
    assert made.values.shape == wanted_values.shape
    if ulps:
        wanted_values = wanted_values.astype(np.float32)
        far = np.abs(made.values - wanted_values) / np.spacing(np.abs(wanted_values).clip(1.0).astype(np.float16))
        assert far.max() <= ulps
    else:
        np.testing.assert_array_equal(made.values, wanted_values.astype(made.values.dtype))
    return made


def odd_files(folder: Path) -> list[str | None]:
    (folder / "empty").write_bytes(b"")
    (folder / "words.png").write_text("not what its name says")
    (folder / "folder.wav").mkdir()
    return [None, *(str(folder / name) for name in ("gone.png", "empty", "words.png", "folder.wav"))]


def test_lists_of_no_pictures_are_missing(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from mmcli.exports.graph import Model

    draw("square", "red").save(tmp_path / "a.png")
    cells: Cells = ["[]", '["a.png"]', "[null]", '["gone.png"]']
    maker = twin(fitted("image", [str(tmp_path / "a.png")], size=16), tmp_path)
    model, rejects = Model.__new__(Model), list[tuple[int, str, str, str]]()
    model.faces, model.remarks = {}, {}
    made = model._input({"picture": maker}, {"picture": cells}, str(tmp_path), 1, rejects)
    assert made.present.tolist() == [False, True, False, False]
    assert rejects == [(4, "picture", '["gone.png"]', "there is no such file")]


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_every_kind(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture{PICTURES[name].suffix}"
    path.write_bytes(PICTURES[name].data())
    modality = fitted("image", [str(path)], size=24)
    assert check(modality, [str(path), None], tmp_path).present[0]


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("store", ["float16", "uint8"])
def test_pictures_of_every_shape(fit: str, store: str, tmp_path: Path) -> None:
    rng, cells = np.random.default_rng(0), odd_files(tmp_path)
    for number, (height, width) in enumerate([(1, 1), (16, 16), (15, 90), (70, 17), (33, 32), (200, 311), (16, 40), (40, 16)]):
        pixels = rng.integers(0, 256, (height, width, 4 if number % 2 else 3)).astype(np.uint8)
        cells.append(str(tmp_path / f"{number}.png"))
        Pillow.fromarray(pixels).save(str(cells[-1]))
    check(fitted("image", cells, size=16, fit=fit, store=store, normalize="train"), cells, tmp_path)


def photograph(width: int, height: int) -> bytes:
    """Waves of every length, edges and grain."""
    y, x = np.mgrid[0:height, 0:width] / height
    waves = np.stack([np.sin(40 * x * x + 9 * y), np.cos(23 * y * y), np.where(x + y < 0.8, -0.9, 0.7)], 2)
    grainy = 127 + 110 * waves + np.random.default_rng(0).normal(0, 3, waves.shape)
    buffer = io.BytesIO()
    Pillow.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.mark.parametrize("colours", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("eighths", range(1, 9))
def test_jpegs_exactly_with_simplejpeg_and_nearly_without(
    eighths: int, colours: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each scale that leaves at least 64 pixels a side."""
    path, side = tmp_path / "photo.jpg", 64 * 8 // eighths + 3
    with Pillow.open(io.BytesIO(photograph(side * 3 // 2, side))) as image:
        image.convert(colours).save(path, quality=95)
    modality = fitted("image", [str(path)], size=32)
    wanted = check(modality, [str(path)], tmp_path).values
    monkeypatch.setattr(turbojpegs, "simplejpeg", jpegs)
    monkeypatch.setattr(jpegs, "simplejpeg", None)
    found = twin(modality, tmp_path)([str(path)]).values
    levels = np.abs(found - wanted) * np.array(modality.state()["std"]).reshape(1, 3, 1, 1) * 255
    assert levels.mean() < (2.5 if colours == "RGB" else 1.0)  # colours are stored at half the size, and smoothed otherwise
    if eighths in {1, 2, 4, 8}:
        assert levels.max() == 0


def test_a_damaged_jpeg_is_refused_without_simplejpeg_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turbojpegs, "simplejpeg", jpegs)
    monkeypatch.setattr(jpegs, "simplejpeg", None)
    data = photograph(90, 60)
    for number, damaged in enumerate((data[:700], data[:20], b"\xff\xd8\xff" + b"x" * 50)):
        (tmp_path / f"{number}.jpg").write_bytes(damaged)
    cells = [str(tmp_path / f"{number}.jpg") for number in range(3)]
    made = check(fitted("image", cells), cells, tmp_path)
    assert made.present.tolist() == [False] * 3


@pytest.mark.parametrize("name", SOUNDS)
def test_recordings_of_every_kind(name: str, tmp_path: Path) -> None:
    path = str(SOUNDS[name].write(tmp_path))
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(1).normal(0, 0.1, 8000), 16000)
    # Fitted to noise: a tone alone has bands of next to no deviation, and rounding by them is no longer rounding.
    modality = fitted("audio", [str(tmp_path / "noise.wav")], sample_rate=16000, mels=20)
    assert check(modality, [None, path], tmp_path, ulps=1).present[1]


@pytest.mark.parametrize("features", ["log-mel", "waveform"])
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 12347])
def test_recordings_of_every_rate(rate: int, features: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (round(rate * 0.7), 2))
    soundfile.write(tmp_path / "stereo.wav", noise, rate)
    soundfile.write(tmp_path / "short.flac", noise[:40], rate)
    write_wave(tmp_path / "tone.wav", 0.4, rate)
    cells = [*odd_files(tmp_path), *(str(tmp_path / name) for name in ("stereo.wav", "short.flac", "tone.wav"))]
    made = check(fitted("audio", cells, features=features, max_seconds=0.5), cells, tmp_path, ulps=1)
    assert made.present.tolist() == [False] * 5 + [True] * 3
    assert made.remarks == {"cut to 0.5 s": 1}


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(1000, np.nan), 16000, subtype="FLOAT")
    path = str(tmp_path / "x.wav")
    made = check(fitted("audio", [str(write_wave(tmp_path / "y.wav"))]), [path], tmp_path)
    assert made.rejects == [(0, "it holds samples that are not finite numbers")]


@pytest.mark.parametrize("name", clips.CLIPS)
def test_clips_of_every_kind(name: str, tmp_path: Path) -> None:
    path = str(clips.write(tmp_path, name))
    assert check(fitted("video", [path], size=16, frames=5), [None, path], tmp_path).present[1]


def test_clips_large_and_short_and_none(tmp_path: Path) -> None:
    cells = odd_files(tmp_path)
    cells += [str(write_clip(tmp_path / "large.mp4", 9, (320, 200))), str(write_clip(tmp_path / "one.gif", 1))]
    for options in ({"fit": "pad"}, {"fit": "crop", "max_decoded": 3}, {"max_pixels": 2000}):
        check(fitted("video", cells, size=16, frames=4, **options), cells, tmp_path)


TEXTS: list[str | None] = [
    "the cat sat on the mat",
    "圣诞树, 庆祝",
    "naïve café 🎃",
    "Ünïcode e\u0301",
    "a" * 500,
    "line\nbreak\ttab",
    "\u200b",
    None,
    "!",
]


@pytest.mark.parametrize("options", [{}, {"max_tokens": 4}, {"lowercase": False}, {"max_tokens": 1}])
def test_texts(options: dict[str, Any], tmp_path: Path) -> None:
    check(fitted("text", [cell for cell in TEXTS if cell] * 3, vocab_size=300, **options), TEXTS, tmp_path)


def test_a_tokenizer_that_puts_tokens_around_a_text(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    made = Tokenizer.from_str(json.dumps(fitted("text", TEXTS * 3, vocab_size=300).state()["tokenizer"]))
    made.post_processor = processors.TemplateProcessing("[BOS] $A [EOS]", special_tokens=[("[BOS]", 1), ("[EOS]", 2)])
    made.save(str(tmp_path / "given.json"))
    options = {"tokenizer": str(tmp_path / "given.json"), "special_tokens": True, "max_tokens": 5}
    found = check(fitted("text", TEXTS, **options), TEXTS, tmp_path)
    assert found.values[0].tolist()[::4] == [1, 2]


NUMBERS = [
    "1",
    "-2.5",
    "1,234.5",
    "12%",
    "$ 9",
    "１２",
    "1e400",
    "1e39",
    "nan",
    "n/a",
    None,
    " 7 ",
    "1_000",
    "−3",
    "twelve",
    "-Infinity",
]


@pytest.mark.parametrize("scale", ["standard", "robust"])
def test_numbers(scale: str, tmp_path: Path) -> None:
    made = check(fitted("number", NUMBERS[:6], scale=scale), NUMBERS, tmp_path)
    assert [why for _, why in made.rejects] == [*["not a number (in $)"] * 3, "not finite"]
    assert made.remarks == {"with 'nan', which counts as missing": 1, "with 'n/a', which counts as missing": 1}


def test_numbers_as_the_column_writes_them(tmp_path: Path) -> None:
    made = check(fitted("number", ["0,125", "1,5", "2,75", "1.234,5"]), ["0,125", "-1,5", "1.000,25", "?", None], tmp_path)
    assert made.present.tolist() == [True, True, True, False, False]
    assert made.remarks == {"with '?', which counts as missing": 1}
    kilos = check(fitted("number", ["12 kg", "7.5kg", "3 kg"]), ["9 kg", "9 lb"], tmp_path)
    assert kilos.present.tolist() == [True, False]


def test_categories(tmp_path: Path) -> None:
    modality = fitted("category", ["red", "red ", "蓝", "蓝", "once"])
    made = check(modality, ["red", " red", "蓝", "once", "new", None], tmp_path)
    assert made.values[:5, 0].tolist() == [1, 1, 2, 0, 0]
    assert made.remarks.total() == 2


DATES = {
    "%Y-%m-%d": ["2024-02-29", "1969-12-31", "2023-02-29", None, "soon", "29.02.2024"],
    "%d.%m.%Y %H:%M": ["29.02.2024 23:59", "01.01.1900 00:00", "29.02.2024", "29.02.2024 12:30+02:00"],
    "%Y年%m月%d日": ["2024年2月29日", "2024年13月1日", "2024-02-29"],
}


@pytest.mark.parametrize("form", DATES)
def test_dates(form: str, tmp_path: Path) -> None:
    check(fitted("date", DATES[form][:2], format=form), DATES[form], tmp_path)


def test_vectors(tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", np.arange(3.0))
    np.save(tmp_path / "wide.npy", np.arange(4))
    np.save(tmp_path / "text.npy", np.array(["a", "b", "c"]))
    np.savez(tmp_path / "many.npz", a=np.arange(3))
    files = [str(tmp_path / name) for name in ("good.npy", "wide.npy", "text.npy", "many.npz")]
    cells = [
        "[1, 2, 3]",
        "[4 5 6.5]",
        "[[1, 2, 3]]",
        "[1, NaN, 2]",
        "[1e300, 0, 0]",
        "[]",
        "[1, ",
        *odd_files(tmp_path),
        *files,
    ]
    assert check(fitted("vector", cells[:2]), cells, tmp_path).present.sum() == 3
    steps = ["[[1, 2], [3, 4], [5, 7]]", "[[0, 1]]", "[1, 2]", None]
    assert check(fitted("vector", steps[:2], max_steps=2), steps, tmp_path).lengths is not None


def test_no_cell_is_there(tmp_path: Path) -> None:
    """A column that a table lacks."""
    draw("round", "red").save(tmp_path / "a.png")
    known = {
        "image": [str(tmp_path / "a.png")],
        "audio": [str(write_wave(tmp_path / "a.wav"))],
        "video": [str(write_clip(tmp_path / "a.mp4"))],
        "text": ["words"],
        "number": ["1"],
        "category": ["a", "a"],
        "date": ["2024-01-01"],
        "vector": ["[1, 2]"],
    }
    assert set(known) == set(MAKERS) == set(registry.parts("modalities")), "every modality has a plain twin"
    for name, cells in known.items():
        check(fitted(name, cells), [None, None], tmp_path)
