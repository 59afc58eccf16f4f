"""The operations of TrivialAugment against Pillow's, which the paper used; boxes that are blanked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from mmcli.media.pixels import OPERATIONS, blurred, changed, erase, trivial_augment


def picture() -> Tensor:
    rng = np.random.default_rng(0)
    smooth = rng.integers(20, 220, (4, 4, 3)).astype(np.uint8)
    return torch.from_numpy(np.array(Image.fromarray(smooth).resize((24, 24)))).permute(2, 0, 1)


def run(name: str, strength: float, sign: float = 1.0) -> Tensor:
    """The picture after one operation, as bytes."""
    own = torch.tensor([OPERATIONS.index(name)])
    made = changed(picture()[None].float() / 255, own, torch.tensor([strength]), torch.tensor([sign]))
    return (made[0] * 255).round().clamp(0, 255)


def pillow(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


SOURCE = Image.fromarray(picture().permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("identity", SOURCE),
        ("brightness", ImageEnhance.Brightness(SOURCE).enhance(1.45)),
        ("color", ImageEnhance.Color(SOURCE).enhance(1.45)),
        ("contrast", ImageEnhance.Contrast(SOURCE).enhance(1.45)),
        ("solarize", ImageOps.solarize(SOURCE, 128)),
        ("autocontrast", ImageOps.autocontrast(SOURCE)),
    ],
)
def test_operations_are_those_of_pillow(name: str, expected: Image.Image) -> None:
    difference = (run(name, 0.5) - pillow(expected)).abs()
    assert difference.max() <= 2, name


def test_equalized_greys_are_spread_evenly() -> None:
    made = run("equalize", 0.5)[0].flatten().sort().values
    assert (made - torch.linspace(0, 255, len(made))).abs().mean() < 3


def test_posterized_pictures_have_few_levels() -> None:
    assert len(run("posterize", 1.0).unique()) <= 16
    assert len(run("posterize", 0.0).unique()) > 50


def test_moving_left_is_the_reverse_of_moving_right() -> None:
    right, left = run("translate_x", 0.5, -1.0), run("translate_x", 0.5, 1.0)
    shift = round(0.5 * 0.6 * 24 / 2)
    original = picture().float()
    assert (right[..., shift + 1 : -1] - original[..., 1 : -shift - 1]).abs().mean() < 12
    assert (left[..., 1 : -shift - 1] - original[..., shift + 1 : -1]).abs().mean() < 12


def test_a_batch_is_changed_picture_by_picture_within_range() -> None:
    torch.manual_seed(0)
    batch = picture()[None].float().repeat(64, 1, 1, 1) / 255
    made = trivial_augment(batch)
    assert made.shape == batch.shape
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    same = torch.tensor([torch.equal(a, b) for a, b in zip(made, batch, strict=True)])
    assert 0 < same.sum() < 20  # the identity is one of fourteen


def test_erasing_blanks_one_box_a_picture() -> None:
    torch.manual_seed(0)
    made = erase(torch.ones(200, 3, 32, 32), 1.0)
    blank = (made[:, 0] == 0).float().mean((1, 2))
    assert (made == made[:, :1]).all()
    assert 0.03 < float(blank.mean()) < 0.15
    assert (erase(torch.ones(50, 3, 8, 8), 0.0) == 1).all()


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_a_blur_is_torchvisions(sigma: float) -> None:
    from torchvision.transforms.v2.functional import gaussian_blur

    pixels = torch.randn(2, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    wanted = gaussian_blur(pixels, {0.1: 3, 0.7: 5, 2.0: 9}[sigma], sigma)
    assert torch.equal(blurred(pixels, sigma), wanted)
