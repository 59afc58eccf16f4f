"""Faces out of their pictures: cut by a box, aligned by landmarks, or found by a detector. All coordinates are those of the
upright picture, as people see it.

What lies beyond the picture's edge repeats the edge. Knows marks, but no columns and no tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmcli.media import marks, pictures
from mmcli.media.detecting import Detector
from mmcli.media.pictures import Bytes, Levels, Picture

BOX_MARGIN = 0.2
TEMPLATE_SIDE = 112
TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""Where eyes, nose and corners of the mouth lie on an aligned face of 112 x 112 pixels: ArcFace's (Deng 2019, its code)."""
Points = np.ndarray[Any, np.dtype[np.float64]]
_FINEST = 64
"""Times as large as itself that a pixel is drawn at most."""


@dataclass(frozen=True)
class Framing:
    """How faces are taken out of the pictures of a column."""

    size: int
    """Pixels of a side of an aligned face."""
    margin: float | None = None
    """Shares of a box's width and height that are added on each side, or of an aligned face's; None: 0.2 for boxes, else 0."""
    detector: Detector | None = None
    """What finds faces on pictures without a mark."""


def read(path: str, enough: int, max_pixels: int, levels: Levels, framing: Framing) -> Picture:
    """As `pictures.read`; where a mark or a detector tells of a face, that alone.

    Raises:
        OSError, ValueError, SyntaxError: it cannot be read, or no face is where it should be.
    """
    name, mark = marks.parted(path)
    place = marks.place_of(mark) if mark else None
    if (mark and place == marks.Place()) or (not mark and framing.detector is None):
        return pictures.read(name, enough, max_pixels, levels)
    picture = pictures.read(name, 0, max_pixels, levels)
    if place is None:
        assert framing.detector is not None
        seen = framing.detector.faces(picture.pixels)
        told = "hold one face" if len(seen) == 1 else "hold more faces than one, of which the largest is taken"
        pixels = aligned(picture.pixels, seen[0].points, framing.size, framing.margin or 0.0)
        return replace(picture, pixels=pixels, told=(*picture.told, told))
    height, width = picture.pixels.shape[:2]
    x, y = (width / 100, height / 100) if place.percent else (1.0, 1.0)
    said = ("with a face told in fractions of the picture",) if place.percent else ()
    if place.points:
        points = np.array(place.points) * [x, y]
        pixels = aligned(picture.pixels, points, framing.size, framing.margin or 0.0)
    else:
        left, top, wide, high = place.box
        margin = BOX_MARGIN if framing.margin is None else framing.margin
        pixels = cut(picture.pixels, (left * x, top * y, wide * x, high * y), margin, max_pixels)
    return replace(picture, pixels=pixels, told=(*picture.told, *said))


def shape(path: str, width: int, height: int, detected: bool) -> float:
    """Width to height of what is taken of a picture of that size."""
    mark = marks.parted(path)[1]
    place = marks.place_of(mark) if mark else marks.Place()
    if place.points or (not mark and detected):
        return 1.0
    _, _, wide, high = place.box or (0, 0, width, height)
    return wide / high * (width / max(height, 1) if place.percent else 1.0) if high else 1.0


def cut(pixels: Bytes, box: tuple[float, float, float, float], margin: float, max_pixels: int) -> Bytes:
    """uint8 [h, w, 3]: what lies in a box (left, top, width, height) of a picture [H, W, 3], and so much around it.

    Raises:
        ValueError: the box is not on the picture, or takes too many pixels.
    """
    height, width = pixels.shape[:2]
    left, top, wide, high = box
    if left >= width or top >= height or left + wide <= 0 or top + high <= 0:
        raise ValueError(f"its face box {_shown(box)} lies outside of the picture of {width} x {height}")
    first_x, last_x = _span(left - margin * wide, left + (1 + margin) * wide)
    first_y, last_y = _span(top - margin * high, top + (1 + margin) * high)
    if (last_x - first_x) * (last_y - first_y) > max_pixels:
        raise ValueError(f"its face box {_shown(box)} takes more than max_pixels = {max_pixels}")
    rows = np.arange(first_y, last_y).clip(0, height - 1)
    return np.ascontiguousarray(pixels[rows[:, None], np.arange(first_x, last_x).clip(0, width - 1)])


