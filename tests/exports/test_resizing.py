"""Bit for bit what torch makes of the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmcli.exports.resizing import square
from mmcli.media import pixels


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [8, 33, 64, 224])
def test_resizing_is_torchs(fit: pixels.Fit, size: int) -> None:
    rng = np.random.default_rng(size)
    for height, width in [
        (1, 1),
        (2, 300),
        (size, size),
        (size, 90),
        (7 * size + 3, size // 2 + 1),
        *rng.integers(1, 400, (8, 2)),
    ]:
        picture = rng.choice([0, 255, 128, 3], (height, width, 3)).astype(np.uint8)  # hard edges, where weights overshoot
        wanted = pixels.square(torch.from_numpy(picture).permute(2, 0, 1)[None], size, fit, fill=255)[0]
        np.testing.assert_array_equal(square(picture, size, fit, 255), wanted.numpy())
