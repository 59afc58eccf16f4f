"""Pictures, recordings and clips that are damaged, or made to take time or memory: cells by name, each with how it is made."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image

Data = Callable[[], bytes]


def cuts(data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """The beginnings of some bytes."""
    for number in range(1, count + 1):
        yield f"cut at {number} of {count + 1}", data[: len(data) * number // (count + 1)]


def flips(data: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """The bytes with some bits the other way."""
    draw = random.Random(seed)
    for number in range(count):
        own = bytearray(data)
        for _ in range(1 << number % 6):
            place = draw.randrange(len(own) if number % 2 else min(len(own), 256))
            own[place] ^= 1 << draw.randrange(8)
        yield f"flipped {number}", bytes(own)


def picture(form: str, size: tuple[int, int] = (96, 64), **options: Any) -> bytes:
    """A picture of noise; a large one is black."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    file = io.BytesIO()
    (Image.fromarray(pixels) if size == (96, 64) else Image.new("RGB", size)).save(file, form, **options)
    return file.getvalue()


def png(width: int, height: int, data: bytes, *, bits: int = 8, colour: int = 2, chunks: bytes = b"", laced: int = 0) -> bytes:
    """A PNG of these dimensions, whatever its data are."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, laced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunks + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(count: int) -> bytes:
    """So many zeros, deflated."""
    packer = zlib.compressobj(1)
    out = [packer.compress(bytes(min(1 << 24, count - start))) for start in range(0, count, 1 << 24)]
    return b"".join([*out, packer.flush()])


def scans(count: int, size: int) -> bytes:
    """A progressive JPEG whose last scan comes so often."""
    data = picture("JPEG", (size, size), progressive=True, quality=30)
    last = data.rfind(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def gif(frames: int, size: int) -> bytes:
    """Black frames of that size, one after the other."""
    file = io.BytesIO()
    Image.new("P", (size, size)).save(file, "GIF")
    data = file.getvalue()
    start = data.index(b"\x2c", 13 + 3 * (2 << (data[10] & 7)) if data[10] & 0x80 else 13)
    wait = b"\x21\xf9\x04\x04\x05\x00\x00\x00"
    return data[:start] + (wait + data[start:-1]) * frames + b"\x3b"


def tiff(entries: list[tuple[int, int, int, int]], following: int = 0, tail: bytes = b"") -> bytes:
    """One directory of (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *own) for own in entries)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + body + struct.pack("<I", following) + tail


def size_of_tiff(width: int, height: int, *more: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    """The entries of a grey picture without compression."""
    own = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, 8),
        277: (3, 1, 1),
    }
    own |= {278: (4, 1, height), 279: (4, 1, 64)} | {tag: (kind, count, value) for tag, kind, count, value in more}
    return [(tag, *values) for tag, values in sorted(own.items())]


def _wide(depth: str, size: int) -> Data:
    """A picture deeper than 8 bits, all black."""
    colour, channels = {"grey": (0, 1), "colour": (2, 3), "colour and alpha": (6, 4)}[depth]
    return lambda: png(size, size, zeros(size * (size * channels * 2 + 1)), bits=16, colour=colour)


