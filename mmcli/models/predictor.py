"""Predicting with a model from artifacts.

`load("artifacts")` gives the best model that there is; `.predict(table)` works on a path or a DataFrame.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from mmcli import registry
from mmcli.artifacts import layout, store
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.data.there import FilesThere
from mmcli.errors import ConfigError, DataError, unknown
from mmcli.heads import Head
from mmcli.models import conformal, runners, writers
from mmcli.models.forward import forward_columns, forward_explained, forward_whole, likeness
from mmcli.models.loading import WHOLE, best, load_fused
from mmcli.models.networks import FusedModel
from mmcli.models.reading import Read, Reader
from mmcli.models.timing import Clock
from mmcli.signals import Source
from mmcli.tables.names import lacking
from mmcli.tables.reading import Rows, open_table
from mmcli.tables.typed import Typed, with_lists
from mmcli.text.words import Timed
from mmcli.training import device


@dataclass(frozen=True)
class Prediction:
    """Predictions for some rows."""

    rows: pd.DataFrame
    """The rows of the table as they came."""
    columns: dict[str, list[Any]]
    """The prediction columns."""
    rejects: list[tuple[int, str, str, str]]
    """(row from 1, column, cell, reason) of every cell that could not be read and counted as absent."""
    outputs: Any
    """The model's raw outputs for them, of the task's kind."""
    words: list[list[Timed]]
    """Of each row when its words are said, where that is asked for."""
    remarks: dict[str, Counter[str]]
    """Of each column what was done to cells that could be read (cut, taken for an unknown name), and to how many."""

    @property
    def frame(self) -> pd.DataFrame:
        """The rows with the prediction columns, which replace those of the same name."""
        return self.rows.assign(**{name: _as_column(cells, self.rows.index) for name, cells in self.columns.items()})


class Model:
    """A trained model that takes tables."""

    def __init__(self, dataset: Dataset, artifact: Artifact, compute: device.Compute) -> None:
        self.artifact = artifact
        self.dataset = dataset
        """The preprocessed table that it learnt from."""
        self.task = dataset.task
        self.target = dataset.target
        self.typed = dataset.typed
        self.compute = compute
        self.network = load_fused(dataset, artifact).to(compute.device)
        self.conformal: dict[str, Any] = artifact.metrics.get("conformal", {})
        """What makes prediction sets, where `optimize` left it."""
        way = artifact.config.get("way", runners.TORCH)
        self._runner = None if way == runners.TORCH else _runner(artifact, way, self.network, compute)
        self.inputs = {name: dataset.input(name) for name in self.network.inputs}
        self.faces = {name: told for name, told in dataset.faces.items() if name in self.columns}
        """Column of pictures -> the columns that tell where its faces are."""
        self.na = frozenset(dataset.schema["na"])
        """Cells that mean missing, as the user told preprocess."""
        self._reader = Reader(self.inputs, self.faces, self.na)

    @property
    def types(self) -> dict[str, Typed]:
        """Prediction column -> the type that the target has in the table it was trained on, where that is not text."""
        return {self.task.column(self.target, ""): self.typed} if self.typed.kind else {}

    @property
    def columns(self) -> list[str]:
        """The columns of a table that the model looks at."""
        return [column for found in self.inputs.values() for column in found.members]

    def with_faces(self, columns: Sequence[str]) -> list[str]:
        """The columns of a table, and those that tell where the faces on them are."""
        told = [own for name, found in self.faces.items() if name in columns for own in found.columns]
        return [*dict.fromkeys([*columns, *told])]

    def absent_columns(self, columns: Sequence[str]) -> list[str]:
        """Those that a table with these columns lacks: they count as absent in every row."""
        return [column for column in self.columns if column not in columns]

    def require_inputs(self, columns: Sequence[str], table: str, warn: Callable[[str], None]) -> list[str]:
        """Those that a table with these columns lacks, which is told.

        Raises:
            DataError: it lacks all of them.
        """
        missing = self.absent_columns(columns)
        if len(missing) == len(self.columns):
            none = f"{table} has none of the model's inputs: {', '.join(missing)}"
            raise DataError(none, f"Its columns: {', '.join(columns)}.")
        if missing:
            warn(lacking(table, missing, self.columns, columns))
        for name, told in self.faces.items():
            gone = [own for own in told.columns if own not in columns]
            if gone and name not in missing:
                warn(
                    f"{table} lacks {', '.join(map(repr, gone))}, by which faces on {name!r} are found; its cells may tell "
                    "them: picture.jpg#xywh=left,top,width,height"
                )
        return missing

    @property
    def most_answers(self) -> int:
        """How many answers to a row it can tell."""
        return int(min([self.task.most_answers, *(head.beam for head in self._searching())]))

    def _searching(self) -> list[Any]:
        """The heads that search for what they answer."""
        networks = [self.network, *([self._runner.network] if self._runner is not None else [])]
        return [head for own in networks for head in own.modules() if isinstance(head, Head) and head.beam is not None]

    def follow(self, beam: int) -> None:
        """Lets texts be written by a beam of that width.

        Raises:
            ConfigError: its answers take no such search.
        """
        searching = self._searching()
        if not searching:
            why = "its answers take no search, or val was no better for one, so that they are read greedily"
            raise ConfigError(f"--beam: {self.artifact.name} follows no beam: {why}", "Leave it out.")
        for head in searching:
            head.beam = beam

    def predict(
        self, table: str | Path | pd.DataFrame, media_root: str | Path | None = None, allow_missing: bool = False
    ) -> pd.DataFrame:
        """The table with prediction and probability columns; rows, their order and the types of columns are kept, columns of
        the same names are replaced, with a warning.

        Media paths resolve against `media_root`, by default the table's folder (for a DataFrame, the working directory).

        Raises:
            DataError: most files of a column are not there, and that is not allowed; the table cannot be read.
        """
        if isinstance(table, pd.DataFrame):
            own = table.reset_index(drop=True)
            chunks, root = iter([own]), str(media_root or ".")
            parts = [own]
        else:
            opened = open_table(Path(table))
            root, parts = str(media_root or opened.path.parent), []
            chunks = _kept(opened.parts(), parts)
        found = list(self.predict_chunks(chunks, root, allow_missing=allow_missing))
        if not found:
            raise DataError(f"{table} has a header but no rows", "There is nothing to predict.")
        types = self.types if self.typed.item else {}
        made = [replace(p, rows=part, columns=with_lists(p.columns, types)).frame for p, part in zip(found, parts, strict=True)]
        result = pd.concat(made, ignore_index=True)
        replaced = sorted(set(found[0].columns).intersection(parts[0].columns))
        if replaced:
            warnings.warn(f"the table has {', '.join(replaced)} already: replaced by the new predictions", stacklevel=2)
        return result

    @property
    def has_weights(self) -> bool:
        """Whether its fusion says how much of each column entered."""
        columns = {name: own.emptied() for name, own in self._reader.read(pd.DataFrame(index=[0]), ".").columns.items()}
        return forward_explained(self.network, columns, self.compute)[1] is not None

    def clock(self) -> Clock:
        """What tells when words are said.

        Raises:
            ConfigError: the answers follow no sound.
        """
        return Clock.of(self.network, self.inputs, self.compute)

    def predict_chunks(
        self,
        chunks: Iterator[pd.DataFrame],
        media_root: str,
        explain: bool = False,
        sets: bool = False,
        embeddings: bool = False,
        allow_missing: bool = True,
        nbest: int = 1,
        clock: Clock | None = None,
        decode: Callable[[Any, Tensor], dict[str, list[Any]]] | None = None,
    ) -> Iterator[Prediction]:
        """Predictions for consecutive parts of a table, in bounded memory; beside them, where asked for, the columns' weights,
        prediction sets (classes, or the ends of an interval), the fused features as lists of numbers, the `nbest` likeliest
        answers, and, by a `clock`, when each word is said. `decode` says what answers are called of outputs, and of which rows
        anything is there; by default the task.

        Raises:
            DataError: most files of a column are not there, and that is not allowed.
        """
        for read in self.read_chunks(chunks, media_root, allow_missing):
            chunk, columns = read.rows, read.columns
            outputs, weights, features = self._forward(columns, whole=explain or embeddings)
            named = self.task.decode(outputs) if decode is None else decode(outputs, read.here)
            decoded = {self.task.column(self.target, name): cells for name, cells in named.items()}
            if decode is None and not self.typed.item:  # lists are made of their cells where they are written: a CSV has none
                decoded |= {name: self.typed.values(decoded[name]) for name in self.types}
            if self.task.compares_columns and len(self.network.encoders) < len(self.network.names):
                alike = likeness(self.network, columns, self.compute)
                decoded[f"{self.target}_predicted_cosine"] = [round(value, 6) for value in alike.tolist()]
            if nbest > 1:
                more = self.task.alternatives(outputs, nbest)
                decoded |= {f"{self.target}_predicted{name}": cells for name, cells in more.items()}
            if sets and self.conformal:
                with self.artifact.understood("prediction sets"):
                    found = conformal.columns(self.task, self.conformal, outputs)
                decoded |= {f"{self.target}_predicted{name}": cells for name, cells in found.items()}
            own = self.task.embeddings(outputs) if embeddings else None
            decoded |= {f"{self.target}_embedding_{name}": cells for name, cells in (own or {}).items()}
            if embeddings and own is None and features is not None:
                decoded[f"{self.target}_embedding"] = [[round(v, 6) for v in row] for row in features.tolist()]
            if explain and weights is not None:
                for name, own in zip(self.network.names, weights.T, strict=True):
                    decoded[f"{self.target}_weight_{name}"] = [round(value, 6) for value in own.tolist()]
            words = [] if clock is None else clock.words(outputs, columns)
            yield Prediction(chunk, decoded, read.rejects, outputs, words, read.remarks)

    def read_chunks(self, chunks: Iterator[pd.DataFrame], media_root: str, allow_missing: bool = True) -> Iterator[Read]:
        """Consecutive parts of a table as the model takes them.

        Raises:
            DataError: most files of a column are not there, and that is not allowed.
        """
        there = {} if allow_missing else {name: FilesThere(name) for name in self.columns}
        for chunk in chunks:
            read = self._reader.read(chunk, media_root, there)
            for files in there.values():
                files.check()
            yield read
        for files in there.values():
            files.check(at_end=True)

    def column_vectors(self, chunk: pd.DataFrame, columns: Sequence[str], media_root: str = ".") -> tuple[Tensor, Tensor]:
        """Of a model of columns that belong together (`--task contrastive`): a unit vector [N, D] of each row of a table, of
        these columns of it together, and whether one of them is there, bool [N]; zero where none is. Columns find each other by
        the product of such vectors.

        Raises:
            ConfigError: the model has no vector for each column, or not for one of these.
        """
        if not self.task.aligns_columns:
            raise ConfigError(
                f"{self.artifact.name} has no vector for each column", "Such models are made by --task contrastive."
            )
        wrong = next((name for name in columns if name not in self.inputs), None)
        if wrong is not None or not columns:
            raise ConfigError(unknown("column", str(wrong), self.inputs), f"It has vectors of {', '.join(self.inputs)}.")
        outputs = self._forward(self._reader.read(chunk, media_root).columns, whole=False)[0]
        found: tuple[Tensor, Tensor] = outputs.of([self.task.columns.index(name) for name in columns])  # type: ignore[attr-defined]
        return found

    def outputs(self, columns: Mapping[str, Source]) -> Any:
        """What the model answers to rows that it has read, of the task's kind."""
        return self._forward(columns, whole=False)[0]

    def _forward(self, columns: Mapping[str, Source], whole: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Outputs; and, where the whole is wanted, the columns' weights, if there are any, and the fused features."""
        if whole:
            return forward_whole(self.network, columns, self.compute)
        if self._runner is not None:
            return self._runner.outputs(columns, self.compute.device), None, None
        return forward_columns(self.network, columns, self.compute), None, None


def _as_column(cells: list[Any], index: pd.Index[Any]) -> Any:
    """For a frame with such rows; lists are values of it."""
    return pd.Series(cells, index, dtype=object) if any(isinstance(own, list) for own in cells) else pd.array(cells, dtype=None)


def _kept(parts: Iterator[Rows], own: list[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The parts' cells as text; as they pass, their rows are added to `own` as the table has them."""
    for part in parts:
        own.append(part.typed())
        yield part.frame


def _runner(artifact: Artifact, way: str, network: FusedModel, compute: device.Compute) -> runners.Runner:
    """What runs the model in the way that its artifact names.

    Raises:
        ArtifactError: there is no such way, its file is not one, or it is a program that was not made here.
    """
    file = None
    if way in runners.FILES:
        file = artifact.file(runners.FILES[way])
        if way != runners.AOT and writers.writes(network):
            artifact.file(writers.STEP)
    if way == runners.AOT:
        runners.require_own(artifact)
    with artifact.understood(way):
        return runners.runner(way, network, compute, file)


def load(
    path: str | Path = "artifacts",
    device_name: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    trust: Sequence[str | Path] = (),
) -> Model:
    """The model at `path`: an artifacts root (then the best model in it), a fusion's folder, `folded`, `refit` or `optimized`.

    `trust` names files with parts of your own; nothing in a file that only the artifact names is run.

    Raises:
        ArtifactError: there is none, or it is stale or damaged; says what to run.
    """
    for file in trust:
        registry.trust(str(file))
    folder = Path(path)
    manifest = folder / store.MANIFEST
    if not manifest.is_file():
        return store.read_again(lambda: _model(folder, best(folder), device_name, precision, threads))
    whole = folder.resolve()
    kind = whole.name if whole.name in WHOLE else "fusion"
    made_by = WHOLE.get(kind, f"mmcli fuse --method {whole.name}")
    depth = 2 if kind == "fusion" else 1
    root, name = whole.parents[depth - 1], "/".join(whole.parts[-depth:])
    if kind == "fusion" and whole.parent.name != layout.FUSIONS:
        raise ConfigError(
            f"{folder} holds no fused model", "Give the artifacts root, a fusion, `folded`, `refit` or `optimized`."
        )

    def read() -> Model:
        return _model(root, store.require_fresh(store.read(root, name, kind, made_by)), device_name, precision, threads)

    return store.read_again(read)


def _model(root: Path, artifact: Artifact, device_name: str, precision: str, threads: int) -> Model:
    return Model(Dataset.open(root), artifact, device.choose(device_name, precision, threads))
