"""One pass over the whole table: what each column holds, as far as warnings and plans need it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmcli import registry
from mmcli.data.leaks import Tells
from mmcli.data.schema import Schema
from mmcli.media import files
from mmcli.tables import missing
from mmcli.tables.splitting import TRAIN


class Survey:
    """Fed with the chunks of a table in order; holds one bit for each cell of the inputs, and counts."""

    def __init__(self, schema: Schema, keep_na: bool = False) -> None:
        self._schema = schema
        self._bits: dict[str, list[Any]] = {item.name: [] for item in schema.columns}
        self._in_train: dict[str, set[str]] = {item.name: set() for item in schema.columns}
        self._tells = {item.name: Tells() for item in schema.columns}
        self._words = {
            item.name
            for item in schema.columns
            if registry.load("modalities", item.modality).passes_missing_words and not keep_na
        }
        self._files = {
            item.name: kind for item in schema.columns if (kind := registry.load("modalities", item.modality)).reads_files
        }
        self._rows: list[int] = []
        self.groups: list[str | None] = []
        """The cells of the column of groups, where another tells the splits, and may divide them."""
        self.told_missing: Counter[tuple[str, str]] = Counter()
        """(column, cell) -> how many cells the user said mean missing."""
        self.missing_words: Counter[tuple[str, str]] = Counter()
        """The same of words such as NA among numbers and dates."""

    @property
    def rows(self) -> int:
        return sum(self._rows)

    def add(self, chunk: pd.DataFrame, splits: Sequence[str] | None = None) -> None:
        """The next rows; `splits` where the table tells them."""
        self._rows.append(len(chunk))
        if self._schema.split and self._schema.group:
            self.groups += chunk[self._schema.group].tolist()
        self.told_missing.update(chunk.attrs.get("na", Counter()))
        first = next(iter(self._schema.targets), None)
        targets = chunk[first].tolist() if first in chunk else [None] * len(chunk)
        for name, bits in self._bits.items():
            cells = chunk[name].tolist()
            if name in self._words:
                cells = self._without_words(name, cells)
            elif name in self._files:
                own = self._files[name].names_file
                cells = [None if cell is not None and files.names_none(cell) and own(cell) else cell for cell in cells]
            bits.append(np.packbits([cell is not None for cell in cells]))
            self._tells[name].add(cells, targets)
            seen = self._in_train[name]
            if len(seen) < 2:
                where = splits or [TRAIN] * len(cells)
                mine = [cell for cell, split in zip(cells, where, strict=True) if split == TRAIN]
                seen.update([cell for cell in dict.fromkeys(mine) if cell is not None][: 2 - len(seen)])

    def _without_words(self, name: str, cells: list[str | None]) -> list[str | None]:
        words = {cell for cell in set(cells) if cell is not None and missing.is_word(cell)}
        if not words:
            return cells
        self.missing_words.update((name, cell.strip()) for cell in cells if cell in words and cell is not None)
        return [None if cell in words else cell for cell in cells]

    def present(self, name: str) -> Any:
        """bool [N]: which cells of an input hold something."""
        parts = [np.unpackbits(bits, count=rows) for bits, rows in zip(self._bits[name], self._rows, strict=True)]
        return np.concatenate(parts).astype(bool) if parts else np.zeros(0, dtype=bool)

    def constant(self, name: str) -> str | None:
        """The one value that an input has in train (in all rows, where no column tells splits); None if it varies."""
        seen = self._in_train[name]
        return next(iter(seen)) if len(seen) == 1 else None

    @property
    def telling(self) -> dict[str, int]:
        """The inputs of which each value stands with one value of the target only -> how many values."""
        return {name: tells.values for name, tells in self._tells.items() if tells.found}
