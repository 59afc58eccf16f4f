"""Predicting with a model from artifacts.

`load("artifacts")` gives the best model that there is; `.predict(table)` works on a path or a DataFrame.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from mmcli import registry
from mmcli.artifacts import store
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.data.sharding import resolved, said_of_files
from mmcli.errors import ConfigError
from mmcli.media import files as media
from mmcli.models import conformal, runners
from mmcli.models.forward import forward_columns, forward_explained, forward_whole
from mmcli.models.loading import best, load_fused
from mmcli.signals import Column, Source
from mmcli.tables import missing
from mmcli.tables.reading import open_table
from mmcli.training import device


@dataclass(frozen=True)
class Prediction:
    """Predictions for some rows."""

    frame: pd.DataFrame
    """The rows of the table as they came, with the prediction columns."""
    rejects: list[tuple[int, str, str, str]]
    """(row from 1, column, cell, reason) of every cell that could not be read and counted as absent."""
    remarks: dict[str, Counter[str]]
    """Of each column what was done to cells that could be read (cut, taken for an unknown name), and to how many."""


class Model:
    """A trained model that takes tables."""

    def __init__(self, dataset: Dataset, artifact: Artifact, compute: device.Compute) -> None:
        self.artifact = artifact
        self.task = dataset.task
        self.target = dataset.target
        self.compute = compute
        self.network = load_fused(dataset, artifact).to(compute.device)
        self.conformal: dict[str, Any] = artifact.metrics.get("conformal", {})
        """What makes prediction sets, where `optimize` left it."""
        way = artifact.config.get("way", runners.TORCH)
        self._runner = None if way == runners.TORCH else runners.runner(way, self.network, compute, _run_file(artifact, way))
        self.inputs = {name: dataset.input(name) for name in self.network.inputs}
        self.na = frozenset(dataset.schema["na"])
        """Cells that mean missing, as the user told preprocess."""

    @property
    def columns(self) -> list[str]:
        """The columns of a table that the model looks at."""
        return [column for found in self.inputs.values() for column in found.members]

    def absent_columns(self, columns: Sequence[str]) -> list[str]:
        """Those that a table with these columns lacks: they count as absent in every row."""
        return [column for column in self.columns if column not in columns]

    def predict(self, table: str | Path | pd.DataFrame, media_root: str | Path | None = None) -> pd.DataFrame:
        """The table with prediction and probability columns; rows and their order are kept.

        Media paths resolve against `media_root`, by default the table's folder (for a DataFrame, the working directory).
        """
        if isinstance(table, pd.DataFrame):
            frame = table.astype(object).where(table.notna(), None).reset_index(drop=True)
            root = str(media_root or ".")
            return pd.concat([p.frame for p in self.predict_chunks(iter([frame]), root)], ignore_index=True)
        opened = open_table(Path(table))
        root = str(media_root or opened.path.parent)
        parts = [p.frame for p in self.predict_chunks(opened.chunks(), root)]
        return pd.concat(parts, ignore_index=True)

    @property
    def has_weights(self) -> bool:
        """Whether its fusion says how much of each column entered."""
        columns = {name: own.emptied() for name, own in self._columns(pd.DataFrame(index=[0]), ".")[0].items()}
        return forward_explained(self.network, columns, self.compute)[1] is not None

    def predict_chunks(
        self,
        chunks: Iterator[pd.DataFrame],
        media_root: str,
        explain: bool = False,
        sets: bool = False,
        embeddings: bool = False,
    ) -> Iterator[Prediction]:
        """Predictions for consecutive parts of a table, in bounded memory; beside them, where asked for, the columns' weights,
        prediction sets (classes, or the ends of an interval), and the fused features as lists of numbers."""
        for chunk in chunks:
            columns, rejects, remarks = self._columns(chunk, media_root)
            outputs, weights, features = self._forward(columns, whole=explain or embeddings)
            decoded = {self.target + "_predicted" + name: cells for name, cells in self.task.decode(outputs).items()}
            if sets and self.conformal:
                found = conformal.columns(self.task, self.conformal, outputs)
                decoded |= {f"{self.target}_predicted{name}": cells for name, cells in found.items()}
            if embeddings and features is not None:
                decoded[f"{self.target}_embedding"] = [json.dumps([round(v, 6) for v in row]) for row in features.tolist()]
            if explain and weights is not None:
                for name, own in zip(self.network.names, weights.T, strict=True):
                    decoded[f"{self.target}_weight_{name}"] = [round(value, 6) for value in own.tolist()]
            yield Prediction(chunk.assign(**{k: pd.array(v, dtype=None) for k, v in decoded.items()}), rejects, remarks)

    def _forward(self, columns: Mapping[str, Source], whole: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Outputs; and, where the whole is wanted, the columns' weights, if there are any, and the fused features."""
        if whole:
            return forward_whole(self.network, columns, self.compute)
        if self._runner is not None:
            return self._runner.outputs(columns, self.compute.device), None, None
        return forward_columns(self.network, columns, self.compute), None, None

    def _columns(
        self, chunk: pd.DataFrame, media_root: str
    ) -> tuple[dict[str, Column], list[tuple[int, str, str, str]], dict[str, Counter[str]]]:
        columns, rejects, remarks = {}, [], {}
        for name, found in self.inputs.items():
            stored = {}
            for column, modality in found.members.items():
                cells, named = _told_missing(_text_cells(chunk, column), self.na)
                encoded = modality.transform(resolved(cells, media_root, modality))
                stored[column] = encoded.column
                remarks[column] = encoded.remarks + named + said_of_files(cells, media_root, modality)
                for reject in encoded.rejects:
                    row = int(chunk.index[reject.position]) + 1
                    rejects.append((row, column, media.shown(str(cells[reject.position])), reject.reason))
            columns[name] = found.join(stored)
        return columns, rejects, remarks


