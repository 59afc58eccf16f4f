"""What encoders of hashed n-grams share: texts spelt out again, how rare an n-gram is, and the weights of the two kinds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.reporting.metrics import Array
from mmcli.signals import Column, Source

WORD_SHARE = 0.7
"""Length of a row's words, where that of its runs of characters is one."""


def spelt(column: Source, pieces: Sequence[bytes], small: bool = True) -> list[str]:
    """The texts of a column of token ids, in small letters, or as they are stored."""
    assert isinstance(column, Column)
    assert column.offsets is not None
    ids, ends = column.values.tolist(), column.offsets.tolist()
    texts = [b"".join(pieces[i] for i in ids[a:b]).decode("utf-8", "replace") for a, b in pairwise(ends)]
    return [text.lower() for text in texts] if small else texts


def rarity(frequency: Tensor, rows: int) -> Tensor:
    """Inverse document frequency [buckets], log((1 + rows) / (1 + frequency)) + 1; zero for what no row has."""
    return torch.where(frequency > 0, ((1 + rows) / (1 + frequency)).log() + 1, 0.0)


def of_two_kinds(weights: Tensor, words: Tensor, share: float = WORD_SHARE) -> Tensor:
    """Weights [B, T], characters and words (bool [B, T]) scaled to a length each: there are ten times as many runs of
    characters."""
    return F.normalize(weights * ~words, dim=1) + share * F.normalize(weights * words, dim=1)


def by_kind(weights: Array, buckets: Array, rows: Array, size: int, share: float = WORD_SHARE) -> Array:
    """The same of a ragged column, float32 [n-grams], by the weight, the bucket and the row of each; words have the upper half
    of the `size` buckets."""
    made, words, count = weights.astype(np.float32), buckets >= size // 2, int(rows.max()) + 1 if len(rows) else 0
    for kind, length in ((~words, 1.0), (words, share)):
        sums = np.bincount(rows[kind], np.square(made[kind], dtype=np.float64), minlength=count)
        made[kind] *= (length / np.maximum(np.sqrt(sums), 1e-12))[rows[kind]].astype(np.float32)
    return made
