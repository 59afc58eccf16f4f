"""Another sample rate by a polyphase filter: what scipy.signal.resample_poly does, by numpy alone."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def resample_poly(samples: Array, up: int, down: int) -> Array:
    """ceil(N up / down) samples from N: `y_i = sum_k h[half + i down - k up] x_k`, h a low pass under a Kaiser window."""
    common = math.gcd(up, down)
    up, down = up // common, down // common
    if up == down:
        return samples.copy()
    phases, half = _filter(up, down)
    taps = phases.shape[1]
    count = -(-len(samples) * up // down)
    around = np.pad(samples.astype(np.float32), (taps, taps + half // up + down))
    made = np.zeros(count, dtype=np.float32)
    for first in range(min(up, count)):
        newest, phase = divmod(half + first * down, up)
        own = len(range(first, count, up))
        windows = np.lib.stride_tricks.sliding_window_view(around, taps)[newest + 1 :: down][:own]
        made[first::up] = windows @ phases[phase]
    return made


@lru_cache(maxsize=8)
def _filter(up: int, down: int) -> tuple[Array, int]:
    """float32 [up, taps], each phase's coefficients from the oldest sample to the newest; and half the filter's length."""
    rate = max(up, down)
    half = 10 * rate
    place = np.arange(-half, half + 1)
    low_pass = np.sinc(place / rate) * np.kaiser(2 * half + 1, 5.0)
    low_pass *= up / low_pass.sum()
    taps = -(-len(low_pass) // up)
    phases = np.pad(low_pass, (0, taps * up - len(low_pass))).reshape(taps, up).T[:, ::-1]
    return np.ascontiguousarray(phases, dtype=np.float32), half
