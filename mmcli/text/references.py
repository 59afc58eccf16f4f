"""Texts that need no network: a source as it is, its words looked up in a dictionary, the medoid, the nearest row's."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcli.reporting import text_metrics
from mmcli.reporting.text_metrics import Tokenizer
from mmcli.text.dictionary import Dictionary

SHARED = 0.5
"""The share of the letters of each side that are to be of the other's scripts."""


def share_a_script(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether most letters of each are of the script that most of the other's are of."""
    scripts = [_scripts(texts) for texts in (one, other)]
    if not all(scripts):
        return False
    most = [counts.most_common(1)[0][0] for counts in scripts]
    return all(counts[most[1 - side]] >= SHARED * counts.total() for side, counts in enumerate(scripts))


def _scripts(texts: Sequence[str]) -> Counter[str]:
    """How many letters are of each script, by the first word of their Unicode names."""
    letters = Counter(char for text in texts[:2000] for char in text if char.isalpha())
    found: Counter[str] = Counter()
    for letter, count in letters.items():
        found[unicodedata.name(letter, "?").partition(" ")[0]] += count
    return found


def looked_up(cells: Sequence[str], taught: Sequence[str], right: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Each cell with every word replaced by its likeliest one (IBM model 1, case aside), learnt from the texts `taught` and
    what is `right` for them. In scripts without blanks each character is a word."""
    own = text_metrics.tokenizer_for(taught)
    pairs = [(_words(one, own), text_metrics.units(other, tokenizer)) for one, other in zip(taught, right, strict=True)]
    known = Dictionary.fit(pairs)
    between = " " if tokenizer == "13a" else ""
    return [between.join(known.translate(_words(cell, own))) for cell in cells]


def _words(text: str, tokenizer: Tokenizer) -> list[str]:
    return text_metrics.units(text.casefold(), tokenizer)


def medoid(texts: Sequence[str]) -> str:
    """The text with the fewest character edits to the others (of at most 200 of them)."""
    some = [text for text, _ in Counter(texts).most_common(200)]
    others = texts[:: max(len(texts) // 100, 1)]
    return min(some, key=lambda text: sum(text_metrics.edits(text, other) for other in others))


def nearest(features: Any, train: Tensor) -> Tensor:
    """[N]: of each row of `features` [N, F] the train row that is most alike (cosine); a train row is not its own."""
    from sklearn.preprocessing import normalize

    index = train.numpy()
    unit = normalize(features)
    like = unit @ unit[index].T
    like = like.toarray() if hasattr(like, "toarray") else np.asarray(like)
    like[index, np.arange(len(index))] = -np.inf
    return train[torch.from_numpy(like.argmax(1))]