def pictures() -> dict[str, Data]:
    """Name of a file -> its bytes."""
    found: dict[str, Data] = {}
    usual = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp", "JPEG2000": "jp2"}
    for form, end in usual.items():
        data = picture(form)
        for name, own in [*cuts(data, 4), *flips(data, 4)]:
            found[f"{form} {name}.{end}"] = lambda own=own: own
    progressive = picture("JPEG", progressive=True)
    found |= {f"progressive JPEG {name}.jpg": lambda own=own: own for name, own in cuts(progressive, 3)}
    text, bomb = zlib.compress(bytes(1 << 20)), cache(lambda: zeros(1 << 28))
    found |= {
        "JPEG of 3,000 scans.jpg": lambda: scans(3000, 4000),
        "small JPEG of 3,000 scans.jpg": lambda: scans(3000, 64),
        "JPEG of 65,500 by 65,500.jpg": lambda: _sized_jpeg(65500, 65500),
        "JPEG of no rows.jpg": lambda: _sized_jpeg(64, 0),
        "JPEG of endless metadata.jpg": lambda: b"\xff\xd8" + b"\xff\xe1\xff\xff" + bytes(1 << 20),
        "JPEG of Exif loops.jpg": lambda: picture("JPEG", exif=b"Exif\0\0" + tiff([(0x8769, 4, 1, 8)], 8)),
        "PNG of 2^31 by 2^31.png": lambda: png(2**31 - 1, 2**31 - 1, b""),
        "PNG of 60,000 by 60,000.png": lambda: png(60000, 60000, zeros(1 << 20)),
        "PNG of no pixels.png": lambda: png(0, 0, b""),
        "PNG that is a bomb.png": lambda: png(64, 64, bomb()),
        "PNG with a bomb as profile.png": lambda: png(8, 8, zeros(8 * 25), chunks=chunk(b"iCCP", b"x\0\0" + bomb())),
        "PNG with a bomb as text.png": lambda: png(8, 8, zeros(8 * 25), chunks=chunk(b"zTXt", b"x\0\0" + bomb())),
        "PNG with bombs as texts.png": lambda: png(8, 8, zeros(8 * 25), chunks=chunk(b"zTXt", b"x\0\0" + text) * 500),
        "PNG with 100,000 texts.png": lambda: png(8, 8, zeros(8 * 25), chunks=chunk(b"tEXt", b"x\0y") * 100_000),
        "PNG with a wrong sum.png": lambda: picture("PNG")[:-20] + b"\0\0\0\0" + picture("PNG")[-16:],
        "PNG of 9 bits.png": lambda: png(8, 8, zeros(200), bits=9),
        "PNG of 16 bits, laced, cut.png": lambda: png(5000, 5000, zeros(1 << 16), bits=16, laced=1),
        "PNG without data.png": lambda: png(64, 64, b""),
        "APNG of 3,000 frames.png": lambda: _apng(3000, 300),
        "grey of 16 bits, 10,000 by 10,000.png": _wide("grey", 10_000),
        "colour of 16 bits, 7,000 by 7,000.png": _wide("colour", 7_000),
        "colour and alpha of 16 bits, 6,000 by 6,000.png": _wide("colour and alpha", 6_000),
        "grey of 16 bits, 4,000 by 4,000.png": _wide("grey", 4_000),
        "one row of 20,000,000.png": lambda: png(20_000_000, 1, zeros(60_000_001)),
        "one column of 60,000.png": lambda: png(1, 60_000, zeros(60_000 * 4)),
        "floats that are no numbers.tif": lambda: _floats(float("nan")),
        "floats without end.tif": lambda: _floats(float("inf")),
        "grey of 16 bits, 7,000 by 7,000.png": _wide("grey", 7_000),
        "colour of 16 bits, 4,900 by 4,900.png": _wide("colour", 4_900),
        "TIFF of loops.tif": lambda: tiff(size_of_tiff(8, 8), 8, bytes(64)),
        "TIFF beyond its end.tif": lambda: tiff(size_of_tiff(8, 8, (273, 4, 1, 10**9))),
        "TIFF of 10^9 strips.tif": lambda: tiff(size_of_tiff(8, 8, (273, 4, 10**9, 8))),
        "TIFF of 4 billion samples.tif": lambda: tiff(size_of_tiff(8, 8, (277, 4, 1, 2**32 - 1))),
        "TIFF of 40,000 by 40,000.tif": lambda: tiff(size_of_tiff(40000, 40000)),
        "TIFF within itself.tif": lambda: tiff(size_of_tiff(8, 8, (330, 4, 1, 8), (0x8769, 4, 1, 8)), 0, bytes(64)),
        "GIF of 3,000 large frames.gif": lambda: gif(3000, 2000),
        "GIF of 65,535 by 65,535.gif": lambda: b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + gif(1, 8)[-20:],
        "GIF without frames.gif": lambda: b"GIF89a\x08\0\x08\0\x80\0\0" + bytes(6) + b";",
        "WEBP of wrong size.webp": lambda: b"RIFF\xff\xff\xff\xffWEBPVP8 " + picture("WEBP")[16:],
        "animated WEBP.webp": _many_webp,
        "BMP of 2^31.bmp": lambda: picture("BMP")[:18] + struct.pack("<ii", 2**31 - 1, -(2**31)) + picture("BMP")[26:],
        "BMP of 100,000 by 1,000.bmp": lambda: picture("BMP")[:18] + struct.pack("<ii", 100_000, 1000) + picture("BMP")[26:],
        "SVG.png": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
        "SVG of entities.png": lambda: b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 99 + b'">]><svg>&a;</svg>',
        "PostScript.png": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) system\n",
        "PPM of a billion.ppm": lambda: b"P6 1000000000 1000000000 255\n" + bytes(99),
        "PPM of many digits.ppm": lambda: b"P6 " + b"9" * 5000 + b" 1 255\n" + bytes(99),
        "PPM of words.ppm": lambda: b"P3 9 9 255\n" + b"words " * 99,
        "ICO of ICOs.ico": lambda: b"\0\0\1\0\xff\xff" + bytes(2_000_000),
        "PSD of layers.psd": lambda: (
            b"8BPS\0\1" + bytes(6) + b"\0\3" + struct.pack(">II", 30000, 30000) + b"\0\x08\0\3" + bytes(64)
        ),
        "QOI of 30,000 by 30,000.qoi": lambda: b"qoif" + struct.pack(">IIBB", 30000, 30000, 3, 0) + b"\xfd" * 999,
        "DDS.dds": lambda: b"DDS " + struct.pack("<II", 124, 0xFFFFFFFF) + struct.pack("<II", 60000, 60000) + bytes(112),
        "PCX.pcx": lambda: b"\x0a\x05\x01\x08" + struct.pack("<HHHH", 0, 0, 65534, 65534) + bytes(120),
        "SGI.sgi": lambda: b"\x01\xda\x01\x02\0\3\xff\xff\xff\xff\0\3" + bytes(500),
        "TGA.tga": lambda: b"\0\0\x0a" + bytes(9) + b"\xff\xff\xff\xff\x20\0" + b"\xff\0\0\0\0" * 99,
        "words.png": lambda: b"this is no picture\n" * 99,
        "noise.png": lambda: random.Random(1).randbytes(5000),
        "zeros.png": lambda: bytes(5000),
    }
    return found


