"""Files of an exported folder that are missing or damaged: which, what is wrong, what to do; nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmcli.exports.damage import REMEDY, DamagedError, read_json, reading
from mmcli.exports.graph import read_tensors
from mmcli.exports.images import Images
from mmcli.exports.reading import Reader
from mmcli.exports.texts import Texts
from mmcli.modalities.image import Config
from mmcli.tasks.text import Config as TextConfig
from mmcli.tasks.text import Text
from mmcli.text.lattice import Search
from tests.exports.test_reading import TEXTS, described


def cut(path: Path, share: float) -> Path:
    """The file, without its end."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def test_what_is_wrong_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(DamagedError) as missing:
        read_json(path)
    assert str(missing.value) == f"{path} is missing: {REMEDY}"
    path.write_text('{"file": ', encoding="utf-8")
    with pytest.raises(DamagedError) as damaged:
        read_json(path)
    assert str(damaged.value) == f"{path} is damaged (Expecting value: line 1 column 10 (char 9)): {REMEDY}"
    for error, why in (
        (KeyError("task"), "it lacks 'task'"),
        (RuntimeError(f"[ORT] : 7 : Load model from {path} failed:Parsing\n failed."), "Parsing failed"),
        (EOFError(), "EOFError"),
    ):
        with pytest.raises(DamagedError) as told, reading(path):
            raise error
        assert str(told.value) == f"{path} is damaged ({why}): {REMEDY}"


def test_what_is_no_damage_of_a_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    for kind in (ImportError, MemoryError):
        with pytest.raises(kind), reading(path):
            raise kind
    with pytest.raises(DamagedError, match="another file"), reading(path):
        raise DamagedError("another file")


@pytest.mark.parametrize("share", [0, 0.5, 0.98])
def test_a_language_model(share: float, tmp_path: Path) -> None:
    task = Text.fit(TextConfig(), [[text] for text in TEXTS], ["y"])
    about = described(task, Search(5, 0.5, 1.0, slope=2.0, intercept=0.5), tmp_path)
    Reader(about["task"], tmp_path)
    path = cut(tmp_path / "language_model.npz", share)
    with pytest.raises(DamagedError, match=r"language_model\.npz is damaged"):
        Reader(about["task"], tmp_path)
    np.savez(path, sizes=np.zeros(1))
    with pytest.raises(DamagedError, match="it lacks 'others"):
        Reader(about["task"], tmp_path)


def test_a_tokenizer_a_detector_and_the_rows_that_came_along(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text('{"version": "1.0", ', encoding="utf-8")
    with pytest.raises(DamagedError, match=r"1\.json is damaged"):
        Texts({"config": {}, "tokenizer": "1.json"}, tmp_path)
    (tmp_path / "1.onnx").write_bytes(b"\x08\x08")
    with pytest.raises(DamagedError, match=r"1\.onnx is damaged \(ONNX Runtime cannot read it"):
        Images({"config": Config().model_dump(), "detector": "1.onnx"}, tmp_path)
    rows = tmp_path / "example.safetensors"
    for data in (b"", b"\x40\0\0\0\0\0\0\0{", b"\x02\0\0\0\0\0\0\0[]"):
        rows.write_bytes(data)
        with pytest.raises(DamagedError, match=r"example\.safetensors is damaged"):
            read_tensors(rows)
