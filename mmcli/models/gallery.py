"""A gallery: unit vectors of rows that a model has made, and what those rows are called. Read, searched, written."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import torch
from torch import Tensor

from mmcli.artifacts import layout, own, store, tensors
from mmcli.artifacts.store import Artifact, Draft
from mmcli.errors import ArtifactError, ConfigError, DataError
from mmcli.models import embedding, predictor
from mmcli.models.predictor import Model
from mmcli.options.made import require_gallery
from mmcli.reporting.counts import counted
from mmcli.vectors.eight import Eight, Kept
from mmcli.vectors.index import Index
from mmcli.vectors.nearest import DRAWN, RECALL_AT, Hits, Nearest, recall

KIND = "gallery"
VECTORS, ROWS, INDEX, REJECTS = "vectors.safetensors", "rows.parquet", "index.usearch", "rejects.csv"
ID, NAME = "id", "name"
"""The columns of the rows that each gallery has; the others are those of the tables, as text."""
EXPONENT = 0x7C00
"""Bits of a number in half precision that are all set where it is none, or without bound."""
MADE_HERE = "index_made_here"
"""In the metrics: sha256 of the index -> its keyed digest, by which this user's mmcli knows it again. See `artifacts.own`."""
OF_INT8 = "int8"
"""In the metrics: see `kept_by_eight`."""
RECALL = f"recall_at_{RECALL_AT}"
INT8 = "int8"
KINDS = ("float16", INT8)
"""How vectors are kept; the first where nothing is said."""


def said(metrics: Mapping[str, Any]) -> str:
    """How much is enrolled, in words."""
    return f"{counted(metrics['rows'], 'row')} of {counted(metrics['names'], 'name')}"


@dataclass(frozen=True)
class Gallery:
    """What is enrolled. Rows are in the order in which they came."""

    artifact: Artifact
    rows: pd.DataFrame
    """Text: `ID`, which no two rows share, `NAME`, and whatever else the tables told."""
    vectors: Kept
    """[N, D], in half precision or in eight bits."""
    index: Index | None = field(default=None, compare=False)
    """What finds rows faster, and may miss some."""

    @property
    def name(self) -> str:
        return self.artifact.name

    @cached_property
    def nearest(self) -> Nearest:
        """The rows, to be searched."""
        return Nearest(self.vectors)

    def search(self, queries_QD: Tensor, k: int) -> Hits:
        """The `k` most alike rows of each query.

        Raises:
            DataError: nothing is enrolled.
        """
        self.require_rows()
        return self.nearest.search(queries_QD, k) if self.index is None else self.index.search(self.nearest, queries_QD, k)

    def require_rows(self) -> None:
        """Raises DataError where nothing is enrolled."""
        if not len(self.rows):
            own_name = self.name.rpartition("/")[2]
            raise DataError(
                f"{self.name} is empty: nothing is enrolled", f"mmcli enrol TABLE --gallery {shlex.quote(own_name)}"
            )

    def decode(self, outputs: Any, here: Tensor, threshold: float | None = None) -> dict[str, list[Any]]:
        """Of each row the name that is the most like it, how similar it is, whether that is enough by the model's threshold or
        by another, and which row of the gallery that was. Rows of which nothing is there have no name."""
        least = embedding.threshold_of(outputs) if threshold is None else threshold
        hits = self.search(embedding.vectors_of(outputs).cpu(), 1)
        rows, alike, known = hits.rows[:, 0], hits.similarities[:, 0].tolist(), here.tolist()
        names, ids = self.rows[NAME].iloc[rows].tolist(), self.rows[ID].iloc[rows].tolist()
        return {
            "": [name if there else None for name, there in zip(names, known, strict=True)],
            "_similarity": [round(own, 6) if there else None for own, there in zip(alike, known, strict=True)],
            **({} if least is None else {"_accepted": [t and a >= least for a, t in zip(alike, known, strict=True)]}),
            "_row": [row if there else None for row, there in zip(ids, known, strict=True)],
        }