def _sized_jpeg(width: int, height: int) -> bytes:
    data = bytearray(picture("JPEG"))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _apng(frames: int, size: int) -> bytes:
    blank = zeros(size * (3 * size + 1))
    said = b"".join(
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", 2 * n + 1, size, size, 0, 0, 1, 10, 0, 0))
        + chunk(b"fdAT", struct.pack(">I", 2 * n + 2) + blank)
        for n in range(frames)
    )
    return png(size, size, blank, chunks=chunk(b"acTL", struct.pack(">II", frames, 0)))[:-12] + said + chunk(b"IEND", b"")


def _floats(value: float) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, dtype=np.float32)).save(file, "TIFF")
    return file.getvalue()


def _many_webp() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (500, 500), (n, 0, 0)) for n in range(30)]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    return file.getvalue()


def wave(rate: int = 16000, channels: int = 1, form: int = 1, bits: int = 16, data: bytes = bytes(3200), **told: Any) -> bytes:
    """A WAV whose header says what it is told to."""
    block = channels * bits // 8
    own = struct.pack("<HHIIHH", form, channels % 65536, rate, rate * block % 2**32, block % 65536, bits) + told.get(
        "more", b""
    )
    said = told.get("said", len(data))
    body = b"WAVEfmt " + struct.pack("<I", told.get("head", len(own))) + own + b"data" + struct.pack("<I", said) + data
    return b"RIFF" + struct.pack("<I", told.get("riff", len(body))) + body


def sound(form: str, subtype: str | None = None, seconds: float = 0.5) -> bytes:
    """A recording of noise."""
    file, samples = io.BytesIO(), np.random.default_rng(0).normal(0, 0.1, int(16000 * seconds))
    soundfile.write(file, samples, 16000, format=form, subtype=subtype)
    return file.getvalue()


