"""Vectors that are already there: lists of numbers in the cells, or paths to `.npy` files; one vector or a sequence of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcli.exports.made import Array, Cells, Made, each, padded
from mmcli.media import files
from mmcli.tables.values import numbers


class Vectors:
    """Lists or paths -> float32 [B, D], or [B, T, D]."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: ARG002 - no file beside the state
        self.config, self.dims = state["config"], state["dims"]
        self.mean, self.std = (np.array(state[name], dtype=np.float32) for name in ("mean", "std"))

    def names_file(self, cell: str) -> bool:
        start = cell[:64].lstrip()
        return not start.startswith("[") or start[1:].lstrip().startswith(("'", '"'))  # a list of names

    def __call__(self, cells: Cells) -> Made:
        width, longest = len(self.mean), self.config["max_steps"]
        rows = [np.zeros((0 if self.dims == 2 else 1, width), dtype=np.float32)] * len(cells)
        remarks = Counter[str]()

        def read(position: int, cell: str) -> None:
            found = self._checked(self._read(cell))
            remarks.update([f"cut to {longest} steps"] if len(found) > longest else [])
            rows[position] = (found[:longest] - self.mean) / self.std

        present, rejects = each(cells, read, "a list of numbers or a .npy file")
        if self.dims == 1:
            return Made(np.concatenate(rows), present, rejects=rejects)
        values, lengths = padded(rows, (width,), np.float32)
        return Made(values, present, lengths, rejects=rejects, remarks=remarks)

    def _checked(self, array: Array) -> Array:
        """[T, D]."""
        if array.ndim != self.dims or array.shape[-1] != len(self.mean):
            shape = " x ".join(map(str, array.shape))
            raise ValueError(f"it holds {shape} numbers, train has {'sequences of ' * (self.dims - 1)}{len(self.mean)}")
        return array.reshape(-1, array.shape[-1])

    def _read(self, cell: str) -> Array:
        """float32 [D] or [T, D] of finite numbers."""
        if not cell.lstrip().startswith("["):
            array = self._read_file(cell)
        else:
            found = numbers(cell)
            if found is None:
                raise ValueError("not a list of numbers, nor of equally long lists of numbers")
            array = np.asarray(found)
        if array.ndim not in (1, 2) or not array.size:
            raise ValueError(f"it has {array.ndim} dimensions of {array.shape}; expected one or two, not empty")
        self._check_size(array)
        with np.errstate(over="ignore"):
            single = array.astype(np.float32)
        if not np.isfinite(single).all():
            raise ValueError("it holds values that are not finite numbers")
        return single

    def _read_file(self, path: str) -> Array:
        found = files.unmarked(path)
        # Mapped, so that a false header cannot take memory.
        array = np.load(found, mmap_mode="r" if isinstance(found, str) else None, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("an archive of several arrays (.npz); save one with numpy.save")
        if array.dtype.kind not in "fiub":
            raise ValueError(f"its values are {array.dtype}, expected real numbers")
        self._check_size(array)
        return np.asarray(array)

    def _check_size(self, array: Array) -> None:
        most = self.config["max_numbers"]
        if array.size > most:
            raise ValueError(f"{array.size:,} numbers are over max_numbers = {most:,}")
