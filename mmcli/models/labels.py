"""Labels as texts that rows are held against: naming what no training named, by a model of columns that belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mmcli.errors import ConfigError
from mmcli.models import embedding
from mmcli.models.predictor import Model
from mmcli.vectors.nearest import Nearest


class Labels:
    """What rows may be called, each a vector of a text."""

    def __init__(self, loaded: Model, names: Sequence[str], template: str, column: str | None) -> None:
        """`template` has `{}` where a label stands in its text, which is put in `column`: by default the only one of texts.

        Raises:
            ConfigError: the model is of another kind, or it is not told which column.
        """
        if not loaded.task.aligns_columns:
            raise ConfigError(
                f"--labels: {loaded.artifact.name} was not made to find pictures, or other columns, by texts",
                "Make a model that was: mmcli run TABLE --task contrastive.",
            )
        texts = [name for own in loaded.inputs.values() for name in own.members if own.modality == "text"]
        if column is None and len(texts) != 1:
            several = f"several columns of texts: {', '.join(texts)}" if texts else "no column of texts"
            raise ConfigError(f"--labels: {loaded.artifact.name} looks at {several}", "Say which: --label-column COL.")
        self.column = texts[0] if column is None else column
        if self.column not in texts:
            raise ConfigError(f"--label-column {column}: no column of texts", f"There are: {', '.join(texts)}.")
        self.names = list(names)
        table = pd.DataFrame({self.column: [template.replace("{}", name) for name in names]}, dtype=object)
        found = list(embedding.embedded(loaded, iter([table]), "."))
        unread = [name for name, here in zip(names, torch.cat([own.here for own in found]).tolist(), strict=True) if not here]
        if unread:
            raise ConfigError(
                f"--labels: {unread[0]!r} says nothing to {loaded.artifact.name}: it counts as a missing cell",
                "Say it in other words, or by a --template.",
            )
        self._nearest = Nearest(torch.cat([own.values for own in found]))

    def decode(self, outputs: Any, here: Tensor) -> dict[str, list[Any]]:
        """Of each row the label that is the most like it, how similar it is, and how similar each is; None where nothing is
        there."""
        hits = self._nearest.search(embedding.vectors_of(outputs).cpu(), len(self.names))
        known = here.tolist()
        first, best = hits.rows[:, 0].tolist(), hits.similarities[:, 0].tolist()
        columns: dict[str, list[Any]] = {
            "": [self.names[row] if there else None for row, there in zip(first, known, strict=True)],
            "_similarity": [round(own, 6) if there else None for own, there in zip(best, known, strict=True)],
        }
        for place, name in enumerate(self.names):
            alike = hits.similarities[hits.rows == place].tolist()
            columns[f"_similarity_{name}"] = [round(own, 6) if there else None for own, there in zip(alike, known, strict=True)]
        return columns
