"""Reading what `preprocess` wrote: rows, splits, targets, the fitted inputs and task, the tensors of each input."""

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
from mmcli.inputs import Input
from mmcli.modalities import Modality
from mmcli.signals import Column
from mmcli.tables.splitting import SPLITS
from mmcli.tasks import Task

SCHEMA = "schema.json"
ROWS = "rows.parquet"
TASK = "task.json"


def target_columns(targets: list[str]) -> list[str]:
    """What the targets are called among the columns of ROWS."""
    return ["target"] if len(targets) == 1 else [f"target:{name}" for name in targets]


def modality_file(column: str) -> str:
    return f"columns/{layout.safe(column)}/modality.json"


def shard_file(column: str, number: int) -> str:
    return f"columns/{layout.safe(column)}/{number:05d}.safetensors"


@dataclass(frozen=True)
class Dataset:
    """A preprocessed table."""

    artifact: Artifact
    _columns: dict[str, Column] = field(default_factory=dict, repr=False)
    _inputs: dict[str, Input] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, root: Path) -> Dataset:
        """The preprocessed table under an artifacts root.

        Raises:
            ArtifactError: there is none; says what to run.
        """
        return cls(store.read(root, layout.PREPROCESS, "preprocess", "mmcli preprocess TABLE"))

    @cached_property
    def schema(self) -> dict[str, Any]:
        """targets, columns, inputs, rows, shards: see docs/artifacts.md."""
        schema: dict[str, Any] = self.artifact.json(SCHEMA)
        return schema

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, each of one column of the table or of several joined."""
        return list(self.schema["inputs"])

    @property
    def target(self) -> str:
        """What is predicted, in a word: the target column, or several joined by a plus."""
        return "+".join(self.schema["targets"])

    @cached_property
    def task(self) -> Task:
        state = self.artifact.json(TASK)
        kind: type[Task] = registry.load("tasks", state["task"])
        return kind.from_state(state["state"])

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row to a row of the table: row (from 1), id, split, and each target column's cells."""
        return pd.read_parquet(self.artifact.file(ROWS))

    @cached_property
    def cells(self) -> list[tuple[str | None, ...]]:
        """The target cells of each row of the table."""
        frame = self.rows[target_columns(self.schema["targets"])]
        return list(frame.astype(object).where(frame.notna(), None).itertuples(index=False, name=None))

    @cached_property
    def splits(self) -> dict[str, Tensor]:
        """Split -> int64 positions in the table."""
        names = self.rows["split"].to_numpy()
        return {split: torch.from_numpy((names == split).nonzero()[0]) for split in SPLITS}

    @cached_property
    def targets(self) -> Tensor:
        """Encoded targets of all rows; those without one (their split is `unlabelled`) hold zeros."""
        labelled = (self.rows["split"] != "unlabelled").to_numpy(copy=True)
        encoded = self.task.encode([cells for cells, here in zip(self.cells, labelled, strict=True) if here])
        targets = torch.zeros(len(self.rows), *encoded.shape[1:], dtype=encoded.dtype)
        targets[torch.from_numpy(labelled)] = encoded
        return targets

    def input(self, name: str) -> Input:
        """An input with its columns' modalities, as fitted."""
        if name not in self._inputs:
            members = {column: self._modality(column) for column in self.schema["inputs"][name]}
            self._inputs[name] = Input(name, members)
        return self._inputs[name]

    def _modality(self, column: str) -> Modality:
        state = self.artifact.json(modality_file(column))
        kind: type[Modality] = registry.load("modalities", state["modality"])
        return kind.from_state(state["state"])

    def column(self, name: str) -> Column:
        """All rows of an input, normalised, in memory; read and verified once."""
        if name not in self._columns:
            self._columns[name] = self.input(name).join(self.stored(name))
        return self._columns[name]

    def stored(self, name: str) -> dict[str, Column]:
        """An input's columns of the table as they lie on disk."""
        return {column: self._read_column(column) for column in self.schema["inputs"][name]}

    def linear_features(self, name: str, train: Tensor) -> Any:
        """What the linear baseline sees of an input."""
        found = self.input(name)
        columns = self.stored(name) if found.joined else {next(iter(found.members)): self.column(name)}
        return found.linear_features(columns, train)

    def _read_column(self, column: str) -> Column:
        numbers = range(self.schema["columns"][column]["shards"])
        return Column.concatenate(
            [tensors.column_from(tensors.load(self.artifact.file(shard_file(column, number)))) for number in numbers]
        )
