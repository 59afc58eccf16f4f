"""The networks over columns: F with its head, several of them averaged, and the whole. Knows no artifacts and no disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mmcli.encoders import Encoder
from mmcli.fusions import Fusion
from mmcli.heads import Head
from mmcli.layers.blocks import lay_out
from mmcli.models.columns import own_outputs
from mmcli.signals import Features, FeatureTable, Fused, Signal, Source
from mmcli.tasks import Task
from mmcli.vectors.beside import Beside


@dataclass(frozen=True)
class Output:
    """What a fused model gives for a batch."""

    outputs: Any
    """Of B rows, after the temperature."""
    fused: Fused
    members: tuple[Output, ...] = ()
    """What each of several averaged gives."""
    own: Any = None
    """What the head by itself gives, where the sub-models' answers stand beside it."""


class FusionHead(nn.Module):
    """F and the head over it: Features by sub-model -> outputs. Each absent input is a learned embedding.

    `sources` says which input each sub-model reads; an input may have several. `decisions`, a fusion of the sub-models' own
    predictions, is added to the head's outputs where it is given: the head then learns what they do not say."""

    def __init__(
        self,
        fusion: Fusion,
        head: Head,
        dims: Mapping[str, int],
        sources: Mapping[str, str],
        modality_dropout: float = 0.0,
        decisions: Fusion | None = None,
        beside: Beside | None = None,
    ) -> None:
        super().__init__()
        self.fusion = fusion
        self.head = head
        self.decisions = decisions
        self.beside = beside
        """Of vectors to compare: the head's beside the sub-models' own."""
        self.names = list(dims)
        self.sources = dict(sources)
        self.absent = nn.ParameterList([nn.Parameter(torch.zeros(dim)) for dim in dims.values()])
        self.modality_dropout = modality_dropout
        self.swap_shares: dict[str, float] = {}
        """While training, how often a sub-model's features are those of another row of the batch: see `fuse`."""
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(()))

    @property
    def task(self) -> Task:
        return self.head.task

    @property
    def made_at(self) -> float:
        """By which its outputs are divided."""
        return float(self.temperature)

    @property
    def reads_outputs(self) -> bool:
        """Whether it looks at what the sub-models' own heads make of their features."""
        return self.fusion.family == "decision" or self.decisions is not None or self.beside is not None

    @property
    def reads_tokens(self) -> bool:
        """Whether it looks at the tokens of the features, or at what is pooled of them alone."""
        return self.task.tokens == "whole" or self.fusion.family == "token"

    @property
    def adds_odds(self) -> bool:
        """Whether the method's own log-odds, of how alike columns are, are added to what the head says."""
        return self.task.compares_columns and self.fusion.compares

    @torch.no_grad()
    def fit_cosines(self, features: Mapping[str, Features], targets: Tensor, *, trained: bool) -> None:
        """Sets by val rows what cosines weigh; once it is trained, also what the head says, which is scaled so."""
        if not self.adds_odds:
            return
        self.eval()
        filled = {name: _filled(features[name], own) for name, own in zip(self.names, self.absent, strict=True)}
        fusion: Any = self.fusion
        if not trained:
            fusion.fit_cosines(filled, targets == 1)
            return
        said = self.head(fusion(filled))
        self.head.amplify(fusion.fit_cosines(filled, targets == 1, (said[:, 1] - said[:, 0]).float()))

    @torch.no_grad()
    def fit_axes(self, features: Mapping[str, Features], targets: Tensor) -> None:
        """Sets by train rows along which directions a method that compares columns tells pairs apart."""
        fusion: Any = self.fusion
        if self.adds_odds:
            fusion.fit_axes(features, targets == 1)

    @torch.no_grad()
    def start_absent(self, features: Mapping[str, FeatureTable], index: Tensor) -> None:
        """Starts each absent embedding at the mean of the rows `index` whose input is there: the guess that errs least."""
        for name, embedding in zip(self.names, self.absent, strict=True):
            there = index[features[name].present[index]]
            if len(there):
                embedding.copy_(features[name].pooled[there].float().mean(0))

    def loss(self, output: Output, targets: Tensor) -> Tensor:
        """What training minimises: the head's loss, and what the method adds to it."""
        error = self.head.loss(output.outputs if output.own is None else output.own, output.fused, targets)
        penalty = _penalty(self.fusion, output.fused, targets, self.task)
        return error if penalty is None else error + penalty

    def fused(self, features: Mapping[str, Features]) -> Fused:
        """What F makes of them."""
        return self._fusing(self._seen(features))

    def _fusing(self, filled: Mapping[str, Features]) -> Fused:
        fused: Fused = self.fusion.remembered(filled) if self.task.tokens == "whole" else self.fusion(filled)
        return fused

    def _seen(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """The features as F sees them: those of absent inputs put in; while training some exchanged or hidden."""
        if self.training and not self.reads_tokens:
            features = {name: features[name].without_tokens() for name in self.names}
        if self.training:
            features = {name: _swapped(features[name], self.swap_shares.get(name, 0.0)) for name in self.names}
        if self.training and self.modality_dropout:
            features = _some_hidden(features, self.sources, self.modality_dropout)
        filled = _filled if self.reads_tokens else _pooled_filled
        return {name: filled(features[name], own) for name, own in zip(self.names, self.absent, strict=True)}

    def forward(self, features: Mapping[str, Features]) -> Output:
        filled = self._seen(features)
        fused = self._fusing(filled)
        outputs = self.head(fused)
        if self.adds_odds and fused.logits is not None:
            outputs = torch.cat([outputs[:, :1], outputs[:, 1:] + fused.logits[:, None].to(outputs.dtype)], 1)
        if self.decisions is not None:
            own = self.decisions(filled).logits
            outputs = torch.cat([outputs[:, : own.shape[1]] + own, outputs[:, own.shape[1] :]], 1)
        if self.beside is not None:
            columns = [own for name in self.names if (own := filled[name].outputs) is not None]
            return Output(self.beside(outputs, columns), fused, own=outputs)
        return Output(self.task.outputs.tempered(outputs, self.temperature), fused)

    def enrol(self, outputs: Any, targets: Tensor) -> None:
        """Keeps the outputs of train rows, with which those of others are compared."""
        (self.head if self.beside is None else self.beside).enrol(outputs, targets)

    def settle(self, outputs: Any, targets: Tensor) -> None:
        """Sets what it decides by, from val outputs and targets."""
        if self.beside is None:
            self.head.settle(outputs, targets)
        else:
            self.beside.settle(outputs, targets, lambda own: self.task.score(own, targets)["loss"])


class AveragedHeads(nn.Module):
    """Several fusions, of the same method from different seeds or of several methods, and the mean of their outputs, in which
    each has its `shares`: equal, if none are given."""

    def __init__(self, members: Sequence[FusionHead], shares: Sequence[float] | None = None) -> None:
        super().__init__()
        self.shares: Tensor
        self.register_buffer("shares", torch.tensor(shares or [1 / len(members)] * len(members)))
        self.members = nn.ModuleList(members)
        self.sources = {name: source for member in members for name, source in member.sources.items()}
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(()))

    @property
    def each(self) -> list[FusionHead]:
        return [member for member in self.members if isinstance(member, FusionHead)]

    @property
    def task(self) -> Task:
        return self.each[0].head.task

    @property
    def made_at(self) -> float:
        """By which outputs are divided: of the members the geometric mean, each counting by its share."""
        logs = torch.stack([member.temperature.log() for member in self.each])
        return float(self.temperature * (logs @ self.shares / self.shares.sum()).exp())

    @property
    def reads_outputs(self) -> bool:
        return any(member.reads_outputs for member in self.each)

    @property
    def reads_tokens(self) -> bool:
        return any(member.reads_tokens for member in self.each)

    @property
    def modality_dropout(self) -> float:
        return self.each[0].modality_dropout

    @modality_dropout.setter
    def modality_dropout(self, share: float) -> None:
        for member in self.each:
            member.modality_dropout = share

    def loss(self, output: Output, targets: Tensor) -> Tensor:
        """That of the mean of the outputs, and the mean of what the methods add to it; of vectors to compare, the mean of the
        members' own."""
        if self.task.gives_embeddings:
            return torch.stack([own.loss(made, targets) for own, made in zip(self.each, output.members, strict=True)]).mean()
        error = self.each[0].head.loss(output.outputs, output.fused, targets)
        pairs = zip(self.each, output.members, strict=True)
        found = [_penalty(member.fusion, own.fused, targets, self.task) for member, own in pairs]
        kept = [own for own in found if own is not None]
        return error + torch.stack(kept).mean() if kept else error

    def forward(self, features: Mapping[str, Features]) -> Output:
        each = tuple(member(features) for member in self.members)
        outputs = self.task.outputs.mean([own.outputs for own in each], self.shares)
        pooled = [own.fused.pooled for own in each]
        alike = len({own.shape[1] for own in pooled}) == 1
        weights = [own.fused.weights for own in each if own.fused.weights is not None]
        shared = len(weights) == len(each) and all(member.names == self.each[0].names for member in self.each)
        fused = Fused(
            torch.stack(pooled).mean(0) if alike else torch.cat(pooled, 1),
            weights=torch.stack(weights).mean(0) if shared else None,
        )
        return Output(self.task.outputs.tempered(outputs, self.temperature), fused, each)


