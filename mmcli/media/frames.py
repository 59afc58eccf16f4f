"""The frames of a clip: when each is on show, and the wanted ones, the same as a plain decode of everything gives.

A file is first read without decoding, for the times of its frames and where decoding can start. Where its container says
the time of every frame (MP4, MOV, Matroska, and AVI without B-frames), only the stretches that hold a wanted frame are
decoded, and each is checked: a stretch must begin no later than it was meant to, and every wanted time must turn up.
Elsewhere, and where a check fails, all is decoded from the start, and a frame is known by its place.
Knows nothing of sizes or tensors: what is kept of a frame is the caller's to say.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,gif,mpeg,mpegts,ogg,asf,flv,mpegvideo,dv,ivf,mxf,nut"
"""Containers that FFmpeg may open: none that names other files."""
_CODECS = (
    "h264,hevc,mpeg4,mpeg2video,mpeg1video,vp8,vp9,av1,libdav1d,libvpx,libvpx-vp9,gif,mjpeg,theora,msmpeg4v1,msmpeg4v2,"
    "msmpeg4v3,msmpeg4,wmv1,wmv2,wmv3,vc1,flv,vp6,vp6f,h263,prores,dnxhd,rawvideo,ffv1,huffyuv,ffvhuff,dvvideo,cinepak,qtrle,png"
)
"""Decoders that it may use."""
_TIMED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
"""Containers that hold the time of every frame, and an index of where decoding can start."""
_MAX_PACKETS = 1_000_000
_MORE = "--set modality.video.max_pixels=... allows more"
_MOST_DECODED = {"gif": 24}
"""How many times `max_pixels` are decoded of a clip at most, by its container."""
_MOST_LOST = 0.1
"""The share of frames that a damaged clip may lack."""


@dataclass(frozen=True)
class Index:
    """What a file says of its frames before any is decoded."""

    moments: list[int]
    """When each is shown, in order, in units of `base`."""
    starts: list[int]
    """Places in `moments` that decoding can start at."""
    base: float
    """Seconds to a unit."""
    width: int
    height: int
    seekable: bool
    """Whether the moments are those that decoding will give."""
    cut_off: int = 0
    """Frames at the beginning that cannot be decoded: the clip was cut between two places where decoding can start."""
    form: str = ""
    """Its container, as FFmpeg calls it."""

    @property
    def times(self) -> list[float]:
        """Seconds from the first frame."""
        return [(moment - self.moments[0]) * self.base for moment in self.moments]


@dataclass(frozen=True)
class Shown(Generic[T]):
    """The frames taken, one after the other."""

    kept: list[T]
    times: list[float]
    """Seconds from the first frame of the clip."""
    exact: bool
    """Whether they are those that were wanted; else the nearest ones that stand by themselves."""
    lost: int = 0
    """Frames of the clip that are damaged: the ones before them stay on show."""


def index(found: Any) -> Index:
    """Reads a file without decoding it.

    Raises:
        ValueError: it is no clip, or holds no frames.
    """
    import av

    shown: list[tuple[int, bool]] = []
    first_key: int | None = None
    timed = plain = True
    try:
        with opened(found) as (container, stream):
            for packet in islice(container.demux(stream), _MAX_PACKETS):
                moment = packet.pts if packet.pts is not None else packet.dts
                if first_key is None and packet.is_keyframe:
                    first_key = moment
                if not packet.size or packet.is_discard or (stream.codec_context.name == "vp8" and not packet_is_shown(packet)):
                    continue
                timed &= packet.pts is not None
                plain &= packet.pts == packet.dts
                shown.append((len(shown) if moment is None else moment, packet.is_keyframe))
            form, late = container.format.name, stream.codec_context.has_b_frames
            base, width, height = float(stream.time_base), stream.width, stream.height
    except av.FFmpegError as error:
        raise ValueError(f"not a clip that can be decoded ({error.strerror})") from None
    if not shown:
        raise ValueError("it holds no frames")
    shown.sort()
    moments = [moment for moment, _ in shown]
    starts = [place for place, (_, key) in enumerate(shown) if key]
    starts = starts if starts and starts[0] == 0 else [0, *starts]
    cut_off = 0 if first_key is None else sum(moment < first_key for moment in moments)
    alone = len(set(moments)) == len(moments) and not cut_off
    seekable = timed and alone and (form in _TIMED or (form == "avi" and plain and not late))
    return Index(moments, starts, base, width, height, seekable, cut_off, form)


def packet_is_shown(packet: Any) -> bool:
    """Whether a packet of VP8 is more than a frame to predict others from (RFC 6386, 9.1: the bit `show_frame`)."""
    return bool(memoryview(packet)[0] & 0x10)


def bounded(clip: Index, max_pixels: int, max_decoded: int) -> int:
    """How many frames of a clip may be decoded, each of no more than `max_pixels`: `max_decoded` unless they are large.

    Raises:
        ValueError: its frames are too large, or too many of them would have to be decoded.
    """
    area = max(clip.width * clip.height, 1)
    if area > max_pixels:
        raise ValueError(f"{clip.width} x {clip.height} is over max_pixels = {max_pixels} ({_MORE})")
    times = _MOST_DECODED.get(clip.form, 100)
    most = min(max_decoded, max(times * max_pixels // area, 1))
    if len(clip.moments) > most and len(clip.starts) == 1 and most < max_decoded:
        size = f"{len(clip.moments):,} frames of {clip.width} x {clip.height}"
        raise ValueError(f"{size}, to be decoded one after the other, are over {times} * max_pixels = {max_pixels} ({_MORE})")
    return most


def checked(frame: Any, max_pixels: int) -> None:
    """Raises ValueError where a frame has more than `max_pixels`, whatever the clip's header says."""
    if frame.width * frame.height > max_pixels:
        raise ValueError(f"it holds a frame of {frame.width} x {frame.height}, over max_pixels = {max_pixels}")


