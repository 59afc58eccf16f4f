"""Bringing pictures and frames to one square size."""

from __future__ import annotations

from typing import Literal

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
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        grid_BCHW = F.pad(grid_BCHW, (left, side - width - left, top, side - height - top), value=fill)
    if grid_BCHW.shape[-2:] == (size, size):
        return grid_BCHW
    resized: Tensor = F.interpolate(grid_BCHW, (size, size), mode="bicubic", antialias=True)
    return resized
