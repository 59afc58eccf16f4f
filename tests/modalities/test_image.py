from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from mmcli.modalities.image import Config, Image, decode


def one(path: Path, **options: object) -> torch.Tensor:
    return decode(str(path), Config(**{"size": 8, **options}))


def save(tmp_path: Path, image: Pillow.Image, name: str = "x.png", **options: object) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


def halves(left: tuple[int, ...], right: tuple[int, ...], mode: str = "RGB") -> Pillow.Image:
    """16 x 16, one colour on either side."""
    image = Pillow.new(mode, (16, 16), left)
    image.paste(right, (8, 0, 16, 16))
    return image


def sides(pixels: torch.Tensor) -> tuple[list[int], list[int]]:
    return pixels[:, 4, 0].tolist(), pixels[:, 4, -1].tolist()


def test_modes(tmp_path: Path) -> None:
    red, blue = (255, 0, 0), (0, 0, 255)
    assert sides(one(save(tmp_path, halves(red, blue)))) == ([255, 0, 0], [0, 0, 255])
    assert sides(one(save(tmp_path, halves(red, blue).quantize(4)))) == ([255, 0, 0], [0, 0, 255])
    assert sides(one(save(tmp_path, halves((10,), (200,), "L")))) == ([10] * 3, [200] * 3)
    assert sides(one(save(tmp_path, halves((0,), (1,), "1")))) == ([0] * 3, [255] * 3)
    transparent = halves((255, 0, 0, 255), (0, 0, 0, 0), "RGBA")
    assert sides(one(save(tmp_path, transparent))) == ([255, 0, 0], [255, 255, 255])
    assert sides(one(save(tmp_path, halves((0, 255), (0, 0), "LA")))) == ([0] * 3, [255] * 3)


def test_palette_with_transparency_is_on_white(tmp_path: Path) -> None:
    image = halves((255, 0, 0), (0, 0, 255)).quantize(4)
    clear = image.getpixel((15, 0))
    assert sides(one(save(tmp_path, image, transparency=clear))) == ([255, 0, 0], [255, 255, 255])


def test_cmyk(tmp_path: Path) -> None:
    path = save(tmp_path, halves((0, 255, 255, 0), (0, 0, 0, 255), "CMYK"), "x.tif")
    assert sides(one(path)) == ([255, 0, 0], [0, 0, 0])


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    depth = np.zeros((16, 16), dtype=np.uint16)
    depth[:, :8], depth[:, 8:] = 257 * 100, 65535
    path = save(tmp_path, Pillow.fromarray(depth))
    assert sides(one(path)) == ([100] * 3, [255] * 3)


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    path = save(tmp_path, halves((255, 0, 0), (0, 0, 255)), exif=exif)
    assert sides(one(path)) == ([0, 0, 255], [255, 0, 0])


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Pillow.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    path = tmp_path / "x.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert one(path)[:, 0, 0].tolist() == [255, 0, 0]


def test_fit(tmp_path: Path) -> None:
    wide = Pillow.new("RGB", (32, 16), "red")
    wide.paste((0, 0, 255), (8, 0, 24, 16))
    path = save(tmp_path, wide)
    assert sides(one(path, fit="crop")) == ([0, 0, 255], [0, 0, 255])
    padded = one(path, fit="pad")
    assert padded[:, 0, 0].tolist() == [255, 255, 255]
    assert padded[:, 4, 0].tolist() == [255, 0, 0]
    assert sides(one(path)) == ([255, 0, 0], [255, 0, 0])


def test_resizing_is_pillows_antialiased_bicubic_within_a_grey_level(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 80, 3), dtype=np.uint8)
    path = save(tmp_path, Pillow.fromarray(noise))
    reference = np.asarray(Pillow.fromarray(noise).resize((24, 24), Pillow.Resampling.BICUBIC)).astype(int)
    ours = one(path, size=24).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(ours - reference).max() <= 1


