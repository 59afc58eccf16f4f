"""Counts in words: `1 cell says`, `1,200 cells say`. Plain, since exported models say some, too. Knows no table."""

from __future__ import annotations

_ODD = {"are": "is", "have": "has", "do": "does"}


def counted(count: int, noun: str) -> str:
    """How many there are: `1 class`, `12 classes`; the noun is that of one."""
    if count == 1:
        return f"1 {noun}"
    ending = "es" if noun.endswith(("s", "x")) else "s"
    return f"{count:,} {noun}{ending}"


def agreed(count: int, verb: str) -> str:
    """The verb, given as it is of many, as it is of so many."""
    return _ODD.get(verb, f"{verb}s") if count == 1 else verb


def them(count: int) -> str:
    """So many, named before."""
    return "it" if count == 1 else "them"
