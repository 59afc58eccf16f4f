"""Recordings, pictures and cells of every kind that docs/cases.md lists: how each is made, and what must be read of it."""

from __future__ import annotations

import base64
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import numpy as np
import soundfile
from PIL import Image

SECONDS, HZ = 0.6, 440.0


def tone(rate: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (0.4 * np.sin(2 * np.pi * HZ * np.arange(round(SECONDS * rate)) / rate)).astype(np.float32)


@dataclass(frozen=True)
class Sound:
    """By libsndfile where `codec` is empty, else by FFmpeg."""

    suffix: str
    form: str = ""
    subtype: str = ""
    codec: str = ""
    rate: int = 16000

    def write(self, folder: Path) -> Path:
        path = folder / f"sound{self.suffix}"
        if not self.codec:
            soundfile.write(path, tone(self.rate), self.rate, format=self.form, subtype=self.subtype or None)
            return path
        with av.open(str(path), "w", format=self.form or None) as container:
            stream = container.add_stream(self.codec, rate=self.rate, layout="mono")
            stream.bit_rate = 12_200 if self.codec == "amr_nb" else 96_000
            frame = av.AudioFrame.from_ndarray(tone(self.rate)[None], format="fltp", layout="mono")
            frame.sample_rate = self.rate
            size = stream.codec_context.frame_size or 1024
            resampler = av.AudioResampler(stream.format, stream.layout, self.rate, frame_size=size)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        return path


SOUNDS: dict[str, Sound] = {
    "WAV, 16 bits": Sound(".wav", "WAV"),
    "WAV, 8 bits": Sound(".wav", "WAV", "PCM_U8"),
    "WAV, 24 bits": Sound(".wav", "WAV", "PCM_24"),
    "WAV, floats": Sound(".wav", "WAV", "FLOAT"),
    "WAV, A-law": Sound(".wav", "WAV", "ALAW", rate=8000),
    "WAV, ADPCM": Sound(".wav", "WAV", "IMA_ADPCM"),
    "RF64": Sound(".rf64", "RF64"),
    "W64": Sound(".w64", "W64"),
    "AIFF": Sound(".aiff", "AIFF"),
    "AU": Sound(".au", "AU"),
    "CAF": Sound(".caf", "CAF"),
    "CAF, Apple Lossless": Sound(".caf", "CAF", "ALAC_16"),
    "FLAC": Sound(".flac", "FLAC"),
    "Ogg, Vorbis": Sound(".ogg", "OGG", "VORBIS"),
    "Opus": Sound(".opus", "OGG", "OPUS"),
    "MP3": Sound(".mp3", "MP3"),
    "M4A, AAC": Sound(".m4a", codec="aac", form="ipod"),
    "M4A, Apple Lossless": Sound(".m4a", codec="alac", form="ipod"),
    "AAC without a container": Sound(".aac", codec="aac"),
    "MP2": Sound(".mp2", codec="mp2", form="mp2"),
    "MKA, AAC": Sound(".mka", codec="aac", form="matroska"),
    "MKA, Opus": Sound(".mka", codec="libopus", form="matroska", rate=48000),
    "WebM that holds sound alone": Sound(".webm", codec="libopus", rate=48000),
    "MP4 that holds sound alone": Sound(".mp4", codec="aac"),
    "AMR": Sound(".amr", codec="amr_nb", rate=8000),
    "WMA": Sound(".wma", codec="wmav2", form="asf", rate=44100),
    "AC-3": Sound(".ac3", codec="ac3", rate=32000),
    "WavPack": Sound(".wv", codec="wavpack"),
    "TTA": Sound(".tta", codec="tta"),
}
"""Name in docs/cases.md -> how such a recording is made."""

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
Sides = tuple[tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True)
class Kind:
    """A picture of two halves."""

    suffix: str
    data: Callable[[], bytes]
    sides: Sides = (RED, BLUE)
    """Colours of the left and right half as they must be read."""
    near: int = 0
    """Levels by which they may be off, where colours are lost in storing."""


def halves(left: Any = RED, right: Any = BLUE, mode: str = "RGB", size: int = 32) -> Image.Image:
    image = Image.new(mode, (size, size), left)
    image.paste(right, (size // 2, 0, size, size))
    return image


def saved(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or halves()).save(buffer, form, **options)
    return buffer.getvalue()


def deep(left: float, right: float, dtype: Any, form: str = "TIFF") -> bytes:
    pixels = np.full((32, 32), left, dtype=dtype)
    pixels[:, 16:] = right
    return saved(form, Image.fromarray(pixels))


def deep_png(left: tuple[int, ...], right: tuple[int, ...], colour: int) -> bytes:
    """A PNG of 16 bits to a channel: colour type 2 RGB, 4 grey with transparency, 6 RGB with transparency."""
    pixels = np.zeros((32, 32, len(left)), dtype=">u2")
    pixels[:, :16], pixels[:, 16:] = left, right

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 32, 32, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def turned(way: str) -> bytes:
    """A JPEG with blue left of red that says it is upside down."""
    plain = saved("JPEG", halves(BLUE, RED), quality=100, subsampling=0)
    exif = Image.Exif()
    exif[0x0112] = 3
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    segments = {"exif": exif.tobytes(), "xmp": xmp, "broken": b"Exif\0\0II*\0\xff\xff\xff\xff"}
    segments["far"] = segments["exif"]

    def segment(marker: int, data: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data

    before = b"".join(segment(0xE5, b"\0" * 60_000) for _ in range(3)) if way == "far" else b""
    return plain[:2] + before + segment(0xE1, segments[way]) + plain[2:]


def clear_palette() -> bytes:
    image = halves().quantize(4)
    return saved("PNG", image, transparency=image.getpixel((31, 0)))


def deep_tiff(left: tuple[int, ...], right: tuple[int, ...]) -> bytes:
    """A TIFF of 16 bits to a colour, which Pillow cannot write."""
    pixels = np.zeros((32, 32, 3), dtype=np.uint16)
    pixels[:, :16], pixels[:, 16:] = left, right
    codec = av.CodecContext.create("tiff", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 32, 32, "rgb48le", Fraction(1, 25)
    return b"".join(map(bytes, [*codec.encode(av.VideoFrame.from_ndarray(pixels, format="rgb48le")), *codec.encode(None)]))


def heic() -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return saved("HEIF", quality=95)


def grey(left: int, right: int) -> Sides:
    return (left, left, left), (right, right, right)


PICTURES: dict[str, Kind] = {
    "JPEG": Kind(".jpg", lambda: saved("JPEG", quality=100, subsampling=0), near=4),
    "JPEG, progressive": Kind(".jpg", lambda: saved("JPEG", progressive=True, quality=100, subsampling=0), near=4),
    "JPEG, grey": Kind(".jpg", lambda: saved("JPEG", halves(10, 200, "L")), grey(10, 200), 4),
    "JPEG, CMYK": Kind(".jpg", lambda: saved("JPEG", halves((0, 255, 255, 0), (0, 0, 0, 255), "CMYK")), (RED, (0, 0, 0)), 8),
    "JPEG turned by Exif": Kind(".jpg", lambda: turned("exif"), near=4),
    "JPEG turned by XMP": Kind(".jpg", lambda: turned("xmp"), near=4),
    "JPEG turned by Exif beyond 64 KiB": Kind(".jpg", lambda: turned("far"), near=4),
    "JPEG with damaged Exif": Kind(".jpg", lambda: turned("broken"), (BLUE, RED), 4),
    "PNG": Kind(".png", lambda: saved("PNG")),
    "PNG, palette": Kind(".png", lambda: saved("PNG", halves().quantize(4))),
    "PNG, palette with transparency": Kind(".png", clear_palette, (RED, WHITE)),
    "PNG, RGB with transparency": Kind(".png", lambda: saved("PNG", halves((*RED, 255), (0, 0, 0, 0), "RGBA")), (RED, WHITE)),
    "PNG, grey": Kind(".png", lambda: saved("PNG", halves(10, 200, "L")), grey(10, 200)),
    "PNG, grey with transparency": Kind(".png", lambda: saved("PNG", halves((0, 255), (0, 0), "LA")), grey(0, 255)),
    "PNG, black and white": Kind(".png", lambda: saved("PNG", halves(0, 1, "1")), grey(0, 255)),
    "PNG, grey of 16 bits": Kind(".png", lambda: deep(257 * 100, 65535, np.uint16, "PNG"), grey(100, 255)),
    "PNG, grey of 12 bits in 16": Kind(".png", lambda: deep(819, 4095, np.uint16, "PNG"), grey(51, 255)),
    "PNG, RGB of 16 bits": Kind(".png", lambda: deep_png((65535, 0, 0), (0, 0, 65535), 2)),
    "PNG, RGB of 12 bits in 16": Kind(".png", lambda: deep_png((4095, 0, 0), (0, 0, 819), 2), (RED, (0, 0, 51))),
    "PNG, RGB of 16 bits with transparency": Kind(
        ".png", lambda: deep_png((65535, 0, 0, 65535), (0, 0, 0, 0), 6), (RED, WHITE)
    ),
    "PNG, grey of 16 bits with transparency": Kind(".png", lambda: deep_png((0, 65535), (65535, 0), 4), grey(0, 255)),
    "GIF": Kind(".gif", lambda: saved("GIF")),
    "GIF, animated, named in a column of pictures": Kind(
        ".gif", lambda: saved("GIF", save_all=True, append_images=[halves(BLUE, RED)], duration=100)
    ),
    "BMP": Kind(".bmp", lambda: saved("BMP")),
    "WebP": Kind(".webp", lambda: saved("WEBP", lossless=True)),
    "WebP, animated": Kind(
        ".webp", lambda: saved("WEBP", lossless=True, save_all=True, append_images=[halves(BLUE, RED)], duration=100)
    ),
    "TIFF": Kind(".tif", lambda: saved("TIFF", compression="tiff_lzw")),
    "TIFF, CMYK": Kind(".tif", lambda: saved("TIFF", halves((0, 255, 255, 0), (0, 0, 0, 255), "CMYK")), (RED, (0, 0, 0))),
    "TIFF, grey of 16 bits": Kind(".tif", lambda: deep(257 * 100, 65535, np.uint16), grey(100, 255)),
    "TIFF, grey of 12 bits in 16": Kind(".tif", lambda: deep(819, 4095, np.uint16), grey(51, 255)),
    "TIFF, RGB of 12 bits in 16": Kind(".tif", lambda: deep_tiff((4095, 0, 0), (0, 0, 819)), (RED, (0, 0, 51))),
    "TIFF, grey of 32 bits": Kind(".tif", lambda: deep(0, 1 << 20, np.int32), grey(0, 128), 1),
    "TIFF, negative numbers": Kind(".tif", lambda: deep(-1000, 3000, np.int32), grey(0, 255)),
    "TIFF, floats from 0 to 1": Kind(".tif", lambda: deep(0.2, 1.0, np.float32), grey(51, 255)),
    "TIFF, floats of another range": Kind(".tif", lambda: deep(250.0, 310.5, np.float32), grey(0, 255)),
    "PPM": Kind(".ppm", lambda: saved("PPM")),
    "PGM of 12 bits": Kind(
        ".pgm",
        lambda: b"P5 32 32 4095\n" + np.repeat([[819] * 16 + [4095] * 16], 32, 0).astype(">u2").tobytes(),
        grey(51, 255),
        1,
    ),
    "PBM": Kind(".pbm", lambda: saved("PPM", halves(0, 1, "1")), grey(0, 255)),
    "ICO": Kind(".ico", lambda: saved("ICO", sizes=[(32, 32)])),
    "TGA": Kind(".tga", lambda: saved("TGA")),
    "PCX": Kind(".pcx", lambda: saved("PCX")),
    "SGI": Kind(".sgi", lambda: saved("SGI")),
    "DDS": Kind(".dds", lambda: saved("DDS")),
    "JPEG 2000": Kind(".jp2", lambda: saved("JPEG2000")),
    "AVIF": Kind(".avif", lambda: saved("AVIF", quality=95), near=10),
    "HEIC (the extra `heif`)": Kind(".heic", heic, near=10),
}
"""Name in docs/cases.md -> how such a picture is made."""


def in_zip(path: Path) -> str:
    archive = path.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, f"in/{path.name}")
    return f"zip://in/{path.name}::{archive}"


def in_tar(path: Path) -> str:
    archive = path.with_suffix(".tar")
    with tarfile.open(archive, "w") as file:
        file.add(path, path.name)
    return f"tar://{path.name}::{archive}"


def copied(path: Path, name: str) -> str:
    (path.parent / name).write_bytes(path.read_bytes())
    return name


def in_base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def lines(text: str) -> str:
    return "\n".join(text[place : place + 76] for place in range(0, len(text), 76))


CELLS: dict[str, Callable[[Path], str]] = {
    "a path under the table's folder": lambda path: path.name,
    "an absolute path": str,
    "a name without suffix": lambda path: copied(path, f"{path.stem}_{path.suffix[1:]}"),
    "a name with an unknown suffix": lambda path: copied(path, f"{path.stem}_{path.suffix[1:]}.bin"),
    "a name with the suffix of another kind": lambda path: copied(path, f"{path.stem}_{path.suffix[1:]}.dat.mp3.png.npy"),
    "a blank after the name": lambda path: f"{path.name} ",
    "a blank before the name": lambda path: f"  {path.name}",
    "a name with blanks, commas and semicolons": lambda path: copied(path, f"a b, c; d {path.name}"),
    "a name in Chinese": lambda path: copied(path, f"图片{path.name}"),
    "a name in quotes": lambda path: f'"{path.name}"',
    "a separator after the name": lambda path: f"{path.name};",
    "backslashes": lambda path: f"..\\{path.parent.name}\\{path.name}",
    "`file://`": lambda path: f"file://{path}",
    "`file://` with escapes": lambda path: (path.parent / copied(path, f"a b%{path.name}")).as_uri(),
    "`file://localhost`": lambda path: f"file://localhost{quote(str(path))}",
    "`zip://` in an archive": in_zip,
    "`zip://` in an archive under the table's folder": lambda path: in_zip(path).replace(f"{path.parent}/", ""),
    "`tar://` in an archive": in_tar,
    "a data URI in base64": lambda path: f"data:application/octet-stream;base64,{in_base64(path)}",
    "a data URI without a type": lambda path: f"data:;base64,{in_base64(path)}",
    "a data URI with a name": lambda path: f"data:;name={path.name};base64,{in_base64(path)}",
    "a data URI with escapes": lambda path: f"data:image/png,{quote(path.read_bytes())}",
    "a data URI whose base64 has escapes": lambda path: f"data:image/png;base64,{quote(in_base64(path))}",
    "bare base64": in_base64,
    "bare base64 in lines": lambda path: lines(in_base64(path)),
    "bare base64 of the alphabet for addresses": lambda path: base64.urlsafe_b64encode(path.read_bytes()).decode().rstrip("="),
    "a JSON list of one name": lambda path: json.dumps([path.name]),
    "a JSON list of several names": lambda path: json.dumps([path.name, "other.png"]),
    "a list as Python prints it": lambda path: str([path.name, "other.png"]),
    "an object with a path": lambda path: json.dumps({"bytes": None, "path": path.name}),
    "an object with bytes in base64": lambda path: json.dumps({"bytes": in_base64(path), "path": "none.png"}),
    "names separated by `;`": lambda path: f"{path.name};other.png",
    "names separated by `|`": lambda path: f"{path.name}|other.png",
    "names separated by commas": lambda path: f"{path.name}, other.png",
    "names in lines": lambda path: f"{path.name}\nother.png",
}
"""Name in docs/cases.md -> the cell that names the file; of several the first is taken."""
