"""Texts looked up word by word: as units of another text, by a table that says what each word becomes. Knows no weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def looked_up(texts: Sequence[str], table: Mapping[str, Any]) -> list[list[int]]:
    """Units of what each text becomes. `table` has `blanks`, whether blanks part words (else each character is one); `first`
    and `later`, the units of each word that is known, at the beginning and elsewhere; `between`, the units before a word that
    is not; and `letters`, the units that such a word is spelt with, as far as there are any."""
    first, later, between, letters = (table[key] for key in ("first", "later", "between", "letters"))
    found = []
    for text in texts:
        own: list[int] = []
        for word in text.split() if table["blanks"] else text.strip():
            if word in first:
                own += (later if own else first)[word]
            elif spelt := [letters[letter] for letter in word if letter in letters]:
                own += (between if own else []) + spelt
        found.append(own)
    return found