Heads = FusionHead | AveragedHeads


def settle(heads: Heads, outputs: Any, targets: Tensor) -> None:
    """Sets what heads decide by (thresholds), all members alike, from the val outputs of the whole."""
    for member in heads.each if isinstance(heads, AveragedHeads) else [heads]:
        member.settle(outputs, targets)


def _penalty(fusion: Fusion, fused: Fused, targets: Tensor, task: Task) -> Tensor | None:
    """What a method adds to the loss."""
    (right, _), weights = task.parted(targets), task.pressing(targets)
    return fusion.penalty(fused, right) if weights is None else fusion.penalty(fused, right, weights)


def _filled(features: Features, absent: Tensor) -> Features:
    """With the embedding where the input is absent: as the pooled features and as the only token; it decides nothing."""
    filled, here_B1 = _pooled_filled(features, absent), features.present.unsqueeze(1)
    first = torch.arange(features.mask.shape[1], device=here_B1.device) == 0
    tokens = torch.where(here_B1.unsqueeze(2), features.tokens, absent.to(features.pooled.dtype))
    return replace(filled, tokens=tokens, mask=(features.mask & here_B1) | (first & ~here_B1))


def _pooled_filled(features: Features, absent: Tensor) -> Features:
    """The same for who does not look at tokens: the pooled features are the only one."""
    here_B1 = features.present.unsqueeze(1)
    pooled = torch.where(here_B1, features.pooled, absent.to(features.pooled.dtype))
    outputs = None if features.outputs is None else torch.where(here_B1, features.outputs, 0.0)
    return Features(pooled, pooled.unsqueeze(1), torch.ones_like(here_B1), features.present, outputs)


