"""Pictures and frames as tensors: brought to one square size, and varied for training, in batches, on their device."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Fit = Literal["stretch", "crop", "pad"]


def square(grid_BCHW: Tensor, size: int, fit: Fit, fill: int) -> Tensor:
    """uint8 [B, C, size, size]: stretched, cropped at the centre, or padded with the grey level `fill`; antialiased bicubic."""
    height, width = grid_BCHW.shape[-2:]
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        grid_BCHW = grid_BCHW[..., top : top + side, left : left + side]
    elif fit == "pad":
        grid_BCHW = _shorter(grid_BCHW, size)
        height, width = grid_BCHW.shape[-2:]
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        grid_BCHW = F.pad(grid_BCHW, (left, side - width - left, top, side - height - top), value=fill)
    if grid_BCHW.shape[-2:] == (size, size):
        return grid_BCHW
    resized: Tensor = F.interpolate(grid_BCHW, (size, size), mode="bicubic", antialias=True)
    return resized


LONGEST_PADDED = 8192
"""Pixels of a side from which on a picture is made smaller before it is padded: the whole square would take much."""


def _shorter(grid_BCHW: Tensor, size: int) -> Tensor:
    """A picture that is too long to be padded as it is, at eight times the size wanted; all others as they are."""
    height, width = grid_BCHW.shape[-2:]
    if max(height, width) <= max(LONGEST_PADDED, 8 * size):
        return grid_BCHW
    share = 8 * size / max(height, width)
    small: Tensor = F.interpolate(
        grid_BCHW, (max(round(height * share), 1), max(round(width * share), 1)), mode="bicubic", antialias=True
    )
    return small


def affine(values: Tensor, theta: Tensor) -> Tensor:
    """[B, C, H, W] moved by theta [B, 2, 3] (see torch's affine_grid), borders repeated."""
    grid = F.affine_grid(theta, list(values.shape), align_corners=False)
    moved: Tensor = F.grid_sample(values, grid, padding_mode="border", align_corners=False)
    return moved


def blurred(grid_BCHW: Tensor, sigma: float) -> Tensor:
    """Pixels under a Gaussian of that deviation, cut off beyond two, mirrored at the edges: torchvision's `gaussian_blur`,
    which takes two seconds to import."""
    reach, channels = math.ceil(2 * sigma), grid_BCHW.shape[1]
    end = reach / math.sqrt(2.0)
    places = torch.linspace(-end, end, steps=2 * reach + 1, dtype=grid_BCHW.dtype, device=grid_BCHW.device)
    line = places.div(sigma).pow(2).neg().softmax(0)
    kernel = (line[:, None] * line).expand(channels, 1, -1, -1)
    return F.conv2d(F.pad(grid_BCHW, [reach] * 4, mode="reflect"), kernel, groups=channels)


def erase(values: Tensor, share: float) -> Tensor:
    """Blanks a square of a quarter to a half of the side in that share of the pictures (DeVries and Taylor 2017)."""
    rows, _, height, width = values.shape
    device = values.device
    side = torch.empty(rows, 1, device=device).uniform_(0.25, 0.5) * (torch.rand(rows, 1, device=device) < share)
    top, left = torch.rand(rows, 1, device=device) - side / 2, torch.rand(rows, 1, device=device) - side / 2
    y = (torch.arange(height, device=device) + 0.5)[None] / height
    x = (torch.arange(width, device=device) + 0.5)[None] / width
    hidden = ((y > top) & (y < top + side))[:, :, None] & ((x > left) & (x < left + side))[:, None, :]
    return values.masked_fill(hidden[:, None], 0.0)


OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
"""What `trivial_augment` chooses from: the operations of the paper."""


def trivial_augment(pixels: Tensor) -> Tensor:
    """[B, 3, H, W] from 0 to 1: each picture changed by one operation of `OPERATIONS`, of random strength (Mueller and Hutter
    2021, TrivialAugment, its RA space). All pictures of a batch are changed at once."""
    rows, device = len(pixels), pixels.device
    chosen = torch.randint(len(OPERATIONS), (rows,))
    return changed(pixels, chosen, torch.rand(rows, device=device), torch.randint(2, (rows,), device=device) * 2.0 - 1.0)


def changed(pixels: Tensor, chosen: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Each picture changed by the operation `chosen` [B], on the host, by `strength` [B] from 0 to 1, towards `sign` [B], 1 or
    -1. Nobody waits for a device: which pictures an operation changes is known where it was drawn."""
    counts = torch.bincount(chosen, minlength=len(OPERATIONS)).tolist()
    places = chosen.argsort(stable=True).to(pixels.device, non_blocking=True).split(counts)
    chosen, signed = chosen.to(pixels.device, non_blocking=True), strength * sign
    theta = torch.eye(2, 3, device=pixels.device).repeat(len(pixels), 1, 1)
    for number, (row, place, most) in {1: (0, 1, 0.3), 2: (1, 0, 0.3), 3: (0, 2, 0.6), 4: (1, 2, 0.6)}.items():
        theta[:, row, place] += torch.where(chosen == number, signed * most, 0.0)
    angle = torch.where(chosen == 5, signed * (torch.pi / 6), 0.0)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1)
    theta[:, :, :2] = torch.where((chosen == 5)[:, None, None], turn, theta[:, :, :2])
    result, moves = pixels.clone(), torch.cat(places[1:6])
    if len(moves):
        result[moves] = affine(pixels[moves], theta[moves])
    for number in range(6, len(OPERATIONS)):
        own = places[number]
        if len(own):
            result[own] = _recoloured(
                OPERATIONS[number], pixels[own], strength[own, None, None, None], signed[own, None, None, None]
            )
    return result


def _recoloured(name: str, pixels: Tensor, strength: Tensor, signed: Tensor) -> Tensor:
    if name in {"brightness", "color", "contrast", "sharpness"}:
        shares = torch.tensor([0.299, 0.587, 0.114]).to(pixels, non_blocking=True)
        grey = (pixels * shares[:, None, None]).sum(1, keepdim=True)
        dull = {
            "brightness": torch.zeros_like(pixels),
            "color": grey.expand_as(pixels),
            "contrast": grey.mean((2, 3), keepdim=True).expand_as(pixels),
            "sharpness": F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1),
        }[name]
        return (dull + (pixels - dull) * (1 + 0.9 * signed)).clamp(0, 1)
    if name == "posterize":
        levels = 2.0 ** (8 - (4 * strength).round())
        return (pixels * (levels - 1)).round() / (levels - 1)
    if name == "solarize":
        return torch.where(pixels >= 1 - strength, 1 - pixels, pixels)
    if name == "autocontrast":
        low, high = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
        return torch.where(high > low, (pixels - low) / (high - low).clamp(min=1e-6), pixels)
    ranks = pixels.flatten(2).mul(255).round().sort(2).values.contiguous()
    flat = pixels.flatten(2).mul(255).round().contiguous()
    return (torch.searchsorted(ranks, flat, right=True) / flat.shape[2]).reshape(pixels.shape)
