"""The n-grams of texts, hashed: which buckets of an embedding table a bag of words and characters sums.

In any language: characters are counted as such, words are runs of letters and digits. Knows no table and no weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
MOST = 255
"""Times that an n-gram of a text is counted at most."""


def count_ngrams(texts: list[str], char_ngrams: int, word_ngrams: int, buckets: int) -> tuple[Array, Array]:
    """Each bucket that a text's n-grams fall into, once, in order, and how often: int32 values
    `bucket + buckets * (times - 1)`, row by row, and int64 offsets [N + 1]."""
    values, offsets = hash_ngrams(texts, char_ngrams, word_ngrams, buckets)
    rows = np.repeat(np.arange(len(texts)), np.diff(offsets))
    pairs, times = np.unique(rows * buckets + values, return_counts=True)
    rows, found = np.divmod(pairs, buckets)
    ends = np.cumsum(np.bincount(rows, minlength=len(texts)))
    counted = found + buckets * (np.minimum(times, MOST) - 1)
    return counted.astype(np.int32), np.concatenate([[0], ends]).astype(np.int64)


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
