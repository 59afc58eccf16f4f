"""Numbers: standardised by the train split, robustly where tails are heavy.

    standard   (x - mean) / standard deviation
    robust     z = (x - median) / (interquartile range / 1.349);  z / sqrt(1 + (z / 3)^2), so that none exceeds 3

A missing cell stays missing (not a number): the encoder has an embedding for it. How a column writes its numbers is found in
the train split. Whole numbers beyond 2^53 keep their digits: what all have in common is taken off before they become floats.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.modalities import Encoded, Guess, Modality, Reject
from mmcli.signals import Column, Field, SignalSpec
from mmcli.tables import missing
from mmcli.tables.numbers import EXACT, NumberFormat, is_infinite, padded, span, study

_FIT_SAMPLE = 1_000_000


class Config(BaseConfig):
    """How numbers are scaled."""

    scale: Literal["standard", "robust"] = "standard"
    """By mean and standard deviation, or by median and quartiles with the tails drawn in."""
    decimal: Literal["auto", "point", "comma"] = "auto"
    """What stands before the decimals; by default what the cells of the column show."""
    missing_words: bool = True
    """Whether NA, null, ? and the like count as missing (--keep-na: they do not)."""

    @property
    def mark(self) -> str:
        """The mark before the decimals that was told; empty if none was."""
        return {"auto": "", "point": ".", "comma": ","}[self.decimal]


class Number(Modality):
    """One field of a form: float32 [1]."""

    corruptions: ClassVar[tuple[str, ...]] = ("noise",)
    passes_missing_words: ClassVar[bool] = True
    joins: ClassVar[bool] = True
    encoders: ClassVar[tuple[str, ...]] = ("mlp", "ft-transformer")
    more_encoders: ClassVar[tuple[tuple[str, int], ...]] = (("tabm", 1000),)
    text_encoders = ("mlp",)

    def __init__(self, config: Config, centre: float, spread: float, form: NumberFormat | None = None, base: int = 0) -> None:
        self.config = config
        self.centre = centre
        self.spread = spread
        self.form = form or NumberFormat(config.mark or ".")
        self.base = base
        """Taken off first, exactly: 0 but for numbers that a float cannot tell apart."""

    @classmethod
    def sniff(cls, cells: Sequence[str], media_root: str) -> Guess:  # noqa: ARG003 - no files
        """Numbers nearly everywhere; a few cells that are none will be named as unreadable. Infinite ones tell nothing."""
        finite = [cell for cell in cells if not is_infinite(cell)]
        found, others = study(finite), len(cells) - len(finite)
        cells = finite
        values, share = found.values, found.share
        some = ", ".join(repr(cell[:30]) for cell in list(found.others)[:3])
        no_numbers = "is no number" if found.others.total() == 1 else "are no numbers"
        doubts = f"{found.others.total()} of {len(cells)} cells {no_numbers}, e.g. {some}" if 0.5 <= share < 1 else ""
        if share < 0.9:
            return Guess(0.0, f"{share:.0%} of the cells are numbers", doubts=doubts)
        text = f"all {'finite ' * bool(others)}cells are numbers" if share == 1 else f"{share:.0%} of the cells are numbers"
        reason = f"{text}, {span(values)}, {len(set(values))} different"
        codes = padded(cells)
        doubted = [doubts, found.doubts, missing.coded(values), f"{codes} (--type COLUMN=category for names)" if codes else ""]
        return Guess(0.9 * share, reason, found.decided, "; ".join(filter(None, doubted)))

    @classmethod
    def fit(cls, config: Config, cells: Iterable[str]) -> Self:
        """Format, centre and spread of the train cells; those that are no numbers are left out."""
        found = study(islice(cells, _FIT_SAMPLE), config.mark)
        base = _base(found.values)
        values = np.fromiter((value - base for value in found.values), dtype=np.float64)
        if not len(values):
            return cls(config, 0.0, 1.0, found.format)
        spread = float(values.std()) if np.ptp(values) else 0.0
        if config.scale == "standard":
            return cls(config, float(values.mean()), spread or 1.0, found.format, base)
        low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
        return cls(config, float(centre), float(high - low) / 1.349 or spread or 1.0, found.format, base)

    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """Values float32 [N, 1]."""
        values = np.full(len(cells), np.nan)
        rejects, remarks = [], Counter[str]()
        for position, cell in enumerate(cells):
            if cell is None:
                continue
            value = self.form.value(cell)
            if value is not None:
                values[position] = value - self.base
                remarks.update(filter(None, [self.form.remark(cell)]) if self.form.shares else ())
            elif self.config.missing_words and missing.is_word(cell):
                remarks[missing.remark(cell)] += 1
            else:
                rejects.append(Reject(position, cell, self.form.why_not(cell)))
        scaled = (values - self.centre) / self.spread
        if self.config.scale == "robust":
            scaled = scaled / np.sqrt(1 + (scaled / 3) ** 2)
        # A value some 30 digits off is kept finite: it is far out all the same.
        column = torch.from_numpy(np.clip(scaled, -1e30, 1e30)).float()
        return Encoded(Column(column[:, None], ~column.isnan()), rejects, remarks)

    def value(self, scaled: float) -> float:
        """The number that a scaled value stands for."""
        if self.config.scale == "robust":
            scaled = scaled / math.sqrt(max(1 - (scaled / 3) ** 2, 1e-12))
        return scaled * self.spread + self.centre + self.base

    def describe(self) -> SignalSpec:
        return SignalSpec(kind="fields", shape=(1,), fields=(Field("value"),))

    def corrupt(self, column: Column, how: str, level: float, generator: torch.Generator) -> Column:  # noqa: ARG002
        """noise: of one deviation at level 1."""
        noisy = column.values.float() + level * torch.randn(column.values.shape, generator=generator)
        return Column(noisy.to(column.values.dtype), column.present, column.offsets)

    def state(self) -> dict[str, Any]:
        learnt = {"centre": self.centre, "spread": self.spread, "format": self.form.state(), "base": self.base}
        return {"config": self.config.model_dump(), **learnt}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        form = NumberFormat.from_state(state["format"])
        return cls(Config(**state["config"]), state["centre"], state["spread"], form, state["base"])

    def linear_features(self, column: Column, train: Tensor) -> Any:  # noqa: ARG002 - scaled already
        """The scaled value and whether it is missing: [N, 2]."""
        missing = column.values.isnan()
        return torch.cat([column.values.nan_to_num(), missing.float()], 1).numpy()


def _base(values: Sequence[float | int]) -> int:
    """The least of values too large for floats to tell apart; 0 where floats will do."""
    return int(min(values)) if values and min(values) >= EXACT else 0
