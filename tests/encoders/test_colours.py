"""The encoder colours: it tells colours that greys do not, and where they lie; greys are nothing to it."""

from __future__ import annotations

import torch

from mmcli.encoders.colours import Colours, Config
from mmcli.encoders.pixels import Config as PixelsConfig
from mmcli.encoders.pixels import Pixels
from mmcli.signals import Signal, SignalSpec


def filled(*corners: tuple[float, float, float]) -> torch.Tensor:
    """[3, 8, 8]: one colour, or one on the left and one on the right."""
    picture = torch.tensor(corners[0])[:, None, None].expand(3, 8, 8).clone()
    if len(corners) > 1:
        picture[:, :, 4:] = torch.tensor(corners[1])[:, None, None]
    return picture


def read(*pictures: torch.Tensor, side: int = 2) -> torch.Tensor:
    values = torch.stack(pictures)
    signal = Signal(values, torch.ones(len(values), dtype=torch.bool))
    return Colours(Config(side=side), SignalSpec(kind="grid", shape=tuple(values.shape[1:]))).encode(signal)[0]


RED, GREEN, BLUE, GREY = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.5)


def test_it_holds_the_opponents_of_each_place() -> None:
    found = read(filled(RED, BLUE))[0]
    red_less_green, yellow_less_blue = [1.0, 0.0, 1.0, 0.0], [0.5, -1.0, 0.5, -1.0]
    wanted = torch.tensor(red_less_green + yellow_less_blue)
    torch.testing.assert_close(found, wanted / wanted.norm())


def test_colours_of_one_brightness_are_far_apart_and_brightness_is_nothing() -> None:
    red, green, dark = read(filled(RED), filled(GREEN), filled((0.4, 0.0, 0.0)))
    assert float(red @ dark) > 0.999
    assert float(red @ green) < 0
    assert not read(filled(GREY)).any()
    one = read(torch.rand(1, 8, 8))
    assert one.shape == (1, 8) and not one.any()


def test_pixels_take_red_and_green_for_one() -> None:
    spec = SignalSpec(kind="grid", shape=(3, 8, 8))
    values = torch.stack([filled(RED, GREEN), filled(GREEN, RED)])
    signal = Signal(values, torch.ones(2, dtype=torch.bool))
    grey = Pixels(PixelsConfig(side=2), spec).encode(signal)[0]
    assert torch.allclose(grey[0], grey[1], atol=1e-6)
    colours = read(*values)
    assert float(colours[0] @ colours[1]) < 0
