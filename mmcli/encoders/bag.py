"""TF-IDF of hashed word and character n-grams, times a table that a linear model of them is part of: strong, cheap, for text.

A row is x T. x holds its n-grams: runs of 1 to 4 characters and of 1 or 2 words, weighted by inverse document frequency over
the train rows and 1 + log of how often the row has them (sublinear counts), characters and words scaled to a length each.
N-grams that no train row has weigh nothing. T trains like fastText's embeddings (Joulin 2016), n-grams being hidden at random;
then a regularised linear model of x is solved at once, and T is made of both (`jobs.solving`): its first features are what the
two together decide. Works in any language, since characters are counted as such: Chinese needs no segmentation, and where
words are not told apart by blanks, what stands between signs counts as one.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.exports.ngrams import count_ngrams
from mmcli.layers.ngrams import by_kind, of_two_kinds, rarity, spelt
from mmcli.layers.starting import drawn
from mmcli.signals import Column, Kind, Signal, SignalSpec, Source

TRAINING = {"epochs": 60, "learning_rate": 5e-3, "batch_size": 64, "weight_decay": 0.0, "patience": 12, "clip_norm": 0}
AUGMENT = {"none": {"ngram_dropout": 0.0}, "strong": {"ngram_dropout": 0.5}}
MOST_DIM = 256
"""The widest table that comes of itself: so many classes are told apart as the linear model does, more nearly so."""


class Config(BaseConfig):
    """Which n-grams, hashed into how many embeddings."""

    dim: int = Field(64, ge=1)
    """Width of the embeddings; where it is not given and the target has more classes or labels, as many as these, up to 256."""
    buckets: int = Field(131072, ge=16, le=2**23)
    """Where n-grams fall; different ones may share a bucket."""
    rows: int = Field(0, ge=0)
    """Rows of the embedding table beside the first, each for a bucket that is kept; others weigh nothing. 0: one a bucket."""
    char_ngrams: int = Field(4, ge=0, le=12)
    """Longest run of characters counted; 0 leaves characters out."""
    word_ngrams: int = Field(2, ge=0, le=6)
    """Longest run of words counted; 0 leaves words out."""
    word_share: float = Field(0.7, gt=0)
    """Length of a row's words, where that of its runs of characters is one."""
    ngram_dropout: float = Field(0.3, ge=0, lt=1)
    """Share of n-grams hidden while training."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the pooled features."""


