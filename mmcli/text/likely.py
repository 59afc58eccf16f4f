"""Which texts are likely by themselves: a language model over the units of a target, of its train texts and a file of more."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcli.errors import DataError
from mmcli.text.lexicon import MOST_KEPT, TINY, Lexicon, letter, parts
from mmcli.text.ngram import NGram
from mmcli.text.prefixes import Floats
from mmcli.text.units import Units, fold, without_blanks

BLANK = " "
MOST_BYTES = 32 << 20
"""Of a file of texts: its n-grams are kept with the task, and read by each command."""
ORDERS = {"char": 8, "word": 3, "bpe": 3}
"""Units that are looked at together, the next one counted."""
FEW_LETTERS, SHORT = 200_000, 5
"""Of more characters than these only so many are looked at together: the n-grams are read by each command."""


def lines(path: Path) -> list[str]:
    """The texts of a file, one a line, without empty ones.

    Raises:
        DataError: it is not there, too large, no UTF-8, or has no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"--lm-text {path}: it cannot be read ({error.strerror or error})", "Give a text file, one sentence a line."
        ) from None
    if len(content) > MOST_BYTES:
        raise DataError(
            f"--lm-text {path} has {len(content) / (1 << 20):.0f} MB, more than {MOST_BYTES >> 20}",
            "Give a part of it: the sentences that are most like the target's.",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"--lm-text {path}: line {row} is no UTF-8 (byte {content[error.start]:#04x})", "Save it as a text file in UTF-8."
        ) from None
    found = [line for line in text.splitlines() if line.strip()]
    if not found or "\0" in text:
        what = "it has no text" if not found else "it is no text file: it holds bytes of zero"
        raise DataError(f"--lm-text {path}: {what}", "Give a text file, one sentence a line.")
    return found


def fit(texts: Sequence[str], more: Sequence[str], units: Units) -> dict[str, list[int]]:
    """The n-grams of texts that have only `units`, and of more that may have others, as plain JSON. A unit that cannot be an
    answer counts as one of a kind behind them all, so that what stands beside it is not taken for neighbours."""
    other = _answers(units) + 1
    ids = [units.ids(text) for text in texts] + [units.ids_with(text, other) for text in more]
    order = SHORT if units.kind == "char" and sum(map(len, ids)) > FEW_LETTERS else ORDERS[units.kind]
    made = NGram.fit([[min(unit, other) for unit in row] for row in ids], order, other + 1, 0)
    return {name: array.tolist() for name, array in made.state().items()}


def words(texts: Sequence[str], units: Units) -> list[str]:
    """The words of the texts, without case and punctuation, where they are written letter by letter with blanks between; else
    none."""
    if units.kind != "char" or without_blanks(texts):
        return []
    return sorted({core for text in texts for word in text.split(BLANK) if (core := fold(word))})


