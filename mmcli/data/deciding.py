"""What is said of the cells of a column beside what it is taken for: what was decided of them, and which do not fit."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from mmcli.modalities import Guess
from mmcli.reporting.counts import agreed
from mmcli.tables import dates, missing
from mmcli.tables.numbers import is_infinite, study


def decided(
    name: str,
    best: str,
    guesses: Mapping[str, Guess],
    column: Sequence[str | None],
    said: list[str],
    doubts: list[str],
    decimal: str,
) -> dict[str, Any]:
    """Says what was decided of cells that may be read in two ways, and of those that do not fit; gives the options for them."""
    guess, options = guesses[best], dict[str, Any]()
    told = guess.decided
    if best == "number" and decimal:
        known = missing.without([cell for cell in column if cell is not None])
        found = study(known, hint=decimal)
        if not found.proven and found.format.decimal == decimal and found.decided:
            options = {"decimal": "comma" if decimal == "," else "point"}
            told = f"{found.decided}, as the rest of the table writes numbers" if decimal == "," else guess.decided
    if told:
        said.append(f"column {name!r}: {told}")
    if guess.doubts:
        doubts.append(f"column {name!r}: {guess.doubts}")
    if best == "number":
        doubts += _infinite(name, column)
    if best in {"text", "category"}:
        doubts += _dates_in_several_formats(name, best, column)
    for kind in ("number", "date") if best in {"text", "category"} else ():
        if guesses[kind].doubts:
            shown = (row for row, cell in enumerate(column, 1) if cell and repr(cell[:30]) in guesses[kind].doubts)
            place = next(shown, 0)
            doubts.append(
                f"column {name!r}: {guesses[kind].doubts} (the first in row {place}): it is taken for {best} "
                f"(--type {shlex.quote(f'{name}={kind}')} to read the others, --na TEXT for words that mean missing)"
            )
    return options


def _dates_in_several_formats(name: str, best: str, column: Sequence[str | None]) -> list[str]:
    """That most cells are dates, but in no one format: a warning, or none."""
    rows = [row for row, cell in enumerate(column) if cell is not None and not missing.is_word(cell)]
    pair = dates.in_several_formats([str(column[row]) for row in rows])
    if pair is None:
        return []
    some = ", ".join(f"row {rows[place] + 1} {str(column[rows[place]])!r}" for place in pair)
    return [f"column {name!r}: dates in several formats, e.g. {some}: taken for {best}; write them in one format"]


def _infinite(name: str, column: Sequence[str | None]) -> list[str]:
    """Which cells of a column of numbers are infinite: a warning, or none."""
    rows = [row for row, cell in enumerate(column, 1) if cell is not None and is_infinite(cell)]
    if not rows:
        return []
    present = sum(cell is not None for cell in column)
    cell = str(column[rows[0] - 1]).strip()
    return [
        f"column {name!r}: {len(rows)} of {present} cells {agreed(len(rows), 'are')} not finite, the first: row {rows[0]}, "
        f"{cell!r}: unreadable (--na={cell} for missing)"
    ]
