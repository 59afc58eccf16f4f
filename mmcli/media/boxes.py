"""Where faces are, as the columns of people's tables tell it, into marks behind the names of pictures. Knows no pixels.

A box is `[x, y, w, h]`, `x y w h`, or an object with its sides by name, such as `{"left": 1, "top": 2, "right": 9, "bottom":
9}`; landmarks are two or five points. Where no number is over 1 they are fractions of the picture.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmcli.media import marks

REJECT, WHOLE, DETECT = "reject", "whole", "detect"
_EXPECTED = {
    False: 'expected [x, y, width, height], "x y width height" or {"left":, "top":, "right":, "bottom":}',
    True: "expected [[x, y], [x, y], ...] of the two eyes, or of eyes, nose and corners of the mouth",
}
_SIDES = (
    ("x", "y", "w", "h"),
    ("x", "y", "width", "height"),
    ("left", "top", "width", "height"),
    ("left", "top", "w", "h"),
)
_CORNERS = (
    ("left", "top", "right", "bottom"),
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
)
_LONGEST = 2000
_WHOLE_SIDE = 1.5
"""As a share of the picture how far a box in fractions may reach, since detectors find faces that stand out of it."""
_NOTHING = {"", "nan", "na", "n/a", "null", "none", "-", "[]", "{}"}
"""What cells without a face hold."""
_SHOWN = 60


@dataclass(frozen=True)
class Told:
    """The columns that tell where the faces on the pictures of a column are."""

    columns: tuple[str, ...]
    """One that holds all numbers, or one for each."""
    points: bool = False
    """Whether they hold landmarks; else boxes."""
    missing: str = REJECT
    """What becomes of a picture of which they tell nothing: it has no face, it is taken whole, or a detector looks."""

    def over(self, cells: Sequence[str | None], told: Sequence[Sequence[str | None]]) -> list[str | None]:
        """The cells of the pictures with marks, by those of `columns`; one that has a mark keeps it."""
        rows = zip(*told, strict=True) if told else [()] * len(cells)
        return [cell and self._marked(cell, row) for cell, row in zip(cells, rows, strict=True)]

    def _marked(self, cell: str, row: Sequence[str | None]) -> str:
        if marks.parted(cell)[1]:
            return cell
        if all((own or "").strip().lower() in _NOTHING for own in row):
            if self.missing == REJECT:
                what = "landmarks" if self.points else "box"
                where = f"column{'s' * (len(self.columns) > 1)} {', '.join(map(repr, self.columns))}"
                reason = f"no face {what} ({where}); write one, or let --face-missing whole take the whole picture"
                return cell + marks.of_none(reason)
            return cell + marks.WHOLE if self.missing == WHOLE else cell
        try:
            return cell + self._mark(row)
        except ValueError as error:
            shown = ", ".join("nothing" if own is None else own for own in row)
            shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
            names = ", ".join(map(repr, self.columns))
            return cell + marks.of_none(f"{names} holds {shown!r}: {error}; {_EXPECTED[self.points]}")

    def _mark(self, row: Sequence[str | None]) -> str:
        values = numbers(row[0] or "", self.points) if len(row) == 1 else [_number(own) for own in row]
        if not self.points and min(values[2:4], default=0.0) > 0 and max(values[2:4]) <= _WHOLE_SIDE:
            percent = all(abs(value) <= _WHOLE_SIDE for value in values)  # a box may stand out of the picture a little
            if not percent:
                raise ValueError("it is smaller than a pixel or two")
        else:
            percent = all(0 <= value <= 1 for value in values)
        values = [100 * value for value in values] if percent else values
        return marks.of_points(values, percent) if self.points else marks.of_box(values, percent)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Told:
        """The reverse of `as_dict`.

        Raises:
            ValueError: it is not that.
        """
        columns, points, missing = told["columns"], told["points"], told["missing"]
        named = isinstance(columns, list | tuple) and all(isinstance(name, str) for name in columns)
        if not named or not columns or not isinstance(points, bool) or missing not in {REJECT, WHOLE, DETECT}:
            raise ValueError("where faces are is not told as it should be")
        return cls(tuple(columns), points, missing)


def numbers(cell: str, points: bool = False) -> list[float]:
    """The numbers of a box (left, top, width, height) or of landmarks (x, y, x, y, ...) in one cell.

    Raises:
        ValueError: it holds none.
    """
    text = cell.strip()
    if len(text) > _LONGEST:
        raise ValueError("it is too long")
    found = _flat(text, points)
    if points and len(found) == 4 and text.count("[") + text.count("(") < 2:
        raise ValueError("four numbers may be a box: write two eyes as [[x, y], [x, y]], or give a box to --face-boxes")
    return found


def _flat(text: str, points: bool) -> list[float]:
    if not text.startswith(("[", "{", "(")):
        return [_number(own) for own in re.split(r"\s*[,;]\s*|\s+", text)]
    found = _listed(text)
    if isinstance(found, dict) and not points:
        return _sides(found)
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], list | dict):
        return _flat(json.dumps(found[0]), points)
    if points and isinstance(found, list) and found and all(isinstance(own, list) and len(own) == 2 for own in found):
        found = [value for own in found for value in own]
    if isinstance(found, list) and not points and any(isinstance(own, list | dict) for own in found):
        raise ValueError(f"it holds {len(found)} boxes: give each face a row of its own")
    if not isinstance(found, list):
        raise ValueError("it is no list")
    return [_number(own) for own in found]


def _listed(text: str) -> Any:
    """What a cell says as JSON, or as Python prints it; tuples are lists."""
    for read in (json.loads, _as_python, lambda own: json.loads(own.replace("'", '"'))):
        with contextlib.suppress(ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return read(text)
    raise ValueError("it is no JSON")


def _as_python(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what only looks like Python
        return json.loads(json.dumps(ast.literal_eval(text)))


def _sides(found: Mapping[str, Any]) -> list[float]:
    own = {str(key).lower(): value for key, value in found.items()}
    for names in _SIDES:
        if set(names) <= set(own):
            return [_number(own[name]) for name in names]
    for names in _CORNERS:
        if set(names) <= set(own):
            left, top, right, bottom = (_number(own[name]) for name in names)
            return [left, top, right - left, bottom - top]
    raise ValueError(f"its keys are {', '.join(map(repr, own)) or 'none'}")


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no number" if value is not None else "a number is missing")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is no number") from None
