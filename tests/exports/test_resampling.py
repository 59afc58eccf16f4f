"""What scipy makes of the same samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from mmcli.exports.resampling import resample_poly


@pytest.mark.parametrize("rates", [(1, 3), (2, 1), (160, 441), (320, 441), (441, 160), (1000, 771), (1, 1), (80, 8)])
@pytest.mark.parametrize("count", [1, 2, 100, 4001])
def test_resampling_is_scipys(rates: tuple[int, int], count: int) -> None:
    samples = np.random.default_rng(count).normal(0, 0.3, count).astype(np.float32)
    wanted = signal.resample_poly(samples, *rates)
    found = resample_poly(samples, *rates)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=2e-6)
