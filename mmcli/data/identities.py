"""Which cells of columns that share an encoder are the same, and which are known to be of one thing.

Equality is that of what was stored: a picture that two files hold, or a text that stands in both columns, is one cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from mmcli.signals import Column, Source

AT_ONCE = 512
"""Rows that are read at a time."""


def same_cells(columns: Sequence[Source]) -> Tensor:
    """int64 [M, N]: the number of each column's cell in each row, alike for equal cells; -1 where it is absent."""
    numbers: dict[bytes, int] = {}
    found = torch.full((len(columns), len(columns[0])), -1, dtype=torch.int64)
    for place, source in enumerate(columns):
        for part in torch.arange(len(source)).split(AT_ONCE):
            rows = source.select(part) if isinstance(source, Column) else source.read(part)  # type: ignore[attr-defined]
            assert isinstance(rows, Column)
            ends = torch.arange(len(part) + 1) if rows.offsets is None else rows.offsets
            for row, position in enumerate(part.tolist()):
                if rows.present[row]:
                    own = rows.values[int(ends[row]) : int(ends[row + 1])].contiguous().cpu()
                    key = hashlib.blake2b(own.view(torch.uint8).numpy().tobytes(), digest_size=16).digest()
                    found[place, position] = numbers.setdefault(key, len(numbers))
    return found


def of_one_thing(cells: Tensor, rows: Tensor) -> Tensor:
    """int64 [M, N]: cells by what they are of: those of each of the `rows` [R], whose columns belong together, and what is
    linked so, have one number; -1 where a cell is absent."""
    parent = list(range(int(cells.max()) + 1 if cells.numel() else 0))

    def root(cell: int) -> int:
        while parent[cell] != cell:
            parent[cell] = parent[parent[cell]]
            cell = parent[cell]
        return cell

    for row in cells[:, rows].T.tolist():
        there = [cell for cell in row if cell >= 0]
        for cell in there[1:]:
            parent[root(cell)] = root(there[0])
    names = torch.tensor([root(cell) for cell in range(len(parent))] or [0])
    return torch.where(cells >= 0, names[cells.clamp(min=0)], cells)
