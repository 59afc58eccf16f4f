"""Whether files that a column names can be read, by reading some of them before any work. Keeps nothing of what it reads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mmcli.data import sharding
from mmcli.errors import DataError
from mmcli.media import addresses
from mmcli.media import files as media
from mmcli.modalities import Modality
from mmcli.reporting.counts import counted

MOST = 50
"""Files of a column that are read."""
SECONDS = 2.0
"""After so long no further one is."""
_FITTED = 4


def tried(column: str, kind: type[Modality], config: Any, cells: Sequence[str | None], media_root: str) -> list[str]:
    """How many of some files, spread over the rows that name one which is there, cannot be read: a warning, or none. Those of
    other machines are left alone."""
    paths = sharding.resolved(cells, media_root, kind)
    named = [row for row, (cell, path) in enumerate(zip(cells, paths, strict=True)) if _is_there(kind, cell, path)]
    chosen = [named[place * len(named) // min(MOST, len(named))] for place in range(min(MOST, len(named)))]
    ends, looked, bad = time.monotonic() + SECONDS, 0, list[tuple[int, str]]()
    fitted = _fitted(kind, config, [str(paths[row]) for row in chosen])
    if isinstance(fitted, str):
        return [f"column {column!r}: none of {counted(len(chosen), 'file')} looked at can be read: {fitted}"] if fitted else []
    for row in chosen:
        bad += [(row, own.reason) for own in fitted.transform([paths[row]]).rejects]
        looked += 1
        if time.monotonic() > ends:
            break
    if not bad:
        return []
    row, reason = bad[0]
    return [
        f"column {column!r}: {len(bad)} of {counted(looked, 'file')} looked at cannot be read, the first: row {row + 1}, "
        f"{media.shown(str(cells[row]))!r}: {reason} (preprocess reads all, and names those)"
    ]


def _fitted(kind: type[Modality], config: Any, paths: Sequence[str]) -> Modality | str:
    """What is learnt of the first few that anything can be learnt of; else why not, which is nothing of no paths."""
    why = ""
    for start in range(0, len(paths), _FITTED):
        try:
            return kind.fit(config, iter(paths[start : start + _FITTED]))
        except DataError as error:
            why = why or str(error)
    return why


def _is_there(kind: type[Modality], cell: str | None, path: str | None) -> bool:
    if cell is None or path is None or not kind.names_file(cell) or media.names_none(cell):
        return False
    return not addresses.is_far(path) and media.exists(path)
