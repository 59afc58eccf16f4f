"""Reading what `preprocess` wrote: rows, splits, targets, the fitted modalities and task, the tensors of each column."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mmcli import registry
from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact
from mmcli.modalities import Modality
from mmcli.signals import Column
from mmcli.tables.splitting import SPLITS
from mmcli.tasks import Task

SCHEMA = "schema.json"
ROWS = "rows.parquet"
TASK = "task.json"


def modality_file(column: str) -> str:
    return f"columns/{layout.safe(column)}/modality.json"


def shard_file(column: str, number: int) -> str:
    return f"columns/{layout.safe(column)}/{number:05d}.safetensors"


@dataclass(frozen=True)
class Dataset:
    """A preprocessed table."""

    artifact: Artifact
    _columns: dict[str, Column] = field(default_factory=dict, repr=False)
    _modalities: dict[str, Modality] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, root: Path) -> Dataset:
        """The preprocessed table under an artifacts root.

        Raises:
            ArtifactError: there is none; says what to run.
        """
        return cls(store.read(root, layout.PREPROCESS, "preprocess", "mmcli preprocess TABLE"))

    @cached_property
    def schema(self) -> dict[str, Any]:
        """target, columns, rows, shards: see docs/artifacts.md."""
        schema: dict[str, Any] = self.artifact.json(SCHEMA)
        return schema

    @property
    def columns(self) -> list[str]:
        return list(self.schema["columns"])

    @cached_property
    def task(self) -> Task:
        state = self.artifact.json(TASK)
        kind: type[Task] = registry.load("tasks", state["task"])
        return kind.from_state(state["state"])

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row to a row of the table: row (from 1), id, split, target."""
        return pd.read_parquet(self.artifact.file(ROWS))

    @cached_property
    def splits(self) -> dict[str, Tensor]:
        """Split -> int64 positions in the table."""
        names = self.rows["split"].to_numpy()
        return {split: torch.from_numpy((names == split).nonzero()[0]) for split in SPLITS}

    @cached_property
    def targets(self) -> Tensor:
        """Encoded targets of all rows; those without one (their split is `unlabelled`) hold zeros."""
        labelled = (self.rows["split"] != "unlabelled").to_numpy(copy=True)
        encoded = self.task.encode(self.rows["target"][labelled].tolist())
        targets = torch.zeros(len(self.rows), *encoded.shape[1:], dtype=encoded.dtype)
        targets[torch.from_numpy(labelled)] = encoded
        return targets

    def modality(self, column: str) -> Modality:
        """The column's modality, as fitted."""
        if column not in self._modalities:
            self._modalities[column] = self._read_modality(column)
        return self._modalities[column]

    def _read_modality(self, column: str) -> Modality:
        state = self.artifact.json(modality_file(column))
        kind: type[Modality] = registry.load("modalities", state["modality"])
        return kind.from_state(state["state"])

    def column(self, name: str) -> Column:
        """All rows of a column, normalised, in memory; read and verified once."""
        if name not in self._columns:
            self._columns[name] = self._read_column(name)
        return self._columns[name]

    def _read_column(self, name: str) -> Column:
        parts = [
            tensors.column_from(tensors.load(self.artifact.file(shard_file(name, number))))
            for number in range(self.schema["shards"])
        ]
        return self.modality(name).restore(Column.concatenate(parts))
