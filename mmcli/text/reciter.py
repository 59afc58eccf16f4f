"""What writes by heart: the units that followed, in texts that are known, what has been written so far. Nothing is learnt here.

    a_j = exp(w_j + B l_j) where l_j > 0,   p(v) = (sum over j of a_j [u_j = v] + 1 / V) / (sum over j of a_j + 1)

The memory of a row holds units u_j of known texts, each text with its end and with a weight w; l_j says how many units before
u_j, back to the start of its text and up to C of them, are the last that were written. Where nothing fits, or no text weighs
much, all V units are as likely, and what else writes decides. It is a language model of a cache (Grave 2017) that nearest
neighbours fill (Khandelwal 2020), with the longest fits for its contexts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.text.writer import EDGE, Begun, Cache, Sizes

WIDTH = 3
"""Numbers of a token of the memory: its unit in two parts, so that half precision holds it, and the weight of its text."""
PART = 1024
SURER, MOST = 1.0, 8
"""B, in nats, and C."""


def sizes(units: int) -> Sizes:
    """Those of what recites so many units, with unit 0: without a layer, by which files tell it."""
    return Sizes(units, WIDTH, dim=1, layers=0, heads=1)


def remembered(texts_BKL: Tensor, weights_BK: Tensor) -> tuple[Tensor, Tensor]:
    """The memory float32 [B, K (L + 1), 3] and its mask, of K texts for each row (units, padded with -1) and their weights."""
    units = F.pad(texts_BKL, (0, 1), value=-1)
    units = units.scatter(2, (units >= 0).sum(2, keepdim=True), EDGE)
    known, weights = units.clamp(min=0), weights_BK.float()[:, :, None].expand(units.shape)
    memory = torch.stack([(known // PART).float(), (known % PART).float(), weights], 3)
    return memory.flatten(1, 2), (units >= 0).flatten(1, 2)


class Reciter(nn.Module):
    """Memory [B, S, 3] and units -> log-probabilities of the units that come next, by the interface of `text.writer.Writer`:
    what a hypothesis has of its own is what it wrote. Parameters: 0."""

    frames = None

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes

    def begin(self, memory_BSM: Tensor, mask_BS: Tensor) -> Begun:
        """What holds the memory's units and weights, and writes from there."""
        values = memory_BSM.float()
        units = (values[..., 0] * PART + values[..., 1]).round()
        return Begun(self, [(units[:, None, :, None], values[:, None, :, 2:])], mask_BS)

    def forward(self, memory_BSM: Tensor, mask_BS: Tensor, units_BL: Tensor) -> Tensor:
        """Log-probabilities [B, L, V] of what follows each of the units, of which the first is EDGE."""
        pairs, cache, each = self.begin(memory_BSM, mask_BS).pairs, None, []
        for last in units_BL.unbind(1):
            found, cache = self.next(last, cache, pairs, mask_BS)
            each.append(found)
        return torch.stack(each, 1)

    def next(
        self, last_N: Tensor, cache: Cache | None, pairs: Sequence[tuple[Tensor, Tensor]], mask_AS: Tensor
    ) -> tuple[Tensor, Cache]:
        """Log-probabilities [N, V] after the last units, and the cache that holds these too."""
        units, weights = pairs[0][0][:, 0, :, 0], pairs[0][1][:, 0, :, 0]
        own = last_N.float()[:, None, None, None]
        own = own if cache is None else torch.cat([cache[0][0], own], 2)
        recent = F.pad(own[:, 0, :, 0], (MOST, 0), value=-1.0)[:, -MOST:].unflatten(0, (units.shape[0], -1))
        before, fits, length = units, mask_AS[:, None], torch.zeros_like(units)[:, None]
        for place in range(1, MOST + 1):
            before = F.pad(before, (1, 0), value=float(EDGE if place == 1 else -2))[:, :-1]
            fits = fits & (before[:, None] == recent[:, :, MOST - place, None])
            length = length + fits
        scores = (weights[:, None] + SURER * length).masked_fill(length == 0, -torch.inf)
        shares = F.pad(scores, (0, 1)).softmax(2)  # the last: none of them
        all_alike = (shares[:, :, -1:] / self.sizes.units).expand(-1, -1, self.sizes.units)
        index = units.long()[:, None].expand(-1, shares.shape[1], -1)
        found = all_alike.scatter_add(2, index, shares[:, :, :-1])
        return found.log().flatten(0, 1), ((own, own),)