def _span(first: float, last: float) -> tuple[int, int]:
    """The pixels from one side to the other, one at least."""
    start = math.floor(first + 0.5)
    return start, max(math.floor(last + 0.5), start + 1)


def _shown(box: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in box)


def similarity(source: Points, target: Points) -> tuple[complex, complex]:
    """Turn, scale and shift that bring points [N, 2] nearest to others in the least squares, as complex a and b: z -> a z + b
    for z = x + iy (Umeyama 1991, which in the plane is a regression of complex numbers).

    Raises:
        ValueError: the points are all at one place.
    """
    own, wanted = source @ [1, 1j], target @ [1, 1j]
    centred = own - own.mean()
    spread = float((np.abs(centred) ** 2).sum())
    if not spread > 0:
        raise ValueError("its landmarks are all at one place")
    a = complex((centred.conj() * (wanted - wanted.mean())).sum() / spread)
    if abs(a) < 1e-9:
        raise ValueError("its landmarks are not those of a face")
    return a, complex(wanted.mean() - a * own.mean())


def template(points: int, size: int, margin: float) -> Points:
    """Where so many landmarks lie on an aligned face of that size, [N, 2]: ArcFace's, drawn together by the margin."""
    centre = (size - 1) / 2
    return centre + (TEMPLATE[:points] * (size / TEMPLATE_SIDE) - centre) / (1 + 2 * margin)


def aligned(pixels: Bytes, points: Points, size: int, margin: float) -> Bytes:
    """uint8 [size, size, 3]: a picture [H, W, 3] turned, scaled and shifted so that landmarks (2 or 5, [N, 2]) lie as in the
    template.

    Raises:
        ValueError: the points are none of a face, or lie outside of the picture.
    """
    height, width = pixels.shape[:2]
    if not any(0 <= x < width and 0 <= y < height for x, y in points):
        raise ValueError(f"its landmarks lie outside of the picture of {width} x {height}")
    a, b = similarity(points, template(len(points), size, margin))
    if abs(a) > _FINEST:
        raise ValueError(f"its landmarks are within {1 / abs(a):.2g} pixels of the picture for each of the face's")
    less = max(int(1 / abs(a)), 1)
    if less > max(height, width):
        raise ValueError(f"its landmarks are too far apart for a face on a picture of {width} x {height}")
    corners = (np.array([0, size, size * 1j, size * (1 + 1j)]) - 0.5 - b) / a
    left, top = (max(math.floor(float(own.min())) - 2 * less, 0) for own in (corners.real, corners.imag))
    right, low = (math.ceil(float(own.max())) + 2 * less + 1 for own in (corners.real, corners.imag))
    part = pixels[top:low, left:right]
    if not part.size:
        raise ValueError(f"its face lies outside of the picture of {width} x {height}")
    grid = np.arange(size)
    places = (grid[None] + 1j * grid[:, None] - b) / a - (left + 1j * top)
    return _sampled(_averaged(part, less), (places + (0.5 + 0.5j)) / less - (0.5 + 0.5j))


def _averaged(pixels: Bytes, less: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 [ceil(H / less), ceil(W / less), 3]: means of squares of `less` pixels, the last ones filled by the edge."""
    height, width = pixels.shape[:2]
    if less == 1:
        return pixels.astype(np.float32)
    whole = np.pad(pixels, ((0, -height % less), (0, -width % less), (0, 0)), mode="edge")
    squares = whole.reshape(whole.shape[0] // less, less, whole.shape[1] // less, less, 3)
    means: np.ndarray[Any, np.dtype[np.float32]] = squares.mean((1, 3), dtype=np.float32)
    return means


def _sampled(pixels: np.ndarray[Any, np.dtype[np.float32]], places: np.ndarray[Any, Any]) -> Bytes:
    """uint8 [h, w, 3] of a picture at places x + iy, between pixels bilinear, beyond the edge the edge."""
    height, width = pixels.shape[:2]
    x, y = places.real.clip(0, width - 1), places.imag.clip(0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, low = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left)[..., None], (y - top)[..., None]
    above = pixels[top, left] * (1 - across) + pixels[top, right] * across
    below = pixels[low, left] * (1 - across) + pixels[low, right] * across
    made: Bytes = (above * (1 - down) + below * down + 0.5).clip(0, 255).astype(np.uint8)
    return made
