"""Categories: one of a few names, by id. Id 0 stands for names that the train split does not have, or has too seldom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import torch
from pydantic import Field as Option
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.modalities import Encoded, Guess, Modality
from mmcli.reporting.counts import counted
from mmcli.signals import Column, Field, SignalSpec
from mmcli.tables.names import tidy
from mmcli.tables.numbers import study


class Config(BaseConfig):
    """Which names get an id of their own."""

    min_count: int = Option(2, ge=1)
    """Rows of the train split that a name must have; rarer ones share the id of unknown names."""
    max_categories: int = Option(5000, ge=1)
    """Most names that get an id, the commonest first."""


class Category(Modality):
    """One field of a form: an id, float32 [1]."""

    corruptions: ClassVar[tuple[str, ...]] = ("unknown",)
    joins: ClassVar[bool] = True
    encoders: ClassVar[tuple[str, ...]] = ("mlp", "ft-transformer")
    more_encoders: ClassVar[tuple[tuple[str, int], ...]] = (("tabm", 1000),)
    text_encoders = ("mlp",)

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        self.config = config
        self.names = list(names)
        self._ids = {tidy(name): i for i, name in enumerate(self.names, 1)}

    @classmethod
    def sniff(cls, cells: Sequence[str], media_root: str) -> Guess:  # noqa: ARG003 - no files
        """Few names, often repeated, none of them long."""
        different = Counter(map(tidy, cells))
        longest = max(map(len, different), default=0)
        repeats = len(cells) / max(len(different), 1)
        said = f"{counted(len(different), 'different name')} in {counted(len(cells), 'cell')}"
        if longest > 80 or len(different) > 1000 or (repeats < 4 and not (len(different) <= 10 and repeats >= 2)):
            return Guess(0.0, said)
        top = ", ".join(name for name, _ in different.most_common(3))
        return Guess(0.4 if study(different).share == 1 else 0.8, f"{said}: {top}{', ...' if len(different) > 3 else ''}")

    @classmethod
    def fit(cls, config: Config, cells: Iterable[str]) -> Self:
        """The names of the train split, commonest first."""
        counts = Counter(map(tidy, cells))
        ranked = sorted(counts, key=lambda name: (-counts[name], name))
        return cls(config, [name for name in ranked if counts[name] >= config.min_count][: config.max_categories])

    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """Values float32 [N, 1]: ids; exact, since there are far fewer than 2^24."""
        nan = float("nan")
        ids = [nan if cell is None else float(self._ids.get(tidy(cell), 0)) for cell in cells]
        column = torch.tensor(ids, dtype=torch.float32)
        unknown = sum(value == 0 for value in ids)
        remarks = Counter({"with a name that train has never or too seldom": unknown} if unknown else {})
        return Encoded(Column(column[:, None], ~column.isnan()), remarks=remarks)

    def describe(self) -> SignalSpec:
        return SignalSpec(kind="fields", shape=(1,), fields=(Field("name", len(self.names) + 1),))

    def corrupt(self, column: Column, how: str, level: float, generator: torch.Generator) -> Column:  # noqa: ARG002
        """unknown: so many cells hold a name that was never seen."""
        gone = (torch.rand(len(column), generator=generator) < level)[:, None] & ~column.values.isnan()
        return Column(column.values.masked_fill(gone, 0.0), column.present)

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(), "names": self.names}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]), state["names"])

    def linear_features(self, column: Column, train: Tensor) -> Any:  # noqa: ARG002 - nothing to fit
        """One indicator for each id, and one for missing: [N, names + 2]."""
        ids = torch.where(column.present, column.values[:, 0].nan_to_num(), float(len(self.names) + 1)).long()
        return torch.nn.functional.one_hot(ids, len(self.names) + 2).float().numpy()
