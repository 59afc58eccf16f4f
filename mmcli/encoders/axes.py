"""TF-IDF of words and runs of letters on its principal axes: nothing is learnt but the axes, which the train rows have (latent
semantic analysis, Deerwester 1990).

    w = idf of each n-gram in the row, words and letters scaled to a length each;  features = w V,  V the first right singular
    vectors of the train rows' w
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.exports.ngrams import hash_ngrams
from mmcli.layers.ngrams import by_kind, of_two_kinds, rarity, spelt
from mmcli.signals import Column, Kind, Signal, SignalSpec, Source

TRAINING = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 64, "weight_decay": 0.05}


class Config(BaseConfig):
    """How many axes, of which n-grams."""

    dim: int = Field(256, ge=1)
    """Axes; where train rows have fewer, the others are zero."""
    buckets: int = Field(32768, ge=16)
    """N-grams are hashed into so many; different ones may share one."""
    char_ngrams: int = Field(4, ge=0, le=12)
    """Longest run of letters counted; 0 leaves letters out."""
    word_ngrams: int = Field(1, ge=0, le=6)
    """Longest run of words counted; 0 leaves words out."""


class Axes(Encoder):
    """Ids [T] -> one token, the pooled vector. Parameters: D, the absent embedding."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"ids"})
    keeps_order: ClassVar[bool] = False

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, config.dim)
        self.config = config
        self.pieces = spec.pieces
        self.idf: Tensor
        self.axes: Tensor
        self.register_buffer("idf", torch.ones(config.buckets))
        self.register_buffer("axes", torch.zeros(config.buckets, config.dim))

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004 - whatever the vocabulary
        return config.dim

    def prepare(self, column: Source) -> Column:
        """From token ids to n-gram buckets, int32, ragged: the text is spelt out and its n-grams hashed."""
        texts = spelt(column, self.pieces)
        buckets, offsets = hash_ngrams(texts, self.config.char_ngrams, self.config.word_ngrams, self.config.buckets)
        device = column.present.device
        return Column(torch.from_numpy(buckets).to(device), column.present, torch.from_numpy(offsets).to(device))

    def preparation(self) -> dict[str, Any]:
        ngrams = {"char_ngrams": self.config.char_ngrams, "word_ngrams": self.config.word_ngrams}
        return {"ngrams": {**ngrams, "buckets": self.config.buckets, "counted": False}}

    def fit(self, column: Source) -> None:
        """Document frequencies and axes of the train rows."""
        from scipy.sparse import csr_matrix
        from sklearn.decomposition import TruncatedSVD

        assert isinstance(column, Column)
        assert column.offsets is not None
        size = self.config.buckets
        buckets, offsets = column.values.cpu().numpy().astype(np.int64), column.offsets.cpu().numpy()
        rows = np.repeat(np.arange(len(column)), np.diff(offsets))
        frequency = np.bincount(np.unique(rows * size + buckets) % size, minlength=size)
        self.idf.copy_(rarity(torch.from_numpy(frequency), len(column)))
        counted = csr_matrix(
            (by_kind(self.idf.cpu().numpy()[buckets], buckets, rows, size), buckets, offsets), (len(column), size)
        )
        count = min(self.config.dim, len(column) - 1, size - 1)
        if count > 0 and counted.nnz:
            axes = TruncatedSVD(count, random_state=0).fit(counted.astype(np.float64)).components_
            self.axes[:, : len(axes)] = torch.from_numpy(axes.T).to(self.axes)

    def _weights(self, signal: Signal) -> Tensor:
        """[B, T]: of each n-gram."""
        buckets = signal.values.long()
        weights = self.idf[buckets] * signal.mask()
        return of_two_kinds(weights, buckets >= self.config.buckets // 2)

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        pooled = F.embedding_bag(signal.values.long(), self.axes, per_sample_weights=self._weights(signal), mode="sum")
        return pooled, pooled[:, None], torch.ones(pooled.shape[0], 1, dtype=torch.bool, device=pooled.device)