def _swapped(features: Features, share: float) -> Features:
    """With that share of rows' features taken from another row."""
    if not share:
        return features
    rows = torch.arange(len(features.present), device=features.present.device)
    other = torch.randperm(len(rows), device=rows.device)
    return features.gather(torch.where(torch.rand(len(rows), device=rows.device) < share, other, rows))


def _some_hidden(features: Mapping[str, Features], sources: Mapping[str, str], share: float) -> dict[str, Features]:
    """Each row's inputs taken away with probability `share`, but never all of them (Neverova 2016)."""
    here = {sources[name]: own.present for name, own in features.items()}
    places = {source: m for m, source in enumerate(here)}
    present_BM = torch.stack(list(here.values()), 1)
    luck_BM = torch.rand(present_BM.shape, device=present_BM.device).masked_fill(~present_BM, -1.0)
    kept_BM = (luck_BM >= share).scatter_(1, luck_BM.argmax(1, keepdim=True), True) & present_BM
    return {name: replace(own, present=kept_BM[:, places[sources[name]]]) for name, own in features.items()}


class FusedModel(nn.Module):
    """Encoders by name, F, and the head: prepared signals by encoder -> outputs. An input may have several encoders; inputs
    may share one, which is then the same module under several names.

    Where decisions are fused, `heads` are the encoders' own."""

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        fusion_head: Heads,
        heads: Mapping[str, Head] | None = None,
        calibration: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.names = list(encoders)
        unique = list({id(encoder): encoder for encoder in encoders.values()}.values())
        self.places = {name: next(i for i, own in enumerate(unique) if own is encoder) for name, encoder in encoders.items()}
        """Name -> where its encoder lies: one that several inputs share lies there once."""
        self.encoders = nn.ModuleList(unique)
        self.deciding = [name for name in encoders if name in (heads or {})]
        self.heads = nn.ModuleList([] if heads is None else [heads[name] for name in self.deciding])
        self.fusion_head = fusion_head
        self.calibration = calibration or nn.Identity()
        """From outputs to outputs whose probabilities mean what they say; or to vectors of fewer numbers."""
        lay_out(self)

    @property
    def task(self) -> Task:
        return self.fusion_head.task

    @property
    def sources(self) -> dict[str, str]:
        """Encoder -> the input that it reads."""
        return self.fusion_head.sources

    @property
    def inputs(self) -> list[str]:
        """The inputs, in order."""
        return list(dict.fromkeys(self.sources[name] for name in self.names))

    def encoder(self, name: str) -> Encoder:
        encoder = self.encoders[self.places[name]]
        assert isinstance(encoder, Encoder)
        return encoder

    def own_heads(self) -> dict[str, Head]:
        """The columns' own heads by encoder; empty where F does not look at what they say."""
        return {name: head for name, head in zip(self.deciding, self.heads, strict=True) if isinstance(head, Head)}

    def prepare(self, columns: Mapping[str, Source]) -> dict[str, Source]:
        """What each encoder computes once of its input's column, by encoder."""
        return {name: self.encoder(name).prepare(columns[self.sources[name]]) for name in self.names}

    def features(self, signals: Mapping[str, Signal]) -> dict[str, Features]:
        made: dict[str, Features] = {name: self.encoder(name)(signals[name]) for name in self.names}
        for name, head in zip(self.deciding, self.heads, strict=True):
            made[name] = replace(made[name], outputs=own_outputs(head, made[name]))
        return made

    def forward(self, signals: Mapping[str, Signal]) -> Output:
        output: Output = self.fusion_head(self.features(signals))
        return replace(output, outputs=self.calibration(output.outputs))
