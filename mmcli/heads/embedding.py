"""A unit vector of what is fused, for identities to be told apart by: those of one near each other, of two far apart

    z = BN(W x) / |BN(W x)|

It begins where the features of train rows tell their identities apart best (linear discriminants, Belhumeur 1997), beside their
principal axes, and learns by one of three losses, or one of pytorch-metric-learning (`pml:NAME`, an extra).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.errors import ConfigError
from mmcli.heads import Head
from mmcli.signals import Fused
from mmcli.tasks import Task
from mmcli.vectors import discriminant
from mmcli.vectors.embedded import Embedded, accepting, enrolled

MOST_AXES = 256
"""Principal axes of the features that it begins from."""


class Config(BaseConfig):
    """How wide, how it begins, and by which loss it learns."""

    dim: int = Field(128, ge=2)
    """Numbers of a vector."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the features that it reads."""
    loss: str = "arcface"
    """arcface (Deng 2019); supcon (Khosla 2020); triplet, with the hardest of the batch (Hermans 2017); or pml:NAME, a loss of
    pytorch-metric-learning, e.g. pml:MultiSimilarityLoss."""
    margin: float = Field(0.2, ge=0, lt=2)
    """Of arcface, an angle in radians; of triplet, a distance."""
    scale: float = Field(16.0, gt=0)
    """Of arcface: what cosines are multiplied by. Of supcon: one over its temperature."""
    centres: int = Field(1, ge=1, le=16)
    """Of arcface: centres of each identity, the nearest of which counts (Deng 2020); more than one for mislabelled rows."""
    start: Literal["discriminant", "random"] = "discriminant"
    """What it begins as."""
    shrinkage: float | None = Field(None, ge=0, le=1)
    """Of the discriminants: how far the spread within identities is taken for a ball's. Default: by keeping train rows out."""
    plain: float | None = Field(None, ge=0, le=1)
    """Share of a vector that begins as principal axes, which know nothing of the identities. Default: likewise."""

    @field_validator("loss")
    @classmethod
    def _known(cls, loss: str) -> str:
        own = ("arcface", "supcon", "triplet")
        if loss not in own and not loss.startswith("pml:"):
            raise ValueError(f"expected {', '.join(own)} or pml:NAME, not {loss!r}")
        return loss


