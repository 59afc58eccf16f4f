"""What a network says of texts step by step, as outputs of many rows: how likely each unit is at each step, unit 0 being the
blank of CTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.signals import OUTPUTS, Column, Outputs
from mmcli.text.spelled import Spelled


class Search(NamedTuple):
    """How texts are found in lattices, and how sure of them one may be: chosen on val, it travels with what a model gives."""

    beam: int = 0
    """Prefixes kept: 1 is greedy; 0 is greedy too, where nothing has been chosen yet."""
    lm_weight: float = 0.0
    length_bonus: float = 0.0
    slope: float = 0.0
    intercept: float = 0.0
    """Of the logistic curve from log-probabilities a unit to the share of units that is right."""
    stranger: float = 0.0
    """What the language model takes off for a word that no text has which it was made of."""

    @property
    def greedy(self) -> bool:
        return self.beam <= 1

    def tensor(self) -> Tensor:
        """float32 [6]."""
        return torch.tensor(self, dtype=torch.float32)

    @classmethod
    def of(cls, lattices: Column) -> Self:
        """That of a model's lattices."""
        return cls.from_tensor(lattices.search) if isinstance(lattices, Lattice) else cls()

    @classmethod
    def from_tensor(cls, own: Tensor) -> Self:
        """The reverse of `tensor`."""
        beam, *others = own.tolist()
        return cls(round(beam), *others)