def read(root: Path, name: str, exact: bool = True) -> Gallery:
    """The gallery of that name; unless it is to be searched exactly, with its index, where it has one.

    Raises:
        ArtifactError: there is none, or it is damaged; says what to run.
        MissingPackageError: its index is wanted, and usearch is not installed.
    """
    require_gallery(root, name)
    artifact = store.read(root, layout.gallery(name), KIND, f"mmcli enrol TABLE --gallery {shlex.quote(name)}")
    found = tensors.of(artifact, VECTORS)
    file = artifact.file(ROWS)
    with artifact.understood():
        table = pyarrow.parquet.read_table(file)
        rows = pd.DataFrame({name: table.column(name).to_numpy() for name in table.column_names}, dtype=object)
        width = int(artifact.config["width"])
        vectors = _kept(found, (len(rows), width), kind_of(artifact.config))
        if not {ID, NAME} <= set(rows.columns) or not rows[ID].is_unique or rows[[ID, NAME]].isna().any(axis=None):
            raise ValueError(f"its rows lack {ID!r} or {NAME!r}, or two of them have one {ID!r}")
    index = None if exact or not artifact.config["index"] or not len(rows) else _index(artifact, vectors)
    return Gallery(artifact, rows, vectors, index)


def kind_of(config: Mapping[str, Any]) -> str:
    """How a gallery of that config keeps its vectors; those of older versions in half precision."""
    return str(config.get("vectors", KINDS[0]))


def as_kept(vectors_ND: Tensor, kind: str) -> Kept:
    """Vectors of any precision as a gallery of that kind keeps them."""
    return Eight.of(vectors_ND) if kind == INT8 else vectors_ND.half()


def _kept(found: Mapping[str, Tensor], shape: tuple[int, int], kind: str) -> Kept:
    """The vectors of a file.

    Raises:
        ValueError: they are others, or no numbers.
    """
    vectors, scales = found.get("vectors"), found.get("scales")
    wanted = {"float16": torch.float16, INT8: torch.int8}.get(kind)
    if vectors is None or vectors.shape != shape or vectors.dtype != wanted:
        raise ValueError(f"its vectors are not {list(shape)} in {kind}")
    numbers = vectors
    if kind == INT8:
        if scales is None or scales.shape != shape[:1] or scales.dtype != torch.float16:
            raise ValueError(f"its vectors in {kind} have no scales [{shape[0]}] in half precision")
        numbers = scales
    if bool((numbers.view(torch.int16) & EXPONENT == EXPONENT).any()):
        raise ValueError("its vectors hold what is no number")
    return vectors if scales is None or kind != INT8 else Eight(vectors, scales)


def _index(artifact: Artifact, vectors: Kept) -> Index:
    """The index of its file, where this user made that; else made anew, since the library trusts its files."""
    path, known = artifact.file(INDEX), artifact.metrics.get(MADE_HERE)
    sha256 = store.file_digest(path)
    if not isinstance(known, dict) or not own.is_own(sha256, known.get(sha256)):
        return Index.of(vectors)
    with artifact.understood(INDEX):
        return Index.load(path, vectors)


def with_model(root: Path, name: str, model: Path | None, compute: Sequence[Any], exact: bool = True) -> tuple[Gallery, Model]:
    """The gallery and the model that made it; `compute` is its device, precision and threads.

    Raises:
        ArtifactError: there is no such gallery, it is damaged, its model has changed, or another one was asked for.
    """
    found = read(root, name, exact)
    stale = store.stale_parent(found.artifact)
    if stale:
        raise ArtifactError(f"{found.name} is older than {stale}: its vectors are of a model that is gone", remade(found))
    loaded = predictor.load(root / found.artifact.config["model"] if model is None else model, *compute)
    require_same_model(found, loaded)
    return found, loaded


