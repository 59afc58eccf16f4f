"""Rows of a table as a page shows them: what the model saw of each input, the sound itself where its file is still there."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mmcli.data import preview
from mmcli.data.dataset import Dataset
from mmcli.data.streaming import Streamed
from mmcli.errors import MmcliError
from mmcli.media import files as media
from mmcli.signals import Column
from mmcli.tables.reading import open_table

MOST_SOUND = 300_000
"""Bytes up to which a recording is put into the page."""


def raw_cells(
    dataset: Dataset, rows: Sequence[int], columns: Sequence[str]
) -> tuple[dict[str, dict[int, str | None]] | None, list[str]]:
    """Column -> row (from 0) -> cell, from the table that was preprocessed, and all its columns; None and the reason where it
    cannot be read any more."""
    try:
        table = replace(open_table(Path(str(dataset.artifact.config["table"]))), faces=dataset.faces)
        wanted, kept = set(rows), [name for name in columns if name in table.columns]
        found: dict[str, dict[int, str | None]] = {name: {} for name in kept}
        for chunk in table.chunks(columns=kept) if kept else ():
            for row in wanted.intersection(chunk.index):
                for name in kept:
                    cell = chunk.at[row, name]
                    found[name][int(row)] = None if cell is None else str(cell)
    except (MmcliError, OSError, KeyError) as error:
        return None, [str(getattr(error, "message", error))]
    return found, list(table.columns)


def examples(dataset: Dataset, rows: Sequence[int]) -> list[list[dict[str, Any]]]:
    """For each row (from 0) and input what a page shows of it: column, modality, absent, picture, text, figures, sound."""
    joined = [member for name in dataset.inputs for member in dataset.input(name).members]
    cells, _ = raw_cells(dataset, rows, joined)
    index = torch.tensor(list(rows), dtype=torch.int64)
    shown: list[list[dict[str, Any]]] = [[] for _ in rows]
    for name in dataset.inputs:
        found, source = dataset.input(name), dataset.column(name)
        column = source.read(index) if isinstance(source, Streamed) else source.select(index)
        for place, row in enumerate(rows):
            own = _view(dataset, name, column, place)
            if cells is not None:
                own |= _original(found.first, dataset, {m: cells.get(m, {}).get(row) for m in found.members}, found.joined)
            shown[place].append(own)
    return shown


def _view(dataset: Dataset, name: str, column: Column, place: int) -> dict[str, Any]:
    found = dataset.input(name)
    view: dict[str, Any] = dict.fromkeys(("absent", "picture", "text", "figures", "sound", "tokens"), "")
    view |= {"column": name, "modality": found.modality}
    if not column.present[place]:
        return view | {"absent": "absent"}
    if hasattr(found.first, "texts") and not found.joined:
        return view | {"text": found.first.texts(column.select(torch.tensor([place])))[0][:400]}
    return view | preview.seen(found.first, found.spec, column, place)


def _original(modality: Any, dataset: Dataset, cells: Mapping[str, str | None], joined: bool) -> dict[str, Any]:
    """What the table's own cells add: numbers in the user's units, and a recording to listen to."""
    if joined or not getattr(modality, "reads_files", False):
        return {"figures": [(name, cell) for name, cell in cells.items() if cell is not None]} if joined else {}
    (cell,) = cells.values()
    if cell is None or type(modality).__name__ != "Audio":
        return {}
    root = str(dataset.artifact.config["schema"].get("media_root") or Path(str(dataset.artifact.config["table"])).parent)
    path = media.resolve(cell, root)
    kind = mimetypes.guess_type(path[:4096])[0] or "audio/wav"
    try:
        found = media.source(path)
        data = Path(found).read_bytes() if isinstance(found, str) else found.read()
    except (OSError, ValueError):
        return {}
    if len(data) > MOST_SOUND:
        return {}
    return {"sound": f"data:{kind};base64,{base64.b64encode(data).decode()}"}
