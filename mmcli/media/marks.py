"""What a cell says of where on its picture the face is: a mark behind the name of the file, as in `group.jpg#xywh=40,30,90,90`.

Boxes are media fragments (W3C 2012, 4.2.2), in pixels of the upright picture, or `percent:` of it. Besides there are landmarks
(`#points=x,y,x,y,...`), the whole picture (`#face=whole`) and why there is no face (`#face=none,REASON`). A mark is no part of
the file's name, but of the cell: two faces of one picture are two cells. Knows nothing of files and pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

_MARK = re.compile(r"#(?:(xywh|points)=(pixel:|percent:)?([-+.,0-9eE]+)|face=(whole)|face=none,([^#]*))")
_LONGEST = 4000
WHOLE, NONE = "#face=whole", "#face=none,"


@dataclass(frozen=True)
class Place:
    """Where a face is."""

    box: tuple[float, ...] = ()
    """left, top, width, height; empty where landmarks tell, or the whole picture is meant."""
    points: tuple[tuple[float, float], ...] = ()
    """(x, y) of the eyes, or of eyes, nose and corners of the mouth, each pair from left to right as one sees it."""
    percent: bool = False
    """Whether all of these are hundredths of the picture's width and height, not pixels."""


def parted(cell: str) -> tuple[str, str]:
    """What a cell names, and the mark behind it, if there is one."""
    start = cell.rfind("#", max(len(cell) - _LONGEST, 0))
    if start <= 0 or not _MARK.fullmatch(cell, start):
        return cell, ""
    return cell[:start], cell[start:]


def place_of(mark: str) -> Place:
    """What a mark says; the whole picture where it says so.

    Raises:
        ValueError: there is no face, and why; or its numbers cannot be meant.
    """
    found = _MARK.fullmatch(mark)
    assert found is not None, mark
    kind, unit, numbers, whole, reason = found.groups()
    if whole:
        return Place()
    if kind is None:
        raise ValueError(unquote(reason))
    try:
        values = [float(own) for own in numbers.split(",")]
    except ValueError:
        raise ValueError(f"its mark {mark} does not hold numbers: write #xywh=left,top,width,height") from None
    percent = unit == "percent:"
    if kind == "xywh":
        check_box(values)
        return Place(box=tuple(values), percent=percent)
    check_points(values)
    return Place(points=tuple(zip(values[::2], values[1::2], strict=True)), percent=percent)


def of_box(values: Sequence[float], percent: bool) -> str:
    """The mark of a box: left, top, width, height.

    Raises:
        ValueError: it is none.
    """
    check_box(values)
    return f"#xywh={_written(values, percent)}"


def of_points(values: Sequence[float], percent: bool) -> str:
    """The mark of landmarks: x, y, x, y, ...

    Raises:
        ValueError: they are none.
    """
    check_points(values)
    return f"#points={_written(values, percent)}"


def of_none(reason: str) -> str:
    """The mark of a cell that has no face."""
    return NONE + quote(reason, safe=" ")


def check_box(values: Sequence[float]) -> None:
    """Raises ValueError where numbers are no box."""
    if len(values) != 4:
        raise ValueError(f"a box takes 4 numbers (left, top, width, height), not {len(values)}")
    _check_finite(values)
    if values[2] <= 0 or values[3] <= 0:
        raise ValueError(f"a box of {values[2]:g} x {values[3]:g} has no area: expected left, top, width, height")


def check_points(values: Sequence[float]) -> None:
    """Raises ValueError where numbers are no landmarks."""
    if len(values) not in {4, 10}:
        raise ValueError(
            f"landmarks are 2 points (the eyes) or 5 (nose and corners of the mouth, too), not {len(values)} numbers"
        )
    _check_finite(values)
    if len(set(zip(values[::2], values[1::2], strict=True))) < 2:
        raise ValueError("its landmarks are all at one place")


def _check_finite(values: Sequence[float]) -> None:
    if not all(math.isfinite(value) and abs(value) < 1e9 for value in values):
        raise ValueError("it holds a number that is not finite")


def _written(values: Sequence[float], percent: bool) -> str:
    return ("percent:" if percent else "") + ",".join(f"{value:.10g}" for value in values)
