"""Rows of a table as unit vectors by a model: what galleries keep, and what is looked up in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from mmcli.errors import ConfigError
from mmcli.models.predictor import Model


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


def embedded(loaded: Model, chunks: Iterator[pd.DataFrame], media_root: str, allow_missing: bool = True) -> Iterator[Embedding]:
    """The vectors of consecutive parts of a table, in bounded memory.

    Raises:
        ConfigError: the model's answers are no unit vectors.
        DataError: most files of a column are not there, and that is not allowed.
    """
    require_vectors(loaded)
    for read in loaded.read_chunks(chunks, media_root, allow_missing):
        values = loaded.task.outputs.plain(loaded.outputs(read.columns)).values
        yield Embedding(read.rows, values.cpu(), read.here, read.rejects, read.remarks)


def require_vectors(loaded: Model) -> None:
    """Raises ConfigError where a model's answers are no unit vectors."""
    if not loaded.task.gives_embeddings:
        raise ConfigError(
            f"{loaded.artifact.name} answers with {loaded.task.outputs.words}, a gallery keeps unit vectors",
            "Make a model that gives them: mmcli run TABLE --task identify.",
        )
