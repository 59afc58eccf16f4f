"""What parameters begin with."""

from __future__ import annotations

import pytest
import torch

from mmcli.layers.starting import drawn, unfilled


def test_numbers_are_those_of_the_generator_and_none_are_drawn_for_what_is_loaded() -> None:
    torch.manual_seed(0)
    wanted = [torch.randn(3, 40) * 0.1, torch.randn(5)]
    after = torch.rand(2)
    torch.manual_seed(0)
    found = [drawn(3, 40, std=0.1), drawn(5)]
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))
    assert torch.equal(torch.rand(2), after)
    torch.manual_seed(0)
    with unfilled():
        assert not drawn(3, 40).any()
    assert torch.equal(drawn(3, 40, std=0.1), wanted[0])


def test_an_error_meanwhile_ends_it() -> None:
    with pytest.raises(ValueError, match="x"), unfilled():
        raise ValueError("x")
    assert drawn(3).all()
