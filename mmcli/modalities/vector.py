"""Vectors that are already there: lists of numbers in the cells, or paths to `.npy` files; one vector or a sequence of them.

The first train cell that can be read settles the width, and whether rows are vectors (1-d) or sequences (2-d). Values are
standardised by the train split, each dimension by itself. A `.npy` file that holds Python objects is refused, never unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.errors import DataError
from mmcli.media import files as media
from mmcli.modalities import Encoded, Guess, Modality, Reject, by_files
from mmcli.signals import Column, SignalSpec
from mmcli.tables.values import numbers

Array = np.ndarray[Any, np.dtype[Any]]
_SUFFIXES = frozenset({".npy"})
_FIT_SAMPLE = 2000


class Config(BaseConfig):
    """What is kept of them."""

    max_steps: int = Field(512, ge=1)
    """Steps kept of a sequence; how many were cut is said."""
    max_numbers: int = Field(16_777_216, ge=1)
    """Cells with more numbers are rejected unread."""


class Vector(Modality):
    """Vectors [D], or sequences [T, D]; float32."""

    corruptions: ClassVar[tuple[str, ...]] = ("noise",)
    reads_files: ClassVar[bool] = True
    encoders: ClassVar[tuple[str, ...]] = ("mlp", "rnn", "transformer")

    def __init__(self, config: Config, dims: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self.config = config
        self.dims = dims
        self.mean = np.asarray(mean, dtype=np.float32)
        self.std = np.asarray(std, dtype=np.float32)

    @classmethod
    def names_file(cls, cell: str) -> bool:
        start = cell[:64].lstrip()
        return not start.startswith("[") or start[1:].lstrip().startswith(("'", '"'))  # a list of names

    @classmethod
    def sniff(cls, cells: Sequence[str], media_root: str) -> Guess:
        """Lists of numbers, or files named .npy."""
        lists = sum(numbers(cell) is not None for cell in cells[:200]) / max(len(cells[:200]), 1)
        if lists > 0.9:
            return Guess(0.96, f"{lists:.0%} of the cells are lists of numbers")
        share, reason, named = by_files(cells, media_root, "vector", _SUFFIXES, "a .npy file")
        for cell in named[:20] if share >= 0.5 else ():
            try:
                array = _read(media.resolve(cell, media_root), Config())
                return Guess(0.99, f"{reason}; {media.shown(cell)} holds {' x '.join(map(str, array.shape))} numbers")
            except Exception:  # whatever damaged files lead to; told where the cell is read for good
                continue
        return Guess(0.9 if share >= 0.5 else 0.0, reason)

    @classmethod
    def fit(cls, config: Config, cells: Iterable[str]) -> Self:
        """Shape, and mean and standard deviation of each dimension over the first train cells.

        Raises:
            DataError: none of the first train cells can be read.
        """
        first: Array | None = None
        count, total, squares = 0, np.zeros(0), np.zeros(0)
        for cell in islice(cells, _FIT_SAMPLE):
            try:
                array = _read(cell, config)
            except Exception:  # as above
                continue
            if first is None:
                first, total, squares = array, np.zeros(array.shape[-1]), np.zeros(array.shape[-1])
            if array.ndim == first.ndim and array.shape[-1] == first.shape[-1]:
                flat = array.reshape(-1, array.shape[-1]).astype(np.float64)
                count, total, squares = count + len(flat), total + flat.sum(0), squares + np.square(flat).sum(0)
        if first is None:
            raise DataError("none of the first train cells is a list of numbers or a readable .npy file")
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return cls(config, first.ndim, mean.tolist(), np.where(std > 1e-6, std, 1.0).tolist())

    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """Values float32 [N, D], or [sum of steps, D] with offsets."""
        width = len(self.mean)
        arrays: list[Array] = []
        present = torch.zeros(len(cells), dtype=torch.bool)
        rejects, cut = [], 0
        for position, cell in enumerate(cells):
            array = np.zeros((0 if self.dims == 2 else 1, width), dtype=np.float32)
            if cell is not None:
                try:
                    found = self._checked(_read(cell, self.config))
                    cut += len(found) > self.config.max_steps
                    array = (found[: self.config.max_steps] - self.mean) / self.std
                    present[position] = True
                except Exception as error:
                    rejects.append(Reject(position, cell, media.reason(error, "a list of numbers or a .npy file")))
            arrays.append(array)
        values = torch.from_numpy(np.concatenate(arrays) if arrays else np.zeros((0, width), dtype=np.float32))
        if self.dims == 1:
            return Encoded(Column(values, present), rejects)
        offsets = torch.tensor([0, *np.cumsum([len(array) for array in arrays])], dtype=torch.int64)
        encoded = Encoded(Column(values, present, offsets), rejects)
        if cut:
            encoded.remarks[f"cut to {self.config.max_steps} steps"] = cut
        return encoded

    def _checked(self, array: Array) -> Array:
        """[T, D]."""
        if array.ndim != self.dims or array.shape[-1] != len(self.mean):
            shape = " x ".join(map(str, array.shape))
            raise ValueError(f"it holds {shape} numbers, train has {'sequences of ' * (self.dims - 1)}{len(self.mean)}")
        return array.reshape(-1, array.shape[-1])

    def describe(self) -> SignalSpec:
        return SignalSpec(kind="vector" if self.dims == 1 else "sequence", shape=(len(self.mean),))

    def corrupt(self, column: Column, how: str, level: float, generator: torch.Generator) -> Column:  # noqa: ARG002
        """noise: of one deviation of each dimension at level 1."""
        noisy = column.values.float() + level * torch.randn(column.values.shape, generator=generator)
        return Column(noisy.to(column.values.dtype), column.present, column.offsets)

    def state(self) -> dict[str, Any]:
        arrays = {"mean": self.mean.tolist(), "std": self.std.tolist()}
        return {"config": self.config.model_dump(), "dims": self.dims, **arrays}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]), state["dims"], state["mean"], state["std"])

    def linear_features(self, column: Column, train: Tensor) -> Any:  # noqa: ARG002 - scaled already
        """The vector, or the mean over the steps: [N, D]."""
        if column.offsets is None:
            return column.values.numpy()
        rows = torch.repeat_interleave(torch.arange(len(column)), column.offsets.diff())
        sums = torch.zeros(len(column), column.values.shape[1]).index_add_(0, rows, column.values)
        return (sums / column.offsets.diff().clamp(min=1)[:, None]).numpy()


def _read(cell: str, config: Config) -> Array:
    """float32 [D] or [T, D] of finite numbers.

    Raises:
        OSError, ValueError: it cannot be read, or is no such thing.
    """
    if cell.lstrip().startswith("["):
        found = numbers(cell)
        if found is None:
            raise ValueError("not a list of numbers, nor of equally long lists of numbers")
        array = np.asarray(found)
    else:
        array = _read_file(cell, config)
    if array.ndim not in (1, 2) or not array.size:
        raise ValueError(f"it has {array.ndim} dimensions of {array.shape}; expected one or two, not empty")
    if array.size > config.max_numbers:
        raise ValueError(f"{array.size:,} numbers are over max_numbers = {config.max_numbers:,}")
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.isfinite(single).all():
        raise ValueError("it holds values that are not finite numbers")
    return single


def _read_file(path: str, config: Config) -> Array:
    found = media.unmarked(path)
    # Mapped, so that a false header cannot take memory.
    array = np.load(found, mmap_mode="r" if isinstance(found, str) else None, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("an archive of several arrays (.npz); save one with numpy.save")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"its values are {array.dtype}, expected real numbers")
    if array.size > config.max_numbers:
        raise ValueError(f"{array.size:,} numbers are over max_numbers = {config.max_numbers:,}")
    return np.asarray(array)
