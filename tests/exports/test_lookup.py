"""Vectors looked up with numpy alone: as mmcli does it, and only in a gallery of the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcli.exports import lookup
from mmcli.exports.lookup import Gallery
from mmcli.exports.tables import TableError
from mmcli.vectors.nearest import Nearest
from tests.vectors.test_nearest import drawn

ABOUT = {"model": "abc"}


def as_bytes(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def written(path: Path, rows: int = 300, model: str = "abc") -> Path:
    told = [[str(row), f"人{row % 7}"] for row in range(rows)]
    np.savez(path, vectors=drawn(0, rows).half().numpy(), rows=as_bytes(told), about=as_bytes({"model": model}))
    return path


def test_it_finds_what_mmcli_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "BLOCK_ROWS", 70)
    held, queries = Gallery(written(tmp_path / "g.npz"), ABOUT), drawn(1, 12)
    for k in (1, 9, 400):
        rows, alike = held.nearest(queries.numpy(), k)
        wanted = Nearest(drawn(0, 300).half()).search(queries, k)
        np.testing.assert_array_equal(rows, wanted.rows)
        np.testing.assert_allclose(alike, wanted.similarities, atol=1e-6)
    made = held.decode(queries.numpy(), np.arange(12) != 3, 0.7)
    best = wanted.rows[:, 0].tolist()
    assert made["_row"] == [None if place == 3 else str(row) for place, row in enumerate(best)]
    assert made[""][0] == f"人{best[0] % 7}"
    alike = wanted.similarities[:, 0].tolist()
    assert made["_accepted"] == [place != 3 and own >= 0.7 for place, own in enumerate(alike)]
    assert 0 < sum(made["_accepted"]) < 11


def test_the_first_of_equal_rows_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "BLOCK_ROWS", 2)
    vectors = np.tile(np.array([[0.6, 0.8]], np.float16), (5, 1))
    np.savez(tmp_path / "g.npz", vectors=vectors, rows=as_bytes([[own, own] for own in "abcde"]), about=as_bytes(ABOUT))
    assert Gallery(tmp_path / "g.npz", ABOUT).nearest(np.array([[0.8, 0.6]]), 3)[0].tolist() == [[0, 1, 2]]


def test_what_is_no_gallery_of_the_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no such file"):
        Gallery(tmp_path / "none.npz", ABOUT)
    with pytest.raises(TableError, match="of another model"):
        Gallery(written(tmp_path / "other.npz", model="xyz"), ABOUT)
    with pytest.raises(TableError, match="holds 0 vectors"):
        Gallery(written(tmp_path / "empty.npz", rows=0), ABOUT)
    (tmp_path / "bad.npz").write_bytes(b"PK no archive")
    with pytest.raises(TableError, match="is no gallery"):
        Gallery(tmp_path / "bad.npz", ABOUT)
    np.savez(tmp_path / "pickled.npz", vectors=np.array([{}], dtype=object), rows=as_bytes([]), about=as_bytes(ABOUT))
    with pytest.raises(TableError, match="is no gallery"):
        Gallery(tmp_path / "pickled.npz", ABOUT)


def test_half_a_file_is_no_gallery(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TableError, match="is no gallery"):
        Gallery(tmp_path / "half.npz", ABOUT)
    np.savez(tmp_path / "list.npz", vectors=np.ones((1, 2)), rows=as_bytes([["a", "b"]]), about=as_bytes(["no object"]))
    with pytest.raises(TableError, match="is no gallery"):
        Gallery(tmp_path / "list.npz", ABOUT)
