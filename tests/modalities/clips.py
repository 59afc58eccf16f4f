"""Clips of every container and codec that can be made here: a moving picture, with the number of the frame drawn as bars."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT, RATE, FRAMES = 128, 96, 25, 60
_TEXTURE = np.random.default_rng(0).integers(60, 200, (24, 128, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)


@dataclass(frozen=True)
class Made:
    """One way of writing a clip."""

    suffix: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"
    times: tuple[int, ...] = ()
    """When each frame is shown, in 1 / RATE s, where that is not one after the other from 0."""
    form: str = ""
    """The container, where the suffix does not tell it."""

    @property
    def moments(self) -> list[int]:
        return list(self.times or range(FRAMES))


B = {"bf": "3", "g": "12"}
UNEVEN = tuple(place + place // 7 * 5 for place in range(FRAMES))
LATE = tuple(range(100, 100 + FRAMES))
QUIET = "log-level=error"
CLIPS: dict[str, Made] = {
    "MP4, H.264 with B-frames": Made(".mp4", "libx264", B),
    "MP4, H.264 with open GOPs": Made(".mp4", "libx264", {"x264-params": "open-gop=1:keyint=12:bframes=3"}),
    "MP4, H.264 whose frames are uneven in time": Made(".mp4", "libx264", B, times=UNEVEN),
    "MP4, H.264 in fragments": Made(".mp4", "libx264", {**B, "movflags": "frag_keyframe+empty_moov"}),
    "MP4, HEVC with open GOPs": Made(".mp4", "libx265", {"x265-params": f"keyint=12:{QUIET}"}),
    "MP4, MPEG-4 with B-frames": Made(".mp4", "mpeg4", {"bf": "2", "g": "12"}),
    "MP4, AV1": Made(".mp4", "libsvtav1", {"preset": "12", "g": "12"}),
    "3GP, H.263": Made(".3gp", "mpeg4", {"g": "12"}),
    "M4V, MPEG-4": Made(".m4v", "mpeg4", {"g": "12"}, form="mp4"),
    "MOV, H.264 with B-frames": Made(".mov", "libx264", B),
    "MOV, ProRes": Made(".mov", "prores", pixels="yuv422p10le"),
    "MOV, Motion JPEG": Made(".mov", "mjpeg", pixels="yuvj420p"),
    "MKV, H.264 with B-frames": Made(".mkv", "libx264", B),
    "MKV, H.264 refreshed bit by bit": Made(".mkv", "libx264", {"x264-params": "intra-refresh=1:keyint=12"}),
    "MKV, HEVC": Made(".mkv", "libx265", {"x265-params": f"keyint=12:{QUIET}"}),
    "MKV, VP9": Made(".mkv", "libvpx-vp9", {"g": "12", "cpu-used": "8"}),
    "MKV, FFV1": Made(".mkv", "ffv1"),
    "MKV, H.264 that does not begin at 0": Made(".mkv", "libx264", B, times=LATE),
    "MKV, H.264 whose frames are uneven in time": Made(".mkv", "libx264", B, times=UNEVEN),
    "WebM, VP8": Made(".webm", "libvpx", {"g": "12", "cpu-used": "8"}),
    "WebM, VP8 with hidden frames": Made(".webm", "libvpx", {"g": "30", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "WebM, VP9 with hidden frames": Made(".webm", "libvpx-vp9", {"g": "30", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "WebM, AV1": Made(".webm", "libsvtav1", {"preset": "12", "g": "12"}),
    "AVI, MPEG-4": Made(".avi", "mpeg4", {"g": "12"}),
    "AVI, MPEG-4 with B-frames": Made(".avi", "mpeg4", {"bf": "2", "g": "12"}),
    "AVI, H.264 with B-frames": Made(".avi", "libx264", B),
    "AVI, DivX 3": Made(".avi", "msmpeg4", {"g": "12"}),
    "AVI, Motion JPEG": Made(".avi", "mjpeg", pixels="yuvj420p"),
    "TS, H.264 with B-frames": Made(".ts", "libx264", B),
    "TS, HEVC": Made(".ts", "libx265", {"x265-params": f"keyint=12:{QUIET}"}),
    "TS, MPEG-2 with B-frames": Made(".ts", "mpeg2video", {"bf": "2", "g": "12"}),
    "MTS (camcorders), H.264 with B-frames": Made(".mts", "libx264", {**B, "mpegts_m2ts_mode": "1"}, form="mpegts"),
    "MPG (program stream), MPEG-2 with B-frames": Made(".mpg", "mpeg2video", {"bf": "2", "g": "12"}, form="vob"),
    "MPG (program stream), MPEG-1 with B-frames": Made(".mpg", "mpeg1video", {"bf": "2", "g": "12"}),
    "VOB, MPEG-2 with B-frames": Made(".vob", "mpeg2video", {"bf": "2", "g": "12"}),
    "FLV, H.264 with B-frames": Made(".flv", "libx264", B),
    "FLV, Sorenson H.263": Made(".flv", "flv", {"g": "12"}),
    "WMV, WMV 2": Made(".wmv", "wmv2", {"g": "12"}),
    "OGV, VP8": Made(".ogv", "libvpx", {"g": "12", "cpu-used": "8"}, form="ogg"),
    "GIF, animated": Made(".gif", "gif", pixels="rgb8"),
}
"""Name in docs/cases.md -> how such a clip is made."""


def picture(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """[HEIGHT, WIDTH, 3]: texture that moves, under eight bars that are bright where that bit of the number is set."""
    pixels = _TEXTURE[:HEIGHT, 2 * number : 2 * number + WIDTH].copy()
    for bit in range(8):
        pixels[:40, bit * 16 : (bit + 1) * 16] = 235 if number >> bit & 1 else 16
    return pixels


def number_of(pixels: Any) -> int:
    """The number drawn in [H, W, 3] of any size."""
    height, width = pixels.shape[:2]
    row = np.asarray(pixels, dtype=float)[height // 8 : height // 3].mean((0, 2))
    return sum(int(row[int((bit + 0.5) * width / 8)] > 125) << bit for bit in range(8))


def write(folder: Path, name: str) -> Path:
    """The clip of that name in `CLIPS`.

    Raises:
        av.FFmpegError, ValueError: FFmpeg was built without such an encoder.
    """
    made = CLIPS[name]
    path = folder / f"clip{made.suffix}"
    muxing = {key: value for key, value in made.options.items() if key in {"movflags", "mpegts_m2ts_mode"}}
    with av.open(str(path), "w", format=made.form or None, options=muxing) as container:
        stream = container.add_stream(made.codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, made.pixels, 1_500_000
        stream.options = {key: value for key, value in made.options.items() if key not in muxing}
        stream.codec_context.time_base = Fraction(1, RATE)
        stream.codec_context.thread_count = 1  # libvpx waits for its threads for ever where two of it encode at once
        for number, moment in enumerate(made.moments):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24").reformat(format=made.pixels)
            frame.pts, frame.time_base = moment, Fraction(1, RATE)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path
