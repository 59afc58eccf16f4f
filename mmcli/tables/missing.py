"""The words that people and programs write where a value is missing.

In a column that is otherwise numbers or dates they say nothing else; among texts and categories they may be names, and stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmcli.reporting.counts import agreed, counted

_SINGLE = r"""
na n/a n.a. n.a #n/a #na <na> nan -nan +nan 1.#qnan 1.#ind -1.#ind nat null #null! (null) <null> none nil missing unknown unk \n
#value! #div/0! #ref! #num! #name? ? ?? ??? - -- --- – — . .. ... … * / 无 缺失 暂无 未知
"""
_WORDS = frozenset([*_SINGLE.split(), "#n/a n/a", "not available", "not applicable", "no data"])


_CODES = frozenset(sign * int(digit * places) for digit in "89" for places in range(2, 8) for sign in (1, -1))
"""The numbers that people write for a missing one: -999, 99, 8888."""
_LEAST_CODED = 3


def is_word(cell: str) -> bool:
    """Whether a cell says that its value is missing: NA, null, ? and their relatives, in any case."""
    return len(cell) < 24 and cell.strip().casefold() in _WORDS


def without(cells: Sequence[str]) -> list[str]:
    """The cells that say something else."""
    return [cell for cell in cells if not is_word(cell)]


def spellings(texts: Sequence[str]) -> frozenset[str]:
    """How a table may write words told by --na: -999 is -999.0 in a Parquet column of floats."""
    found = {text.strip() for text in texts}
    for text in texts:
        try:
            found |= {repr(float(text)), repr(int(float(text)))} if float(text).is_integer() else {repr(float(text))}
        except (ValueError, OverflowError):
            continue
    return frozenset(found)


def coded(values: Sequence[float]) -> str:
    """A number such as -999 that stands several times, farther from all others than they are from each other, in words; empty
    where there is none."""
    counts = Counter(value for value in values if value in _CODES)
    for code, count in counts.most_common():
        others = [value for value in values if value not in _CODES]
        if count < _LEAST_CODED or len(set(others)) < 2:
            continue
        low, high = min(others), max(others)
        if max(low - code, code - high) > high - low:
            cells = f"{counted(count, 'cell')} {agreed(count, 'are')} {code:g}"
            return f"{cells}, all others {low:g} to {high:g}: if it means missing, --na {code:g}"
    return ""


def remark(cell: str) -> str:
    """What is said of such a cell, behind how many there are."""
    return f"with {cell.strip()!r}, which counts as missing"
