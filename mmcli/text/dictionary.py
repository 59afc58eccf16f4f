"""A dictionary that is learnt from pairs of texts, word by word: IBM model 1 (Brown 1993), without a network.

Every word of the one text may have led to every word of the other, or none did (NULL):

    p(f | e_1 .. e_l) = sum_i t(f | e_i) / (l + 1),  e_0 = NULL

and t is found by expectation maximisation from t = 1 / F. Only links that occur in a row are kept, so memory grows with these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

LINKS = 20_000_000
"""Links between words up to which rows are learnt from; of more, rows are taken evenly."""
NULL = ""
"""The word that stands in no text."""
Pair = tuple[Sequence[str], Sequence[str]]
"""The words of a text, and those that it became."""


@dataclass(frozen=True)
class Dictionary:
    """Of each word that was seen what it became, and how surely."""

    words: dict[str, dict[str, float]]
    """Word -> t(f | word) of each f beside which it stood. NULL's are among them."""

    @classmethod
    def fit(cls, pairs: Sequence[Pair], rounds: int = 10) -> Self:
        """Learns it in so many rounds of expectation maximisation; pairs with an empty side teach nothing."""
        pairs = _bounded([pair for pair in pairs if pair[0] and pair[1]])
        ones = {word: place for place, word in enumerate(dict.fromkeys([NULL, *(w for one, _ in pairs for w in one)]))}
        others = {word: place for place, word in enumerate(dict.fromkeys(w for _, other in pairs for w in other))}
        if not others:
            return cls({})
        sources, goals, places, place = [], [], [], 0
        for one, other in pairs:
            e = np.array([0, *(ones[word] for word in one)])
            f = np.array([others[word] for word in other])
            sources.append(np.tile(e, len(f)))
            goals.append(np.repeat(f, len(e)))
            places.append(np.repeat(np.arange(place, place + len(f)), len(e)))
            place += len(f)
        keys, link = np.unique(np.concatenate(sources) * len(others) + np.concatenate(goals), return_inverse=True)
        owner, where = keys // len(others), np.concatenate(places)
        share = np.full(len(keys), 1 / len(others))
        for _ in range(rounds):
            likely = share[link]
            likely /= np.bincount(where, likely)[where]  # whose each word of the other text is
            counts = np.bincount(link, likely, len(keys))
            share = counts / np.bincount(owner, counts)[owner]
        found: dict[str, dict[str, float]] = {word: {} for word in ones}
        names, goal_names = list(ones), list(others)
        for key, value in zip(keys.tolist(), share.tolist(), strict=True):
            found[names[key // len(others)]][goal_names[key % len(others)]] = value
        return cls(found)

    def translate(self, words: Sequence[str]) -> list[str]:
        """Each word's likeliest one, of equals the first that was met; a word that was never seen stays as it is."""
        return [max(known, key=known.__getitem__) if (known := self.words.get(word)) else word for word in words]


def _bounded(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """As many rows, evenly taken, as keep the links within bounds."""
    links = sum((len(one) + 1) * len(other) for one, other in pairs)
    return pairs[:: -(-links // LINKS)] if links > LINKS else pairs