def _text_cells(chunk: pd.DataFrame, column: str) -> list[str | None]:
    if column not in chunk.columns:
        return [None] * len(chunk)
    return [None if cell is None or not str(cell).strip() else str(cell) for cell in chunk[column]]


def _told_missing(cells: list[str | None], na: frozenset[str]) -> tuple[list[str | None], Counter[str]]:
    """The cells without those that mean missing, and how many of them say what."""
    named = Counter(missing.remark(cell) for cell in cells if cell is not None and cell.strip() in na) if na else Counter[str]()
    return [None if cell is not None and cell.strip() in na else cell for cell in cells] if named else cells, named


def _run_file(artifact: Artifact, way: str) -> Path | None:
    return artifact.file(runners.FILES[way]) if way in runners.FILES else None


def load(
    path: str | Path = "artifacts",
    device_name: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    trust: Sequence[str | Path] = (),
) -> Model:
    """The model at `path`: an artifacts root (then the best model in it), a fusion's folder, or `optimized`.

    `trust` names files with parts of your own; nothing in a file that only the artifact names is run.

    Raises:
        ArtifactError: there is none, or it is stale or damaged; says what to run.
    """
    for file in trust:
        registry.trust(str(file))
    folder = Path(path)
    manifest = folder / store.MANIFEST
    if not manifest.is_file():
        return _model(folder, best(folder), device_name, precision, threads)
    kind = json.loads(manifest.read_text(encoding="utf-8"))["kind"]
    if kind not in {"fusion", "optimized"}:
        raise ConfigError(f"{folder} holds a {kind}, not a fused model", "Give the artifacts root, a fusion or `optimized`.")
    root = folder.parent.parent if kind == "fusion" else folder.parent
    name = folder.resolve().relative_to(root.resolve()).as_posix()
    artifact = store.require_fresh(store.read(root, name, kind, "mmcli fuse"))
    return _model(root, artifact, device_name, precision, threads)


def _model(root: Path, artifact: Artifact, device_name: str, precision: str, threads: int) -> Model:
    return Model(Dataset.open(root), artifact, device.choose(device_name, precision, threads))
