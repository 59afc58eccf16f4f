"""A column whose cells name files that are there is never silently text."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow
from typer.testing import CliRunner

from mmcli.cli import app
from mmcli.data.schema import Schema, infer
from mmcli.errors import DataError
from mmcli.media import files as media
from mmcli.media import looking, magic
from mmcli.modalities.image import Config, Image
from mmcli.options.columns import Roles
from mmcli.tables.reading import open_table
from tests.conftest import draw, write_clip, write_csv, write_wave
from tests.modalities.media_kinds import heic, saved, tone


def schema_of(folder: Path, cells: list[str], **roles: object) -> Schema:
    rows = [[str(row * 7 % 5), cell, "ab"[row % 2]] for row, cell in enumerate(cells)]
    return infer(open_table(write_csv(folder / "t.csv", ["x", "c", "label"], rows)), Roles(**roles))  # type: ignore[arg-type]


def kind_of(found: Schema) -> str:
    return next((item.modality for item in found.columns if item.name == "c"), "")


def fill(folder: Path, names: list[str], data: Callable[[int], bytes]) -> list[str]:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data(number))
    return names


PNG = saved("PNG")


@pytest.mark.parametrize(
    "names",
    [
        [hashlib.md5(str(row).encode()).hexdigest() for row in range(24)],
        [f"m/{hashlib.md5(str(row).encode()).hexdigest()[:12]}" for row in range(24)],
        [f"IMG_{row}" for row in range(24)],
        [f"user_{row}" for row in range(24)],
        [str(row) for row in range(1, 25)],
        [f"{row}.dat" for row in range(24)],
        [f"photo.{row}" for row in range(24)],
        [f"{row:08x}-0000-4000-8000-000000000000" for row in range(24)],
    ],
    ids=lambda names: names[1],
)
def test_names_that_look_like_ids_or_numbers_are_pictures_where_such_files_are(tmp_path: Path, names: list[str]) -> None:
    assert kind_of(schema_of(tmp_path, names)) != "image"  # nothing is there yet
    fill(tmp_path, names, lambda row: PNG)
    assert kind_of(schema_of(tmp_path, names)) == "image"


def test_files_are_what_they_hold_not_what_they_are_called(tmp_path: Path) -> None:
    write_wave(tmp_path / "a.png")
    draw("round", "red").save(tmp_path / "a.wav", format="PNG")
    write_clip(tmp_path / "a.mp4").rename(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.ones(4))
    (tmp_path / "b.npy").rename(tmp_path / "b.mp4")
    found = {name: kind_of(schema_of(tmp_path, [name, f"{name} "] * 6)) for name in ("a.png", "a.wav", "a.npy", "b.mp4")}
    assert found == {"a.png": "audio", "a.wav": "image", "a.npy": "video", "b.mp4": "vector"}


def test_a_recording_with_a_cover_is_a_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(16000), 16000)
    data = (tmp_path / "a.flac").read_bytes()
    cover, mime = saved("PNG"), b"image/png"
    picture = (3).to_bytes(4, "big") + len(mime).to_bytes(4, "big") + mime + (0).to_bytes(4, "big")
    picture += b"".join(value.to_bytes(4, "big") for value in (32, 32, 24, 0, len(cover))) + cover
    block = bytes([6]) + len(picture).to_bytes(3, "big") + picture
    (tmp_path / "a.mp4").write_bytes(data[:42] + block + data[42:])
    assert kind_of(schema_of(tmp_path, ["a.mp4", "a.mp4 "] * 6)) == "audio"


def test_a_container_with_pictures_and_sound_is_a_clip(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.webm"), "w") as container:
        sight, sound = container.add_stream("libvpx", rate=10), container.add_stream("libopus", rate=48000, layout="mono")
        sight.width, sight.height, sight.pix_fmt = 32, 32, "yuv420p"
        for _ in range(3):
            container.mux(sight.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8), format="rgb24")))
        frame = av.AudioFrame.from_ndarray((tone(48000)[None, :960] * 32767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = 48000
        container.mux([*sight.encode(None), *sound.encode(frame), *sound.encode(None)])
    assert kind_of(schema_of(tmp_path, ["a.webm", "a.webm "] * 6)) == "video"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("scan.dcm", b"\0" * 128 + b"DICM" + b"\0" * 200, "files that are not read (DICOM)"),
        ("page.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "files that are not read (PDF)"),
        ("drawing.svg", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "files that are not read (SVG)"),
        ("page.jpg", b"<!doctype html><title>404</title>", ""),
        ("note.txt", "Ein Text, 一段文字.".encode(), "files whose text is not read"),
        ("report.docx", b"PK\x03\x04" + b"\0" * 60, "files that are not read (ZIP)"),
        ("raw.bin", bytes(range(256)), "files that are not read (of an unknown kind)"),
    ],
)
def test_files_that_nothing_reads_are_told_and_left_out(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    names = fill(tmp_path, [f"m{row}/{name}" for row in range(24)], lambda row: data)
    found = schema_of(tmp_path, names)
    if name == "page.jpg":  # said to be pictures: each becomes a reject with its reason
        assert kind_of(found) == "image"
        return
    assert kind_of(found) == ""
    assert any(says in line and "column 'c' names" in line and "--type c=text" in line for line in found.announcements)
    with pytest.raises(DataError, match=r"column 'c' names files.*\n.*--type c=text"):
        schema_of(tmp_path, names, inputs=("c",))
    assert kind_of(schema_of(tmp_path, names, types={"c": "text"})) == "text"


def test_files_under_the_working_directory_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"m/{hashlib.md5(str(row).encode()).hexdigest()[:12]}" for row in range(24)]
    fill(tmp_path, [*names, *[f"{name}.png" for name in names]], lambda row: PNG)
    (tmp_path / "tables").mkdir()
    found = schema_of(tmp_path / "tables", names)
    assert any("names files that are there, but not under" in line and "--media-root ." in line for line in found.announcements)
    with pytest.raises(DataError, match=r"they are under the working directory, --media-root \."):
        schema_of(tmp_path / "tables", [f"{name}.png" for name in names])
    assert kind_of(schema_of(tmp_path / "tables", names, media_root=".")) == "image"


def test_words_that_happen_to_be_files_stay_words_and_it_is_said(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"], lambda row: b"notes")
    found = schema_of(tmp_path, ["cat", "dog", "cow", "dog"] * 6)
    assert kind_of(found) == "category"
    assert any("column 'c' names files whose text is not read" in line for line in found.announcements)


def test_a_few_cells_that_name_media_among_words_are_told(tmp_path: Path) -> None:
    fill(tmp_path, ["a.png"], lambda row: PNG)
    found = schema_of(tmp_path, ["a.png", *[f"one of many remarks, the {row}th" for row in range(23)]])
    assert kind_of(found) == "text"
    assert any("some cells name media, e.g. 'a.png'" in line for line in found.announcements)


@pytest.mark.parametrize(
    "cells",
    [
        [f"data: no address, {row}" for row in range(24)],
        [f"a; b | c, {row}\nd" for row in range(24)],
        ['["red", "green"]', '["blue"]'] * 12,
        [f"[{row}, the list of nothing" for row in range(24)],
        [hashlib.sha512(str(row).encode()).hexdigest() * 4 for row in range(24)],
        [f"~{row} about so many" for row in range(24)],
        [f"{row} {'x' * 5000} y" for row in range(24)],
    ],
    ids=lambda cells: cells[0][:12],
)
def test_words_are_not_taken_for_media(tmp_path: Path, cells: list[str]) -> None:
    found = schema_of(tmp_path, cells)
    assert kind_of(found) in {"text", "category"}
    assert not any("media" in line or "files" in line for line in found.announcements)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("data:image/png;base64,", "holds no bytes"),
        ("data:image/png;base64,iVBORw0KGgo*", "its base64 is damaged"),
        ("data:image/png;base64,iVBORw0KGgo=", ""),
        ("data:text/plain,hello", "not an image"),
        ("data:,", "holds no bytes"),
    ],
)
def test_damaged_data_uris_are_rejected_with_a_reason(cell: str, says: str) -> None:
    reject = Image.fit(Config(size=8), []).transform([media.resolve(cell, "")]).rejects[0]
    assert says in reject.reason
    assert reject.reason


def test_long_cells_are_cut_where_they_are_shown() -> None:
    cell = "data:image/png;base64," + "A" * 100_000
    assert len(media.shown(cell)) < 100
    assert "100,022 characters" in media.shown(cell)
    assert media.shown("a" * 30 + ".png") == "a" * 30 + ".png"


def test_heic_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pillow_heif")
    (tmp_path / "a.heic").write_bytes(heic())
    (tmp_path / "cut.heic").write_bytes(heic()[:60])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    found = Image.fit(Config(size=8), []).transform([str(tmp_path / "a.heic")])
    assert "pip install 'mmcli[heif]'" in found.rejects[0].reason
    guess = Image.sniff(["a.heic"] * 3, str(tmp_path))
    assert guess.confidence == 0.9
    assert "mmcli[heif]" in guess.reason
    monkeypatch.undo()
    assert not Image.fit(Config(size=8), []).transform([str(tmp_path / "a.heic")]).rejects
    assert Image.fit(Config(size=8), []).transform([str(tmp_path / "cut.heic")]).rejects


def test_levels_of_a_column(tmp_path: Path) -> None:
    """The fewest usual bits that hold what the column uses; what lies beyond is cut, and said."""
    paths = []
    for number, top in enumerate((900, 3000, 1023)):
        Pillow.fromarray(np.full((8, 8), top, dtype=np.uint16)).save(tmp_path / f"{number}.png")
        paths.append(str(tmp_path / f"{number}.png"))
    modality = Image.fit(Config(size=8, store="uint8"), iter(paths))
    assert modality.levels == {"16 bits": (0.0, 4095.0)}
    Pillow.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(tmp_path / "far.png")
    encoded = modality.transform([*paths, str(tmp_path / "far.png")])
    assert encoded.column.values[:, 0, 0, 0].tolist() == [round(900 * 255 / 4095), round(3000 * 255 / 4095), 64, 255]
    assert encoded.remarks == {
        "of 16 bits, whose values from 0 (black) to 4095 (white) are kept": 4,
        "of 16 bits, with values beyond 0 to 4095, cut to it": 1,
    }


def test_one_picture_of_floats_among_others_settles_no_scale(tmp_path: Path) -> None:
    Pillow.fromarray(np.ones((8, 8), dtype=np.float32)).save(tmp_path / "f.tif")
    draw("round", "red").save(tmp_path / "a.png")
    modality = Image.fit(Config(size=8), iter([str(tmp_path / name) for name in ("f.tif", "a.png", "a.png")]))
    assert "floating-point numbers of unknown range" in modality.transform([str(tmp_path / "f.tif")]).rejects[0].reason


@pytest.mark.parametrize(
    ("head", "family", "name"),
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "image", "HEIC"),
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", "image", "AVIF"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "container", "MP4 or MOV"),
        (b"\0\0\x01\xba\x44", "container", "MPEG program stream"),
        (b"\xff\xfb\x90\x64" + b"\0" * 20, "audio", "MPEG audio"),
        (b"\xff\xfe" + "text".encode("utf-16-le"), "", "of an unknown kind"),
        ("Grüße, 你好".encode(), "other", "text"),
        (b"BM a story about a man", "other", "text"),
        (b"P5 is a class", "other", "text"),
        (b"", "", "empty"),
    ],
)
def test_magic(head: bytes, family: str, name: str) -> None:
    assert magic.kind_of(head) == magic.Kind(family, name)


def test_few_files_are_opened_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = fill(tmp_path, [f"{row}.png" for row in range(300)], lambda row: PNG)
    opened: list[str] = []
    original = media.head
    monkeypatch.setattr(media, "head", lambda path: (opened.append(path), original(path))[1])
    assert looking.look(names, str(tmp_path)).share("image") == 1
    assert len(opened) <= looking.MOST_CELLS
    assert int(Path(opened[-1]).stem) > 200


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a.gif", "b.gif", "c.mp4", "d.mp4"], "50% end like .gif, 50% like .mp4"),
        (["a.jpg"], "100% end like .jpg"),
        (["a.png", "b.JPG", "c.jpg", "d.webp", "e.bmp"], "40% end like .jpg, 20% like .png, 20% like .webp, 20% in other ways"),
    ],
)
def test_all_common_endings_are_told_with_their_shares(names: list[str], told: str) -> None:
    assert looking.endings(names, len(names)) == told


def test_inspect_says_how_many_of_the_files_that_it_looks_at_cannot_be_read(tmp_path: Path) -> None:
    rows = []
    for row in range(60):
        draw("round", "red" if row % 2 else "blue").save(tmp_path / f"{row}.png")
        rows.append([f"{row}.png", "ab"[row % 2]])
    whole = CliRunner().invoke(app, ["inspect", str(write_csv(tmp_path / "t.csv", ["c", "label"], rows))])
    assert whole.exit_code == 0 and "looked at" not in whole.output, whole.output
    for row in (0, 18):
        (tmp_path / f"{row}.png").write_bytes((tmp_path / f"{row}.png").read_bytes()[:60])
    (tmp_path / "6.png").unlink()
    found = CliRunner().invoke(app, ["inspect", str(tmp_path / "t.csv")])
    said = " ".join(found.output.split())
    assert found.exit_code == 0 and "column 'c': 2 of 50 files looked at cannot be read, the first: row 1, '0.png': " in said
    assert "1 file of column 'c' is not there" in said


@pytest.mark.parametrize(
    ("bad", "told"), [(8, "8 of 30 files looked at cannot be read"), (30, "none of 30 files looked at can")]
)
def test_inspect_says_so_too_where_the_first_files_cannot_be_read(tmp_path: Path, bad: int, told: str) -> None:
    for row in range(30):
        np.save(tmp_path / f"v{row}.npy", np.arange(4.0) + row)
    for row in range(bad):
        (tmp_path / f"v{row}.npy").write_bytes((tmp_path / f"v{row}.npy").read_bytes()[:90])
    table = write_csv(tmp_path / "t.csv", ["v", "label"], [[f"v{row}.npy", "ab"[row % 2]] for row in range(30)])
    found = CliRunner().invoke(app, ["inspect", str(table), "--type", "v=vector"])
    assert told in " ".join(found.output.split()), found.output
