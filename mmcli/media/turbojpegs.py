"""JPEGs by libjpeg-turbo: upright ones in one call, and how often one goes over its pixels. Knows no other format."""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from io import BytesIO
from typing import Any

import numpy as np
import simplejpeg

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
_MOST_JPEG_BYTES = 1 << 28
_MOST_SCANS = 20
"""Scans of a progressive JPEG that has `max_pixels`; a smaller picture may have more."""
_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
"""What ends the coded pixels of a scan: no stuffed byte, and no restart."""


def check_scans(data: bytes, width: int, height: int, max_pixels: int) -> None:
    """Raises ValueError where a progressive JPEG goes over its pixels too often."""
    most = _MOST_SCANS * max_pixels // max(width * height, 1)
    if data.count(b"\xff\xda") > most and (scans := _scans(data)) > most:  # the mark may stand in what follows the picture
        raise ValueError(
            f"{scans:,} scans of {width} x {height} are over {_MOST_SCANS} * max_pixels = {max_pixels} (--max-pixels allows "
            "more)"
        )


def _scans(data: bytes) -> int:
    """How many scans the first picture of a JPEG has, by its segments (ITU T.81, B.1): what stands behind its end, and within
    segments, is none."""
    place, scans = 2, 0
    while place + 4 <= len(data):
        if data[place] != 0xFF:  # what stands between segments is passed over, as libjpeg does
            place = data.find(b"\xff", place)
            if place < 0:
                break
            continue
        marker = data[place + 1]
        if marker in {0x00, 0xFF}:
            place += 1
        elif marker == 0xD9:
            break
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
            if marker == 0xDA:
                scans += 1
                found = _SEGMENT.search(data, place)
                place = found.start() if found else len(data)
    return scans


def all_bytes(found: str | BytesIO) -> bytes:
    """What the file holds, as far as a JPEG may go."""
    if isinstance(found, str):
        with open(found, "rb") as file:  # noqa: PTH123 - many of these
            return file.read(_MOST_JPEG_BYTES)
    return found.getvalue()


def plain(found: str | BytesIO, enough: int, max_pixels: int) -> Bytes | None:
    """[H, W, 3] of an upright grey or colour JPEG, by libjpeg-turbo in one call; None for everything else, and for what it
    finds fault with: that is Pillow's to read or to refuse."""
    with open(found, "rb") if isinstance(found, str) else nullcontext(found) as file:  # noqa: PTH123 - a million of these
        data = file.read(3)
        if data != b"\xff\xd8\xff":
            return None
        if isinstance(found, str) and os.fstat(file.fileno()).st_size > _MOST_JPEG_BYTES:
            raise ValueError(f"a JPEG of more than {_MOST_JPEG_BYTES:,} bytes")
        data += file.read()
    if _may_be_turned(data):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if colours not in {"RGB", "YCbCr", "Gray"} or height * width > max_pixels:
        return None
    check_scans(data, width, height, max_pixels)
    try:
        pixels: Bytes = simplejpeg.decode_jpeg(data, min_height=enough, min_width=enough, min_factor=1)
    except ValueError:
        return None
    return pixels


def _may_be_turned(data: bytes) -> bool:
    """Whether a JPEG has Exif, or XMP that tells an orientation, in any of the segments before its pixels."""
    place = 2
    while place + 4 <= len(data):
        marker = data[place + 1]
        if data[place] != 0xFF or marker in {0xFF, 0xD8}:
            return True  # nothing usual: Pillow's to read
        if marker == 0xDA:
            return False
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xE1 and (data[place + 4 : place + 8] == b"Exif" or b"tiff:Orientation" in data[place:end]):
            return True
        place = end
    return True
