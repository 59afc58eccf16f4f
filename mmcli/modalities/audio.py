"""Recordings: WAV, FLAC, OGG and MP3 through libsndfile, M4A and the rest through FFmpeg, to normalised log-mel spectrograms.

Mono (the mean of the channels), resampled by a polyphase filter, cut at `max_seconds`. Frames of 25 ms every 10 ms under a Hann
window; the power spectrum of 2^k >= window points; triangular filters evenly spaced on the mel scale of Slaney (1998), of equal
area; the natural logarithm, floored at 1e-8; each band standardised by the train split. Every number can be checked:

    hz -> mel:  hz / (200 / 3) below 1000 Hz,  15 + 27 ln(hz / 1000) / ln 6.4 above
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice, pairwise
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.media import files as media
from mmcli.media import sound
from mmcli.media.sound import Array
from mmcli.media.spectrograms import mel_filters, runs, shifted, warped
from mmcli.modalities import Encoded, Guess, Modality, Reject, Strength, by_files
from mmcli.signals import Column, Host, Signal, SignalSpec, sent

WINDOW_S, HOP_S = 0.025, 0.010
FLOOR = 1e-8
_SUFFIXES = frozenset(
    [
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".spx",
        ".mp3",
        ".mp2",
        ".m4a",
        ".m4b",
        ".aac",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".snd",
        ".wma",
        ".amr",
        ".mka",
        ".caf",
        ".w64",
        ".rf64",
        ".weba",
        ".ac3",
        ".wv",
        ".ape",
        ".tta",
        ".dts",
    ]
)
SPEEDS = (0.9, 1.0, 1.1)
WARP = 0.05
_FIT_SAMPLE = 500
_CHUNK_FRAMES = 800
"""Frames transformed at once: enough to be fast, few enough to stay in the cache."""


class Config(BaseConfig):
    """How recordings become tensors."""

    sample_rate: int = Field(16000, ge=1000, le=192000)
    """Samples a second after resampling, in Hz (--sample-rate)."""
    mels: int = Field(80, ge=8, le=256)
    """Bands of the spectrogram (--mels)."""
    max_seconds: float = Field(10.0, gt=0, le=3600)
    """Seconds kept of a recording (--max-seconds); how many were cut is said."""
    features: Literal["log-mel", "waveform"] = "log-mel"
    """`waveform` keeps the samples themselves, in frames of 25 ms one after the other, for encoders that start from them."""
    normalize: Literal["train", "none"] = "train"
    """Whether each band (or the waveform) is standardised by the train split."""


class Audio(Modality):
    """Recordings as spectrograms [T, mels], or as sequences [T, samples of 25 ms]."""

    reads_files: ClassVar[bool] = True
    shard_rows: ClassVar[int] = 64
    corruptions: ClassVar[tuple[str, ...]] = ("background noise",)
    in_decibels: ClassVar[frozenset[str]] = frozenset(corruptions)
    encoders: ClassVar[tuple[str, ...]] = ("crnn",)
    more_encoders: ClassVar[tuple[tuple[str, int], ...]] = (("cnn", 3000), ("transformer", 5000))
    text_encoders = ("crnn",)
    long_text_encoders: ClassVar[tuple[tuple[str, float], ...]] = (("conformer", 3600.0),)

    def __init__(self, config: Config, mean: Sequence[float], std: Sequence[float], reach: int | None = None) -> None:
        self.config = config
        self.mean = list(mean)
        self.std = list(std)
        self.reach = config.sample_rate if reach is None else reach
        """The highest rate, in Hz, that recordings of train were made at, at most the config's: above half of it they hold
        nothing."""

    @classmethod
    def sniff(cls, cells: Sequence[str], media_root: str) -> Guess:
        """By suffix, and by opening the first of them that is there."""
        share, reason, named = by_files(cells, media_root, "audio", _SUFFIXES, "a sound file")
        for cell in named[:20] if share >= 0.5 else ():
            try:
                samples, rate = sound.read(media.resolve(cell, media_root), 1.0)
            except Exception:  # decoders raise whatever damaged files lead them to; told where the cell is read for good
                continue
            return Guess(
                0.99, f"{reason}; {media.shown(cell)} has {rate} samples a second, {len(samples) / rate:.2g} s or more"
            )
        return Guess(0.9 if share >= 0.5 else 0.0, reason)

    @classmethod
    def fit(cls, config: Config, cells: Iterable[str]) -> Self:
        """Mean and standard deviation of each band over the first recordings of the train split."""
        blank = cls(config, [0.0] * _width(config), [1.0] * _width(config))
        if config.normalize == "none":
            return blank
        count, total, squares = (
            0,
            torch.zeros(_width(config), dtype=torch.float64),
            torch.zeros(_width(config), dtype=torch.float64),
        )
        reach = 0
        for cell in islice(cells, _FIT_SAMPLE):
            try:
                wave, _, rate = _decoded(cell, config)
                frames, reach = blank.frames(wave).double(), max(reach, min(rate, config.sample_rate))
            except Exception:  # as above
                continue
            count, total, squares = count + len(frames), total + frames.sum(0), squares + frames.square().sum(0)
        if not count:
            return blank
        if config.features == "waveform":
            total, squares = total.mean().expand_as(total), squares.mean().expand_as(squares)
        mean = total / count
        return cls(config, mean.tolist(), (squares / count - mean.square()).clamp(min=1e-8).sqrt().tolist(), reach)

    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """Values float16 [sum of T, mels], with offsets."""
        waves: list[Array] = []
        present = torch.zeros(len(cells), dtype=torch.bool)
        rejects, remarks = [], Counter[str]()
        for position, cell in enumerate(cells):
            wave = np.zeros(0, dtype=np.float32)
            if cell is not None:
                try:
                    wave, cut = decode(cell, self.config)
                    present[position] = True
                    remarks.update([f"cut to {self.config.max_seconds:g} s"] if cut else [])
                except Exception as error:
                    rejects.append(Reject(position, cell, media.reason(error, "a recording that can be decoded")))
            waves.append(wave)
        frames, lengths = self._frames_of_all(waves)
        values = ((frames - torch.tensor(self.mean)) / torch.tensor(self.std)).clamp_(-6e4, 6e4).half()
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor(lengths, dtype=torch.int64).cumsum(0)])
        return Encoded(Column(values, present, offsets), rejects, remarks)

    def frames(self, wave: Array) -> Tensor:
        """float32 [T, mels] log-mel values, or [T, samples of 25 ms], not yet standardised; at least one frame."""
        return self._frames_of_all([wave])[0]

    def _frames_of_all(self, waves: Sequence[Array]) -> tuple[Tensor, list[int]]:
        window, hop = self._window_hop
        if self.config.features == "waveform":
            hop = window
        lengths, blocks = [], []
        for wave in waves:
            if not len(wave):
                lengths.append(0)
                continue
            steps = -(-len(wave) // window) if hop == window else max(1 + (len(wave) - window) // hop, 1)
            needed = (steps - 1) * hop + window
            padded = np.pad(wave, (0, needed - len(wave))) if needed > len(wave) else wave[:needed]
            blocks.append(torch.from_numpy(np.ascontiguousarray(padded)).unfold(0, window, hop))
            lengths.append(steps)
        if not blocks:
            return torch.zeros(0, _width(self.config)), lengths
        if self.config.features == "waveform":
            return torch.cat(blocks), lengths
        out = torch.empty(sum(lengths), self.config.mels)
        done = 0
        for group in _grouped(blocks):
            spectrum = torch.fft.rfft(torch.cat(group) * self._hann, n=self._points)
            real, imaginary = torch.view_as_real(spectrum).unbind(-1)
            power = real.square().addcmul_(imaginary, imaginary)
            out[done : done + len(power)] = power @ self._filters
            done += len(power)
        return out.clamp_(min=FLOOR).log_(), lengths

    @property
    def step_s(self) -> float:
        window, hop = self._window_hop
        return float((hop if self.config.features == "log-mel" else window) / self.config.sample_rate)

    @property
    def _window_hop(self) -> tuple[int, int]:
        return _window(self.config), max(round(HOP_S * self.config.sample_rate), 1)

    @property
    def _points(self) -> int:
        return 1 << (_window(self.config) - 1).bit_length()

    @cached_property
    def _hann(self) -> Tensor:
        return torch.hann_window(_window(self.config))

    @cached_property
    def _filters(self) -> Tensor:
        return mel_filters(self.config.sample_rate, self._points, self.config.mels)

    @cached_property
    def _white(self) -> dict[str, Tensor]:
        """Of each band, [mels]: its `gain`, what it makes of a spectrum of ones as far up as recordings reach, and of as much
        power in all as one of ones throughout; its `share`, by which the bands sum to the
        mean of a spectrum, as nearly as they can (least squares); and the `shape` of the Gamma distribution of white noise in
        it, its independent points (under a Hann window one in 1.5)."""
        weights = self._filters.double()
        heard = torch.linspace(0, self.config.sample_rate / 2, len(weights)) <= self.reach / 2
        whole = weights.sum(0)
        gain = weights[heard].sum(0) * (len(weights) / int(heard.sum()))
        share = torch.linalg.lstsq(weights, torch.ones(len(weights), 1, dtype=torch.float64), driver="gelsd").solution[:, 0]
        shape = (whole.square() / weights.square().sum(0).clamp(min=1e-24) / 1.5).clamp(min=1)
        return {"gain": gain.float(), "share": (share / len(weights)).float(), "shape": shape.float()}

    def describe(self) -> SignalSpec:
        kind: Literal["spectrogram", "sequence"] = "spectrogram" if self.config.features == "log-mel" else "sequence"
        return SignalSpec(kind=kind, shape=(_width(self.config),))

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(), "mean": self.mean, "std": self.std, "reach": self.reach}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]), state["mean"], state["std"], state.get("reach"))

    def linear_features(self, column: Column, train: Tensor) -> Any:  # noqa: ARG002 - nothing to fit
        """Mean and deviation of each band, and its mean in each quarter of the recording: [N, 6 mels]."""
        assert column.offsets is not None
        rows = []
        for start, end in pairwise(column.offsets.tolist()):
            part = column.values[start:end].float() if end > start else torch.zeros(1, column.values.shape[1])
            quarters = [piece.mean(0) for piece in part.repeat_interleave(4, 0).chunk(4)]
            rows.append(torch.cat([part.mean(0), part.std(0, unbiased=False), *quarters]))
        return torch.stack(rows).numpy()

    def corrupt(self, column: Column, how: str, level: float, generator: torch.Generator) -> Column:  # noqa: ARG002
        """background noise, white as far up as the recordings' own rate lets them reach, with the power of the recording at
        level 1 (0 dB), a hundredth of it at 0.1 (20 dB).

        Of spectrograms both powers are those of the waveforms behind them, got back from the bands; the recordings themselves
        are not read again. Powers are added, as if signal and noise never met in phase; a band's noise varies as a mean of so
        many points of the spectrum does (Gamma), each frame by itself. In waveforms it reaches as far up as they could.
        """
        assert column.offsets is not None
        values = column.values.float()
        if level <= 0 or not len(values):
            return column
        lengths = column.offsets.diff()
        row = torch.repeat_interleave(torch.arange(len(column)), lengths)
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        spectral = self.config.features == "log-mel"
        power = (values * std + mean).exp() if spectral else values.square()
        frame = (power @ self._white["share"]).clamp(min=0) if spectral else power.mean(1)
        level_of = torch.zeros(len(column)).index_add_(0, row, frame) / lengths.clamp(min=1)
        noise = level**2 * level_of[row, None]
        if spectral:
            luck = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
            shape = self._white["shape"].numpy()
            grain = torch.from_numpy(luck.standard_gamma(shape, values.shape, dtype=np.float32) / shape)
            values = ((power + noise * self._white["gain"] * grain).clamp(min=FLOOR).log() - mean) / std
        else:
            values = values + noise.sqrt() * torch.randn(values.shape, generator=generator)
        return Column(values.clamp(-1e4, 1e4).to(column.values.dtype), column.present, column.offsets)

    def stretch(self, signal: Signal, least: Tensor) -> Signal:
        """A third of the rows a tenth slower, a third a tenth faster (speed perturbation, Ko 2015), and each warped in time
        (Park 2019): a frame between its quarters moves by up to a twentieth of its length, what lies before and behind is
        stretched to match. Frames are interpolated; bands stay where they are, so that the pitch is kept."""
        if self.config.features == "waveform":
            return signal
        assert signal.lengths is not None
        own, device = signal.lengths, signal.values.device
        speeds = sent(torch.tensor(SPEEDS), device)[torch.randint(len(SPEEDS), own.shape, device=device)]
        lengths = (own / speeds).round().long()
        lengths = torch.where((lengths < own) & (lengths < least), own, lengths)
        anchor = (0.25 + 0.5 * torch.rand(own.shape, device=device)) * own
        moved = anchor + (torch.rand(own.shape, device=device) * 2 - 1) * WARP * own
        # What is drawn on a device is not asked for: some padding more.
        longest = int(lengths.max()) if device.type == "cpu" else math.ceil(signal.values.shape[1] / min(SPEEDS))
        values = warped(signal.values, own, lengths, anchor, moved, max(longest, 1))
        return replace(signal, values=values, lengths=lengths, host=signal.host and Host(signal.host.present))

    def augment(self, signal: Signal, strength: Strength) -> Signal:
        """light: SpecAugment (Park 2019), two runs of bands and two of frames blanked; the level changes.
        strong: longer runs, and the recording shifted in time."""
        values = signal.values.float()
        if self.config.features == "waveform":
            return replace(signal, values=values * _level(values, 0.5, 1.5))
        assert signal.lengths is not None
        values = values + _level(values, -0.3, 0.3)
        B, T, M = values.shape
        most = 0.3 if strength == "strong" else 0.15
        if strength == "strong":
            values = shifted(values, signal.lengths, 0.1)
        for _ in range(2):
            bands = runs(torch.full((B,), M, device=values.device), M, most)
            steps = runs(signal.lengths, T, most)
            values = values.masked_fill(bands[:, None, :] | steps[:, :, None], 0.0)
        return replace(signal, values=values * signal.mask()[..., None])

    def hide(self, signal: Signal) -> Signal:
        """Two more runs of frames blanked, each of up to 15% of them (Yao 2024 has 2.5 times as many)."""
        assert signal.lengths is not None
        values = signal.values
        for _ in range(2):
            values = values.masked_fill(runs(signal.lengths, values.shape[1], 0.15)[:, :, None], 0.0)
        return replace(signal, values=values)


def decode(path: str, config: Config) -> tuple[Array, bool]:
    """Mono float32 samples at the config's rate, at most `max_seconds` of them, and whether more were cut.

    Raises:
        OSError, ValueError: it cannot be read, holds no samples, or samples that are not finite numbers.
    """
    wave, cut, _ = _decoded(path, config)
    return wave, cut


def _decoded(path: str, config: Config) -> tuple[Array, bool, int]:
    """The same, and the rate that it was made at, in Hz."""
    samples, rate = sound.read(path, config.max_seconds + 1e-3)
    wave = sound.resampled(samples, rate, config.sample_rate)
    kept = max(int(config.max_seconds * config.sample_rate), 1)
    return wave[:kept], len(samples) > int(config.max_seconds * rate), rate


def _window(config: Config) -> int:
    return max(round(WINDOW_S * config.sample_rate), 2)


def _width(config: Config) -> int:
    return config.mels if config.features == "log-mel" else _window(config)


def _grouped(blocks: Sequence[Tensor]) -> Iterable[list[Tensor]]:
    """Runs of blocks of about _CHUNK_FRAMES frames together."""
    group, size = list[Tensor](), 0
    for block in blocks:
        for piece in block.split(_CHUNK_FRAMES):
            group.append(piece)
            size += len(piece)
            if size >= _CHUNK_FRAMES:
                yield group
                group, size = [], 0
    if group:
        yield group


def _level(values: Tensor, low: float, high: float) -> Tensor:
    return torch.empty(len(values), 1, 1, device=values.device).uniform_(low, high)
