"""Reading sound: libsndfile's formats by it, the others by FFmpeg, plain WAVs at once; and resampling."""

from __future__ import annotations

import math
import os
import struct
from io import BytesIO
from typing import Any

import numpy as np

from mmcli.media import files as media

Array = np.ndarray[Any, np.dtype[np.float32]]
MOST_HZ = 4_000_000
"""Samples a second that no recording has more of: headers that say so are damaged."""
LOUDEST = 1e12
"""Samples beyond it are no sound, and their powers no numbers."""
_BLOCK = 1 << 22
"""Samples of all channels that are held at a time."""


def read(path: str, seconds: float) -> tuple[Array, int]:
    """The first seconds of a file, mono, at its own rate: libsndfile's formats by it, the others by FFmpeg.

    Raises:
        OSError, ValueError: neither can read it, it holds no samples, or some that are no sound.
    """
    samples, rate = _read(path, seconds)
    if not np.isfinite(samples).all():
        raise ValueError("it holds samples that are not finite numbers")
    loudest = float(np.abs(samples).max())
    if loudest > LOUDEST:
        raise ValueError(f"it holds samples of {loudest:.0e}, where 1 is the loudest")
    return samples, rate


def _read(path: str, seconds: float) -> tuple[Array, int]:
    import soundfile  # loads a library; text and tables need none of it

    found = media.unmarked(path)
    plain = _plain_wave(found, seconds)
    if plain is not None:
        return plain
    try:
        with soundfile.SoundFile(found) as file:
            rate = _checked(int(file.samplerate))
            wanted = min(max(int(seconds * rate) + 1, 1), max(file.frames, 0))
            samples = _mono(file, wanted)
    except soundfile.LibsndfileError:
        if not isinstance(found, str):
            found.seek(0)
        samples, rate = _read_with_ffmpeg(found, seconds)
    if not len(samples):
        raise ValueError("it holds no samples")
    return np.ascontiguousarray(samples, dtype=np.float32), rate


def _checked(rate: int) -> int:
    """The rate itself.

    Raises:
        ValueError: no recording has it.
    """
    if rate <= 0:
        raise ValueError("it does not say how many samples a second it holds")
    if rate > MOST_HZ:
        raise ValueError(f"it claims {rate:,} samples a second; no recording has more than {MOST_HZ:,}")
    return rate


def _mono(file: Any, wanted: int) -> Any:
    """The mean of the channels [wanted], or fewer where the file ends; some at a time, as many channels would take much."""
    if file.channels == 1:
        return file.read(wanted, dtype="float32")
    parts, left, block = [], wanted, max(_BLOCK // file.channels, 1)
    while left and len(part := file.read(min(left, block), dtype="float32", always_2d=True)):
        parts.append(part.mean(1))
        left -= len(part)
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def _plain_wave(found: str | BytesIO, seconds: float) -> tuple[Array, int] | None:
    """Samples and rate of the plainest WAV, 16-bit mono with its chunks in the usual order and its true size in the header;
    None for all else. What libsndfile would give, without holding the interpreter a dozen times to open the file."""
    if not isinstance(found, str):
        return None
    with open(found, "rb") as file:  # noqa: PTH123 - a million of these
        head = file.read(44)
        if len(head) < 44 or head[:4] != b"RIFF" or head[8:16] != b"WAVEfmt " or head[36:40] != b"data":
            return None
        size, form, channels, rate, _, _, bits = struct.unpack("<IHHIIHH", head[16:36])
        length = int.from_bytes(head[40:44], "little")
        if (size, form, channels, bits) != (16, 1, 1, 16) or not rate or not length:
            return None
        _checked(rate)
        if os.fstat(file.fileno()).st_size - 44 not in {length, length + length % 2}:
            return None
        data = file.read(min(length // 2, int(seconds * rate) + 1) * 2)
    samples: Array = np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(32768)
    return samples, int(rate)


_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,mp3,aac,ogg,flac,wav,w64,aiff,au,caf,matroska,webm,asf,amr,amrnb,amrwb,avi,flv,mpeg,mpegts,ac3,eac3,"
    "dts,wv,ape,tta"
)
"""Containers that FFmpeg may open here: none that names other files."""


def _read_with_ffmpeg(source: Any, seconds: float) -> tuple[Any, int]:
    import av

    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        with av.open(source, options=options) as container:
            if not container.streams.audio:
                raise ValueError("it holds no sound")
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise ValueError("it does not say how its sound is coded, or there is no decoder for that")
            rate, parts, count = _checked(int(stream.rate or 0)), [], 0
            for frame in container.decode(stream):
                array = frame.to_ndarray()
                channels = len(frame.layout.channels)
                planar = array if frame.format.is_planar else array.reshape(-1, channels).T
                if not np.issubdtype(planar.dtype, np.floating):
                    offset = 128 if planar.dtype == np.uint8 else 0
                    planar = (planar.astype(np.float32) - offset) / (np.iinfo(planar.dtype).max + 1 - offset)
                parts.append(planar.astype(np.float32).mean(0))
                count += len(parts[-1])
                if count > seconds * rate:
                    break
    except av.FFmpegError as error:
        raise ValueError(f"not a recording that can be decoded ({error.strerror})") from None
    samples = np.concatenate(parts)[: int(seconds * rate) + 1] if parts else np.zeros(0, dtype=np.float32)
    return samples, rate


def resampled(samples: Array, rate: int, wanted: int) -> Array:
    """Samples at another rate, by a polyphase filter."""
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    up, down = wanted // common, rate // common
    if max(up, down) > 2000:  # rates without a common measure: as near as a thousandth
        share = wanted / rate
        up, down = (1000, max(round(1000 / share), 1)) if share < 1 else (max(round(1000 * share), 1), 1000)
    if up / down > 100:  # a filter of that length would say nothing that a line does not
        places = np.arange(int(len(samples) * up / down)) * (down / up)
        line: Array = np.interp(places, np.arange(len(samples)), samples).astype(np.float32)
        return line
    result: Array = resample_poly(samples, up, down).astype(np.float32)
    return result
