"""What one encoder reads: a column of the table, or several columns of numbers and categories side by side.

Owns how columns are joined. Everything behind it (encoders, fusions, evaluation) speaks of inputs by name and does not know of
how many columns one is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcli import registry
from mmcli.modalities import Modality, Partial, Strength
from mmcli.signals import Column, Field, Signal, SignalSpec

TABULAR = "tabular"
"""What the joined numbers and categories are called."""


def group(modalities: Mapping[str, bool], columns: Sequence[str], each: bool) -> dict[str, list[str]]:
    """Input -> its columns: those whose modality joins (True) form one, unless `each` is to be an input of its own."""
    joining = [name for name, joins in modalities.items() if joins]
    if each or len(joining) < 2:
        return {name: [name] for name in modalities}
    joined = TABULAR
    while joined in columns:
        joined += "_"
    groups: dict[str, list[str]] = {}
    for name, joins in modalities.items():
        groups.setdefault(joined if joins else name, []).append(name)
    return groups


@dataclass(frozen=True)
class Input:
    """Columns of the table, by name, with their fitted modalities; more than one only where all are fields."""

    name: str
    members: Mapping[str, Modality]

    @property
    def joined(self) -> bool:
        return len(self.members) > 1

    @property
    def first(self) -> Modality:
        return next(iter(self.members.values()))

    def fitting_encoders(
        self, rows: int, on_accelerator: bool, in_order: bool = False, compared: bool = False, seconds: float = 0.0
    ) -> list[str]:
        """The architectures that `--arch auto` lets race for so many train rows: those for its kind of signal that pay; where
        the target is a text, those that it names for such, by the `seconds` of signal in train, or that give tokens
        `in_order`, if there are any; where rows are `compared`, those that are for that besides."""
        tried = [*self.first.encoders, *(self.first.likeness_encoders if compared else ())]
        tried += [name for name, least in self.first.more_encoders if rows >= (least // 5 if on_accelerator else least)]
        fitting = [name for name in tried if self._is_for(name)]
        if not in_order:
            return fitting
        named = [name for name, least in self.first.long_text_encoders if seconds >= least][-1:] or self.first.text_encoders
        named = [name for name in named if self._is_for(name)]
        return named or [name for name in fitting if self.in_order(name)] or fitting

    @property
    def known_encoders(self) -> list[str]:
        """The architectures that read it, whatever the number of rows."""
        return [name for name in (*self.first.encoders, *dict(self.first.more_encoders)) if self._is_for(name)]

    def _is_for(self, architecture: str) -> bool:
        return self.spec.kind in registry.load("encoders", architecture).kinds

    def in_order(self, architecture: str) -> bool:
        """Whether the tokens that it makes are steps in order."""
        return self.spec.kind in registry.load("encoders", architecture).steps

    @property
    def modality(self) -> str:
        """What it is, in a word."""
        return TABULAR if self.joined else registry.name_of(type(self.first))

    @cached_property
    def spec(self) -> SignalSpec:
        """The shape of its signal; fields are named after their columns."""
        specs = {name: modality.describe() for name, modality in self.members.items()}
        if not self.joined:
            return next(iter(specs.values()))
        fields = [replace(field, name=_label(name, field, spec)) for name, spec in specs.items() for field in spec.fields]
        return SignalSpec(kind="fields", shape=(len(fields),), fields=tuple(fields))

    def join(self, columns: Mapping[str, Column]) -> Column:
        """The normalised signal of the input, from the stored columns of its members."""
        restored = [modality.restore(columns[name]) for name, modality in self.members.items()]
        if not self.joined:
            return restored[0]
        values = torch.cat([column.values for column in restored], 1)
        return Column(values, torch.stack([column.present for column in restored]).any(0))

    def without(self, column: Column, member: str) -> Column:
        """The joined signal as if every cell of one member were missing."""
        start, values = 0, column.values.clone()
        for name, modality in self.members.items():
            width = modality.describe().shape[0]
            if name == member:
                values[:, start : start + width] = float("nan")
            start += width
        return Column(values, ~values.isnan().all(1))

    @property
    def corruptions(self) -> tuple[str, ...]:
        """In which ways it may be spoilt; columns joined are, each in its own way, at once."""
        if not self.joined:
            return self.first.corruptions
        return ("noise",) if any(modality.corruptions for modality in self.members.values()) else ()

    def corrupted(self, column: Column, how: str, level: float, generator: torch.Generator) -> Column:
        """The input spoilt, from 0 (not at all) to 1."""
        if not self.joined:
            return self.first.corrupt(column, how, level, generator)
        parts, start = [], 0
        for modality in self.members.values():
            width = modality.describe().shape[0]
            own = column.values[:, start : start + width]
            part = Column(own, ~own.isnan().any(1))
            ways = modality.corruptions
            parts.append((modality.corrupt(part, ways[0], level, generator) if ways else part).values)
            start += width
        values = torch.cat(parts, 1)
        return Column(torch.where(column.values.isnan(), column.values, values), column.present)

    @property
    def in_decibels(self) -> frozenset[str]:
        """Those of `corruptions` whose level is a ratio to the signal's own."""
        return frozenset() if self.joined else self.first.in_decibels

    def with_words_hidden(self, column: Column, share: float, generator: torch.Generator) -> Partial | None:
        """With that share of all its words hidden; None where it has no words."""
        return None if self.joined else self.first.with_words_hidden(column, share, generator)

    @property
    def varies(self) -> bool:
        """Whether training may see random variations of it."""
        return not self.joined and type(self.first).augment is not Modality.augment

    def augment(self, signal: Signal, strength: Strength) -> Signal:
        return self.first.augment(signal, strength)

    def hide(self, signal: Signal) -> Signal:
        return self.first.hide(signal)

    def stretch(self, signal: Signal, least: Tensor) -> Signal:
        """With another pace, where its modality knows one; each row `least` [B] steps long at least, if it was."""
        return self.first.stretch(signal, least)

    def linear_features(self, columns: Mapping[str, Column], train: Tensor) -> Any:
        """[N, F] of what the linear baseline sees."""
        blocks = [modality.linear_features(columns[name], train) for name, modality in self.members.items()]
        return blocks[0] if len(blocks) == 1 else np.hstack(blocks)


def _label(column: str, field: Field, spec: SignalSpec) -> str:
    return column if len(spec.fields) == 1 else f"{column}.{field.name}"
