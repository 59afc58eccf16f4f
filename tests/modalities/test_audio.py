from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mmcli.media import sound
from mmcli.media.spectrograms import mel_filters, warped
from mmcli.modalities.audio import FLOOR, Audio, Config, decode
from mmcli.signals import Signal
from tests.conftest import write_wave


def mel(hz: float) -> float:
    """Slaney's scale, written another way: 3 mel to 200 Hz, then 27 steps to every factor of 6.4."""
    return 3 * hz / 200 if hz < 1000 else 15 + 27 * math.log2(hz / 1000) / math.log2(6.4)


def hertz(value: float) -> float:
    low, high = 0.0, 1e6
    for _ in range(80):  # by halving, so that no inverse formula is shared with the code
        middle = (low + high) / 2
        low, high = (middle, high) if mel(middle) < value else (low, middle)
    return low


def reference_filters(rate: int, points: int, bands: int) -> np.ndarray:
    edges = [hertz(mel(rate / 2) * i / (bands + 1)) for i in range(bands + 2)]
    table = np.zeros((points // 2 + 1, bands))
    for row in range(points // 2 + 1):
        hz = row * rate / points
        for band in range(bands):
            left, top, right = edges[band : band + 3]
            if left < hz < right:
                height = 2 / (right - left)  # a triangle of area one
                table[row, band] = height * ((hz - left) / (top - left) if hz <= top else (right - hz) / (right - top))
    return table


@pytest.mark.parametrize(("rate", "points", "bands"), [(16000, 512, 80), (8000, 256, 23)])
def test_the_filterbank_is_the_reference(rate: int, points: int, bands: int) -> None:
    np.testing.assert_allclose(mel_filters(rate, points, bands).numpy(), reference_filters(rate, points, bands), atol=2e-7)


def test_log_mel_values_are_the_reference() -> None:
    """A discrete Fourier transform written out as sums of cosines and sines, frame by frame."""
    rate, config = 16000, Config(normalize="none", mels=40)
    wave = np.random.default_rng(0).normal(size=1000).astype(np.float32) * 0.1
    found = Audio(config, [0.0] * 40, [1.0] * 40).frames(wave).numpy()
    assert found.shape == (1 + (1000 - 400) // 160, 40)
    filters = reference_filters(rate, 512, 40)
    for frame in range(len(found)):
        piece = wave[160 * frame : 160 * frame + 400].astype(np.float64)
        piece = piece * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400))
        angle = 2 * np.pi * np.outer(np.arange(257), np.arange(400)) / 512
        power = (np.cos(angle) @ piece) ** 2 + (np.sin(angle) @ piece) ** 2
        np.testing.assert_allclose(found[frame], np.log(np.maximum(power @ filters, FLOOR)), atol=2e-4)


def test_a_tone_lights_the_band_that_holds_it(tmp_path: Path) -> None:
    config = Config(normalize="none")
    wave, _ = decode(str(write_wave(tmp_path / "a.wav", hz=1000.0)), config)
    band = Audio(config, [0.0] * 80, [1.0] * 80).frames(wave).mean(0).argmax().item()
    edges = [hertz(mel(8000) * i / 81) for i in range(82)]
    assert edges[int(band)] <= 1000 <= edges[int(band) + 2]


def test_resampling_keeps_a_tone_and_its_length(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for rate in (8000, 11025, 22050, 44100, 48000, 44101):
        write_wave(path, seconds=0.5, rate=rate, hz=700.0)
        wave, cut = decode(str(path), Config())
        assert not cut
        assert abs(len(wave) - 8000) <= 20
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
        assert abs(spectrum.argmax() * 16000 / len(wave) - 700) < 4
        assert abs(np.sqrt(np.mean(wave[500:-500] ** 2)) - 0.3 / math.sqrt(2)) < 0.01


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_the_quick_way_into_a_plain_wav_gives_what_libsndfile_gives(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 5001), rate)
    quick = sound._plain_wave(str(path), 10.0)
    assert quick is not None
    samples, found = soundfile.read(path, dtype="float32")
    assert found == quick[1] == rate
    assert np.array_equal(samples, quick[0])
    cut = sound._plain_wave(str(path), 0.1)
    assert cut is not None
    assert len(cut[0]) == int(0.1 * rate) + 1
    for options in ({"subtype": "PCM_24"}, {"subtype": "FLOAT"}, {"subtype": "PCM_U8"}):
        soundfile.write(path, samples, rate, **options)
        assert sound._plain_wave(str(path), 10.0) is None
    soundfile.write(path, np.stack([samples, samples], 1), rate)
    assert sound._plain_wave(str(path), 10.0) is None
    soundfile.write(path, samples, rate)
    path.write_bytes(path.read_bytes()[:-100])
    assert sound._plain_wave(str(path), 10.0) is None  # the header lies: libsndfile is to judge


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = np.linspace(-0.5, 0.5, 1600)
    soundfile.write(tmp_path / "a.wav", np.stack([left, -left, left, left], 1), 16000, subtype="FLOAT")
    wave, _ = decode(str(tmp_path / "a.wav"), Config())
    np.testing.assert_allclose(wave, left / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".flac", ""), (".ogg", ""), (".mp3", ""), (".m4a", "aac"), (".webm", "libopus")]
)
def test_every_format_gives_the_same_tone(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"a{suffix}"
    time = np.arange(16000) / 16000
    tone = (0.3 * np.sin(2 * np.pi * 500 * time)).astype(np.float32)
    if codec:
        import av

        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=48000 if codec == "libopus" else 16000)
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate = 16000
            resampler = av.AudioResampler(stream.format, stream.layout, stream.rate)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                for packet in stream.encode(part):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
    else:
        soundfile.write(path, tone, 16000)
    wave, _ = decode(str(path), Config())
    assert 15000 < len(wave) < 18500
    spectrum = np.abs(np.fft.rfft(wave))
    assert abs(spectrum.argmax() * 16000 / len(wave) - 500) < 3


