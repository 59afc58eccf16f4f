"""Spectrograms: the triangles of mel that give their bands; frames of many rows warped, shifted, and runs of them blanked."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mel_filters(sample_rate: int, points: int, bands: int) -> Tensor:
    """float32 [points / 2 + 1, bands]: triangles of equal area, evenly spaced in mel from 0 Hz to half the rate."""
    frequencies = torch.linspace(0, sample_rate / 2, points // 2 + 1, dtype=torch.float64)
    edges = _hz(torch.linspace(0, float(_mel(sample_rate / 2)), bands + 2, dtype=torch.float64))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - low) / (centre - low)
    falling = (high - frequencies[:, None]) / (high - centre)
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * (2 / (high - low))).float()


def _mel(hz: float) -> float:
    return hz / (200 / 3) if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _hz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * (200 / 3), 1000 * torch.exp((mel - 15) * (math.log(6.4) / 27)))


def warped(values: Tensor, own: Tensor, lengths: Tensor, anchor: Tensor, moved: Tensor, longest: int) -> Tensor:
    """[B, T, M] brought to other lengths, none more than `longest`, frame `anchor` of each row's own to where `moved`
    would be at its own length: linear between first frame, anchor and last frame, and between frames; zero behind the end."""
    last = (own - 1).clamp(min=0).float()[:, None]
    steps = torch.arange(longest, device=own.device)[None]
    place = steps * last / (lengths - 1).clamp(min=1)[:, None]
    anchor, moved = (torch.minimum(at[:, None], last) for at in (anchor, moved))
    behind = anchor + (place - moved) * (last - anchor) / (last - moved).clamp(min=1e-6)
    place = torch.where(place < moved, place * anchor / moved.clamp(min=1e-6), behind)
    place = torch.minimum(place.clamp(min=0), last)
    low = place.floor().long()
    high = torch.minimum(low + 1, last.long())
    share = (place - low)[..., None]
    rows = torch.arange(len(own), device=own.device)[:, None]
    found = values[rows, low].float().lerp(values[rows, high].float(), share)
    return found * (steps < lengths[:, None])[..., None]


def shifted(values: Tensor, lengths: Tensor, most: float) -> Tensor:
    """[B, T, M] with each recording moved by up to that share of its length, its edge frames repeated."""
    shift = ((torch.rand(len(lengths), device=lengths.device) * 2 - 1) * most * lengths).round().long()
    place = torch.arange(values.shape[1], device=lengths.device)[None] + shift[:, None]
    place = torch.minimum(place.clamp(min=0), (lengths - 1).clamp(min=0)[:, None])
    return values.gather(1, place[..., None].expand_as(values))


def runs(lengths: Tensor, longest: int, share: float) -> Tensor:
    """bool [B, longest]: in each row one run of up to `share` of its length, anywhere within it."""
    rows = len(lengths)
    size = (torch.rand(rows, device=lengths.device) * share * lengths).round()
    start = torch.rand(rows, device=lengths.device) * (lengths - size)
    place = torch.arange(longest, device=lengths.device)[None]
    return (place >= start[:, None]) & (place < (start + size)[:, None])
