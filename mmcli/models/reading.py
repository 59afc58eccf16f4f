"""The rows of a table as a model takes them: cells as texts, what means missing, files found, faces told, signals by input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from mmcli.data.inputs import Input
from mmcli.data.sharding import resolved, said_of_files
from mmcli.data.there import FilesThere
from mmcli.errors import DataError
from mmcli.media import files as media
from mmcli.media.boxes import Told
from mmcli.signals import Column
from mmcli.tables import missing
from mmcli.tables.cells import CUT_CHARACTER, as_text, surrogate


@dataclass(frozen=True)
class Read:
    """Some rows as a model takes them."""

    rows: pd.DataFrame
    columns: dict[str, Column]
    """By input."""
    rejects: list[tuple[int, str, str, str]]
    remarks: dict[str, Counter[str]]

    @property
    def here(self) -> Tensor:
        """bool [n]: the rows of which anything is there."""
        return torch.stack([own.present.cpu() for own in self.columns.values()]).any(0)


@dataclass(frozen=True)
class Reader:
    """What reads rows for a model: its inputs as fitted, where faces on pictures are told, and what else means missing."""

    inputs: Mapping[str, Input]
    faces: Mapping[str, Told]
    """Column of pictures -> the columns that tell where its faces are."""
    na: frozenset[str]
    """Cells that mean missing, as the user told preprocess."""

    def read(self, chunk: pd.DataFrame, media_root: str, there: Mapping[str, FilesThere] | None = None) -> Read:
        """Some rows of a table; the files of columns are counted in `there`, where it is given."""
        columns, rejects, remarks = {}, [], {}
        for name, found in self.inputs.items():
            stored = {}
            for column, modality in found.members.items():
                cells, named = _told_missing(_text_cells(chunk, column), self.na)
                if column in self.faces:
                    told = self.faces[column]
                    cells = told.over(cells, [_told_missing(_text_cells(chunk, own), self.na)[0] for own in told.columns])
                paths = resolved(cells, media_root, modality)
                encoded = modality.transform(paths)
                stored[column] = encoded.column
                if there:
                    there[column].count(cells, paths, encoded.rejects, modality)
                remarks[column] = encoded.remarks + named + said_of_files(cells, media_root, modality)
                for reject in encoded.rejects:
                    row = int(chunk.index[reject.position]) + 1
                    rejects.append((row, column, media.shown(str(cells[reject.position])), reject.reason))
            columns[name] = found.join(stored)
        return Read(chunk, columns, rejects, remarks)


def _text_cells(chunk: pd.DataFrame, column: str) -> list[str | None]:
    """The cells of a column as text, whatever a DataFrame holds.

    Raises:
        DataError: a text that no encoding can write.
    """
    if column not in chunk.columns:
        return [None] * len(chunk)
    empty = chunk[column].isna().tolist()
    cells = [None if gone is True else as_text(cell) for cell, gone in zip(chunk[column], empty, strict=True)]
    for row, cell in enumerate(cells, 1):
        half = "" if cell is None or cell.isascii() else surrogate(cell)
        if half:
            raise DataError(f"row {row}, column {column!r} holds {half}, {CUT_CHARACTER}", "Mend or empty that cell.")
    return cells


def _told_missing(cells: list[str | None], na: frozenset[str]) -> tuple[list[str | None], Counter[str]]:
    """The cells without those that mean missing, and how many of them say what."""
    named = Counter(missing.remark(cell) for cell in cells if cell is not None and cell.strip() in na) if na else Counter[str]()
    return [None if cell is not None and cell.strip() in na else cell for cell in cells] if named else cells, named