def sounds() -> dict[str, Data]:
    """Name of a file -> its bytes."""
    found: dict[str, Data] = {}
    for form, end in (("WAV", "wav"), ("FLAC", "flac"), ("OGG", "ogg"), ("MP3", "mp3"), ("AIFF", "aiff")):
        data = sound(form)
        for name, own in [*cuts(data, 3), *flips(data, 5)]:
            found[f"{form} {name}.{end}"] = lambda own=own: own
    floats = {"nan": float("nan"), "inf": float("inf"), "3e38": 3e38, "1e-40": 1e-40}
    for said, value in floats.items():
        data = np.full(1600, value, dtype="<f4").tobytes()
        found[f"WAV of {said}.wav"] = lambda data=data: wave(form=3, bits=32, data=data)
    for rate in (0, 1, 3, 999_999_999, 2**31 - 1, 2**32 - 1):
        found[f"WAV of {rate:,} Hz.wav"] = lambda rate=rate: wave(rate)
        found[f"WAV of two channels at {rate:,} Hz.wav"] = lambda rate=rate: wave(rate, 2)
    found |= {
        "WAV without channels.wav": lambda: wave(channels=0),
        "WAV of 65,535 channels.wav": lambda: wave(channels=65535, bits=8, data=bytes(65535 * 40)),
        "WAV larger than its file.wav": lambda: wave(said=2**32 - 1),
        "WAV smaller than its file.wav": lambda: wave(said=10),
        "WAV without samples.wav": lambda: wave(data=b""),
        "WAV of half a sample.wav": lambda: wave(data=b"\0"),
        "WAV of no bits.wav": lambda: wave(bits=0),
        "WAV of 65,535 bits.wav": lambda: wave(bits=65535),
        "WAV of an unknown form.wav": lambda: wave(form=0xABCD),
        "extensible WAV of nonsense.wav": lambda: wave(form=0xFFFE, more=b"\xff" * 24),
        "extensible WAV cut.wav": lambda: wave(form=0xFFFE, more=b"\x16"),
        "WAV of a huge head.wav": lambda: wave(head=2**32 - 1),
        "WAV of RIFFs.wav": lambda: b"RIFF\xff\xff\xff\xffWAVE" * 5000,
        "RF64.wav": lambda: b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0" + b"\xff" * 28 + wave()[12:],
        "ADPCM of nonsense.wav": lambda: wave(form=2, bits=4, more=b"\xff" * 34),
        "GSM.wav": lambda: wave(form=0x31, bits=0, data=b"\xff" * 999),
        "FLAC of a long silence.flac": lambda: _silence(120),
        "AU of 2^31 Hz.au": lambda: b".snd" + struct.pack(">IIIII", 24, 2**32 - 1, 3, 2**31 - 1, 1) + bytes(3200),
        "AU of 4 billion channels.au": lambda: b".snd" + struct.pack(">IIIII", 24, 3200, 3, 16000, 2**32 - 1) + bytes(3200),
        "AIFF of an endless rate.aiff": lambda: sound("AIFF").replace(b"\x40\x0c\xfa\x00", b"\x7f\xff\xff\xff", 1),
        "CAF.caf": lambda: (
            b"caff\0\1\0\0desc" + struct.pack(">Q", 32) + struct.pack(">d", float("nan")) + b"lpcm" + b"\xff" * 20
        ),
        "W64.w64": lambda: b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + b"\xff" * 200,
        "MP3 of tags.mp3": lambda: b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(1 << 20),
        "MP3 of headers alone.mp3": lambda: b"\xff\xfb\x90\x00" * 5000,
        "a picture.wav": lambda: picture("PNG"),
        "words.wav": lambda: b"this is no sound\n" * 99,
        "noise.ogg": lambda: random.Random(2).randbytes(5000),
        "chained OGG.ogg": lambda: sound("OGG", seconds=0.05) * 200,
        "Opus cut.ogg": lambda: sound("OGG", "OPUS")[:2000],
    }
    return found


def _silence(seconds: int) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 96000, 2, format="FLAC") as out:
        for _ in range(seconds):
            out.write(np.zeros((96000, 2), dtype=np.int16))
    return file.getvalue()


