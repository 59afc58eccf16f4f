"""Inputs that alone tell the target: by what they are called, or by what they hold.

Gives evidence for a warning; whether such an input is known before the target is, people must say.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from mmcli.tables.numbers import study

_SUFFIXES = """
id ids idx index code codes encoded enc encoding num number numeric int integer name str string text cat category categorical
onehot copy original orig raw true truth gt actual predicted prediction pred probability prob score log scaled norm normalized
standardized bin binned bucket class label target y value desc description
"""
_COPIES = frozenset(_SUFFIXES.split())
_TARGETS = frozenset({"target", "label"})
_LUCK_BITS = 20.0
"""Values that agree by luck less often than once in two to the power of this."""
_LEAST_ROWS = 20


def named_after(column: str, target: str) -> bool:
    """Whether a column is called like the target with something added: label_id, targetEncoded, log(price)."""
    own, of_target = _words(column), _words(target)
    if own == of_target or not own or not of_target:
        return False
    for place in range(len(own) - len(of_target) + 1):
        rest = own[:place] + own[place + len(of_target) :]
        if own[place : place + len(of_target)] == of_target and all(word in _COPIES or word.isdigit() for word in rest):
            return True
    return own[0] in _TARGETS and len(own) > 1 and all(word in _COPIES for word in own[1:])


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])|\d+", name)]


class Tells:
    """Whether each value of a column stands with one value of the target only, counted as rows come."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        self._repeats: Counter[str] = Counter()
        self._targets: Counter[str] = Counter()
        self._rows = 0
        self.open = True
        """Whether it may still be so."""

    def add(self, cells: Sequence[str | None], targets: Sequence[str | None]) -> None:
        """Rows without either do not count."""
        for cell, target in zip(cells, targets, strict=True) if self.open else ():
            if cell is None or target is None:
                continue
            self._rows += 1
            self._targets[target] += 1
            known = self._seen.get(cell)
            if known is None:
                self._seen[cell] = target
            elif known == target:
                self._repeats[target] += 1
            else:
                self.open = False
                break
        if self._rows > 200 and len(self._seen) > self._rows / 2:
            self.open = False
        if not self.open:
            self._seen.clear()

    @property
    def found(self) -> bool:
        """It is so, values repeat, and that they agree is no luck."""
        if not self.open or self._rows < _LEAST_ROWS or len(self._targets) < 2 or 2 * len(self._seen) > self._rows:
            return False
        surprise = sum(-math.log2(self._targets[target] / self._rows) * count for target, count in self._repeats.items())
        return surprise > _LUCK_BITS

    @property
    def values(self) -> int:
        """Different ones of the column."""
        return len(self._seen)


def same_order(cells: Sequence[str | None], targets: Sequence[str | None]) -> bool:
    """Whether numbers rise with the target, or fall, without an exception: the target in another unit or on another scale."""
    pairs = [(cell, target) for cell, target in zip(cells, targets, strict=True) if cell is not None and target is not None]
    one, two = study([cell for cell, _ in pairs]), study([target for _, target in pairs])
    if one.share < 1 or two.share < 1 or len(set(two.values)) < _LEAST_ROWS or len(set(one.values)) < _LEAST_ROWS:
        return False
    ordered = sorted(zip(one.values, two.values, strict=True))
    seconds = [second for _, second in ordered]
    return seconds in (sorted(seconds), sorted(seconds, reverse=True))
