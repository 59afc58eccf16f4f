"""Recordings: mono, at one sample rate, to standardised log-mel spectrograms, or to their samples in frames of 25 ms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile  # noqa: F401 - asked for at once, not at the first recording

from mmcli.exports.made import Array, Cells, Made, each, padded
from mmcli.media import sound

WINDOW_S, HOP_S = 0.025, 0.010
FLOOR = 1e-8


class Sounds:
    """Paths -> float32 [B, T, mels] or [B, T, samples of 25 ms], rounded to float16 as in training."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: ARG002 - no file beside the state
        self.config = state["config"]
        self.rate = self.config["sample_rate"]
        self.mel = self.config["features"] == "log-mel"
        self.mean, self.std = (np.array(state[name], dtype=np.float32) for name in ("mean", "std"))
        self.window = max(round(WINDOW_S * self.rate), 2)
        self.hop = max(round(HOP_S * self.rate), 1) if self.mel else self.window
        self.points = 1 << (self.window - 1).bit_length()
        self.hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)).astype(np.float32)
        self.filters = mel_filters(self.rate, self.points, self.config["mels"]) if self.mel else None

    def names_file(self, cell: str) -> bool:  # noqa: ARG002 - always
        return True

    def __call__(self, cells: Cells) -> Made:
        rows = [np.zeros((0, len(self.mean)), dtype=np.float16)] * len(cells)
        remarks = Counter[str]()

        def read(position: int, cell: str) -> None:
            wave, cut = self.decoded(cell)
            frames = (self.frames(wave) - self.mean) / self.std
            rows[position] = frames.clip(-6e4, 6e4).astype(np.float16)
            remarks.update([f"cut to {self.config['max_seconds']:g} s"] if cut else [])

        present, rejects = each(cells, read, "a recording that can be decoded")
        values, lengths = padded(rows, (len(self.mean),), np.float32)
        return Made(values, present, lengths, rejects=rejects, remarks=remarks)

    def decoded(self, path: str) -> tuple[Array, bool]:
        """Mono samples at the column's rate, at most `max_seconds` of them, and whether more were cut."""
        longest = self.config["max_seconds"]
        samples, rate = sound.read(path, longest + 1e-3)
        wave = sound.resampled(samples, rate, self.rate)
        return wave[: max(int(longest * self.rate), 1)], len(samples) > int(longest * rate)

    def frames(self, wave: Array) -> Array:
        """float32 [T, mels] log-mel values, or [T, samples of 25 ms]; at least one frame of what has samples."""
        if not len(wave):
            return np.zeros((0, len(self.mean)), dtype=np.float32)
        window, hop = self.window, self.hop
        steps = max(1 + (len(wave) - window) // hop, 1) if self.mel else -(-len(wave) // window)
        needed = (steps - 1) * hop + window
        wave = np.pad(wave[:needed], (0, max(needed - len(wave), 0))).astype(np.float32)
        blocks = np.lib.stride_tricks.sliding_window_view(wave, window)[::hop]
        if self.filters is None:
            return blocks
        spectrum = np.fft.rfft(blocks * self.hann, n=self.points)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        loud: Array = np.log(np.maximum(power @ self.filters, np.float32(FLOOR)))
        return loud


def mel_filters(sample_rate: int, points: int, bands: int) -> Array:
    """float32 [points / 2 + 1, bands]: triangles of equal area, evenly spaced on the mel scale of Slaney (1998)."""
    frequencies = np.linspace(0, sample_rate / 2, points // 2 + 1)
    edges = _hz(np.linspace(0, _mel(sample_rate / 2), bands + 2))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - low) / (centre - low)
    falling = (high - frequencies[:, None]) / (high - centre)
    triangles = np.maximum(np.minimum(rising, falling), 0)
    filters: Array = (triangles * (2 / (high - low))).astype(np.float32)
    return filters


def _mel(hz: float) -> float:
    return hz / (200 / 3) if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _hz(mel: Array) -> Array:
    return np.where(mel < 15, mel * (200 / 3), 1000 * np.exp((mel - 15) * (math.log(6.4) / 27)))