def pick(found: Any, clip: Index, count: int, most: int, keep: Callable[[Any], T]) -> Shown[T]:
    """`count` frames, each the one on show in the middle of one of as many equal stretches of time; at most about `most` are
    decoded to get them, else the nearest frames that stand by themselves are taken.

    Raises:
        ValueError: they cannot be decoded, or too many frames are lost.
    """
    import av

    try:
        if clip.seekable:
            wanted = spread(clip.times, count)
            needed = stretches(sorted(set(wanted)), clip.starts)
            if sum(last - first + 1 for first, last in needed) <= most:
                kept = decoded(found, clip, needed, set(wanted), keep)
                if kept is not None:
                    return Shown([kept[place] for place in wanted], [clip.times[place] for place in wanted], exact=True)
        if len(clip.moments) > most:
            return _nearest(found, clip, spread(clip.times, count), keep)
        return _from_the_start(found, clip, count, keep)
    except av.FFmpegError as error:
        raise ValueError(f"not a clip that can be decoded ({error.strerror})") from None


def spread(times: Sequence[float], count: int) -> list[int]:
    """The frame on show at the middle of each of `count` equal stretches of time."""
    span = (times[-1] - times[0]) * len(times) / max(len(times) - 1, 1)  # the last frame is shown as long as the others
    moments = [times[0] + span * (i + 0.5) / count for i in range(count)]
    return [max(bisect_right(times, moment + 1e-9) - 1, 0) for moment in moments]