class Bag(Encoder):
    """Ids [T] -> one token, the pooled vector: a bag has no order to keep."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"ids"})
    keeps_order: ClassVar[bool] = False

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, config.dim)
        self.config = config
        self.pieces = spec.pieces
        # Small, so that an n-gram seen once says what was learnt of it and not what it was born with.
        rows = _rows(config)
        self.table = nn.Parameter(drawn(rows, config.dim, std=0.01))
        self.dropout = nn.Dropout(config.dropout)
        self.idf: Tensor
        self.register_buffer("idf", torch.ones(rows))
        self.place: Tensor | None
        self.register_buffer("place", torch.zeros(config.buckets, dtype=torch.int32) if config.rows else None)
        self._whole: tuple[nn.Parameter, Tensor, Tensor] | None = None
        """While rows are laid aside: the table and the weights of all rows, and which of them are left."""

    @classmethod
    def suited(cls, config: Config, width: int) -> Config:
        return config.model_copy(update={"dim": min(max(config.dim, width), MOST_DIM)})

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004 - whatever the vocabulary
        return (_rows(config) + 1) * config.dim

    def prepare(self, column: Source) -> Column:
        """From token ids to n-gram buckets and their counts, int32, ragged: the text is spelt out, its n-grams hashed."""
        texts = spelt(column, self.pieces)
        counted, offsets = count_ngrams(texts, self.config.char_ngrams, self.config.word_ngrams, self.config.buckets)
        device = column.present.device
        return Column(torch.from_numpy(counted).to(device), column.present, torch.from_numpy(offsets).to(device))

    def preparation(self) -> dict[str, Any]:
        ngrams = {"char_ngrams": self.config.char_ngrams, "word_ngrams": self.config.word_ngrams}
        return {"ngrams": {**ngrams, "buckets": self.config.buckets}}

    def fit(self, column: Source) -> None:
        """Inverse document frequencies of the train rows; zero for what none of them has."""
        assert isinstance(column, Column)
        counted = self._places(column.values.long().cpu() % self.config.buckets)
        self.idf.copy_(rarity(torch.bincount(counted, minlength=len(self.idf)), len(column)))
        if self.place is not None:
            self.idf[0] = 0.0

    def keep(self, buckets: Tensor) -> None:
        """Gives these buckets, `config.rows` of them at most, the rows of the table from the second on; the first is everyone
        else's, and weighs nothing."""
        assert self.place is not None
        self.place.zero_()
        self.place[buckets] = torch.arange(1, len(buckets) + 1, dtype=torch.int32, device=self.place.device)

    def lay_aside(self) -> None:
        """Leaves the rows of n-grams that weigh something, and one for all others, which trains nothing; not where these are
        few."""
        used = self.idf.nonzero()[:, 0]
        if self.place is not None or self._whole is not None or 2 * len(used) > len(self.idf):
            return
        whole = self._whole = (self.table, self.idf, used)
        rows = torch.cat([self.table.new_zeros(1, self.dim), self.table.detach()[used]])
        self.table = nn.Parameter(rows, requires_grad=whole[0].requires_grad)
        self.idf = torch.cat([self.idf.new_zeros(1), self.idf[used]])
        self.place = torch.zeros(self.config.buckets, dtype=torch.int32, device=rows.device)
        self.keep(used)

    @torch.no_grad()
    def take_back(self) -> None:
        if self._whole is None:
            return
        rows = self.table
        self.table, self.idf, used = self._whole
        self.table[used] = rows[1:]
        self.place = self._whole = None

    def _places(self, buckets: Tensor) -> Tensor:
        """The rows of the table that these buckets have."""
        return buckets if self.place is None else self.place.to(buckets.device)[buckets].long()

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        counted, mask = signal.values.long(), signal.mask()
        buckets = counted % self.config.buckets
        times = torch.div(counted, self.config.buckets, rounding_mode="floor") + 1
        places = self._places(buckets)
        weights = self.idf[places] * (1 + times.float().log()) * mask
        if self.training and self.config.ngram_dropout:
            weights = weights * (torch.rand_like(weights) >= self.config.ngram_dropout)
        weights = of_two_kinds(weights, buckets >= self.config.buckets // 2, self.config.word_share)
        pooled = self.dropout(F.embedding_bag(places, self.table, per_sample_weights=weights, mode="sum"))
        return pooled, pooled[:, None], torch.ones(pooled.shape[0], 1, dtype=torch.bool, device=pooled.device)

    def sparse(self, column: Source) -> Any:
        """x of the rows, as `encode` weighs it."""
        from scipy.sparse import csr_matrix

        assert isinstance(column, Column)
        assert column.offsets is not None
        counted, offsets, size = column.values.cpu().numpy(), column.offsets.cpu().numpy(), self.config.buckets
        buckets, rows = counted % size, np.repeat(np.arange(len(column)), np.diff(offsets))
        places = self._places(torch.from_numpy(buckets)).numpy()
        values = self.idf.cpu().numpy()[places] * (1 + np.log(counted // size + 1)).astype(np.float32)
        values = by_kind(values, buckets, rows, size, self.config.word_share)
        made = csr_matrix((values, places, offsets), shape=(len(column), len(self.idf)))
        made.eliminate_zeros()
        return made


def _rows(config: Config) -> int:
    """How many rows the table has: one for all that have none of their own is the first of those that are asked for."""
    return config.rows + 1 if config.rows else config.buckets
