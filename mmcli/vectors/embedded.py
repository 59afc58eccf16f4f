"""Unit vectors as outputs of many rows, together with those of the rows that they are held against: the enrolled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmcli.signals import OUTPUTS, Outputs

BLOCK = 1024
"""Rows that are compared at a time."""


@dataclass(frozen=True)
class Embedded:
    """What a head for embeddings makes of B or N rows. The enrolled are the same for all of them."""

    values: Tensor
    """[N, D], of unit length."""
    gallery: Tensor
    """[K, D]: the enrolled rows', of unit length."""
    identities: Tensor
    """int64 [K]: whose each of them is; -1 where a place is empty."""
    threshold: Tensor
    """A scalar: from which similarity on a row is taken for an enrolled identity."""

    def by_themselves(self) -> Embedded:
        """With nobody enrolled."""
        return Embedded(self.values, self.gallery, torch.full_like(self.identities, -1), self.threshold)

    def with_values(self, values: Tensor) -> Embedded:
        """Vectors of other rows beside the same enrolled."""
        return Embedded(values, self.gallery, self.identities, self.threshold)

    def __len__(self) -> int:
        return len(self.values)

    def by_identity(self) -> tuple[Tensor, Tensor]:
        """The highest similarity of each row to each enrolled identity [N, C], and which those are [C], in order."""
        here = self.identities >= 0
        names, place = torch.unique(self.identities[here], return_inverse=True)
        enrolled, parts = self.gallery[here].float(), []
        for part in self.values.split(BLOCK):
            alike = part.float() @ enrolled.T
            best = torch.full((len(part), len(names)), -2.0, device=part.device)
            parts.append(best.scatter_reduce(1, place.expand(len(part), -1), alike, "amax"))
        return torch.cat(parts) if parts else self.values.new_zeros(0, len(names)), names


def enrolled(gallery: Tensor, identities: Tensor, outputs: Embedded, targets: Tensor) -> None:
    """Puts vectors of train rows and whose they are into buffers [R, D] and int64 [R], as many as there is room for; -1 is
    nobody's."""
    rows = min(len(outputs.values), len(gallery))
    gallery.zero_()
    identities.fill_(-1)
    gallery[:rows] = outputs.values[:rows].to(gallery)
    identities[:rows] = targets[:rows]


class Vectors(Outputs):
    """Embeddings: `Embedded`."""

    words = "vectors to compare"

    def rows(self, outputs: Embedded) -> int:
        return len(outputs.values)

    def gather(self, outputs: Embedded, index: Tensor) -> Embedded:
        return Embedded(outputs.values[index], outputs.gallery, outputs.identities, outputs.threshold)

    def join(self, parts: Sequence[Embedded]) -> Embedded:
        first = parts[0]
        return Embedded(torch.cat([own.values for own in parts]), first.gallery, first.identities, first.threshold)

    def mean(self, each: Sequence[Embedded], shares: Tensor) -> Embedded:
        """Side by side, each times the root of its share: of unit length, and their similarity is the mean of the models'
        similarities, by shares. A mean of the vectors would be of models whose axes have nothing to do with each other."""
        roots = shares.to(each[0].values.device, each[0].values.dtype).sqrt()
        values = torch.cat([root * own.values for root, own in zip(roots, each, strict=True)], 1)
        gallery = torch.cat([root * own.gallery for root, own in zip(roots, each, strict=True)], 1)
        return Embedded(values, gallery, each[0].identities, each[0].threshold)

    def plain(self, outputs: Embedded) -> Embedded:
        own = (outputs.values, outputs.gallery, outputs.threshold)
        values, gallery, threshold = (tensor.detach().float() for tensor in own)
        return Embedded(values, gallery, outputs.identities, threshold)

    def to(self, outputs: Embedded, device: torch.device) -> Embedded:
        own = (outputs.values, outputs.gallery, outputs.identities, outputs.threshold)
        return Embedded(*(tensor.to(device) for tensor in own))

    def save(self, outputs: Embedded, name: str = OUTPUTS) -> dict[str, Tensor]:
        """In half precision."""
        return {
            name: outputs.values.half(),
            f"{name}.gallery": outputs.gallery.half(),
            f"{name}.identities": outputs.identities,
            f"{name}.threshold": outputs.threshold,
        }

    def load(self, named: Mapping[str, Tensor], name: str = OUTPUTS) -> Embedded:
        values, gallery, identities, threshold = (
            named[own] for own in (name, f"{name}.gallery", f"{name}.identities", f"{name}.threshold")
        )
        if values.dim() != 2 or gallery.shape != (len(gallery), values.shape[1]) or not values.is_floating_point():
            raise ValueError(f"vectors of shape {list(values.shape)} beside a gallery of {list(gallery.shape)}")
        if identities.dtype != torch.int64 or identities.shape != gallery.shape[:1] or threshold.numel() != 1:
            raise ValueError(f"a gallery of {len(gallery)} vectors with {list(identities.shape)} identities")
        return Embedded(_unit(values.float()), _unit(gallery.float()), identities, threshold)


def accepting(outputs: Embedded, targets: Tensor) -> float:
    """The similarity at which two shares meet: of rows whose own identity lies below it, and whose likest other above it. Rows
    of identities that are not enrolled have the likest other row of their own beside them."""
    best, names = outputs.by_identity()
    own = names[None] == targets[:, None]
    right = torch.where(own, best, -1.0).amax(1) if len(names) else best.new_full((len(best),), -1.0)
    wrong = torch.where(own, -1.0, best).amax(1) if len(names) else best.new_full((len(best),), -1.0)
    beside = outputs.values @ outputs.values.T
    beside.fill_diagonal_(-1.0)
    mates = torch.where(targets[:, None] == targets[None], beside, -1.0).amax(1)
    right = torch.where(own.any(1), right, mates)
    right = right[right > -1.0].sort().values
    wrong = wrong[wrong > -1.0].sort().values
    if not len(right) or not len(wrong):
        return 1.0 if not len(right) else float(right[0])
    at = torch.cat([right, wrong]).unique()
    refused = torch.searchsorted(right, at) / len(right)
    taken = 1 - torch.searchsorted(wrong, at) / len(wrong)
    return float(at[(refused - taken).abs().argmin()])


def _unit(values: Tensor) -> Tensor:
    return torch.nn.functional.normalize(values, dim=1)