class Embedding(Head):
    """Parameters: (F + 2) D, and C S D of arcface, for features of width F, vectors of D, S centres of each of C identities."""

    def __init__(self, config: Config, task: Task, dim: int) -> None:
        super().__init__(task, dim)
        self.config = config
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(dim, config.dim, bias=False)
        self.norm = nn.BatchNorm1d(config.dim)
        known, rows = int(task.known), int(task.enrolled)  # type: ignore[attr-defined]
        if config.loss == "arcface":
            self.centres = nn.Parameter(torch.randn(known, config.centres, config.dim))
        self.other = _of_library(config.loss.removeprefix("pml:"), known, config.dim) if ":" in config.loss else None
        self.gallery: Tensor
        self.identities: Tensor
        self.threshold: Tensor
        self.register_buffer("gallery", torch.zeros(rows, config.dim))
        self.register_buffer("identities", torch.full((rows,), -1, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(()))

    @staticmethod
    def parameter_formula(config: Config, task: Task, dim: int) -> int:
        known: int = task.known  # type: ignore[attr-defined]
        return (dim + 2) * config.dim + (known * config.centres * config.dim if config.loss == "arcface" else 0)

    def forward(self, fused: Fused) -> Embedded:
        """Outputs of B rows, beside what is enrolled."""
        values = F.normalize(self.norm(self.linear(self.dropout(fused.pooled))).float(), dim=1)
        return Embedded(values, self.gallery, self.identities, self.threshold)

    def loss(self, outputs: Embedded, fused: Fused, targets: Tensor) -> Tensor:  # noqa: ARG002 - all is in the outputs
        config, values = self.config, outputs.values
        if config.loss == "arcface":
            return arcface(values, self.centres, targets, config.margin, config.scale)
        if config.loss == "supcon":
            return supcon(values, targets, 1 / config.scale)
        if config.loss == "triplet":
            return hardest_triplets(values, targets, config.margin)
        assert self.other is not None
        found: Tensor = self.other(values, targets)
        return found

    @torch.no_grad()
    def begin(self, features: Tensor, targets: Tensor) -> None:
        """Starts at the discriminants of the train rows' features [N, F], beside their principal axes. What is left open is
        chosen by keeping rows out; where models are judged by identities that train lacks, identities."""
        config = self.config
        if config.start == "random" or len(features) < 4 or len(targets.unique()) < 2:
            return
        targets = targets.cpu()
        axes = discriminant.principal(features.cpu(), MOST_AXES)
        projected = axes.of(features.cpu())
        shrinkage, plain = config.shrinkage, config.plain
        if shrinkage is None or plain is None:
            unseen = self.task.primary_metric == "eer"
            found = discriminant.choose(projected, targets, unseen=unseen, most=config.dim)
            shrinkage = found[0] if shrinkage is None else shrinkage
            plain = found[1] if plain is None else plain
        turned = discriminant.telling(projected, targets, shrinkage, plain, config.dim)
        made, directions = projected @ turned, axes.directions @ turned
        spread, kept = made.std(0).clamp(min=1e-12), turned.shape[1]
        device, kind = self.linear.weight.device, self.linear.weight.dtype
        self.linear.weight.zero_()
        self.linear.weight[:kept] = (directions / spread).T.to(device, kind)
        self.norm.weight.zero_()
        self.norm.weight[:kept] = (spread / spread.max()).to(device, kind)
        assert self.norm.running_mean is not None and self.norm.running_var is not None
        self.norm.running_mean[:kept] = (axes.mean @ directions / spread).to(device, kind)
        self.norm.running_var.fill_(1.0)
        if config.loss == "arcface":
            self._begin_centres(F.normalize(F.pad(made, (0, config.dim - kept)), dim=1), targets)

    def _begin_centres(self, values: Tensor, targets: Tensor) -> None:
        """At the mean of the rows of each identity, apart from each other where there are several."""
        means = torch.zeros(len(self.centres), values.shape[1], dtype=values.dtype)
        means = F.normalize(means.index_add(0, targets, values), dim=1)
        every = means[:, None].repeat(1, self.config.centres, 1)
        if self.config.centres > 1:
            generator = torch.Generator().manual_seed(0)
            every = every + 0.1 * torch.randn(every.shape, generator=generator, dtype=every.dtype) / math.sqrt(every.shape[2])
        self.centres.copy_(every.to(self.centres))

    @torch.no_grad()
    def enrol(self, outputs: Embedded, targets: Tensor) -> None:
        """Keeps vectors of train rows, to be compared with: as many as there is room for."""
        enrolled(self.gallery, self.identities, outputs, targets)

    @torch.no_grad()
    def settle(self, outputs: Embedded, targets: Tensor) -> None:
        """From which similarity on a row is accepted: where as many val rows would be refused their own identity as would be
        given another's."""
        self.threshold.fill_(accepting(outputs, targets.to(outputs.values.device)))

    def start_small(self, factor: float) -> None:  # noqa: ARG002 - the length of a vector says nothing
        return


def arcface(values: Tensor, centres_CSD: Tensor, targets: Tensor, margin: float, scale: float) -> Tensor:
    """Cross-entropy of scaled cosines with the nearest of the centres of each identity, the right one's angle widened by the
    margin; past the point where its cosine would rise again it is lowered straight on instead (Deng 2019)."""
    cosines = torch.einsum("bd,csd->bcs", values, F.normalize(centres_CSD.float(), dim=2)).amax(2)
    own = cosines.gather(1, targets[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
    widened = torch.where(own > -math.cos(margin), (own.acos() + margin).cos(), own - margin * math.sin(margin))
    return F.cross_entropy(scale * cosines.scatter(1, targets[:, None], widened), targets)


def supcon(values: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Mean over rows with a match in the batch of minus the mean log share of their matches among all others (Khosla 2020, its
    sum outside the log); zero where no row has one."""
    alike = values @ values.T / temperature
    itself = torch.eye(len(values), dtype=torch.bool, device=values.device)
    shares = alike - alike.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    mates = (targets[:, None] == targets[None]) & ~itself
    count = mates.sum(1)
    each = -torch.where(mates, shares, 0.0).sum(1) / count.clamp(min=1)
    return each.sum() / (count > 0).sum().clamp(min=1)


def hardest_triplets(values: Tensor, targets: Tensor, margin: float) -> Tensor:
    """Mean over the rows of max(0, margin + distance to the furthest of the own identity - distance to the nearest of another),
    of rows that have both in the batch (batch hard, Hermans 2017)."""
    distances = (2 - 2 * values @ values.T).clamp(min=1e-9).sqrt()
    same = targets[:, None] == targets[None]
    mates = same & ~torch.eye(len(values), dtype=torch.bool, device=values.device)
    furthest = distances.masked_fill(~mates, -torch.inf).amax(1)
    nearest = distances.masked_fill(same, torch.inf).amin(1)
    both = mates.any(1) & ~same.all(1)
    each = F.relu(margin + torch.where(both, furthest - nearest, -margin))
    return each.sum() / both.sum().clamp(min=1)


def _of_library(name: str, known: int, dim: int) -> Any:
    """A loss of pytorch-metric-learning.

    Raises:
        ConfigError: it is not installed, or has no such loss.
    """
    try:
        from pytorch_metric_learning import losses
    except ImportError:
        raise ConfigError(
            f"head.embedding.loss = pml:{name} is of pytorch-metric-learning, which is not installed",
            "pip install 'mmcli[metric]', or take arcface, supcon or triplet.",
        ) from None
    kind = getattr(losses, name, None)
    if kind is None:
        raise ConfigError(f"head.embedding.loss: pytorch-metric-learning has no loss {name}", "E.g. pml:MultiSimilarityLoss")
    try:
        return kind()
    except TypeError:
        return kind(num_classes=known, embedding_size=dim)
