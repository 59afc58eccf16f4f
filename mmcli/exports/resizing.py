"""Pictures to one square size, bit for bit as torch's antialiased bicubic does it on bytes: weights as 16-bit integers."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def square(pixels_HWC: Array, size: int, fit: str, fill: int) -> Array:
    """uint8 [3, size, size]: stretched, cropped at the centre, or padded with the grey level `fill`."""
    height, width = pixels_HWC.shape[:2]
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels_HWC = pixels_HWC[top : top + side, left : left + side]
    elif fit == "pad":
        pixels_HWC = _shorter(pixels_HWC, size)
        height, width = pixels_HWC.shape[:2]
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        around = ((top, side - height - top), (left, side - width - left), (0, 0))
        pixels_HWC = np.pad(pixels_HWC, around, constant_values=fill)
    return _resized(pixels_HWC, size, size)


LONGEST_PADDED = 8192


def _shorter(pixels_HWC: Array, size: int) -> Array:
    """A picture that is too long to be padded as it is, at eight times the size wanted; all others as they are."""
    height, width = pixels_HWC.shape[:2]
    if max(height, width) <= max(LONGEST_PADDED, 8 * size):
        return pixels_HWC
    share = 8 * size / max(height, width)
    return _resized(pixels_HWC, max(round(height * share), 1), max(round(width * share), 1)).transpose(1, 2, 0)


def _resized(pixels_HWC: Array, height: int, width: int) -> Array:
    """uint8 [3, height, width]."""
    grid = np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1))
    if grid.shape[2] != width:
        grid = _along_last(grid, width)
    if grid.shape[1] != height:
        grid = _along_last(grid.transpose(0, 2, 1), height).transpose(0, 2, 1)
    return np.ascontiguousarray(grid)


def _along_last(values: Array, size: int) -> Array:
    """uint8 [..., size] from uint8 [..., length]."""
    weights, bits = _weights(values.shape[-1], size)
    # Sums of products of such integers are below 2^53: exact in float64, whatever their order.
    sums = values.astype(np.float64) @ weights
    levels = np.floor((sums + 2.0 ** (bits - 1)) / 2.0**bits)
    return np.clip(levels, 0, 255).astype(np.uint8)


@lru_cache(maxsize=64)
def _weights(length: int, size: int) -> tuple[Array, int]:
    """[length, size] of whole numbers, and how many of their bits are a fraction."""
    scale = length / size
    support = 2.0 * max(scale, 1.0)
    most = math.ceil(support) * 2 + 1
    weights = np.zeros((length, size))
    for place in range(size):
        centre = scale * (place + 0.5)
        first = max(int(centre - support + 0.5), 0)
        count = min(max(min(int(centre + support + 0.5), length) - first, 0), most)
        own = _cubic(np.abs((np.arange(count) + first - centre + 0.5) / max(scale, 1.0)))
        weights[first : first + count, place] = own / own.sum()
    bits = 0
    while bits < 22 and int(0.5 + weights.max() * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    whole = np.trunc(weights * (1 << bits) + np.where(weights < 0, -0.5, 0.5))
    return whole, bits


def _cubic(x: Array) -> Array:
    """Keys' kernel (1981) with a = -1/2."""
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
