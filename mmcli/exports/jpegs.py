"""JPEGs at an eighth to eight eighths of their size, as simplejpeg decodes them: by itself where it is there, else by Pillow.

Pillow knows one, two, four and eight eighths, to the same bytes. The others are made of the next larger of these, over the same
stretch of the picture, and are within a grey level or two on average.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

Array = np.ndarray[Any, np.dtype[Any]]
_COLOURS = {"L": "Gray", "RGB": "RGB", "CMYK": "CMYK"}


def decode_jpeg_header(data: bytes) -> tuple[int, int, str, str]:
    """Height, width, colours, and how they are subsampled (not told).

    Raises:
        ValueError: it is no JPEG.
    """
    if simplejpeg is not None:
        found: tuple[int, int, str, str] = simplejpeg.decode_jpeg_header(data)
        return found
    with _opened(data) as image:
        return image.height, image.width, _COLOURS.get(image.mode, ""), ""


def decode_jpeg(data: bytes, min_height: int, min_width: int, min_factor: int) -> Array:
    """uint8 [H, W, 3], in the fewest eighths that leave so many pixels a side; in full where both are 0.

    Raises:
        ValueError: it is damaged.
    """
    if simplejpeg is not None:
        whole: Array = simplejpeg.decode_jpeg(data, min_height=min_height, min_width=min_width, min_factor=min_factor)
        return whole
    with _opened(data) as image:
        width, height = image.size
        most = min_height <= 0 and min_width <= 0
        fits = (k for k in range(1, 8) if -(-height * k // 8) >= min_height and -(-width * k // 8) >= min_width)
        eighths = 8 if most else next(fits, 8)
        scale = next(s for s in (8, 4, 2, 1) if eighths * s <= 8)
        image.draft(None, (max(width // scale, 1), max(height // scale, 1)))
        try:
            pixels = np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError) as error:
            raise ValueError(str(error)) from None
    if eighths * scale == 8:
        return pixels
    return _shrunk(pixels, (-(-width * eighths // 8), -(-height * eighths // 8)), 8 / eighths / scale)


def _shrunk(pixels: Array, size: tuple[int, int], factor: float) -> Array:
    """To that size, each pixel made of `factor` pixels a side; where the picture ends within one, its edge goes on."""
    ends = size[0] * factor, size[1] * factor
    missing = [max(int(np.ceil(end)) - own, 0) for end, own in zip(ends, (pixels.shape[1], pixels.shape[0]), strict=True)]
    padded = np.pad(pixels, ((0, missing[1]), (0, missing[0]), (0, 0)), mode="edge")
    return np.asarray(Image.fromarray(padded).resize(size, Image.Resampling.LANCZOS, box=(0, 0, *ends)))


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=("JPEG",))
    except (OSError, SyntaxError) as error:
        raise ValueError(str(error)) from None
