"""Tables as plain data, for a page and for Markdown alike. Knows no markup: whoever writes them escapes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mmcli.reporting import markdown

_NARROW, _LONG = 47, 16
"""Characters that go across a narrow page, and that a word of a head may have."""


class Cell(NamedTuple):
    """A value, and what stands small below it."""

    value: str
    note: str = ""

    def __str__(self) -> str:
        if not self.note:
            return self.value
        return f"{self.value} {self.note if self.note.startswith('[') else f'({self.note})'}"


@dataclass(frozen=True)
class Grid:
    """A table; its first column names the rows."""

    caption: str
    """What it holds, for those who hear it."""
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    texts: frozenset[int] = frozenset({0})
    """Columns of words rather than figures."""
    strong: frozenset[int] = frozenset()
    """Rows that stand out."""

    @classmethod
    def of(
        cls,
        caption: str,
        header: Sequence[str],
        rows: Sequence[Sequence[object]],
        texts: Sequence[int] = (0,),
        strong: Sequence[int] = (),
    ) -> Grid:
        """Of values that are shown as they are."""
        cells = tuple(tuple(cell if isinstance(cell, Cell) else Cell(str(cell)) for cell in row) for row in rows)
        return cls(caption, tuple(header), cells, frozenset(texts), frozenset(strong))

    @property
    def is_stacked(self) -> bool:
        """Whether a narrow page shows each row as a card: what cannot be broken is wider than such a page."""
        return sum(self._least(place) for place in range(len(self.header))) > _NARROW

    @property
    def long_heads(self) -> frozenset[int]:
        """Columns whose heads must be broken within a word."""
        return frozenset(place for place, name in enumerate(self.header) if max(map(len, name.split()), default=0) > _LONG)

    def _least(self, place: int) -> int:
        """Characters that a column takes at least."""
        cells = [self.header[place], *(part for row in self.rows for part in row[place])]
        if place in self.texts:
            return min(12, max((len(word) for cell in cells for word in cell.split(" ")), default=0)) + 2
        return max(max(len(word) for word in self.header[place].split()), *(len(cell) for cell in cells[1:]), 0) + 2

    def parts(self, first: int) -> tuple[Grid, Grid | None]:
        """Its first rows, and the others, if there are more."""
        if len(self.rows) <= first:
            return self, None
        return self._with(self.rows[:first]), self._with(self.rows[first:])

    def _with(self, rows: tuple[tuple[Cell, ...], ...]) -> Grid:
        return Grid(self.caption, self.header, rows, self.texts)

    def markdown(self) -> str:
        return markdown.table_of(self.header, self.rows)