class Likely:
    """The language model of a fitted task, of as many numbers as its lattices have; the blank, 0, is the end of a text."""

    eos = 0

    def __init__(
        self,
        model: NGram,
        other: int,
        missing: int,
        names: Sequence[str] = (),
        words: Sequence[str] = (),
        lexicon: Lexicon | None = None,
    ) -> None:
        """Of n-grams in which `other` is any unit that cannot be an answer, `missing` of which lie behind it; where there are
        `words` that are known, units are letters, with these `names`. The `lexicon` has the words of the whole language, and
        the `letters` of these names."""
        self.model, self.other, self.missing = model, other, missing
        self.names, self.words, self.lexicon = names, frozenset(words), lexicon
        self.blank = names.index(BLANK) + 1 if self.words and BLANK in names else self.eos
        self.stranger = 0.0
        self._known: dict[str, bool] = {}
        self.letter_of = np.zeros(other + 1 + missing, np.int64)
        """Of each unit, from 1; 0 where it stands between words, -1 where it cannot be an answer."""
        if lexicon is not None:
            places = {"": 0, **{own: place for place, own in enumerate(lexicon.letters, 1)}}
            self.letter_of[1:other] = [places[letter(name)] for name in names[: other - 1]]
            self.letter_of[other:] = -1

    @classmethod
    def of(
        cls,
        grams: Mapping[str, Any],
        units: Units,
        words: Sequence[str] = (),
        often: Mapping[str, float] | None = None,
        share: float = 0.0,
    ) -> Likely:
        """That of n-grams as `fit` gives them, and of the words of a language, by how often each is used."""
        model = NGram.from_state({name: np.asarray(own, np.int64) for name, own in grams.items()})
        other = _answers(units) + 1
        lexicon = Lexicon(often, share, letters(units.names[: other - 1])) if often else None
        return cls(model, other, max(len(units) - other, 0), units.names, words, lexicon)

    def state(self) -> dict[str, Any]:
        """Everything, as plain arrays: `words` are bytes of UTF-8, one word a line."""
        told = np.frombuffer("\n".join(sorted(self.words)).encode(), np.uint8)
        listed = {} if self.lexicon is None else self.lexicon.state()
        return {**self.model.state(), "others": np.array([self.other, self.missing], np.int64), "words": told, **listed}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], names: Sequence[str]) -> Likely:
        """The reverse of `state`; `names` are those of the units."""
        other, missing = state["others"].tolist()
        words = state["words"].tobytes().decode()
        lexicon = Lexicon.from_state(state, letters(names[: other - 1])) if "lexicon" in state else None
        return cls(NGram.from_state(state), other, missing, names, words.split("\n") if words else (), lexicon)

    def wary(self, stranger: float) -> Likely:
        """The same, which takes so much off the log-probability of what ends a word that is not known."""
        own = copy.copy(self)
        own.stranger = stranger if self.words else 0.0
        return own

    def strange(self, ids: Sequence[int]) -> int:
        """How many words of a text are not known."""
        return sum(not self._knows(word) for word in self._spelt(ids).split(BLANK))

    def next_log_probs(self, prefix: tuple[int, ...], /) -> Floats:
        """Of all units [V] after a text's beginning."""
        found = self._of_units(prefix)
        if self.lexicon is not None:
            found = self._mixed(found, self._beginning(prefix), self.lexicon)
        if self.stranger and self.strange(self._last_word(prefix)):
            found = found.copy()
            found[[self.eos, self.blank]] -= self.stranger
        return found

    def _of_units(self, prefix: tuple[int, ...]) -> Floats:
        """What the n-grams say, of as many units as they look at."""
        recent = prefix[-len(self.model.levels) :]
        if not self.missing:
            return self.model.next_log_probs(recent)
        found = self.model.next_log_probs(tuple(min(unit, self.other) for unit in recent))
        return np.concatenate([found, np.full(self.missing, found[-1])])

    def _mixed(self, found: Floats, beginning: str, lexicon: Lexicon) -> Floats:
        """What n-grams and words say. Which form of a letter it is, what stands between words and whether there one begins,
        n-grams say alone; and all, after a beginning that no word has."""
        following = lexicon.following(beginning)
        if following is None:
            return found
        units, (letters, end) = np.exp(found), following
        sums = np.bincount(self.letter_of % (len(letters) + 2), units, len(letters) + 2)
        if not beginning:
            end, letters = sums[0], letters * (1 - sums[0])
        wanted = np.concatenate([[end], letters, [0.0]])
        words = (wanted / np.maximum(sums, TINY))[self.letter_of] * units
        rest = max(1 - float(words.sum()), 0.0)  # of words with letters that are no units
        mixed: Floats = np.log((1 - lexicon.share + lexicon.share * rest) * units + lexicon.share * words)
        return mixed

    def _beginning(self, prefix: tuple[int, ...]) -> str:
        """What there is of a last word, as a lexicon has it."""
        assert self.lexicon is not None
        start = len(prefix)
        while start and self.letter_of[prefix[start - 1]] > 0:
            start -= 1
        letters = self.lexicon.letters
        return "".join(letters[self.letter_of[unit] - 1] for unit in prefix[start:])

    def _knows(self, word: str) -> bool:
        known = self._known.get(word)
        if known is None:
            core = fold(word)
            listed = self.lexicon is not None and all(part in self.lexicon for part in parts(word))
            known = not core or core in self.words or listed
            if len(self._known) == MOST_KEPT:
                self._known.clear()
            self._known[word] = known
        return known

    def _spelt(self, ids: Sequence[int]) -> str:
        return "".join(self.names[number - 1] for number in ids)

    def _last_word(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """What stands behind the last blank."""
        start = len(prefix)
        while start and prefix[start - 1] != self.blank:
            start -= 1
        return prefix[start:]


def letters(names: Sequence[str]) -> list[str]:
    """Those of units that are letters, as a lexicon has them, each once."""
    return list(dict.fromkeys(filter(None, map(letter, names))))


def _answers(units: Units) -> int:
    """How many units can be an answer."""
    return len(units) if units.kind == "bpe" else units.known
