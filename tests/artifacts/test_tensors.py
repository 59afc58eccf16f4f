from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmcli.artifacts import tensors
from mmcli.errors import ArtifactError
from mmcli.signals import Column


def test_round_trip_with_shapes_for_the_manifest(tmp_path: Path) -> None:
    saved = {"a": torch.arange(6, dtype=torch.float16).reshape(2, 3), "b": torch.tensor([True, False])}
    described = tensors.save(tmp_path / "t.safetensors", saved)
    assert described == {"a": ["float16", 2, 3], "b": ["bool", 2]}
    loaded = tensors.load(tmp_path / "t.safetensors")
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


@pytest.mark.parametrize("keep", [0, 5, 60])
def test_a_truncated_file_is_an_error_not_a_crash(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "t.safetensors"
    tensors.save(path, {"a": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match="not a readable safetensors file"):
        tensors.load(path)


def test_columns_round_trip() -> None:
    column = Column(torch.tensor([1, 2, 3]), torch.tensor([True, True]), torch.tensor([0, 1, 3]))
    again = tensors.column_from(tensors.column_tensors(column))
    assert again.offsets is not None
    assert again.gather(torch.tensor([1])).values.tolist() == [[2, 3]]


def test_a_file_that_grows_holds_what_was_added_and_is_not_there_before(tmp_path: Path) -> None:
    path, rows = tmp_path / "t.safetensors", torch.randn(7, 3, 2).half()
    with tensors.growing(path, "x") as grown:
        for part in (rows[:4], rows[4:4], rows[4:]):
            grown.add(part)
        assert not path.exists()
    assert grown.shape == [7, 3, 2]
    loaded = tensors.load(path)
    assert list(loaded) == ["x"]
    assert loaded["x"].dtype == torch.float16
    assert torch.equal(loaded["x"], rows)
    assert path.read_bytes()[tensors.HEADER :] == rows.numpy().tobytes()


def test_a_file_that_is_not_grown_to_the_end_is_not_there(tmp_path: Path) -> None:
    def cut_short() -> None:
        with tensors.growing(tmp_path / "t.safetensors", "x") as grown:
            grown.add(torch.zeros(2, 3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_short()
    assert not (tmp_path / "t.safetensors").exists()
    with tensors.growing(tmp_path / "t.safetensors", "x") as grown:  # and what is left of it is in nobody's way
        grown.add(torch.ones(1, 3))
    assert tensors.load(tmp_path / "t.safetensors")["x"].tolist() == [[1, 1, 1]]