def clip(
    form: str,
    codec: str,
    frames: int = 12,
    size: tuple[int, int] = (64, 48),
    rate: Any = 10,
    moments: Any = None,
    data: Any = None,
) -> bytes:
    """A clip; with `moments` the times of its frames, with `data` what stands in each frame's place."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as out:
        stream = out.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height = size
        stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24", "rawvideo": "rgb24"}.get(codec, "yuv420p")
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), number * 20 % 255, dtype=np.uint8)
            packets = stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24"))
            out.mux([_made(packet, number, stream, moments, data) for packet in packets])
        out.mux(stream.encode())
    return file.getvalue()


def _made(packet: Any, number: int, stream: Any, moments: Any, data: Any) -> Any:
    if data is not None:
        other = av.Packet(data(number) if callable(data) else data)
        other.pts, other.dts, other.time_base, other.stream = packet.pts, packet.dts, packet.time_base, stream
        other.is_keyframe = True
        packet = other
    if moments is not None:
        packet.pts = packet.dts = moments(number)
    return packet


def clips() -> dict[str, Data]:
    """Name of a file -> its bytes."""
    found: dict[str, Data] = {}
    kinds = (("mp4", "mpeg4", "mp4"), ("matroska", "mpeg4", "mkv"), ("avi", "mjpeg", "avi"), ("mpegts", "mpeg2video", "ts"))
    for form, codec, end in kinds:
        data = clip(form, codec)
        for name, own in [*cuts(data, 3), *flips(data, 5)]:
            found[f"{end} {name}.{end}"] = lambda own=own: own
    sized = cache(lambda side: picture("JPEG", (side, side), quality=5))
    grow = lambda number: sized(9000) if number > 4 else sized(64)  # noqa: E731
    found |= {
        "AVI of frames larger than it says.avi": lambda: clip("avi", "mjpeg", data=lambda _: sized(9000)),
        "MKV of frames larger than it says.mkv": lambda: clip("matroska", "mjpeg", data=lambda _: sized(9000)),
        "AVI of frames that grow.avi": lambda: clip("avi", "mjpeg", data=grow),
        "MKV of frames that grow.mkv": lambda: clip("matroska", "mjpeg", data=grow),
        "AVI of frames of 65,500 by 65,500.avi": lambda: clip("avi", "mjpeg", data=_sized_jpeg(65500, 65500)),
        "AVI of PNGs that are bombs.avi": lambda: clip("avi", "png", data=png(30000, 30000, zeros(1 << 28))),
        "AVI of words.avi": lambda: clip("avi", "mjpeg", data=b"these are no frames " * 99),
        "MKV of years.mkv": lambda: clip("matroska", "mpeg4", moments=lambda n: n * 10**12),
        "MKV of one time.mkv": lambda: clip("matroska", "mjpeg", moments=lambda n: 5),
        "MKV of times below nothing.mkv": lambda: clip("matroska", "mjpeg", moments=lambda n: n - 10**6),
        "MKV of a billion frames a second.mkv": lambda: clip("matroska", "mjpeg", rate=1_000_000_000),
        "MP4 of a frame in a year.mp4": lambda: clip("mp4", "mpeg4", rate=Fraction(1, 60_000)),
        "MP4 without frames.mp4": lambda: clip("mp4", "mpeg4", 0),
        "MP4 of one frame.mp4": lambda: clip("mp4", "mpeg4", 1),
        "MP4 of boxes.mp4": lambda: b"\0\0\0\x18ftypisom\0\0\2\0isommp41" + b"\0\0\0\x08moov" * 20_000,
        "MP4 of a box in a box.mp4": lambda: (
            b"\0\0\0\x18ftypisom\0\0\2\0isommp41" + b"".join(struct.pack(">I", 8 * (9000 - n)) + b"moov" for n in range(9000))
        ),
        "MP4 of a huge box.mp4": lambda: b"\0\0\0\x18ftypisom\0\0\2\0isommp41\0\0\0\1moov" + b"\x7f" + b"\xff" * 500,
        "MP4 of samples by the billion.mp4": lambda: _billions(clip("mp4", "mpeg4")),
        "GIF of 3,000 large frames.gif": lambda: gif(3000, 2000),
        "GIF of 3,000 small frames.gif": lambda: gif(3000, 60),
        "GIF of 65,535 by 65,535.gif": lambda: b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + gif(2, 8)[-30:],
        "APNG of 3,000 frames.avi": lambda: _apng(3000, 300),
        "3,000 frames of 1,400 by 1,400.mkv": lambda: clip("matroska", "mjpeg", 3000, (64, 48), data=lambda _: sized(1400)),
        "a list of other files.mp4": lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
        "a playlist.mp4": lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "a recording.mp4": lambda: sound("WAV"),
        "a picture.mp4": lambda: picture("JPEG"),
        "words.mp4": lambda: b"this is no clip\n" * 99,
        "noise.mkv": lambda: random.Random(3).randbytes(5000),
        "EBML of nonsense.mkv": lambda: b"\x1a\x45\xdf\xa3" + b"\x01" + b"\xff" * 500,
    }
    return found


def _billions(data: bytes) -> bytes:
    place = data.index(b"stsz")
    return data[: place + 8] + struct.pack(">II", 1, 2**31 - 1) + data[place + 16 :]