@dataclass(frozen=True)
class Lattice(Column):
    """Lattices with the search that the model was settled by."""

    search: Tensor = field(default_factory=lambda: Search().tensor())
    """float32 [6]: a `Search`."""
    found: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What was found in them already: a search is dear, and asked for by each metric and picture."""

    def select(self, index: Tensor) -> Lattice:
        """The rows `index` [B]."""
        own = super().select(index)
        return Lattice(own.values, own.present, own.offsets, search=self.search)


@dataclass(frozen=True)
class Padded:
    """Lattices as a graph has them, which knows no ragged rows."""

    values: Tensor
    """float32 [B, T, V]: log-probabilities."""
    lengths: Tensor
    """int64 [B]: steps of each row."""

    def ragged(self, search: Tensor | None = None) -> Lattice:
        """The same as `Lattices` are elsewhere, with the search that they are read by."""
        search = Search().tensor() if search is None else search
        steps = torch.arange(self.values.shape[1], device=self.lengths.device)
        offsets = torch.cat([self.lengths.new_zeros(1), self.lengths.cumsum(0)])
        values = self.values[steps[None] < self.lengths[:, None]]
        return Lattice(values, torch.ones_like(self.lengths, dtype=torch.bool), offsets, search=search)


class Lattices(Outputs):
    """Log-probabilities [sum of T, V], ragged: a text follows by searching them, its loss by summing over alignments."""

    words = "texts"

    def rows(self, outputs: Column) -> int:
        return len(outputs)

    def gather(self, outputs: Column, index: Tensor) -> Column:
        return outputs.select(index)

    def join(self, parts: Sequence[Column]) -> Column:
        own = Column.concatenate(list(parts))
        return Lattice(own.values, own.present, own.offsets, search=_search(parts[0]))

    def mean(self, each: Sequence[Any], shares: Tensor) -> Any:
        """The mean of the probabilities, step by step; where models have different steps, a row is as the one with the largest
        share has it. Searched as they are, if all of them are in one way; else greedily, until the mean is settled. In a graph
        all have the same steps."""
        if isinstance(each[0], Padded):
            summed = torch.stack([own.values + share.log() for own, share in zip(each, shares, strict=True)])
            return Padded(summed.logsumexp(0), each[0].lengths)
        search = _search(each[0])
        if any(not torch.equal(_search(own), search) for own in each[1:]):
            search = torch.zeros_like(search)
        lengths = [own.lengths for own in each]
        if all(torch.equal(own, lengths[0]) for own in lengths[1:] if own is not None and lengths[0] is not None):
            together = torch.stack([own.values + share.log() for own, share in zip(each, shares, strict=True)])
            return Lattice(together.logsumexp(0), each[0].present, each[0].offsets, search=search)
        own = each[int(shares.argmax())]
        if torch.equal(_search(own), search):
            return own
        return Lattice(own.values, own.present, own.offsets, search=search)

    def plain(self, outputs: Column) -> Column:
        return replace(outputs, values=outputs.values.detach().float())

    def to(self, outputs: Column, device: torch.device) -> Column:
        return outputs.to(device)

    def save(self, outputs: Column, name: str = OUTPUTS) -> dict[str, Tensor]:
        assert outputs.offsets is not None
        search = _search(outputs).float().cpu()
        return {f"{name}.log_probs": outputs.values.half(), f"{name}.offsets": outputs.offsets, f"{name}.search": search}

    def load(self, named: Mapping[str, Tensor], name: str = OUTPUTS) -> Column:
        offsets = named[f"{name}.offsets"]
        present = torch.ones(len(offsets) - 1, dtype=torch.bool)
        search = Search.from_tensor(named[f"{name}.search"]).tensor()  # one of before has fewer numbers
        return Lattice(named[f"{name}.log_probs"].float(), present, offsets, search=search)

    def tempered(self, outputs: Any, temperature: Tensor) -> Any:
        return replace(outputs, values=(outputs.values / temperature).log_softmax(-1))

    def glimpse(self, outputs: Column) -> Column:
        """Read greedily, whatever they were settled by before."""
        return Column(outputs.values, outputs.present, outputs.offsets)


def _search(lattices: Column) -> Tensor:
    return lattices.search if isinstance(lattices, Lattice) else Search().tensor().to(lattices.values.device)


def padded(lattices: Column | Spelled) -> tuple[Tensor, Tensor]:
    """[B, T, V] and the number of steps of each row [B]."""
    signal = lattices.gather(torch.arange(len(lattices), device=lattices.present.device))
    assert signal.lengths is not None
    return signal.values, signal.lengths


def losses(lattices: Column | Spelled, targets: Tensor) -> Tensor:
    """[B]: minus the log-probability of each row's target units (int64 [B, L], padded with -1), over all alignments (Graves
    2006), in float32. Zero, without a gradient, where there are fewer steps than the target needs."""
    values, steps = padded(lattices)
    units = targets.clamp(min=0)
    counts = (targets >= 0).sum(1)
    found: Tensor = F.ctc_loss(
        values.float().transpose(0, 1), units, steps, counts, blank=0, reduction="none", zero_infinity=True
    )
    return found


def divergences(lattices: Column) -> Tensor:
    """[B]: how far apart what is said of B rows twice lies, of all once and of all again, by the same steps: half of the
    Kullback-Leibler divergences of each from the other as a constant, summed over a row's steps (CR-CTC, Yao 2024)."""
    assert lattices.offsets is not None
    one, other = lattices.values.float().chunk(2)
    divergence = F.kl_div(one, other.detach(), log_target=True, reduction="none")
    divergence = divergence + F.kl_div(other, one.detach(), log_target=True, reduction="none")
    steps = lattices.offsets.diff()[: len(lattices) // 2]
    row = torch.repeat_interleave(torch.arange(len(steps), device=steps.device), steps, output_size=len(one))
    return one.new_zeros(len(steps)).index_add(0, row, divergence.sum(1) / 2)


def fitting(lattices: Column | Spelled, targets: Tensor) -> Tensor:
    """bool [B]: which rows have the steps that their target needs; the others cannot have it as their text."""
    steps = lattices.lengths
    assert steps is not None
    return steps.cpu() >= needed(targets).cpu()


def needed(targets: Tensor) -> Tensor:
    """int64 [B]: steps that each row's target units (int64 [B, L], padded with -1) need at least: one a unit, and a blank
    between equal neighbours."""
    there = targets >= 0
    return there.sum(1) + ((targets[:, 1:] == targets[:, :-1]) & there[:, 1:]).sum(1)


def most_needed(targets: Tensor) -> int:
    """Steps that the longest target needs."""
    return int(needed(targets).max()) if len(targets) else 0
