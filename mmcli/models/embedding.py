"""Rows of a table as unit vectors by a model: what galleries keep, and what is looked up in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor

from mmcli.errors import ConfigError, unknown
from mmcli.models.predictor import Model
from mmcli.vectors.aligned import Aligned
from mmcli.vectors.embedded import Embedded


@dataclass(frozen=True)
class Embedding:
    """Some rows."""

    rows: pd.DataFrame
    """As they came; the index is the row number, from 0."""
    values: Tensor
    """float32 [n, D], of unit length."""
    here: Tensor
    """bool [n]: those of which anything could be read. The vectors of the others say nothing."""
    rejects: list[tuple[int, str, str, str]]
    """(row from 1, column, cell, reason) of every cell that could not be read and counted as absent."""
    remarks: dict[str, Counter[str]]
    least: float | None = None
    """The similarity from which on the model takes two rows for one; None where val has settled none."""


def embedded(
    loaded: Model,
    chunks: Iterator[pd.DataFrame],
    media_root: str,
    allow_missing: bool = True,
    columns: Sequence[str] = (),
) -> Iterator[Embedding]:
    """The vectors of consecutive parts of a table, in bounded memory: of what its rows have in some columns, or in all that the
    model looks at.

    Raises:
        ConfigError: the model's answers are no unit vectors, or it looks at no such column.
        DataError: most files of a column are not there, and that is not allowed.
    """
    require_vectors(loaded)
    require_columns(loaded, columns)
    parts = list[pd.DataFrame]()
    for read in loaded.read_chunks(
        _some(chunks, loaded.with_faces(columns or loaded.columns), parts), media_root, allow_missing
    ):
        outputs = loaded.task.outputs.plain(loaded.outputs(read.columns))
        least = threshold_of(outputs)
        yield Embedding(parts.pop(), vectors_of(outputs).cpu(), read.here, read.rejects, read.remarks, least)


def _some(chunks: Iterator[pd.DataFrame], columns: Sequence[str], whole: list[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The parts of a table without all other columns; as they pass, the whole ones are added to `whole`."""
    for chunk in chunks:
        whole.append(chunk)
        yield chunk[[name for name in chunk.columns if name in columns]]


def vectors_of(outputs: Any) -> Tensor:
    """[N, D], of length one: those of rows, of what there is of each."""
    if isinstance(outputs, Aligned):
        return outputs.of(range(outputs.values.shape[1]))[0]
    assert isinstance(outputs, Embedded)
    return outputs.values


def threshold_of(outputs: Any) -> float | None:
    """From which similarity on two rows are taken for one; None where val has settled none."""
    return float(outputs.threshold) if isinstance(outputs, Embedded) else None


def require_columns(loaded: Model, columns: Sequence[str]) -> None:
    """Raises ConfigError where a model does not look at one of these columns."""
    for name in columns:
        if name not in loaded.columns:
            raise ConfigError(
                f"--column {name}: {unknown('input', name, loaded.columns)}", f"It looks at {', '.join(loaded.columns)}."
            )


def require_vectors(loaded: Model) -> None:
    """Raises ConfigError where a model's answers are no unit vectors."""
    if not loaded.task.gives_embeddings:
        raise ConfigError(
            f"{loaded.artifact.name} answers with {loaded.task.outputs.words}, a gallery keeps unit vectors",
            "Make a model that gives them: mmcli run TABLE --task identify.",
        )
