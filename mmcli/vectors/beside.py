"""Several models' unit vectors side by side as one: a share for each, which val sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.vectors.embedded import Embedded, accepting, enrolled

PICKS = 8
"""Times that a model is picked: shares are multiples of an eighth."""


class Beside(nn.Module):
    """One answer beside those of some columns, each times the root of its share: of two rows the similarity is then the mean of
    theirs, by shares. Parameters: 0."""

    def __init__(self, columns: int, rows: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.shares: Tensor
        self.gallery: Tensor
        self.identities: Tensor
        self.threshold: Tensor
        self.register_buffer("shares", torch.full((1 + columns,), 1 / (1 + columns)))
        self.register_buffer("gallery", torch.zeros(rows, (1 + columns) * dim))
        self.register_buffer("identities", torch.full((rows,), -1, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(()))

    def forward(self, own: Embedded, columns: Sequence[Tensor]) -> Embedded:
        """`columns` [B, dim] are zero where a column is absent: what is there then counts for all."""
        blocks = [own.values, *(F.normalize(other.float(), dim=1) for other in columns)]
        return Embedded(self._weighed(torch.stack(blocks, 1)), self._enrolled(), self.identities, self.threshold)

    def _weighed(self, blocks_NMD: Tensor) -> Tensor:
        return F.normalize((blocks_NMD * self.shares.sqrt()[:, None]).flatten(1), dim=1)

    def _enrolled(self) -> Tensor:
        """The gallery is kept with equal shares, so that others may be set."""
        return self._weighed(self.gallery.unflatten(1, (len(self.shares), self.dim)))

    def blocks(self, outputs: Embedded) -> tuple[Tensor, Tensor]:
        """Of rows and of the enrolled each model's own vectors [N, M, dim], of outputs made with equal shares."""
        values = F.normalize(outputs.values.unflatten(1, (len(self.shares), self.dim)), dim=2)
        return values, F.normalize(outputs.gallery.unflatten(1, (len(self.shares), self.dim)), dim=2)

    @torch.no_grad()
    def enrol(self, outputs: Embedded, targets: Tensor) -> None:
        """Keeps vectors of train rows, made with equal shares."""
        enrolled(self.gallery, self.identities, outputs, targets)

    @torch.no_grad()
    def settle(self, outputs: Embedded, targets: Tensor, cost: Callable[[Embedded], float]) -> None:
        """Sets the shares where val costs least, picking model after model with replacement (Caruana 2004), and the threshold;
        where the shares are set already, or `outputs` are of several such answers, the threshold alone."""
        targets = targets.to(outputs.values.device)
        single = outputs.values.shape[1] == self.gallery.shape[1]
        if single and bool((self.shares == self.shares[0]).all()) and len(self.shares) > 1:
            values, gallery = self.blocks(outputs)
            counts = torch.zeros_like(self.shares, device=values.device)
            best, kept = float("inf"), counts
            for _ in range(PICKS):
                tried = []
                for place in range(len(counts)):
                    more = counts.clone()
                    more[place] += 1
                    tried.append((cost(self._with(values, gallery, more / more.sum())), place, more))
                least, _, counts = min(tried, key=lambda own: own[:2])
                if least < best:
                    best, kept = least, counts
            self.shares.copy_(kept / kept.sum())
            outputs = self._with(values, gallery, self.shares.to(values.device))
        self.threshold.fill_(accepting(outputs, targets))

    def _with(self, values: Tensor, gallery: Tensor, shares: Tensor) -> Embedded:
        """Where the vectors are, which may be the host while this is on a device."""
        rows, enrolled = (F.normalize((own * shares.sqrt()[:, None]).flatten(1), dim=1) for own in (values, gallery))
        return Embedded(rows, enrolled, self.identities.to(rows.device), self.threshold.to(rows.device))
