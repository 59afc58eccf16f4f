"""Pictures from files: upright [H, W, 3] bytes, whatever the format, mode and depth.

Orientation (Exif or XMP), palettes, transparency (on white), grey, CMYK and 16 bits are handled; of animations the first frame
is taken. Pictures deeper than 8 bits are scaled by the levels of their column, which `depth` helps to learn: what a 12-bit
camera stores in 16 bits is not a black picture. HEIC takes the package pillow-heif. Knows nothing of columns or tensors.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from mmcli.media import files as media
from mmcli.media import magic, turbojpegs
from mmcli.media.turbojpegs import Bytes as Bytes

# Pillow's own limit is a process-wide warning; ours is per column, and counts as an unreadable cell.
PillowImage.MAX_IMAGE_PIXELS = None
PillowImage.init()  # once, before threads open files
# Odd metadata is not for the user to hear of: the pixels are read, or the cell is rejected.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Levels = Mapping[str, tuple[float, float]]
"""Depth (`16 bits`, `32 bits`, `floats`) -> the values that are black and white."""

_READ = "JPEG PNG GIF BMP WEBP TIFF PPM ICO TGA JPEG2000 AVIF DIB PCX SGI PSD QOI DDS"
_FORMATS = tuple(form for form in _READ.split() if form in PillowImage.OPEN)
"""Decoders that Pillow may use: none that runs a program, or reads another file."""
_LONGEST_SIDE = 1 << 20
_BYTES_OF_A_PIXEL = 4
"""What `max_pixels` allow for each: what a colour picture of eight bits takes."""
_BYTES = {"floats": {1: 12}, "32 bits": {1: 12}, "16 bits": {1: 7, 3: 16, 4: 20}}
"""Depth -> channels -> what a pixel takes until it has eight bits."""
_TURNS = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}
"""Orientation (Exif 2.32, tag 274) -> what makes the picture upright."""
_PIPES = {"PNG": "png_pipe", "TIFF": "tiff_pipe"}
"""Formats whose deep colours FFmpeg reads; Pillow keeps eight bits of them."""
_DEPTHS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class Picture:
    """What was read."""

    pixels: Bytes
    """[H, W, 3]"""
    told: tuple[str, ...] = ()
    """What was done that a user may want to know."""


def read(path: str, enough: int, max_pixels: int, levels: Levels) -> Picture:
    """The picture in a file, in full where `enough` is 0, else at a scale that leaves at least so many pixels a side.

    Raises:
        OSError, ValueError, SyntaxError: it cannot be read, or takes more than `max_pixels` of eight bits in colour do.
    """
    found = media.source(path)
    plain = turbojpegs.plain(found, enough, max_pixels)
    if plain is not None:
        return Picture(plain)
    try:
        with opened(found) as image:
            _check_size(image, max_pixels)
            if image.format in {"JPEG", "MPO"}:
                turbojpegs.check_scans(turbojpegs.all_bytes(found), image.width, image.height, max_pixels)
            if enough:
                image.draft(None, (enough, enough))
            return _upright(image, found, enough, levels)
    except (OSError, ValueError, SyntaxError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever damaged files lead them to
        if not media.is_of_cell(error):
            raise
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from None


def opened(found: str | BytesIO) -> PillowImage.Image:
    """The picture, its pixels not yet decoded.

    Raises:
        ValueError: it is none that can be read; says which package would read it.
    """
    if not isinstance(found, str):
        found.seek(0)
    try:
        return PillowImage.open(found, formats=_FORMATS)
    except UnidentifiedImageError:
        kind = magic.kind_of(_head(found))
    if kind.name in {"HEIC", "AVIF"}:
        return _opened_heif(found, kind.name)
    also = f", but {kind.name}" if kind.family == "other" else ""
    raise ValueError(f"not an image that Pillow can read{also}")


def depth(path: str, max_pixels: int) -> tuple[str, float, float] | None:
    """How deep a picture is (see `Levels`), its lowest and highest value; None where it has 8 bits, or cannot be read."""
    try:
        found = media.source(path)
        head = _head(found)
        if magic.kind_of(head).name in {"JPEG", "GIF", "WEBP", "BMP"} or (head[:4] == b"\x89PNG" and head[24] <= 8):
            return None
        with opened(found) as image:
            kind = _depth_of(image)
            if not kind:
                return None
            _check_size(image, max_pixels)
            values = _deep(image, found)[..., :3]
            low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
            return None if np.isnan([low, high]).any() else (kind, low, high)
    except Exception:  # what cannot be read is told where it is read for good
        return None


def learnt_levels(paths: Iterable[str], max_pixels: int) -> dict[str, tuple[float, float]]:
    """The levels of a column, from some of its pictures: the whole range of the fewest usual bits that hold what 16-bit
    pictures use; of negative numbers and of floats, which have no usual range, from the lowest to the highest, where most
    pictures are such ones."""
    seen: dict[str, list[tuple[float, float]]] = {}
    count = 0
    for path in paths:
        count += 1
        found = depth(path, max_pixels)
        if found:
            seen.setdefault(found[0], []).append(found[1:])
    levels = {}
    for kind, ranges in seen.items():
        low, high = min(own[0] for own in ranges), max(own[1] for own in ranges)
        if kind == "16 bits" or (2 * len(ranges) >= count and np.isfinite([low, high]).all()):
            levels[kind] = _range(kind, low, high)
    return levels


def _range(kind: str, low: float, high: float) -> tuple[float, float]:
    if kind == "floats":
        return (0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-6))
    if low < 0:
        return low, max(high, low + 1)
    bits = next((bits for bits in _DEPTHS if high < 1 << bits), int(high).bit_length())
    return 0.0, float((1 << bits) - 1)


def _check_size(image: Any, max_pixels: int) -> None:
    """Raises ValueError where the picture would take too much, decoded."""
    size = f"{image.width} x {image.height}"
    if image.width * image.height > max_pixels:
        raise ValueError(f"{size} is over max_pixels = {max_pixels} (--max-pixels allows more)")
    if max(image.width, image.height) > _LONGEST_SIDE:
        raise ValueError(f"{size} has a side of more than {_LONGEST_SIDE:,} pixels")
    kind = _depth_of(image)
    of_a_pixel = _BYTES[kind].get(len(image.getbands()), 20) if kind else 7 if image.mode in {"RGBA", "LA", "PA"} else 4
    taken = image.width * image.height * of_a_pixel
    if taken > max_pixels * _BYTES_OF_A_PIXEL:
        said = f"{kind} a channel" if kind == "16 bits" else kind or "with transparency"
        raise ValueError(
            f"{size}, {said}, takes {taken:,} bytes, over {_BYTES_OF_A_PIXEL} * max_pixels = {max_pixels} (--max-pixels "
            "allows more)"
        )


def _upright(image: PillowImage.Image, found: str | BytesIO, enough: int, levels: Levels) -> Picture:
    kind = _depth_of(image)
    image.load()  # before the metadata, whose faults are no reason to lose the picture; those of pixels are
    turn = _TURNS.get(_orientation(image))
    told: tuple[str, ...] = ()
    if kind:
        image, told = _scaled(_deep(image, found), kind, levels)
    if turn is not None:
        image = image.transpose(turn)
    return Picture(_rgb(image, enough), told)


def _orientation(image: PillowImage.Image) -> int:
    """As Exif tells it, else XMP; 1, upright, where neither can be read."""
    try:
        told = int(image.getexif().get(0x0112, 0))
    except Exception:  # see above: damaged metadata
        told = 0
    if told:
        return told
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    text = packet.encode("utf-8", "replace") if isinstance(packet, str) else bytes(packet)
    match = re.search(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*(\d)", text)
    return int(match[1]) if match else 1


def _depth_of(image: Any) -> str:
    """Which levels scale it; empty for eight bits."""
    stored = " ".join(str(own[3]) for own in image.tile if len(own) > 3)
    if image.mode == "F":
        return "floats"
    if image.mode.startswith("I;16") or (image.mode in {"I", "RGB", "RGBA"} and ";16" in stored):
        deep_colour = image.mode not in {"RGB", "RGBA"} or image.format in _PIPES
        return "16 bits" if deep_colour else ""
    return "32 bits" if image.mode == "I" else ""


def _deep(image: PillowImage.Image, found: str | BytesIO) -> np.ndarray[Any, Any]:
    """[H, W, 1], [H, W, 3] or, with transparency, [H, W, 4], of the depth of the file; of colours as the file orders bytes."""
    if image.mode not in {"RGB", "RGBA"}:
        return np.asarray(image)[..., None]
    import av

    if not isinstance(found, str):
        found.seek(0)
    with av.open(found, mode="r", format=_PIPES[str(image.format)], options={"protocol_whitelist": "file"}) as container:
        frame = next(container.decode(video=0))
    channels = 4 if image.mode == "RGBA" else 3
    form = "rgba64le" if channels == 4 else "rgb48le"
    if frame.format.name.removesuffix("be") != form.removesuffix("le"):
        frame = frame.reformat(format=form)
    plane: Any = frame.planes[0]
    kind = ">u2" if frame.format.name.endswith("be") else "<u2"
    rows: np.ndarray[Any, Any] = np.frombuffer(plane, dtype=kind).reshape(
        frame.height, plane.line_size // 2
    )  # no copy: they take much
    return rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels)


def _scaled(values: np.ndarray[Any, Any], kind: str, levels: Levels) -> tuple[PillowImage.Image, tuple[str, ...]]:
    """Eight bits of deep values: by the column's levels, else by what their type allows."""
    opaque = values[..., :3]
    low, high = float(opaque.min()), float(opaque.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("it holds values that are not finite numbers")
    if kind in levels:
        black, white = levels[kind]
        span = f"{black:g} (black) to {white:g} (white)"
        told = [f"of {kind}, whose values from {span} are kept"]
        if low < black or high > white:
            told.append(f"of {kind}, with values beyond {black:g} to {white:g}, cut to it")
    elif kind == "floats":
        raise ValueError("its pixels are floating-point numbers of unknown range; save it with 8 or 16 bits")
    else:
        black, white, told = 0.0, 255.0 if kind == "32 bits" and high <= 255 else 65535.0, []
    grey = np.empty(values.shape, dtype=np.uint8)
    rows = max((1 << 20) // max(values[0].size, 1), 1)
    for top in range(0, len(values), rows):  # some at a time: in float64 all of them would take much
        part = slice(top, top + rows)
        own = opaque[part].astype(np.float64)
        grey[part, :, :3] = ((own - black) * (255 / (white - black))).round().clip(0, 255)
        grey[part, :, 3:] = values[part, :, 3:] // 257
    return PillowImage.fromarray(grey[..., 0] if grey.shape[2] == 1 else grey), tuple(told)


def _rgb(image: PillowImage.Image, enough: int) -> Bytes:
    """[H, W, 3] bytes, whatever the mode; large ones averaged over whole pixels down to `enough` a side or more."""
    shrink = min(image.width, image.height) // enough if enough else 1
    if shrink >= 2 and image.mode in {"L", "RGB", "CMYK", "YCbCr"}:
        image = image.reduce(shrink)
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return _on_white(image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _on_white(image: PillowImage.Image) -> Bytes:
    """[H, W, 3], some rows at a time: all at once would take much."""
    pixels, rows = np.empty((image.height, image.width, 3), dtype=np.uint8), max((1 << 20) // max(image.width, 1), 1)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        white = PillowImage.new("RGBA", part.size, "white")
        white.alpha_composite(part)
        pixels[top : top + rows] = np.array(white.convert("RGB"))
    return pixels


def _head(found: str | BytesIO) -> bytes:
    if isinstance(found, str):
        with open(found, "rb") as file:  # noqa: PTH123 - many of these
            return file.read(magic.HEAD_BYTES)
    found.seek(0)
    return found.read(magic.HEAD_BYTES)


def _opened_heif(found: str | BytesIO, name: str) -> PillowImage.Image:
    try:
        import pillow_heif
    except ImportError:
        raise ValueError(f"a picture in {name}, which takes one more package: pip install 'mmcli[heif]'") from None
    pillow_heif.register_heif_opener()
    if not isinstance(found, str):
        found.seek(0)
    try:
        return PillowImage.open(found, formats=("HEIF",))
    except UnidentifiedImageError:
        raise ValueError(f"a picture in {name} that cannot be decoded") from None