def require_same_model(gallery: Gallery, loaded: Model) -> None:
    """Raises ArtifactError where the vectors of a gallery are those of another model."""
    embedding.require_vectors(loaded)
    if loaded.artifact.parent() != gallery.artifact.manifest["parents"]:
        raise ArtifactError(
            f"{gallery.name} holds vectors of {gallery.artifact.config['model']}, which cannot be compared with those of "
            f"{loaded.artifact.path}",
            f"Leave out --model; or enrol by that model, adding --model {shlex.quote(str(loaded.artifact.path))}. "
            f"{remade(gallery)}",
        )


def remade(gallery: Gallery) -> str:
    """What makes a gallery again."""
    return f'Make it again: "{gallery.artifact.manifest["command"]} --force".'


def kept_by_eight(new_ND: Tensor, seed: int, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What eight bits cost: of the ten rows most alike to a row in half precision, the share that is found in eight bits,
    measured on some of those enrolled now, among these: others are there in eight bits alone. What was measured among more
    rows before stays; empty where there are so few that all are among the ten."""
    if before and before["among"] >= len(new_ND):
        return dict(before)
    if len(new_ND) <= RECALL_AT + 1:
        return {}
    found = recall(Nearest(new_ND), Nearest(Eight.of(new_ND)).search, new_ND, seed)
    return {RECALL: found, "among": len(new_ND), "drawn": min(DRAWN, len(new_ND))}


def write(draft: Draft, rows: pd.DataFrame, vectors: Kept, seed: int, indexed: bool) -> None:
    """The files of a gallery and their figures.

    Raises:
        MissingPackageError: it is to be indexed, and usearch is not installed.
    """
    whole = {"vectors": vectors.values, "scales": vectors.scales} if isinstance(vectors, Eight) else {"vectors": vectors}
    draft.tensors[VECTORS] = tensors.save(draft.path / VECTORS, whole)
    file = BytesIO()
    cells = {str(name): pa.array(rows[name].tolist(), pa.string()) for name in rows.columns}
    pyarrow.parquet.write_table(pa.table(cells), file)
    store.write_atomic(draft.path / ROWS, file.getvalue())
    draft.metrics |= {"rows": len(rows), "names": int(rows[NAME].nunique())}
    if indexed and len(rows):
        index = Index.of(vectors)
        index.save(draft.path / INDEX)
        sha256 = store.file_digest(draft.path / INDEX)
        draft.metrics |= {RECALL: index.recall(Nearest(vectors), vectors, seed), MADE_HERE: {sha256: own.mark(sha256)}}
        draft.measured |= {RECALL, MADE_HERE}
        draft.volatile.add(INDEX)


def id_column(loaded: Model, columns: Sequence[str], told: str | None) -> str | None:
    """The column whose cells name rows: the one told, that of the preprocessed table, one called `id`, or the only one whose
    cells are files, each of one row; none where rows are named by their number."""
    own_target = set(loaded.dataset.schema["targets"])
    known = [told, loaded.dataset.schema["roles"]["id"], ID if ID not in own_target else None]
    found: str | None = next((name for name in known if name is not None and name in columns), None)
    if found is not None:
        return found
    files = [
        name
        for item in loaded.inputs.values()
        for name, own_kind in item.members.items()
        if own_kind.reads_files and name in columns
    ]
    return files[0] if len(files) == 1 and files[0] not in loaded.faces else None  # of one picture, faces are several rows


def name_column(loaded: Model, columns: Sequence[str], told: str | None) -> str | None:
    """The column whose cells say whom or what a row is of: the one told, or the target; none where the model has none.

    Raises:
        ConfigError: the table has no such column.
    """
    if told is not None:
        return told
    targets = list(loaded.dataset.schema["targets"])
    if targets and targets[0] not in columns:
        raise ConfigError(
            f"the table has no column {targets[0]!r}, which says whom each row is of", f"Name it: --name COL. {_of(columns)}"
        )
    return targets[0] if targets else None


def _of(columns: Sequence[str]) -> str:
    return f"Its columns: {', '.join(columns)}."
