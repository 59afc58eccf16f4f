"""Frames of every container and codec are those that a plain decode of everything gives."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

import av
import numpy as np
import pytest

from mmcli.media import files as media
from mmcli.media import frames
from mmcli.modalities.video import Config, Video, _squared, decode
from tests.conftest import shared
from tests.modalities import clips
from tests.modalities.clips import CLIPS, FRAMES


@pytest.fixture(scope="module", params=CLIPS)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    name = f"clip-{list(CLIPS).index(request.param)}"
    try:
        folder = shared(tmp_path_factory, name, lambda folder: clips.write(folder, request.param) and None)
        return request.param, folder / f"clip{CLIPS[request.param].suffix}"
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"cannot be made here: {error}")


@pytest.fixture(scope="module")
def decoded(clip: tuple[str, Path]) -> tuple[list[np.ndarray], list[int]]:
    """Its frames of 32 x 32 pixels, and their numbers, by a plain decode."""
    return plain(clip[1], Config(size=32))


def plain(path: Path, config: Config) -> tuple[list[np.ndarray], list[int]]:
    """Every frame that PyAV decodes one after the other, as tensors, and the numbers drawn in them."""
    with av.open(str(path)) as container:
        found = list(container.decode(video=0))
        return [_squared(frame, config).numpy() for frame in found], [
            clips.number_of(frame.to_ndarray(format="rgb24")) for frame in found
        ]


@pytest.mark.parametrize("count", [1, 3, 8, 37])
def test_frames_are_those_of_a_plain_decode(
    clip: tuple[str, Path], decoded: tuple[list[np.ndarray], list[int]], count: int
) -> None:
    name, path = clip
    config = Config(size=32, frames=count)
    everything, numbers = decoded
    assert numbers == list(range(FRAMES))
    moments = CLIPS[name].moments
    span = (moments[-1] - moments[0]) * FRAMES / (FRAMES - 1)
    middles = [moments[0] + span * (i + 0.5) / count for i in range(count)]
    shown, times, exact = decode(str(path), config)
    assert exact
    for got, time, middle in zip(shown, times.tolist(), middles, strict=True):
        place = next(place for place, own in enumerate(everything) if np.array_equal(own, got.numpy()))
        # Where the middle of a stretch falls on the change from one frame to the next, either is on show.
        right = {bisect_right(moments, middle + by) - 1 for by in (-0.06, 0.06)}
        assert place in right, f"{name}: frame {place} instead of {right}"
        assert time == pytest.approx((moments[place] - moments[0]) / clips.RATE, abs=0.006)


def test_every_frame_in_its_order(clip: tuple[str, Path], decoded: tuple[list[np.ndarray], list[int]]) -> None:
    name, path = clip
    if CLIPS[name].times:
        pytest.skip("stretches of time are not frames here")
    shown, _, _ = decode(str(path), Config(size=32, frames=FRAMES))
    assert np.array_equal(np.stack(decoded[0]), shown.numpy())
    assert [clips.number_of(own.permute(1, 2, 0).numpy()) for own in shown] == list(range(FRAMES))


@pytest.mark.parametrize(
    "name", ["MP4, H.264 with B-frames", "MP4, HEVC with open GOPs", "MP4, AV1", "MKV, VP9", "AVI, MPEG-4"]
)
def test_where_times_are_exact_only_what_is_needed_is_decoded(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clips.write(tmp_path, name)
    begun: list[int] = []
    original = frames._stretch
    monkeypatch.setattr(frames, "_stretch", lambda run, first, *rest: (begun.append(first), original(run, first, *rest))[1])
    clip = frames.index(str(path))
    assert clip.seekable
    needed = frames.stretches(frames.spread(clip.times, 2), clip.starts)
    assert frames.decoded(str(path), clip, needed, {first for first, _ in needed}, lambda frame: frame.pts) == {
        first: clip.moments[first] for first, _ in needed
    }
    assert sum(last - first + 1 for first, last in needed) < FRAMES / 2
    assert begun == [clip.moments[first] for first, _ in needed]  # at the first try


@pytest.mark.parametrize("name", ["MP4, MPEG-4 with B-frames", "MP4, H.264 with B-frames", "MP4, AV1"])
def test_a_container_that_calls_every_frame_a_key_frame_is_not_believed(tmp_path: Path, name: str) -> None:
    """Without the table of key frames (stss) all of them count as such."""
    path = clips.write(tmp_path, name)
    path.write_bytes(path.read_bytes().replace(b"stss", b"free"))
    config = Config(size=32, frames=5)
    everything, _ = plain(path, config)
    shown, _, _ = decode(str(path), config)
    assert all(any(np.array_equal(own, right) for right in everything) for own in shown.numpy())
    numbers = [clips.number_of(own.permute(1, 2, 0).numpy()) for own in shown]
    assert numbers == [6, 18, 30, 42, 54]


def test_a_stretch_that_begins_too_late_is_never_taken(tmp_path: Path) -> None:
    """What TS does: it lands at the key frame after the one that was meant."""
    path = clips.write(tmp_path, "MP4, H.264 with B-frames")
    clip = frames.index(str(path))
    with av.open(str(path)) as container:
        late = [frame for frame in container.decode(video=0) if frame.pts > clip.moments[24]]
    kept: dict[int, int] = {}
    places = {moment: place for place, moment in enumerate(clip.moments)}
    assert not frames._stretch(iter(late), clip.moments[24], clip.moments[30], places, {30}, kept, lambda frame: frame.pts)
    assert not kept


def test_damage_in_a_clip_is_told(tmp_path: Path) -> None:
    path = clips.write(tmp_path, "TS, MPEG-2 with B-frames")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    half = frames.index(str(path))
    assert FRAMES * 0.3 < len(half.moments) < FRAMES * 0.7
    shown, _, _ = decode(str(path), Config(size=32, frames=4))
    assert [clips.number_of(own.permute(1, 2, 0).numpy()) for own in shown][-1] < FRAMES / 2 + 2
    path.write_bytes(b"\x47" + b"\0" * 2000)
    with pytest.raises(ValueError, match=r"not a clip|holds no|does not say"):
        decode(str(path), Config(size=32, frames=4))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_a_clip_that_begins_between_key_frames_is_what_can_be_decoded_of_it(tmp_path: Path, suffix: str) -> None:
    """As recorders and cutters that copy packets leave them."""
    whole, cut = clips.write(tmp_path, "MKV, H.264 with B-frames"), tmp_path / f"cut{suffix}"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if number >= 5 and packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    everything, numbers = plain(cut, Config(size=32))
    assert numbers[0] == 12
    shown, _, _ = decode(str(cut), Config(size=32, frames=len(numbers)))
    assert np.array_equal(np.stack(everything), shown.numpy())


def test_two_recordings_in_one_stream_are_counted_by_their_frames(tmp_path: Path) -> None:
    path = clips.write(tmp_path, "TS, H.264 with B-frames")
    path.write_bytes(path.read_bytes() * 2)
    everything, numbers = plain(path, Config(size=32))
    assert numbers == [*range(FRAMES), *range(FRAMES)]
    shown, times, _ = decode(str(path), Config(size=32, frames=2 * FRAMES))
    assert np.array_equal(np.stack(everything), shown.numpy())
    np.testing.assert_allclose(times, np.arange(2 * FRAMES) / clips.RATE, atol=1e-3)


def test_an_address_is_decoded_like_a_file(tmp_path: Path) -> None:
    path = clips.write(tmp_path, "TS, H.264 with B-frames")
    near = Video(Config(size=16, frames=3)).transform([str(path)])
    far = Video(Config(size=16, frames=3)).transform([media.resolve(path.as_uri(), "")])
    assert np.array_equal(near.column.values.numpy(), far.column.values.numpy())
