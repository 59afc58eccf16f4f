"""Makes a corpus of bad, odd and hostile media: each file with what must come of it.

    python -m tests.hostile.corpus FOLDER       writes the files and a table, data.csv, that names them all

`right` files must give the tensor that `mean` or `shape` tell; `reject` files a line in rejects.csv with a reason that `says`.
"""

from __future__ import annotations

import csv
import io
import os
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image

RIGHT, REJECT, EITHER = "right", "reject", "either"


@dataclass(frozen=True)
class Case:
    """One file."""

    name: str
    kind: str
    """image, audio, video or vector."""
    expected: str
    says: str = ""
    """Part of the reason, where it must be rejected."""
    mean: float | None = None
    """Mean grey level of the pixels, where it must be right."""


CASES: list[tuple[Case, Callable[[Path], None]]] = []


def case(
    name: str, kind: str, expected: str, says: str = "", mean: float | None = None
) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    def add(make: Callable[[Path], None]) -> Callable[[Path], None]:
        CASES.append((Case(name, kind, expected, says, mean), make))
        return make

    return add


def noise(width: int = 64, height: int = 64, channels: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def encoded(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(noise())).save(buffer, form, **options)
    return buffer.getvalue()


def grey(mode: str, value: Any, size: tuple[int, int] = (48, 48)) -> Image.Image:
    return Image.new(mode, size, value)


def png_of_zeros(width: int, height: int, rows: int | None = None) -> bytes:
    """A grey PNG made by hand: tiny on disk, as large as its header says once decoded; `rows` where it holds fewer."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = b"\0" * (min(width, 1 << 20) + 1)
    body = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def put(data: Callable[[], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data()) and None


# Pictures ---------------------------------------------------------------------------------------------------------------

for _suffix, _form in (
    (".jpg", "JPEG"),
    (".png", "PNG"),
    (".webp", "WEBP"),
    (".gif", "GIF"),
    (".bmp", "BMP"),
    (".tif", "TIFF"),
):
    case(f"truncated{_suffix}", "image", EITHER if _form in {"GIF", "BMP"} else REJECT)(
        put(lambda form=_form: encoded(form)[: len(encoded(form)) // 3])
    )
    case(f"header_only{_suffix}", "image", REJECT)(put(lambda form=_form: encoded(form)[:10]))
case("empty.png", "image", REJECT, "the file is empty")(put(lambda: b""))
case("one_byte.jpg", "image", REJECT, "not an image")(put(lambda: b"\xff"))
case("page.jpg", "image", REJECT, "not an image")(put(lambda: b"<!doctype html><title>404 Not Found</title>"))
case("text.png", "image", REJECT, "not an image")(put(lambda: "这不是图片".encode()))
case("json.png", "image", REJECT, "not an image")(put(lambda: b'{"error": "forbidden"}'))
case("zip.png", "image", REJECT, "not an image")(put(lambda: b"PK\x03\x04" + b"\0" * 60))
case("jpeg_named.png", "image", RIGHT, mean=90)(put(lambda: encoded("JPEG", grey("RGB", (90, 90, 90)))))
case("no_suffix", "image", RIGHT, mean=90)(put(lambda: encoded("PNG", grey("RGB", (90, 90, 90)))))
case("240_megabytes.png", "image", RIGHT, mean=0)(put(lambda: png_of_zeros(9000, 9000)))
case("20000_x_20000.png", "image", REJECT, "20000 x 20000 is over max_pixels")(put(lambda: png_of_zeros(20000, 20000)))
case("a_billion_wide.png", "image", REJECT, "over max_pixels")(put(lambda: png_of_zeros(2**30, 1, rows=1)))
case("wrong_checksum.png", "image", REJECT)(put(lambda: encoded("PNG")[:60] + b"\x55" + encoded("PNG")[61:]))
case("16_bit.png", "image", RIGHT, mean=128)(
    put(lambda: encoded("PNG", Image.fromarray(np.full((32, 32), 128 * 257, dtype=np.uint16))))
)
case("16_bit.tif", "image", RIGHT, mean=64)(
    put(lambda: encoded("TIFF", Image.fromarray(np.full((32, 32), 64 * 257, dtype=np.uint16))))
)
case("float.tif", "image", REJECT, "floating-point")(
    put(lambda: encoded("TIFF", Image.fromarray(np.ones((32, 32), dtype=np.float32))))
)
case("cmyk.jpg", "image", RIGHT, mean=127)(put(lambda: encoded("JPEG", grey("CMYK", (0, 0, 0, 128)))))
case("grey.jpg", "image", RIGHT, mean=200)(put(lambda: encoded("JPEG", grey("L", 200))))
case("one_bit.png", "image", RIGHT, mean=255)(put(lambda: encoded("PNG", grey("1", 1))))
case("grey_alpha.png", "image", RIGHT, mean=255)(put(lambda: encoded("PNG", grey("LA", (0, 0)))))
case("transparent.png", "image", RIGHT, mean=255)(put(lambda: encoded("PNG", grey("RGBA", (0, 0, 0, 0)))))
case("one_pixel.png", "image", RIGHT, mean=7)(put(lambda: encoded("PNG", grey("RGB", (7, 7, 7), (1, 1)))))
case("thin.png", "image", RIGHT, mean=33)(put(lambda: encoded("PNG", grey("RGB", (33, 33, 33), (3000, 1)))))
case("progressive.jpg", "image", RIGHT, mean=90)(put(lambda: encoded("JPEG", grey("RGB", (90, 90, 90)), progressive=True)))
case("script.eps", "image", REJECT, "not an image")(
    put(lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n")
)
case("vector.svg", "image", REJECT, "not an image")(
    put(lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>')
)


@case("palette_alpha.png", "image", RIGHT, mean=255)
def _palette_alpha(path: Path) -> None:
    image = grey("P", 0)
    image.putpalette([0, 0, 0] * 256)
    image.save(path, transparency=0)


@case("animated.gif", "image", RIGHT, mean=0)
def _animated(path: Path) -> None:
    grey("L", 0).save(path, save_all=True, append_images=[grey("L", 250)], duration=100)


@case("animated.webp", "image", RIGHT, mean=10)
def _animated_webp(path: Path) -> None:
    grey("RGB", (10, 10, 10)).save(
        path, save_all=True, append_images=[grey("RGB", (250, 250, 250))], duration=100, lossless=True
    )


@case("turned.jpg", "image", RIGHT, mean=127)
def _turned(path: Path) -> None:
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[:, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


@case("bad_exif.jpg", "image", EITHER)
def _bad_exif(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path.write_bytes(encoded("JPEG", grey("RGB", (90, 90, 90)), exif=exif.tobytes()[:14]))


@case("folder.png", "image", REJECT, "folder, a pipe or a device")
def _folder(path: Path) -> None:
    path.mkdir()


@case("pipe.png", "image", REJECT, "folder, a pipe or a device")
def _pipe(path: Path) -> None:
    os.mkfifo(path)


@case("loop.png", "image", REJECT, "symbolic links")
def _loop(path: Path) -> None:
    path.symlink_to(path.name)


@case("dangling.png", "image", REJECT, "no such file")
def _dangling(path: Path) -> None:
    path.symlink_to("nowhere.png")


@case("forbidden.png", "image", REJECT, "permission" if hasattr(os, "geteuid") and os.geteuid() else "")
def _forbidden(path: Path) -> None:
    path.write_bytes(encoded("PNG"))
    path.chmod(0)


@case("missing.png", "image", REJECT, "no such file")
def _missing(path: Path) -> None:
    return


@case("device.png", "image", REJECT, "folder, a pipe or a device")
def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


# Sound ------------------------------------------------------------------------------------------------------------------


def wave(path: Path, samples: Any, rate: int = 16000, **options: Any) -> None:
    soundfile.write(path, samples, rate, format=options.pop("format", "WAV"), **options)


TONE = 0.3 * np.sin(np.arange(8000) / 5)

case("empty.wav", "audio", REJECT, "the file is empty")(put(lambda: b""))
case("no_samples.wav", "audio", REJECT, "no samples")(lambda path: wave(path, np.zeros(0)))
case("header.wav", "audio", REJECT)(put(lambda: b"RIFF\x24\0\0\0WAVEfmt "))
case("page.mp3", "audio", REJECT)(put(lambda: b"<html>404</html>"))
case("nan.wav", "audio", REJECT, "not finite numbers")(lambda path: wave(path, np.full(800, np.nan), subtype="FLOAT"))
case("infinite.wav", "audio", REJECT, "not finite numbers")(lambda path: wave(path, np.full(800, np.inf), subtype="FLOAT"))
case("silence.wav", "audio", RIGHT)(lambda path: wave(path, np.zeros(8000)))
case("one_sample.wav", "audio", RIGHT)(lambda path: wave(path, np.ones(1) * 0.5))
case("8_channels.wav", "audio", RIGHT)(lambda path: wave(path, np.repeat(TONE[:, None], 8, 1)))
case("1_hz.wav", "audio", RIGHT)(lambda path: wave(path, TONE[:20], 1))
case("384_khz.wav", "audio", RIGHT)(lambda path: wave(path, np.tile(TONE, 20), 384_000))
case("prime_rate.wav", "audio", RIGHT)(lambda path: wave(path, TONE, 44_101))
case("8_bit.wav", "audio", RIGHT)(lambda path: wave(path, TONE, subtype="PCM_U8"))
case("24_bit.flac", "audio", RIGHT)(lambda path: wave(path, TONE, format="FLAC", subtype="PCM_24"))
case("a_law.wav", "audio", RIGHT)(lambda path: wave(path, TONE, 8000, subtype="ALAW"))
case("very_long.wav", "audio", RIGHT)(lambda path: wave(path, np.zeros(16000 * 600, dtype=np.int16)))
case("picture.wav", "audio", REJECT)(put(lambda: encoded("PNG")))


@case("truncated.wav", "audio", EITHER)
def _truncated_wave(path: Path) -> None:
    wave(path, TONE)
    path.write_bytes(path.read_bytes()[:4000])


@case("truncated.flac", "audio", EITHER)
def _truncated_flac(path: Path) -> None:
    wave(path, noise(200, 200, 1).ravel() / 300, format="FLAC")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@case("lying_size.wav", "audio", EITHER)
def _lying_wave(path: Path) -> None:
    wave(path, TONE)
    data = bytearray(path.read_bytes())
    data[40:44] = b"\xff\xff\xff\x7f"
    path.write_bytes(data)


@case("clip_without_sound.mp4", "audio", REJECT, "no sound")
def _silent_clip(path: Path) -> None:
    clip(path)


@case("playlist.m3u8", "audio", REJECT)
def _playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")


@case("sound.m4a", "audio", RIGHT)
def _m4a(path: Path) -> None:
    sound(path)


# Clips ------------------------------------------------------------------------------------------------------------------


def clip(path: Path, frames: int = 10, codec: str = "libx264", times: list[int] | None = None) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, dtype=np.uint8), format="rgb24")
            if times:
                frame.pts = times[number]
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(TONE.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate = 16000
        resampler = av.AudioResampler(stream.format, stream.layout, stream.rate)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            for packet in stream.encode(part):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


case("empty.mp4", "video", REJECT, "the file is empty")(put(lambda: b""))
case("noise.mp4", "video", REJECT)(put(lambda: noise().tobytes()))
case("page.webm", "video", REJECT)(put(lambda: b"<html>404</html>"))
case("no_pictures.mp4", "video", REJECT, "no pictures")(sound)
case("no_frames.mp4", "video", REJECT)(lambda path: clip(path, frames=0))
case("one_frame.mp4", "video", RIGHT, mean=90)(lambda path: clip(path, frames=1))
case("uneven_times.mkv", "video", RIGHT, mean=90)(lambda path: clip(path, times=[0, 1, 2, 3, 40, 41, 42, 90, 91, 92]))
case("concat.mp4", "video", REJECT)(put(lambda: b"ffconcat version 1.0\nfile /etc/passwd\n"))
case("list.mp4", "video", REJECT)(put(lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n"))


@case("wrong_suffix.avi", "video", RIGHT, mean=90)
def _wrong_suffix(path: Path) -> None:
    clip(path.with_suffix(".mov"))
    path.with_suffix(".mov").rename(path)


@case("truncated.mp4", "video", REJECT)
def _truncated_clip(path: Path) -> None:
    clip(path)
    path.write_bytes(path.read_bytes()[:-600])  # the index stands at the end


@case("truncated.mkv", "video", EITHER)
def _truncated_matroska(path: Path) -> None:
    clip(path, frames=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@case("corrupt_middle.mkv", "video", EITHER)
def _corrupt(path: Path) -> None:
    clip(path, frames=40)
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : 2 * len(data) // 3] = b"\xa5" * (2 * len(data) // 3 - len(data) // 3)
    path.write_bytes(data)


@case("pipe.mp4", "video", REJECT, "folder, a pipe or a device")
def _clip_pipe(path: Path) -> None:
    os.mkfifo(path)


# Vectors ----------------------------------------------------------------------------------------------------------------

case("right.npy", "vector", RIGHT)(lambda path: np.save(path, np.ones(4)))
case("half.npy", "vector", RIGHT)(lambda path: np.save(path, np.ones(4, dtype=np.float16)))
case("whole.npy", "vector", RIGHT)(lambda path: np.save(path, np.ones(4, dtype=np.int64)))
case("objects.npy", "vector", REJECT)(lambda path: np.save(path, np.array([{}, None], dtype=object), allow_pickle=True))
case("too_wide.npy", "vector", REJECT, "it holds 5 numbers, train has 4")(lambda path: np.save(path, np.ones(5)))
case("deep.npy", "vector", REJECT)(lambda path: np.save(path, np.ones((2, 2, 2))))
case("nothing.npy", "vector", REJECT)(lambda path: np.save(path, np.ones(0)))
case("nan.npy", "vector", REJECT, "not finite")(lambda path: np.save(path, np.full(4, np.nan)))
case("text.npy", "vector", REJECT)(lambda path: np.save(path, np.array(["a", "b", "c", "d"])))
case("complex.npy", "vector", REJECT)(lambda path: np.save(path, np.ones(4, dtype=np.complex64)))
case("cut.npy", "vector", REJECT)(put(lambda: b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (4,)"))
case("claims_a_terabyte.npy", "vector", REJECT)(
    put(
        lambda: (
            b"\x93NUMPY\x01\x00\x76\x00"
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (200000000000,), }".ljust(117)
            + b"\n"
        )
    )
)
case("page.npy", "vector", REJECT)(put(lambda: b"<html></html>"))


@case("archive.npy", "vector", REJECT, "archive")
def _archive(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), a=np.ones(4))
    path.with_suffix(".npz").rename(path)


def make(folder: Path) -> list[Case]:
    """Writes every file into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for found, write in CASES:
        write(folder / found.name)
    return [found for found, _ in CASES]


def main(folder: Path) -> None:
    cases = make(folder)
    with (folder / "data.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "kind", "expected"])
        writer.writerows([found.name, found.kind, found.expected] for found in cases)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
