"""The words of a language and how often each is used, as probabilities of the next letter. Needs numpy alone: it goes with
exported models.

After the beginning b of a word the letter c is as likely as words that begin with bc are among those that begin with b, by how
often they are used, and the word's end as b itself is. So hundreds of thousands of words say at each letter where it may lead,
and how well.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

APOSTROPHES = "'’"
DOTTED_I = "İ"
MOST_KEPT = 1 << 16
"""Beginnings of words whose next letters are remembered."""
TINY = 1e-12
LAST = chr(0x10FFFF)
"""Comes behind all letters."""


def letter(char: str) -> str:
    """What a character is in a word, without capitals; empty where it stands between words, as figures do: no list has all
    numbers."""
    if char in APOSTROPHES:
        return APOSTROPHES[0]
    if char == DOTTED_I:  # becomes two characters elsewhere
        return "i"
    return char.casefold() if unicodedata.category(char[0])[0] in "LM" else ""


def parts(text: str) -> list[str]:
    """The words of a text, as a lexicon has them."""
    found = "".join(letter(char) or " " for char in text).split()
    return [core for part in found if (core := part.strip(APOSTROPHES[0]))]


class Lexicon:
    """Words as `parts` gives them, and how often each is used; at `share` in a mixture with a model of units (Jelinek 1980)."""

    def __init__(self, often: Mapping[str, float], share: float, letters: Sequence[str]) -> None:
        """Of the `letters` it is told what follows."""
        self.words = sorted(often)
        self.share, self.letters = share, list(letters)
        self._sums = list(accumulate((often[word] for word in self.words), initial=0.0))
        self._next: OrderedDict[str, tuple[Floats, float]] = OrderedDict()

    def __contains__(self, word: str) -> bool:
        return self._itself(word) > 0

    def following(self, beginning: str) -> tuple[Floats, float] | None:
        """Of all use of words that begin so: the share that goes on with each of the letters, and of that word itself. None
        where no word does."""
        if beginning in self._next:
            self._next.move_to_end(beginning)
            return self._next[beginning]
        whole = self._all(beginning)
        if not whole:
            return None
        each, end = np.array([self._all(beginning + own) for own in self.letters]), self._itself(beginning)
        each *= min((whole - end) / max(each.sum(), whole * TINY), 1.0)  # ss and ß have the same words
        found = each / whole, end / whole
        self._next[beginning] = found
        if len(self._next) > MOST_KEPT:
            self._next.popitem(last=False)
        return found

    def _all(self, beginning: str) -> float:
        start = bisect_left(self.words, beginning)
        return self._sums[bisect_left(self.words, beginning + LAST, start)] - self._sums[start]

    def _itself(self, word: str) -> float:
        place = bisect_left(self.words, word)
        there = place < len(self.words) and self.words[place] == word
        return self._sums[place + 1] - self._sums[place] if there else 0.0

    def state(self) -> dict[str, Any]:
        """Everything but the letters, as plain arrays; the words are bytes of UTF-8, one a line."""
        words = np.frombuffer("\n".join(self.words).encode(), np.uint8)
        return {"lexicon": words, "often": np.diff(self._sums), "share": np.array(self.share)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], letters: Sequence[str]) -> Lexicon:
        """The reverse of `state`."""
        words = state["lexicon"].tobytes().decode().split("\n")
        return cls(dict(zip(words, state["often"].tolist(), strict=True)), float(state["share"]), letters)