def test_long_ones_are_cut_and_said(tmp_path: Path) -> None:
    write_wave(tmp_path / "a.wav", seconds=1.0)
    encoded = Audio.fit(Config(max_seconds=0.5), iter([])).transform([str(tmp_path / "a.wav")])
    assert encoded.remarks == {"cut to 0.5 s": 1}
    assert encoded.column.offsets is not None
    assert encoded.column.offsets.tolist() == [0, 1 + (8000 - 400) // 160]


def test_bands_are_standardised_by_train(tmp_path: Path) -> None:
    cells = [str(tmp_path / f"{i}.wav") for i in range(4)]
    for number, cell in enumerate(cells):
        soundfile.write(cell, np.random.default_rng(number).normal(size=8000) * 0.05 * (number + 1), 16000)
    values = Audio.fit(Config(), iter(cells)).transform(cells).column.values.float()
    torch.testing.assert_close(values.mean(0), torch.zeros(80), atol=5e-3, rtol=0)
    torch.testing.assert_close(values.std(0, unbiased=False), torch.ones(80), atol=5e-3, rtol=0)


def test_a_waveform_comes_back_from_its_frames(tmp_path: Path) -> None:
    path = str(write_wave(tmp_path / "a.wav", seconds=0.3))
    config = Config(features="waveform", normalize="none")
    fitted = Audio.fit(config, iter([path]))
    values = fitted.transform([path]).column.values
    assert fitted.describe().kind == "sequence"
    np.testing.assert_allclose(values.float().flatten().numpy()[:4800], decode(path, config)[0], atol=1e-3)


def test_masks_hide_no_more_than_they_say(tmp_path: Path) -> None:
    path = str(write_wave(tmp_path / "a.wav", seconds=0.5))
    fitted = Audio.fit(Config(), iter([path]))
    signal = fitted.transform([path]).column.gather(torch.zeros(64, dtype=torch.int64))
    torch.manual_seed(0)
    varied = fitted.augment(signal, "light")
    hidden = (varied.values == 0).float().mean().item()
    assert 0.05 < hidden < 0.5


def test_more_of_what_is_read_twice_is_hidden_in_runs_of_whole_frames() -> None:
    fitted = Audio(Config(mels=8), [0.0] * 8, [1.0] * 8)
    lengths = torch.tensor([100, 40] * 200)
    torch.manual_seed(0)
    made = fitted.hide(Signal(torch.ones(400, 100, 8), torch.ones(400, dtype=torch.bool), lengths))
    hidden = (made.values == 0).all(2)
    assert torch.equal(hidden, (made.values == 0).any(2))
    share = hidden.sum(1) / lengths
    assert float(share.max()) <= 0.3
    assert 0.12 < float(share.mean()) < 0.15  # two runs of 0 to 15%, which may meet
    assert not hidden[lengths == 40, 40:].any()


def _ramp(lengths: list[int]) -> Signal:
    """Frames whose bands are their own numbers, from 0."""
    own = torch.tensor(lengths)
    steps = torch.arange(max(lengths), dtype=torch.float32)[None, :, None]
    values = torch.where(steps < own[:, None, None], steps, 0.0).expand(-1, -1, 80)
    return Signal(values, torch.ones(len(own), dtype=torch.bool), own)


def test_stretched_recordings_go_from_their_first_frame_to_their_last_at_three_speeds() -> None:
    fitted = Audio(Config(), [0.0] * 80, [1.0] * 80)
    torch.manual_seed(0)
    made = fitted.stretch(_ramp([200] * 64), torch.zeros(64, dtype=torch.int64))
    assert made.lengths is not None
    assert set(made.lengths.tolist()) == {182, 200, 222}
    warped = 0
    for row, length in zip(made.values, made.lengths.tolist(), strict=True):
        own = row[:length, 0]
        assert (own[0], own[-1]) == (0.0, 199.0)
        paces = own.diff()
        assert (paces > 0).all()  # the order of time is kept
        # Two paces at most, and one frame that holds the anchor; an anchor between the quarters moves by a twentieth.
        assert 0.78 < paces.min() * length / 200 < 1.01 < paces.max() * length / 200 + 0.02 < 1.3
        warped += bool(paces.max() - paces.min() > 0.02)
        assert (row[length:] == 0).all()
    assert warped > 40


def test_no_recording_is_sped_up_beyond_what_its_text_needs() -> None:
    fitted = Audio(Config(), [0.0] * 80, [1.0] * 80)
    torch.manual_seed(0)
    least = torch.tensor([190, 60, 0, 300] * 16)
    made = fitted.stretch(_ramp([200, 60, 60, 200] * 16), least)
    assert made.lengths is not None
    found = [set(made.lengths[place::4].tolist()) for place in range(4)]
    assert found == [{200, 222}, {60, 67}, {55, 60, 67}, {200, 222}]


def test_an_anchor_that_moves_stretches_what_lies_before_and_squeezes_what_lies_behind() -> None:
    signal = _ramp([101])
    at, to = torch.tensor([40.0]), torch.tensor([50.0])
    same = torch.tensor([101])
    made = warped(signal.values, same, same, at, to, 101)[0, :, 0]
    assert made[[0, 25, 50, 75, 100]].tolist() == [0.0, 20.0, 40.0, 70.0, 100.0]
    # twice as long, the anchor's place with it
    made = warped(signal.values, same, torch.tensor([201]), at, to, 210)[0, :, 0]
    assert made[201:].tolist() == [0.0] * 9
    assert made[[0, 50, 100, 150, 200]].tolist() == [0.0, 20.0, 40.0, 70.0, 100.0]
    # a row of one frame
    one = torch.tensor([1])
    assert warped(signal.values[:, :1] + 3, one, one, at, to, 1)[0, 0, 0] == 3.0
