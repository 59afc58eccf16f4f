"""A bag of hashed word and character n-grams in one embedding table: the strong, cheap baseline for text.

After fastText (Joulin 2016), with TF-IDF weights learnt on the train rows: a row is the sum of its n-grams' embeddings,
weighted by inverse document frequency, characters and words scaled to a length each. N-grams that no train row has weigh
nothing. Works in any language, since characters are counted as such: Chinese needs no segmentation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.signals import Column, Kind, Signal, SignalSpec, Source

TRAINING = {"epochs": 60, "learning_rate": 5e-3, "batch_size": 64, "weight_decay": 0.0, "patience": 12, "clip_norm": 0}
AUGMENT = {"none": {"ngram_dropout": 0.0}, "strong": {"ngram_dropout": 0.5}}
WORD_SHARE = 0.7
"""Length of a row's words, where that of its characters is one."""
Array = np.ndarray[Any, np.dtype[Any]]


class Config(BaseConfig):
    """Which n-grams, hashed into how many embeddings."""

    dim: int = Field(64, ge=1)
    """Width of the embeddings."""
    buckets: int = Field(131072, ge=16)
    """Rows of the embedding table; different n-grams may share one."""
    char_ngrams: int = Field(4, ge=0, le=12)
    """Longest run of characters counted; 0 leaves characters out."""
    word_ngrams: int = Field(2, ge=0, le=6)
    """Longest run of words counted; 0 leaves words out."""
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
        self.table = nn.Parameter(torch.randn(config.buckets, config.dim) * 0.01)
        self.dropout = nn.Dropout(config.dropout)
        self.idf: Tensor
        self.register_buffer("idf", torch.ones(config.buckets))

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004 - whatever the vocabulary
        return (config.buckets + 1) * config.dim

    def prepare(self, column: Source) -> Column:
        """From token ids to n-gram buckets, int32, ragged: the text is spelt out and its n-grams hashed."""
        assert isinstance(column, Column)
        assert column.offsets is not None
        ids, ends = column.values.tolist(), column.offsets.tolist()
        texts = [b"".join(self.pieces[i] for i in ids[a:b]).decode("utf-8", "replace").lower() for a, b in pairwise(ends)]
        buckets, offsets = hash_ngrams(texts, self.config.char_ngrams, self.config.word_ngrams, self.config.buckets)
        device = column.values.device
        return Column(torch.from_numpy(buckets).to(device), column.present, torch.from_numpy(offsets).to(device))

    def fit(self, column: Source) -> None:
        """Inverse document frequencies of the train rows; zero for what none of them has."""
        assert isinstance(column, Column)
        assert column.offsets is not None
        rows = torch.repeat_interleave(torch.arange(len(column)), column.offsets.diff().cpu())
        pairs = torch.unique(rows * self.config.buckets + column.values.long().cpu())
        frequency = torch.bincount(pairs % self.config.buckets, minlength=self.config.buckets)
        idf = ((1 + len(column)) / (1 + frequency)).log() + 1
        self.idf.copy_(torch.where(frequency > 0, idf, 0.0))

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        buckets, mask = signal.values.long(), signal.mask()
        weights = self.idf[buckets] * mask
        if self.training and self.config.ngram_dropout:
            weights = weights * (torch.rand_like(weights) >= self.config.ngram_dropout)
        # Each kind by itself, since there are ten times as many runs of characters.
        words = buckets >= self.config.buckets // 2
        weights = F.normalize(weights * ~words, dim=1) + WORD_SHARE * F.normalize(weights * words, dim=1)
        pooled = self.dropout(F.embedding_bag(buckets, self.table, per_sample_weights=weights, mode="sum"))
        return pooled, pooled[:, None], torch.ones(pooled.shape[0], 1, dtype=torch.bool, device=pooled.device)


def hash_ngrams(texts: list[str], char_ngrams: int, word_ngrams: int, buckets: int) -> tuple[Array, Array]:
    """The bucket of every n-gram of every text: int32 values, row by row, and int64 offsets [N + 1].

    Runs of characters fall into the lower half of the buckets, runs of words into the upper.

    All spans are hashed at once by differences of one running polynomial hash, modulo 2**64.
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    ends = np.cumsum(lengths)
    points = np.frombuffer("".join(texts).encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    spans = [
        *_char_spans(len(points), np.repeat(ends, lengths), char_ngrams),
        *_word_spans(points, np.repeat(np.arange(len(texts)), lengths), word_ngrams),
    ]
    if not spans or not len(points):
        return np.zeros(0, dtype=np.int32), np.zeros(len(texts) + 1, dtype=np.int64)
    salt = np.concatenate([np.full(len(start), i, dtype=np.uint64) for i, (start, _) in enumerate(spans)])
    half = np.uint64(buckets // 2)
    is_word = (salt >= char_ngrams).astype(np.uint64)
    start = np.concatenate([start for start, _ in spans])
    end = np.concatenate([end for _, end in spans])
    hashed = _span_hashes(points, start, end) + salt * np.uint64(0x9E3779B97F4A7C15)
    rows = np.searchsorted(ends, start, side="right")
    order = np.argsort(rows, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(texts)))]).astype(np.int64)
    return (_scramble(hashed) % half + half * is_word).astype(np.int32)[order], offsets


def _char_spans(total: int, row_end: Array, longest: int) -> list[tuple[Array, Array]]:
    start = np.arange(total)
    return [(start[start + n <= row_end], start[start + n <= row_end] + n) for n in range(1, longest + 1)]


def _word_spans(points: Array, rows: Array, longest: int) -> list[tuple[Array, Array]]:
    """Runs of letters and digits within a row, and runs of those."""
    unique, inverse = np.unique(points, return_inverse=True)
    is_word = np.array([chr(point).isalnum() for point in unique], dtype=bool)[inverse.ravel()]
    if not is_word.any():
        return []
    joined = np.zeros(len(points), dtype=bool)  # to the character before
    joined[1:] = is_word[1:] & is_word[:-1] & (rows[1:] == rows[:-1])
    start = np.flatnonzero(is_word & ~joined)
    end = np.flatnonzero(is_word & ~np.append(joined[1:], False)) + 1
    spans = []
    for n in range(1, longest + 1):
        same_row = rows[start[: len(start) - n + 1]] == rows[start[n - 1 :]]
        spans.append((start[: len(start) - n + 1][same_row], end[n - 1 :][same_row]))
    return spans


def _span_hashes(points: Array, start: Array, end: Array) -> Array:
    """Polynomial hashes of points[start:end], equal for equal spans wherever they stand."""
    base = 0x100000001B3
    powers = _powers(base, len(points))
    inverses = _powers(pow(base, -1, 2**64), len(points))
    running = np.zeros(len(points) + 1, dtype=np.uint64)
    np.cumsum((points + np.uint64(1)) * powers[:-1], out=running[1:])
    result: Array = (running[end] - running[start]) * inverses[start]
    return result


def _powers(base: int, count: int) -> Array:
    """base**0 ... base**count modulo 2**64."""
    factors = np.full(count + 1, base, dtype=np.uint64)
    factors[0] = 1
    result: Array = np.cumprod(factors)
    return result


def _scramble(value: Array) -> Array:
    """splitmix64's finaliser: every bit of the hash reaches every bit of the bucket."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    value = value ^ (value >> np.uint64(31))
    return value
