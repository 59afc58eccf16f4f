"""Reading what `preprocess` wrote: rows, splits, targets, the fitted inputs and task, the tensors of each input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mmcli import registry
from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact
from mmcli.data import faces, memory
from mmcli.data.identities import same_cells
from mmcli.data.inputs import Input
from mmcli.data.streaming import STREAMABLE, Streamed
from mmcli.media.boxes import Told
from mmcli.modalities import Modality
from mmcli.reporting.metrics import Array
from mmcli.signals import Column, Features
from mmcli.tables import typed
from mmcli.tables.splitting import BOTH, SPLITS, TRAIN, VAL
from mmcli.tasks import Task
from mmcli.vectors import plain

ROWS = "rows.parquet"
TASK = "task.json"


def target_columns(targets: list[str]) -> list[str]:
    """What the targets are called among the columns of ROWS."""
    return ["target"] if len(targets) == 1 else [f"target:{name}" for name in targets]


def cells_of(rows: pd.DataFrame, targets: list[str]) -> list[tuple[str | None, ...]]:
    """Each row's target cells, from a frame with `target_columns`; none of a table without a target."""
    if not targets:
        return [()] * len(rows)
    frame = rows[target_columns(targets)].astype(object)
    return list(frame.where(frame.notna(), None).itertuples(index=False, name=None))


def modality_file(column: str) -> str:
    return f"columns/{layout.safe(column)}/modality.json"


def parts_of(schema: Mapping[str, Any]) -> dict[str, list[str]]:
    """Input -> the files that an encoder of it depends on, or how their names begin: adding an input leaves the others'
    encoders fresh. One that is shared learns from all its readers."""
    inputs, shares = schema["inputs"], schema.get("shares", {})
    found = {}
    for name in inputs:
        owner = shares.get(name, name)
        together = [own for own in inputs if shares.get(own, own) == owner]
        found[name] = [ROWS, TASK, *(f"columns/{layout.safe(column)}/" for own in together for column in inputs[own])]
    return found


def shard_file(column: str, number: int) -> str:
    return f"columns/{layout.safe(column)}/{number:05d}.safetensors"


def checked_schema(schema: Any) -> dict[str, Any]:
    """What a schema says, its fields being of the types that they should.

    Raises:
        ValueError: they are not.
    """
    lists, columns = ("targets", "na"), schema["columns"]
    if not all(isinstance(name, str) for key in lists for name in schema[key]) or not isinstance(schema["inputs"], dict):
        raise ValueError("its targets, missing cells or inputs are not what they should be")
    for name, members in schema["inputs"].items():
        if not isinstance(members, list) or not members or not all(member in columns for member in members):
            raise ValueError(f"the input {name!r} is not of columns")
    for reader, owner in schema.get("shares", {}).items():
        if not {reader, owner} <= set(schema["inputs"]) or reader == owner or owner in schema["shares"]:
            raise ValueError(f"the input {reader!r} cannot read the encoder of {owner!r}")
    if not set(faces.told_in(schema)) <= set(columns):
        raise ValueError("faces are told of columns that it has not")
    types = schema.get("types", {})
    if not isinstance(types, dict) or not set(types) <= set(schema["targets"]):
        raise ValueError("types are told of what is no target")
    for name, kind in types.items():
        if kind not in typed.KINDS:
            raise ValueError(f"the target {name!r} has no type {kind!r}")
    for name, column in columns.items():
        if type(column["shards"]) is not int or not 0 <= column["shards"] < 10_000_000:
            raise ValueError(f"the column {name!r} has {column['shards']!r} shards")
    return dict(schema)


