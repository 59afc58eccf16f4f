"""What a network says of texts step by step, as outputs of many rows: how likely each unit is at each step, unit 0 being the
blank of CTC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.signals import OUTPUTS, Column, Outputs, Signal
from mmcli.text.ctc import needed_steps

SURE = 0.999
"""The probability of the unit of each step in what `spelled` makes."""


@dataclass(frozen=True)
class Spelled:
    """Texts that are known, where a network would give a lattice: each of their units is SURE at its step.

    Takes a number a step, not V of them, and holds each text as it is, also where it has what is no unit.
    """

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

    def to(self, device: torch.device) -> Spelled:
        return replace(self, path=self.path.to(device), offsets=self.offsets.to(device))


Lattice = Column | Spelled
"""What is known of some rows."""


class Lattices(Outputs):
    """Log-probabilities [sum of T, V], ragged: a text follows by searching them, its loss by summing over alignments."""

    words = "texts"

    def rows(self, outputs: Lattice) -> int:
        return len(outputs)

    def gather(self, outputs: Lattice, index: Tensor) -> Lattice:
        return outputs.select(index)

    def join(self, parts: Sequence[Lattice]) -> Lattice:
        return Column.concatenate([dense(part) for part in parts])

    def mean(self, each: Sequence[Column], shares: Tensor) -> Column:
        """The mean of the probabilities, step by step; where models have different steps, a row is as the one with the largest
        share has it."""
        lengths = [own.lengths for own in each]
        if all(torch.equal(own, lengths[0]) for own in lengths[1:] if own is not None and lengths[0] is not None):
            together = torch.stack([own.values + share.log() for own, share in zip(each, shares, strict=True)])
            return Column(together.logsumexp(0), each[0].present, each[0].offsets)
        return each[int(shares.argmax())]

    def plain(self, outputs: Lattice) -> Lattice:
        if isinstance(outputs, Spelled):
            return outputs
        return Column(outputs.values.detach().float(), outputs.present, outputs.offsets)

    def to(self, outputs: Lattice, device: torch.device) -> Lattice:
        return outputs.to(device)

    def save(self, outputs: Lattice, name: str = OUTPUTS) -> dict[str, Tensor]:
        assert outputs.offsets is not None
        if isinstance(outputs, Spelled):
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
        return {f"{name}.log_probs": outputs.values.half(), f"{name}.offsets": outputs.offsets}

    def load(self, named: Mapping[str, Tensor], name: str = OUTPUTS) -> Lattice:
        offsets = named[f"{name}.offsets"]
        if f"{name}.path" in named:
            data, ends = named[f"{name}.letters"].numpy().tobytes(), named[f"{name}.ends"].tolist()
            texts = [data[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(ends)]
            return Spelled(tuple(texts), named[f"{name}.path"], offsets, int(named[f"{name}.width"]))
        present = torch.ones(len(offsets) - 1, dtype=torch.bool)
        return Column(named[f"{name}.log_probs"].float(), present, offsets)

    def tempered(self, outputs: Lattice, temperature: Tensor) -> Lattice:
        outputs = dense(outputs)
        return Column((outputs.values / temperature).log_softmax(-1), outputs.present, outputs.offsets)


def dense(outputs: Lattice) -> Column:
    """Log-probabilities of every unit."""
    if isinstance(outputs, Column):
        return outputs
    signal = outputs.gather(torch.arange(len(outputs), device=outputs.path.device))
    return Column(signal.values[signal.mask()], outputs.present, outputs.offsets)


def padded(lattices: Lattice) -> tuple[Tensor, Tensor]:
    """[B, T, V] and the number of steps of each row [B]."""
    signal = lattices.gather(torch.arange(len(lattices), device=lattices.present.device))
    assert signal.lengths is not None
    return signal.values, signal.lengths


def losses(lattices: Lattice, targets: Tensor) -> Tensor:
    """[B]: minus the log-probability of each row's target units (int64 [B, L], padded with -1), over all alignments (Graves
    2006), in float32. Zero, without a gradient, where there are fewer steps than the target needs."""
    values, steps = padded(lattices)
    units = targets.clamp(min=0)
    counts = (targets >= 0).sum(1)
    found: Tensor = F.ctc_loss(
        values.float().transpose(0, 1), units, steps, counts, blank=0, reduction="none", zero_infinity=True
    )
    return found


def fitting(lattices: Lattice, targets: Tensor) -> Tensor:
    """bool [B]: which rows have the steps that their target needs; the others cannot have it as their text."""
    needed = [needed_steps([unit for unit in row if unit >= 0]) for row in targets.tolist()]
    steps = lattices.lengths
    assert steps is not None
    return steps.cpu() >= torch.tensor(needed, dtype=torch.int64)


def spelled(texts: Sequence[str], ids: Sequence[Sequence[int]], width: int, steps: int) -> Spelled:
    """Lattices of at least so many steps that say those texts, whose units are `ids`, of `width` with the blank."""
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


def most_needed(targets: Tensor) -> int:
    """Steps that the longest target needs."""
    return max((needed_steps([unit for unit in row if unit >= 0]) for row in targets.tolist()), default=0)
