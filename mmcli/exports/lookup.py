"""Unit vectors that a model gives: compared with each other, and looked up in a gallery that was exported as `.npz`."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcli.exports.tables import TableError

BLOCK_ROWS = 65_536
"""Rows of a gallery that are compared at a time."""

Array = np.ndarray[Any, np.dtype[Any]]


class Gallery:
    """Vectors [N, D] of rows, with the id and the name of each."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Reads the file; it must be of the model that `about` describes.

        Raises:
            TableError: it is no such file, it is empty, or it is of another model.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                self.vectors = found["vectors"]
                rows, told = (json.loads(found[name].tobytes()) for name in ("rows", "about"))
            model, self.ids, self.names = told["model"], [own[0] for own in rows], [own[1] for own in rows]
        except FileNotFoundError:
            raise TableError(f"{path}: there is no such file") from None
        except (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, zipfile.BadZipFile) as error:
            raise TableError(f"{path} is no gallery: make it by mmcli export --gallery NAME --format npz ({error})") from None
        if model != about["model"]:
            raise TableError(f"{path} holds vectors of another model: export both from the same artifacts")
        if self.vectors.ndim != 2 or len(rows) != len(self.vectors) or not rows:
            raise TableError(f"{path} holds {len(self.vectors)} vectors of {len(rows)} rows")

    def nearest(self, queries: Array, k: int) -> tuple[Array, Array]:
        """Of each query [Q, D] the places [Q, K] of the most alike rows, of equals the first, and their cosines."""
        queries = units(queries)
        rows, best = np.empty((len(queries), 0), dtype=np.int64), np.empty((len(queries), 0))
        for start in range(0, len(self.vectors), BLOCK_ROWS):
            alike = queries @ units(self.vectors[start : start + BLOCK_ROWS]).T
            rows = np.concatenate([rows, np.broadcast_to(np.arange(start, start + alike.shape[1]), alike.shape)], 1)
            best = np.concatenate([best, alike], 1)
            order = np.argsort(-best, axis=1, kind="stable")[:, :k]
            rows, best = np.take_along_axis(rows, order, 1), np.take_along_axis(best, order, 1)
        return rows, best

    def decode(self, outputs: Array, here: Array, least: float) -> dict[str, list[Any]]:
        """Of each row the name that is the most like it, how similar it is, whether that is at `least` so much, and which row
        of the gallery that was; none of rows of which nothing is `here` [B]."""
        rows, alike = (found[:, 0].tolist() for found in self.nearest(outputs, 1))
        known = here.tolist()
        return {
            "": [self.names[row] if there else None for row, there in zip(rows, known, strict=True)],
            "_similarity": [round(own, 6) if there else None for own, there in zip(alike, known, strict=True)],
            "_accepted": [there and own >= least for own, there in zip(alike, known, strict=True)],
            "_row": [self.ids[row] if there else None for row, there in zip(rows, known, strict=True)],
        }


def of_rows(outputs: Array) -> Array:
    """[B, D], float64, of length one: vectors of rows; of columns [B, C, D] the mean of those that are there."""
    return units(outputs.astype(np.float64).sum(1) if outputs.ndim == 3 else outputs)


def units(vectors: Array) -> Array:
    """float64, brought to length one."""
    found = vectors.astype(np.float64)
    result: Array = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return result


def as_lists(outputs: Array) -> list[str]:
    """Each vector as a cell: a list of numbers."""
    return [json.dumps([round(float(own), 6) for own in row]) for row in outputs]
