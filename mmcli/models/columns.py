"""One column's networks: an encoder with its own head; one encoder that several columns read, and what compares them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.encoders import Encoder
from mmcli.heads import Head
from mmcli.layers.blocks import lay_out
from mmcli.layers.pairs import cosines, fitted
from mmcli.signals import Features, Fused, Host, Signal
from mmcli.vectors.embedded import Embedded


class ColumnModel(nn.Module):
    """One column's encoder with its own head."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        lay_out(self)

    def fused(self, signal: Signal) -> Fused:
        """What its head reads."""
        return alone(self.encoder(signal))

    def forward(self, signal: Signal) -> Any:
        """Outputs of B rows."""
        return self.head(self.fused(signal))

    def loss(self, outputs: Any, fused: Fused, targets: Tensor) -> Tensor:
        """What training minimises."""
        return own_loss(self.head, outputs, fused, targets)


def own_loss(head: Head, outputs: Any, fused: Fused, targets: Tensor) -> Tensor:
    """A column's own loss; of an encoder of many members while it trains, all of them on the same targets."""
    members = len(fused.pooled) // len(targets)
    return head.loss(outputs, fused, targets.repeat(members, *[1] * (targets.dim() - 1)))


class SharedModel(nn.Module):
    """One encoder that several inputs read, with a head for each; and, where the task compares them, what makes an answer of
    how alike their features are. In a file the owner's head is `head.`, those of the others `heads.1.` and so on."""

    def __init__(self, encoder: Encoder, readers: Sequence[str], heads: Sequence[Head], pair: Pair | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.readers = list(readers)
        self.head = heads[0]
        self.heads = nn.ModuleDict({str(place): head for place, head in enumerate(heads) if place})
        self.pair = pair
        lay_out(self)

    def own_heads(self) -> dict[str, Head]:
        """Reader -> its head."""
        found = dict(zip(self.readers, [self.head, *self.heads.values()], strict=True))
        return {name: head for name, head in found.items() if isinstance(head, Head)}

    def features(self, signals: Mapping[str, Signal]) -> dict[str, Features]:
        """Reader -> what the encoder makes of its signal: of all in one pass, as statistics of a batch want."""
        together: Features = self.encoder(joined([signals[name] for name in self.readers]))
        rows = len(signals[self.readers[0]].present)
        index = torch.arange(len(together.present), device=together.present.device).reshape(-1, len(self.readers), rows)
        return {name: together.gather(index[:, place].flatten()) for place, name in enumerate(self.readers)}


class Pair(nn.Module):
    """Log-odds that things belong together: their cosine, scaled and shifted (Zhai et al. 2023, equation 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.shift = nn.Parameter(torch.tensor(-5.0))

    def logits(self, pooled: Tensor) -> Tensor:
        """[K, K] of K vectors [K, D] with one another."""
        unit = F.normalize(pooled.float(), dim=1)
        return self.scale.exp() * (unit @ unit.T) + self.shift

    def forward(self, features: Sequence[Features]) -> Tensor:
        """[B, 2]: 0 and the log-odds that all columns of a row do, by their mean cosine; 0 where fewer than two are there."""
        cosine, enough = cosines(features)
        logit = (self.scale.exp() * cosine + self.shift) * enough
        return torch.stack([torch.zeros_like(logit), logit], 1)

    @torch.no_grad()
    def settle(self, outputs: Tensor, targets: Tensor) -> None:
        """Sets scale and shift by the val rows, of which it gave `outputs`: those of train are known by heart."""
        weights, shift = fitted(outputs[:, 1:], targets == 1)
        if float(weights[0]) > 0:
            self.shift.copy_(self.shift * weights[0].to(self.shift) + shift.to(self.shift))
            self.scale.add_(weights[0].log().to(self.scale))


def alone(features: Features) -> Fused:
    """One column's features as they are to its own head."""
    return Fused(features.pooled, features.tokens, features.mask)


def own_outputs(head: nn.Module, features: Features) -> Tensor:
    """What a column's own head answers, as F sees it: decisions, or the vectors by themselves."""
    answer = head(alone(features))
    found: Tensor = answer.values if isinstance(answer, Embedded) else answer
    return found


def joined(signals: Sequence[Signal]) -> Signal:
    """Batches of one kind of signal as one, in order, numbers in float32; ragged ones padded with zeros to the longest."""
    longest = max(own.values.shape[1] for own in signals) if signals[0].lengths is not None else 0
    values = [_padded(own.values, longest) for own in signals]
    lengths = [own.lengths for own in signals if own.lengths is not None]
    times = [own.times for own in signals if own.times is not None]
    made = Signal(
        torch.cat(values),
        torch.cat([own.present for own in signals]),
        torch.cat(lengths) if lengths else None,
        torch.cat(times) if times else None,
    )
    known = [own.host for own in signals if own.host is not None]
    return made.told(Host.joined(known) if len(known) == len(signals) else None)


def _padded(values: Tensor, steps: int) -> Tensor:
    values = values.float() if values.is_floating_point() else values  # autocast cannot join halves
    short = steps - values.shape[1] if steps else 0
    return values if short <= 0 else torch.cat([values, values.new_zeros(len(values), short, *values.shape[2:])], 1)
