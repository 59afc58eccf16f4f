"""Texts that are known, where a network would give an answer to be searched: what baselines say, as outputs of many rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from mmcli.signals import OUTPUTS, Column, Outputs, Signal

SURE = 0.999
"""The probability of the unit of each step."""


@dataclass(frozen=True)
class Spelled:
    """Each unit of a text is SURE at its step. Takes a number a step, not V of them, and holds each text as it is, also where
    it has what is no unit."""

    texts: tuple[str, ...]
    path: Tensor
    """int64 [sum of T]: the unit of each step."""
    offsets: Tensor
    """int64 [N + 1]."""
    width: int
    """Units and the blank."""

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def present(self) -> Tensor:
        """bool [N]: all."""
        return torch.ones(len(self.texts), dtype=torch.bool, device=self.path.device)

    @property
    def lengths(self) -> Tensor:
        """int64 [N]: steps."""
        return self.offsets.diff()

    def select(self, index: Tensor) -> Spelled:
        """The rows `index` [B]."""
        steps = Column(self.path, self.present, self.offsets).select(index)
        assert steps.offsets is not None
        return replace(self, texts=tuple(self.texts[row] for row in index.tolist()), path=steps.values, offsets=steps.offsets)

    def gather(self, index: Tensor) -> Signal:
        """The rows `index` [B] as padded log-probabilities [B, T, V]."""
        own = Column(self.path, self.present, self.offsets).gather(index)
        others, where = math.log((1 - SURE) / max(self.width - 1, 1)), own.values[..., None]
        values = torch.full((*own.values.shape, self.width), others, device=self.path.device)
        return Signal(values.scatter_(2, where, math.log(SURE)), own.present, own.lengths)


class Spellings(Outputs):
    """A `Spelled` of N rows."""

    words = "texts"

    def rows(self, outputs: Spelled) -> int:
        return len(outputs)

    def gather(self, outputs: Spelled, index: Tensor) -> Spelled:
        return outputs.select(index)

    def join(self, parts: Sequence[Spelled]) -> Spelled:
        path = Column.concatenate([Column(part.path, part.present, part.offsets) for part in parts])
        assert path.offsets is not None
        return replace(
            parts[0], texts=tuple(text for part in parts for text in part.texts), path=path.values, offsets=path.offsets
        )

    def mean(self, each: Sequence[Spelled], shares: Tensor) -> Spelled:
        """The one with the largest share: known texts have no mean."""
        return each[int(shares.argmax())]

    def plain(self, outputs: Spelled) -> Spelled:
        return outputs

    def to(self, outputs: Spelled, device: torch.device) -> Spelled:
        return replace(outputs, path=outputs.path.to(device), offsets=outputs.offsets.to(device))

    def save(self, outputs: Spelled, name: str = OUTPUTS) -> dict[str, Tensor]:
        letters = [text.encode("utf-8", "surrogatepass") for text in outputs.texts]
        ends = torch.tensor([0, *map(len, letters)], dtype=torch.int64).cumsum(0)
        data = torch.frombuffer(bytearray(b"".join(letters)) or bytearray(1), dtype=torch.uint8)
        return {
            f"{name}.path": outputs.path,
            f"{name}.offsets": outputs.offsets,
            f"{name}.letters": data,
            f"{name}.ends": ends,
            f"{name}.width": torch.tensor(outputs.width),
        }

    def load(self, named: Mapping[str, Tensor], name: str = OUTPUTS) -> Spelled:
        data, ends = named[f"{name}.letters"].numpy().tobytes(), named[f"{name}.ends"].tolist()
        texts = [data[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(ends)]
        return Spelled(tuple(texts), named[f"{name}.path"], named[f"{name}.offsets"], int(named[f"{name}.width"]))


def spelled(texts: Sequence[str], ids: Sequence[Sequence[int]], width: int, steps: int) -> Spelled:
    """What says those texts in so many steps at least, their units being `ids`, of `width` with the blank."""
    rows, lengths = [], []
    for own in ids:
        path: list[int] = []
        for unit in own:
            path += [0, unit] if path and path[-1] == unit else [unit]
        path += [0] * max(steps - len(path), 1)
        rows += path
        lengths.append(len(path))
    offsets = torch.tensor([0, *lengths], dtype=torch.int64).cumsum(0)
    return Spelled(tuple(texts), torch.tensor(rows, dtype=torch.int64), offsets, width)


def dense(outputs: Spelled) -> Column:
    """Log-probabilities of every unit, as lattices have them."""
    signal = outputs.gather(torch.arange(len(outputs), device=outputs.path.device))
    return Column(signal.values[signal.mask()], outputs.present, outputs.offsets)
