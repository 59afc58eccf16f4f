"""Columns of a table into shards on disk, on all cores.

A shard is a slice of one column; its bytes are a function of the cells, the files that they name and the fitted modality,
whatever thread makes it. A shard that was already made from the same, by a killed run or for a shorter table, is taken over.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mmcli import registry
from mmcli.artifacts import store, tensors
from mmcli.artifacts.store import Artifact, Draft
from mmcli.data import memory
from mmcli.data.dataset import shard_file
from mmcli.errors import ArtifactError
from mmcli.media import files as media
from mmcli.modalities import Modality
from mmcli.reporting.console import Console
from mmcli.tables.reading import Table

CHUNK_ROWS = 256
"""Rows read at a time; a shard holds them or a part of them."""


@dataclass
class Sharded:
    """What came of transforming a table."""

    rejects: list[tuple[int, str, str, str]] = field(default_factory=list)
    """(row from 1, column, cell, reason) of every cell that could not be read, in order."""
    remarks: dict[str, Counter[str]] = field(default_factory=dict)
    """Column -> what was done to how many cells."""


def write_shards(
    table: Table,
    rows: int,
    modalities: Mapping[str, Modality],
    media_root: str,
    *,
    draft: Draft,
    previous: Artifact | None,
    workers: int,
    console: Console,
) -> Sharded:
    """Every shard of every column; at most four shards to a core are in memory. `workers` 0 is one a core."""
    sources = {name: registry.source_digest(type(modality)) for name, modality in modalities.items()}
    keys = {
        name: store.digest([modality.state(), sources[name]] if sources[name] else modality.state())
        for name, modality in modalities.items()
    }
    made = Sharded(remarks={name: Counter() for name in modalities})
    workers = workers or _cores()
    memory.keep_freed()
    pending: list[tuple[str, int, Future[tuple[dict[str, Any], list[Path]]]]] = []

    def collect(limit: int) -> None:
        while len(pending) > limit:
            name, start, future = pending.pop(0)
            record, damaged = future.result()
            for file in damaged:
                console.warn(f"{file} is damaged: it is made again")
            made.rejects += [(start + 1 + position, name, cell, why) for position, cell, why in record["rejects"]]
            made.remarks[name].update(record["remarks"])
            draft.tensors[record["file"]] = record["tensors"]
            progress.advance(name)

    total = sum(-(-rows // modality.shard_rows) for modality in modalities.values())
    # Each worker computes on one thread: the shards are the parallelism.
    with (
        _quick_switching(),
        console.progress("preprocess: shards", total) as progress,
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ExitStack() as stack,
    ):
        stack.callback(lambda: [future.cancel() for _, _, future in pending])  # what an error or an end leaves undone
        for chunk in table.chunks(CHUNK_ROWS, list(modalities)):
            for name, modality in modalities.items():
                for first in range(0, len(chunk), modality.shard_rows):
                    start = int(chunk.index[0]) + first
                    cells = chunk[name].tolist()[first : first + modality.shard_rows]
                    paths = resolved(cells, media_root, modality)
                    made.remarks[name].update(said_of_files(cells, media_root, modality))
                    file = shard_file(name, start // modality.shard_rows)
                    arguments = (modality, keys[name], cells, paths, draft.path, file, previous)
                    pending.append((name, start, pool.submit(_shard, *arguments)))
                    collect(4 * workers)
        collect(0)
    made.rejects.sort(key=lambda reject: (reject[0], reject[1]))
    return made


@contextmanager
def _quick_switching() -> Iterator[None]:
    """Lets waiting threads have the interpreter sooner: decoders give it up and want it back many times for each cell."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shard(
    modality: Modality,
    key: str,
    cells: list[str | None],
    paths: list[str | None],
    folder: Path,
    relative: str,
    previous: Artifact | None,
) -> tuple[dict[str, Any], list[Path]]:
    """Makes one shard, or takes it over from where it was already made from the same; gives its record, and the files of it
    that were found damaged."""
    key = store.digest([key, cells, file_stamps(cells, paths, modality)])
    damaged: list[Path] = []
    for made in (folder / relative, _file_of(previous, relative, damaged)):
        record = _record(made, key, damaged if made == folder / relative else None) if made else None
        if made and record:
            if made != folder / relative:
                (folder / relative).parent.mkdir(parents=True, exist_ok=True)
                (folder / relative).unlink(missing_ok=True)
                os.link(made, folder / relative)
            return record, damaged
    encoded = modality.transform(paths)
    named = {name: t.contiguous() for name, t in tensors.column_tensors(encoded.column).items()}
    record = {
        "file": relative,
        "rejects": [[reject.position, media.shown(cells[reject.position] or ""), reject.reason] for reject in encoded.rejects],
        "remarks": dict(encoded.remarks),
        "tensors": {name: [str(t.dtype).removeprefix("torch."), *t.shape] for name, t in named.items()},
    }
    # All are flushed before the manifest is written; until then their own seal tells whether they are whole.
    store.write_atomic(folder / relative, tensors.sealed(named, [key, record]), flush=False)
    return record, damaged


def _record(file: Path, key: str, damaged: list[Path] | None) -> dict[str, Any] | None:
    """What a shard says of itself, if it is made from the same and, where no manifest vouches for it, whole; else it is added
    to what is `damaged`."""
    if not file.is_file():
        return None
    try:
        made_from, record = tensors.values_of(file)
        if made_from != key:
            return None
        if damaged is not None:
            tensors.unsealed(file)
    except ValueError:
        if damaged is not None:
            damaged.append(file)
        return None
    return dict(record)


def _file_of(artifact: Artifact | None, relative: str, damaged: list[Path]) -> Path | None:
    if artifact is None or relative not in artifact.manifest["files"]:
        return None
    try:
        return artifact.file(relative)
    except ArtifactError:
        damaged.append(artifact.path / relative)
        return None


def resolved(cells: Sequence[str | None], media_root: str, modality: Modality | type[Modality]) -> list[str | None]:
    """The cells, those that name files as the paths that they mean; lists of no files are missing."""
    return [media.path_of(cell, media_root) if cell is not None and modality.names_file(cell) else cell for cell in cells]


def said_of_files(cells: Sequence[str | None], media_root: str, modality: Modality) -> Counter[str]:
    """What a user should know of what the cells name, and how many of them."""
    named = (cell for cell in cells if cell is not None and modality.names_file(cell))
    several = sum(media.is_several(cell, media_root) for cell in named)
    return Counter({"with several files, of which the first is taken": several} if several else {})


def file_stamps(cells: Sequence[str | None], paths: Sequence[str | None], modality: Modality | type[Modality]) -> list[Any]:
    """Size and time of change of each file named; None for cells that name none, or one that is not there."""
    files = [path if cell is not None and modality.names_file(cell) else None for cell, path in zip(cells, paths, strict=True)]
    return media.stamps(files)
