"""Skewness by hand, and where a log scale suits numbers better."""

from __future__ import annotations

import numpy as np
import pytest

from mmcli.vectors.skewed import eased, skewness


def test_skewness_by_hand() -> None:
    assert skewness(np.array([1.0, 2.0, 3.0])) == pytest.approx(0)
    assert skewness(np.array([0.0, 0.0, 0.0, 4.0])) == pytest.approx(6 / 3**1.5)


def test_a_log_scale_must_halve_what_is_skewed_to_the_right() -> None:
    assert eased(1.0, 0.5) and eased(3.0, -1.5)
    assert not eased(0.99, 0.0) and not eased(2.0, 1.01) and not eased(2.0, -1.01) and not eased(-3.0, 0.0)
