"""What becomes of the cells of a column, and the order in which a batch is made of them. Knows no kind of column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmcli.media import files

Array = np.ndarray[Any, np.dtype[Any]]
Cells = Sequence[str | None]
MAKERS = {
    "image": "images.Images",
    "audio": "sounds.Sounds",
    "text": "texts.Texts",
    "video": "clips.Clips",
    "vector": "vectors.Vectors",
    "number": "fields.Numbers",
    "category": "fields.Categories",
    "date": "moments.Dates",
}
"""Modality -> what makes its tensors, in a module beside this one; only those of the model's columns are loaded."""
Rejects = list[tuple[int, str]]
"""(position among the cells, why it could not be read)."""


@dataclass(frozen=True)
class Made:
    """One column of a batch. Rows that are missing or cannot be read are zero (in fields not a number) and not present."""

    values: Array
    """[B, ...], or padded [B, T, ...] where ragged."""
    present: Array
    """bool [B]."""
    lengths: Array | None = None
    """int64 [B] where ragged."""
    times: Array | None = None
    """float32 [B, T] of the frames of clips."""
    rejects: Rejects = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)
    """What was done to how many cells."""


class Maker(Protocol):
    """A kind of column, set up from what was learnt of it."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None: ...

    def names_file(self, cell: str) -> bool:
        """Whether a cell is a path or address; then it is given resolved."""

    def __call__(self, cells: Cells) -> Made: ...


def each(cells: Cells, read: Callable[[int, str], None], what: str) -> tuple[Array, Rejects]:
    """Reads every cell that is there by `read(position, cell)`: which could be, and why others could not."""
    present, rejects = np.zeros(len(cells), dtype=bool), []
    for position, cell in enumerate(cells):
        if cell is None:
            continue
        try:
            read(position, cell)
            present[position] = True
        except Exception as error:  # decoders raise whatever damaged files lead them to
            rejects.append((position, files.reason(error, what)))
    return present, rejects


def padded(rows: Sequence[Array], width: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
    """Rows of different lengths [T, *width] as [B, the longest, *width], zero behind their ends; and the lengths."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    values = np.zeros((len(rows), max(int(lengths.max(initial=0)), 1), *width), dtype=dtype)
    for place, row in enumerate(rows):
        values[place, : len(row)] = row
    return values, lengths