def stretches(wanted: Sequence[int], starts: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of frames to decode, from where decoding can start to the last wanted one before the next such place."""
    needed: list[tuple[int, int]] = []
    for place in wanted:
        start = starts[bisect_right(starts, place) - 1]
        if needed and (start == needed[-1][0] or start <= needed[-1][1] + 1):
            needed[-1] = (needed[-1][0], place)
        else:
            needed.append((start, place))
    return needed


def decoded(
    found: Any, clip: Index, needed: Sequence[tuple[int, int]], wanted: set[int], keep: Callable[[Any], T]
) -> dict[int, T] | None:
    """The wanted frames by their place, of the stretches `needed`; None where what comes is not what the index foretold."""
    import av

    kept: dict[int, T] = {}
    places = {moment: place for place, moment in enumerate(clip.moments)}
    try:
        with opened(found) as (container, stream):
            for start, last in needed:
                for first in _before(start, clip.starts):
                    if first:
                        container.seek(clip.moments[first], stream=stream, backward=True, any_frame=False)
                    elif start:
                        container.seek(min(clip.moments[0], 0), stream=stream, backward=True, any_frame=False)
                    if _stretch(container.decode(stream), clip.moments[start], clip.moments[last], places, wanted, kept, keep):
                        break
    except av.FFmpegError:
        return None  # the plain way tells what is wrong
    return kept if wanted <= set(kept) else None


def _before(start: int, starts: Sequence[int]) -> list[int]:
    """Where to seek for a stretch: its start, then earlier ones, for where a container lands too late."""
    place = bisect_right(starts, start) - 1
    return list(dict.fromkeys([starts[place], starts[max(place - 1, 0)], starts[max(place - 4, 0)], 0]))


def _stretch(
    frames: Iterator[Any],
    first: int,
    last: int,
    places: dict[int, int],
    wanted: set[int],
    kept: dict[int, T],
    keep: Callable[[Any], T],
) -> bool:
    """Keeps the wanted frames up to the moment `last`; False, before any is kept, where decoding began after `first`, or with
    a frame that does not stand by itself, whatever the container says."""
    begun = False
    for frame in frames:
        if frame.pts is None or (not begun and (frame.pts > first or not frame.key_frame)):
            return False
        begun = True
        place = places.get(frame.pts)
        if place in wanted and place not in kept and frame.pts >= first and not frame.is_corrupt:
            kept[place] = keep(frame)
        if frame.pts >= last:
            break
    return begun


def _from_the_start(found: Any, clip: Index, count: int, keep: Callable[[Any], T]) -> Shown[T]:
    """By decoding everything: in one pass where the index foretold the number of frames, else in two."""
    foretold = clip.times[clip.cut_off :]
    whole = len(foretold)
    likely = set(spread(foretold, count)) | set(spread(range(whole), count))
    times, kept = _all(found, likely, keep)
    in_fields = abs(whole - 2 * len(times)) <= 2  # two packets to a frame
    lost = 0 if in_fields else max(whole - len(times), 0)
    if not times or lost > max(_MOST_LOST * whole, 2):
        raise ValueError(f"only {len(times):,} of its {whole:,} frames can be decoded")
    wanted = spread(times, count)
    if not set(wanted) <= set(kept):
        _, kept = _all(found, set(wanted), keep)
    return Shown([kept[place] for place in wanted], [times[place] - times[0] for place in wanted], exact=True, lost=lost)


def _all(found: Any, wanted: set[int], keep: Callable[[Any], T]) -> tuple[list[float], dict[int, T]]:
    """The time of every frame, in the order in which the decoder gives them, and those at the places wanted."""
    moments, kept = list[int | None](), dict[int, T]()
    with opened(found) as (container, stream):
        for frame in _whole_frames(container, stream):
            if len(moments) in wanted:
                kept[len(moments)] = keep(frame)
            moments.append(frame.pts)
        rate, base = float(stream.average_rate or stream.guessed_rate or 25), float(stream.time_base)
    told = [moment for moment in moments if moment is not None]
    if len(told) == len(moments) and all(a < b for a, b in pairwise(told)):
        return [moment * base for moment in told], kept
    return [place / rate for place in range(len(moments))], kept  # the order is right even where the times are not


def _whole_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Every frame that can be decoded; packets that cannot are passed over, as players do."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return  # the file is cut off here
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _nearest(found: Any, clip: Index, wanted: Sequence[int], keep: Callable[[Any], T]) -> Shown[T]:
    """The first frame that can be decoded from the last start before each wanted one, with the time that it says itself."""
    taken: dict[int, tuple[T, float]] = {}
    starts = [clip.starts[bisect_right(clip.starts, place) - 1] for place in wanted]
    with opened(found) as (container, stream):
        for start in sorted(set(starts)):
            if start:
                container.seek(clip.moments[start], stream=stream, backward=True, any_frame=False)
            frame = next(iter(container.decode(stream)), None)
            if frame is None:
                raise ValueError(f"its frame at {clip.times[start]:.2f} s of {clip.times[-1]:.2f} s cannot be decoded")
            moment = clip.moments[start] if frame.pts is None else frame.pts
            taken[start] = (keep(frame), (moment - clip.moments[0]) * clip.base)
    return Shown([taken[start][0] for start in starts], [max(taken[start][1], 0.0) for start in starts], exact=False)


@contextmanager
def opened(found: Any) -> Iterator[tuple[Any, Any]]:
    """The container and its stream of pictures, not the cover of a recording, for the length of a `with`.

    Raises:
        ValueError: it holds none.
    """
    import av

    if not isinstance(found, str):
        found.seek(0)
    options = {"format_whitelist": _FORMATS, "codec_whitelist": _CODECS, "protocol_whitelist": "file"}
    try:
        container = av.open(found, mode="r", options=options)
    except av.FFmpegError as error:
        raise ValueError(f"not a clip that can be decoded ({error.strerror})") from None
    with container:
        stream = next((own for own in container.streams.video if not is_cover(own)), None)
        if stream is None:
            raise ValueError("it holds no pictures")
        if stream.codec_context is None:
            raise ValueError("it does not say how its pictures are coded, or there is no decoder for that")
        stream.thread_count = 1  # the shards are the parallelism
        yield container, stream


def is_cover(stream: Any) -> bool:
    """Whether a stream of pictures is only the cover of a recording."""
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)
