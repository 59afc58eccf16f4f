from __future__ import annotations

import errno
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

from mmcli.media import files as media
from mmcli.modalities.audio import Audio
from mmcli.modalities.audio import Config as AudioConfig
from mmcli.modalities.image import Config, Image
from mmcli.modalities.video import Config as VideoConfig
from mmcli.modalities.video import Video
from tests.conftest import draw, write_clip, write_wave


@pytest.mark.parametrize(
    ("cell", "root", "path"),
    [
        ("a/b.png", "/data", "/data/a/b.png"),
        ("/abs/b.png", "/data", "/abs/b.png"),
        ("s3://bucket/b.png", "/data", "s3://bucket/b.png"),
        ("b.png", "s3://bucket/folder/", "s3://bucket/folder/b.png"),
        ("file:///x/b.png", "/data", "/x/b.png"),
        ("图片/南瓜.png", "数据", "数据/图片/南瓜.png"),
    ],
)
def test_what_a_cell_means(cell: str, root: str, path: str) -> None:
    assert media.resolve(cell, root) == path


@pytest.mark.parametrize("cell", ["[]", "[ ] ", "[null]", "[null, null]", '[""]', "[None]", "[]#xywh=1,2,3,4"])
def test_a_list_of_no_files_is_missing(cell: str) -> None:
    assert media.path_of(cell, "/data") is None


@pytest.mark.parametrize("cell", ['["a.png"]', '[null, "a.png"]', "[null", "[null,]", "[0]", "[[]]", "null"])
def test_other_cells_are_not(cell: str) -> None:
    assert media.path_of(cell, "/data") == media.resolve(cell, "/data")


@pytest.mark.parametrize("before", ["", '["', '[{"bytes": "'])
def test_media_in_a_cell_are_shown_short(before: str) -> None:
    cell = f"{before}data:;base64,{'iVBOR' * 100}"
    assert media.shown(cell) == f"{cell[:60]}… ({len(cell)} characters)"
    words = f"{before}database {'words ' * 100}"
    assert media.shown(words) == words


def test_files_of_another_store_are_read_like_local_ones(tmp_path: Path) -> None:
    draw("round", "red").save(tmp_path / "a.png")
    write_wave(tmp_path / "a.wav")
    write_clip(tmp_path / "a.mp4")
    store = fsspec.filesystem("memory")
    for name in ("a.png", "a.wav", "a.mp4"):
        store.pipe(f"/bucket/{name}", (tmp_path / name).read_bytes())
    for modality, name in (
        (Image.fit(Config(), []), "a.png"),
        (Audio.fit(AudioConfig(), []), "a.wav"),
        (Video(VideoConfig()), "a.mp4"),
    ):
        near, far = modality.transform([str(tmp_path / name)]), modality.transform([f"memory://bucket/{name}"])
        assert not far.rejects
        assert np.array_equal(near.column.values.numpy(), far.column.values.numpy())
    missing = Image.fit(Config(), []).transform(["memory://bucket/none.png"]).rejects[0]
    assert missing.reason == "there is no such file"


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(10), 8000)
    before = media.stamp(str(path))
    soundfile.write(path, np.zeros(20), 8000)
    assert media.stamp(str(path)) != before
    assert media.stamp(str(tmp_path / "none")) is None
    store = fsspec.filesystem("memory")
    store.pipe("/bucket/stamp", b"one")
    first = media.stamp("memory://bucket/stamp")
    store.pipe("/bucket/stamp", b"three")
    assert media.stamp("memory://bucket/stamp") != first


def test_a_store_that_is_not_installed_says_what_to_install() -> None:
    rejects = Image.fit(Config(), []).transform(["gcs://bucket/a.png"]).rejects
    assert "gcsfs" in rejects[0].reason


def test_what_is_no_fault_of_a_cell_is_no_reject() -> None:
    for error in (OSError(errno.EMFILE, "too many open files"), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        assert not media.is_of_cell(error)
        with pytest.raises(type(error)):
            media.reason(error, "an image")
    assert media.reason(ValueError("no header"), "an image") == "no header"
    assert media.reason(OSError(errno.EISDIR, "Is a directory"), "an image") == "is a directory"


def test_a_bug_of_ours_is_no_reject_and_one_of_a_library_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(module: str) -> BaseException:
        space: dict[str, object] = {"__name__": module}
        exec("def f():\n    return nothing_of_that_name", space)
        with pytest.raises(NameError) as caught:
            space["f"]()  # type: ignore[operator]
        return caught.value

    assert not media.is_of_cell(of("mmcli.media.pixels"))
    assert media.is_of_cell(of("PIL.Image"))
