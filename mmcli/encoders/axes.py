"""TF-IDF of words and runs of letters on its principal axes: nothing is learnt but the axes, which the train rows have (latent
semantic analysis, Deerwester 1990).

    w = idf of each n-gram in the row, words and letters scaled to a length each;  features = w V,  V the first right singular
    vectors of the train rows' w
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.exports.ngrams import hash_ngrams
from mmcli.signals import Column, Kind, Signal, SignalSpec, Source

TRAINING = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 64, "weight_decay": 0.05}
WORD_SHARE = 0.7
"""Length of a row's words, where that of its letters is one."""


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
        assert isinstance(column, Column)
        assert column.offsets is not None
        ids, ends = column.values.tolist(), column.offsets.tolist()
        texts = [b"".join(self.pieces[i] for i in ids[a:b]).decode("utf-8", "replace").lower() for a, b in pairwise(ends)]
        buckets, offsets = hash_ngrams(texts, self.config.char_ngrams, self.config.word_ngrams, self.config.buckets)
        device = column.values.device
        return Column(torch.from_numpy(buckets).to(device), column.present, torch.from_numpy(offsets).to(device))

    def preparation(self) -> dict[str, Any]:
        ngrams = {"char_ngrams": self.config.char_ngrams, "word_ngrams": self.config.word_ngrams}
        return {"ngrams": {**ngrams, "buckets": self.config.buckets}}

    def fit(self, column: Source) -> None:
        """Document frequencies and axes of the train rows."""
        from scipy.sparse import csr_matrix
        from sklearn.decomposition import TruncatedSVD

        assert isinstance(column, Column)
        assert column.offsets is not None
        rows = torch.repeat_interleave(torch.arange(len(column)), column.offsets.diff().cpu())
        pairs = torch.unique(rows * self.config.buckets + column.values.long().cpu())
        frequency = torch.bincount(pairs % self.config.buckets, minlength=self.config.buckets)
        idf = ((1 + len(column)) / (1 + frequency)).log() + 1
        self.idf.copy_(torch.where(frequency > 0, idf, 0.0))
        whole = column.gather(torch.arange(len(column), device=column.present.device))
        weights = self._weights(whole).cpu().numpy()
        held = whole.mask().cpu().numpy()
        places = (np.nonzero(held)[0], whole.values.cpu().numpy()[held])
        counted = csr_matrix((weights[held].astype(np.float64), places), shape=(len(column), self.config.buckets))
        count = min(self.config.dim, len(column) - 1, self.config.buckets - 1)
        if count > 0 and counted.nnz:
            axes = TruncatedSVD(count, random_state=0).fit(counted).components_
            self.axes[:, : len(axes)] = torch.from_numpy(axes.T).to(self.axes)

    def _weights(self, signal: Signal) -> Tensor:
        """[B, T]: of each n-gram."""
        buckets = signal.values.long()
        weights = self.idf[buckets] * signal.mask()
        words = buckets >= self.config.buckets // 2
        return F.normalize(weights * ~words, dim=1) + WORD_SHARE * F.normalize(weights * words, dim=1)

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        pooled = F.embedding_bag(signal.values.long(), self.axes, per_sample_weights=self._weights(signal), mode="sum")
        return pooled, pooled[:, None], torch.ones(pooled.shape[0], 1, dtype=torch.bool, device=pooled.device)