@dataclass(frozen=True)
class Dataset:
    """A preprocessed table."""

    artifact: Artifact
    _columns: dict[str, Column | Streamed] = field(default_factory=dict, repr=False)
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
        schema: dict[str, Any] = self.artifact.json(layout.SCHEMA)
        with self.artifact.understood(layout.SCHEMA):
            return checked_schema(schema)

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, each of one column of the table or of several joined."""
        return list(self.schema["inputs"])

    @property
    def shares(self) -> dict[str, str]:
        """Input -> the input whose modality and encoder it reads, where it has none of its own."""
        return dict(self.schema.get("shares", {}))

    @property
    def faces(self) -> dict[str, Told]:
        """Column of pictures -> the columns that tell where its faces are."""
        return faces.told_in(self.schema)

    def owner(self, name: str) -> str:
        """The input whose encoder an input reads: itself, unless it shares another's."""
        return self.shares.get(name, name)

    def readers(self, name: str) -> list[str]:
        """The inputs that read the encoder of an owner, itself first."""
        return [name, *(reader for reader, owner in self.shares.items() if owner == name)]

    @property
    def target(self) -> str:
        """What is predicted, in a word: the target column, or several joined by a plus; of a table without one, `together`."""
        return "+".join(self.schema["targets"]) or "together"

    @cached_property
    def task(self) -> Task:
        state = self.artifact.json(TASK)
        with self.artifact.understood(TASK):
            kind: type[Task] = registry.load("tasks", state["task"])
            return kind.from_state(state["state"])

    @cached_property
    def typed(self) -> typed.Typed:
        """The type of the target's values, of which predictions are; none where it is text, or older artifacts do not know."""
        kinds = self.schema.get("types", {})
        with self.artifact.understood(layout.SCHEMA):
            found = typed.Typed(kinds.get(self.target, ""))
            names = self.task.items if found.item else self.task.answers
            if found.kind and not (found.gives_back(names) and (names or not found.item)):
                raise ValueError(f"answers are no values of the type {found.kind!r}")
            return found

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row to a row of the table: row (from 1), id, split, and each target column's cells."""
        file = self.artifact.file(ROWS)
        with self.artifact.understood(ROWS):
            found = pd.read_parquet(file)
            _ = [found[name] for name in ("row", "id", "split", *target_columns(self.schema["targets"]))]
            return found

    def groups(self, index: Tensor) -> Array | None:
        """Which group each of those rows is of, as a number; None where the table has none."""
        if "group" not in self.rows:
            return None
        codes = pd.factorize(self.rows["group"].fillna("").iloc[index.numpy()])[0]
        return np.asarray(codes)

    @cached_property
    def cells(self) -> list[tuple[str | None, ...]]:
        """The target cells of each row of the table."""
        return cells_of(self.rows, self.schema["targets"])

    @cached_property
    def splits(self) -> dict[str, Tensor]:
        """Split -> int64 positions in the table. In the root of a refit all rows of val may be rows of train."""
        names = self.rows["split"].to_numpy()
        both = {TRAIN: names == BOTH, VAL: names == BOTH}
        return {split: torch.from_numpy(((names == split) | both.get(split, False)).nonzero()[0]) for split in SPLITS}

    @cached_property
    def weights(self) -> Tensor | None:
        """float64 [N]: how much each row counts, one on average over train; None where the table names no weights, or all are
        the same."""
        if "weight" not in self.rows:
            return None
        told = self.rows["weight"]
        if told.dropna().nunique() < 2:
            return None
        own = torch.from_numpy(told.fillna(0.0).to_numpy(np.float64, copy=True))
        return own / own[self.splits["train"]].mean()

    @cached_property
    def targets(self) -> Tensor:
        """Encoded targets of all rows, with their weights where these differ (see `Task.weigh`); those without one (their split
        is `unlabelled`) hold zeros. Where columns are aligned, what is known of the rows: see `Task.kinship`."""
        if self.task.aligns_columns:
            cells = same_cells([self.column(name) for name in self.task.columns])
            groups = self.groups(torch.arange(len(self.rows)))
            if groups is not None:  # rows that name no group are each their own
                alone = self.rows["group"].isna().to_numpy()
                groups = np.where(alone, groups.max() + 1 + np.arange(len(groups)), groups)
            return self.task.kinship(cells, groups)
        labelled = (self.rows["split"] != "unlabelled").to_numpy(copy=True)
        task = self.task
        with self.artifact.understood(ROWS):
            encoded = task.encode([cells for cells, here in zip(self.cells, labelled, strict=True) if here])
        targets = torch.zeros(len(self.rows), *encoded.shape[1:], dtype=encoded.dtype)
        targets[torch.from_numpy(labelled)] = encoded
        return targets if self.weights is None else task.weigh(targets, self.weights)

    def input(self, name: str) -> Input:
        """An input with its columns' modalities, as fitted.

        Raises:
            ArtifactError: the preprocessed table has none of that name.
        """
        if name not in self.schema["inputs"]:
            with self.artifact.understood():
                raise ValueError(f"it has no input {name!r}")
        if name not in self._inputs:
            members = {column: self._modality(column) for column in self.schema["inputs"][name]}
            self._inputs[name] = Input(name, members)
        return self._inputs[name]

    def _modality(self, column: str) -> Modality:
        file = modality_file(column)
        state = self.artifact.json(file)
        with self.artifact.understood(file):
            kind: type[Modality] = registry.load("modalities", state["modality"])
            return kind.from_state(state["state"])

    def column(self, name: str) -> Column | Streamed:
        """All rows of an input, normalised; read and verified once. In memory, unless it is one of the `streamed`."""
        if name not in self._columns:
            found = self.input(name)
            if name in self.streamed:
                (column,) = found.members
                files = [self.artifact.file(shard_file(column, number)) for number in self._shards(column)]
                with self.artifact.understood(f"column {column!r}"):
                    self._columns[name] = Streamed.of(files, found.first.shard_rows, found.first.restore)
            else:
                stored = self.stored(name)
                with self.artifact.understood(f"input {name!r}"):
                    self._columns[name] = _known_ids(found.join(stored), found)
        return self._columns[name]

    @cached_property
    def streamed(self) -> frozenset[str]:
        """The inputs that stay on disk: the largest, as many as it takes for the others to fit into `memory.budget()`."""
        sizes = {name: self.bytes_of(name) for name in self.inputs}
        left, found = memory.budget(), set()
        for name in sorted(self.inputs, key=lambda name: (sizes[name], name)):
            left -= sizes[name]
            if left < 0 and self.input(name).spec.kind in STREAMABLE:
                found.add(name)
        return frozenset(found)

    def bytes_of(self, name: str) -> int:
        """What an input takes in memory."""
        return sum(map(self._bytes, self.schema["inputs"][name]))

    def _shards(self, column: str) -> range:
        return range(self.schema["columns"][column]["shards"])

    def _bytes(self, column: str) -> int:
        """What a column takes in memory: its numbers as float16 at least, as they are restored."""
        total = 0
        for number in self._shards(column):
            with self.artifact.understood(shard_file(column, number)):
                dtype, *shape = self.artifact.manifest["files"][shard_file(column, number)]["tensors"]["values"]
            total += math.prod(shape) * {"uint8": 2, "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4}.get(dtype, 8)
        return total

    def stored(self, name: str) -> dict[str, Column]:
        """An input's columns of the table as they lie on disk."""
        return {column: self._read_column(column) for column in self.schema["inputs"][name]}

    def linear_features(self, name: str, train: Tensor) -> Any:
        """What the linear baseline sees of an input."""
        found, column = self.input(name), self.column(name)
        if isinstance(column, Streamed):  # of these kinds, each row's are its own
            parts = torch.arange(len(column)).split(found.first.shard_rows)
            member = next(iter(found.members))
            return np.concatenate([found.linear_features({member: column.read(part)}, train) for part in parts])
        return found.linear_features(self.stored(name) if found.joined else {next(iter(found.members)): column}, train)

    @cached_property
    def plain_views(self) -> dict[str, Features]:
        """Input -> what the linear baseline sees of it, along the principal axes of the train rows, as features."""
        train, found = self.splits["train"], {}
        for name in self.inputs:
            pooled, present = plain.reduced(self.linear_features(name, train), train), self.column(name).present.cpu()
            found[name] = Features(pooled, pooled[:, None], present[:, None], present)
        return found

    def _read_column(self, column: str) -> Column:
        files = [self.artifact.file(shard_file(column, number)) for number in self._shards(column)]
        with self.artifact.understood(f"column {column!r}"):
            found = Column.concatenate([tensors.column_from(tensors.load(file)) for file in files])
            _check_column(found, len(self.rows))
        return found


def _known_ids(column: Column, of: Input) -> Column:
    """The column; ValueError where it has ids that its modality has not."""
    if (
        of.spec.kind == "ids"
        and len(column.values)
        and not 0 <= int(column.values.min()) <= int(column.values.max()) < of.spec.vocab_size
    ):
        raise ValueError(f"it has ids beyond its {of.spec.vocab_size} tokens")
    return column


def _check_column(column: Column, rows: int) -> None:
    """Raises ValueError where a column has not as many rows as the table, or names values that it has not."""
    offsets = column.offsets
    if len(column.present) != rows:
        raise ValueError(f"it has {len(column.present)} rows, the table {rows}")
    if offsets is None:
        if len(column.values) != rows:
            raise ValueError(f"it has values of {len(column.values)} rows, the table {rows}")
    elif (
        len(offsets) != rows + 1
        or int(offsets[0])
        or int(offsets[-1]) != len(column.values)
        or bool((offsets.diff() < 0).any())
    ):
        raise ValueError("its offsets do not part its values into rows")