def test_jpegs_at_a_smaller_scale_stay_near_the_full_decode(tmp_path: Path) -> None:
    y, x = np.mgrid[0:512, 0:512]
    smooth = np.stack([127 + 100 * np.sin(x / 40), 127 + 100 * np.cos(y / 30), (x + y) / 4], -1).astype(np.uint8)
    path = save(tmp_path, Pillow.fromarray(smooth), "x.jpg", quality=95)
    fast, exact = one(path, size=32).int(), one(path, size=32, exact=True).int()
    assert (fast - exact).abs().float().mean() < 1.0


def test_too_many_pixels_are_rejected_before_decoding(tmp_path: Path) -> None:
    path = save(tmp_path, Pillow.new("1", (4000, 4000)))
    modality = Image.fit(Config(size=8, max_pixels=1_000_000), iter([]))
    reject = modality.transform([str(path)]).rejects[0]
    assert reject.reason == "4000 x 4000 is over max_pixels = 1000000 (--max-pixels allows more)"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"<html></html>", "not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, ""),
        (None, "no such file"),
    ],
)
def test_unreadable_files_say_why(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "x.png"
    if content is not None:
        path.write_bytes(content)
    encoded = Image.fit(Config(size=8), iter([])).transform([str(path)])
    assert reason in encoded.rejects[0].reason
    assert not encoded.column.present[0]


def test_what_is_no_file_is_rejected_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    cells = [str(tmp_path / f"{name}.png") for name in ("pipe", "folder", "loop")]
    rejects = Image.fit(Config(size=8), iter([])).transform(cells).rejects
    assert [reject.position for reject in rejects] == [0, 1, 2]
    assert "not a file" in rejects[0].reason


def test_a_truncated_file_is_rejected(tmp_path: Path) -> None:
    path = save(tmp_path, Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    path.write_bytes(path.read_bytes()[:2000])
    assert "truncated" in Image.fit(Config(size=8), iter([])).transform([str(path)]).rejects[0].reason


def test_normalised_with_what_is_needed_to_undo_it(tmp_path: Path) -> None:
    path = save(tmp_path, halves((124, 116, 104), (255, 255, 255)))
    modality = Image.fit(Config(size=16), iter([]))
    values = modality.transform([str(path)]).column.values
    assert values.dtype == torch.float16
    # (124 / 255 - 0.485) / 0.229 and so on: ImageNet's mean lies near zero
    assert values[0, :, 8, 0].tolist() == pytest.approx([0.0056, -0.0049, 0.0082], abs=2e-3)
    assert values[0, :, 8, -1].tolist() == pytest.approx([2.2489, 2.4286, 2.6400], abs=2e-3)
    assert torch.equal(modality.denormalize(values)[0], one(path, size=16))


def test_stored_bytes_give_the_same_values(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    cells = [str(save(tmp_path, Pillow.fromarray(noise))), None]
    half = Image.fit(Config(size=16), iter([])).transform(cells).column
    compact_modality = Image.fit(Config(size=16, store="uint8"), iter([]))
    compact = compact_modality.transform(cells).column
    assert compact.values.dtype == torch.uint8
    assert torch.equal(compact_modality.restore(compact).values, half.values)


def test_statistics_of_the_train_split(tmp_path: Path) -> None:
    path = save(tmp_path, halves((0, 51, 255), (0, 153, 255)))
    modality = Image.fit(Config(size=16, normalize="train"), iter([str(path)]))
    assert modality.mean == pytest.approx((0, 0.4, 1), abs=0.01)
    assert modality.std[1] == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(("width", "encoders"), [(96, ("crnn",)), (40, ("crnn",)), (30, ("cnn",)), (10, ("cnn",))])
def test_wide_pictures_are_lines_of_print_where_the_target_is_a_text(
    tmp_path: Path, width: int, encoders: tuple[str, ...]
) -> None:
    sizes = [(width, 20), (width, 20), (20, 20)]
    for number, size in enumerate(sizes):
        Pillow.new("RGB", size).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"none")
    made = Image.fit(Config(), iter([str(tmp_path / f"{number}.png") for number in range(4)]))
    assert made.shape == width / 20
    assert made.text_encoders == Image.from_state(made.state()).text_encoders == encoders
    old = {key: value for key, value in made.state().items() if key != "shape"}
    assert Image.from_state(old).text_encoders == ("cnn",)
