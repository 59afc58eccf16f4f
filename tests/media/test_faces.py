"""Faces taken out of pictures: boxes, landmarks, what columns and cells say of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcli.media import boxes, faces, files, looking, marks
from mmcli.media.boxes import Told
from mmcli.media.faces import Framing

ONE = Told(("face",))


def noise(height: int = 40, width: int = 60) -> faces.Bytes:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def marked(cell: str | None, told: Told = ONE) -> str:
    return str(told.over(["a.png"], [[cell]])[0])


@pytest.mark.parametrize(
    "cell",
    [
        "[10, 20, 30, 40]",
        "10 20 30 40",
        "10,20,30,40",
        " 10; 20; 30; 40 ",
        "(10, 20, 30, 40)",
        "[[10, 20, 30, 40]]",
        '["10", "20", "30", "40"]',
        '{"x": 10, "y": 20, "w": 30, "h": 40}',
        "{'X': 10, 'Y': 20, 'Width': 30, 'Height': 40}",
        '{"left": 10, "top": 20, "right": 40, "bottom": 60, "score": 0.9}',
        '{"x1": 10, "y1": 20, "x2": 40, "y2": 60}',
        """{"x": 10, "y": 20, "w": 30, "h": 40, "name": "O'Hara (left)"}""",
        """{'x': 10, 'y': 20, 'w': 30, 'h': 40, 'name': "O'Hara (left)", 'seen': None}""",
        "{'x': 10, 'y': 20, 'w': 30, 'h': 40, 'seen': true, 'score': NaN}",
    ],
)
def test_a_box_in_all_its_forms(cell: str) -> None:
    assert marked(cell) == "a.png#xywh=10,20,30,40"


@pytest.mark.parametrize("mark", ["#xywh=1,2,3,4", "#points=1,2,3,4", "#face=whole", "#face=none,nobody"])
def test_what_is_no_picture_has_no_mark(tmp_path: Path, mark: str) -> None:
    file = tmp_path / "a#1.wav"
    file.write_bytes(b"RIFF")
    assert files.unmarked(str(file)) == str(file)
    with pytest.raises(ValueError, match=r"tells where on a picture a face is, and this is none: name the file alone"):
        files.unmarked(f"{file}{mark}")


def test_fractions_and_a_column_for_each_number() -> None:
    assert marked("[0.1, 0.25, 0.5, 0.5]") == "a.png#xywh=percent:10,25,50,50"
    each = Told(("x", "y", "w", "h"))
    assert each.over(["a.png", None, "b.png"], [["1", "1", "0"], ["2"] * 3, ["3"] * 3, ["4"] * 3]) == [
        "a.png#xywh=1,2,3,4",
        None,
        "b.png#xywh=0,2,3,4",
    ]
    assert "a number is missing" in marks_reason(str(each.over(["a.png"], [["1"], [None], ["3"], ["4"]])[0]))


def marks_reason(cell: str) -> str:
    with pytest.raises(ValueError, match=r"\w") as raised:
        marks.place_of(marks.parted(cell)[1])
    return str(raised.value)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("[1, 2, 3]", "takes 4 numbers"),
        ("[1, 2, 3, 4, 5]", "not 5"),
        ("[1, 2, 0, 4]", "0 x 4 has no area"),
        ('{"left": 9, "top": 2, "right": 3, "bottom": 4}', "no area"),
        ("[1, 2, NaN, 4]", "not finite"),
        ("[1, 2, 1e300, 4]", "not finite"),
        ("a b c d", "'a' is no number"),
        ("[1, 2, true, 4]", "True is no number"),
        ("[1, 2, null, 4]", "a number is missing"),
        ("[1, 2", "no JSON"),
        ('{"a": 1}', "its keys are 'a'"),
        ("[[1, 2, 3, 4], [5, 6, 7, 8]]", "2 boxes: give each face a row"),
        ("9" * 3000, "too long"),
    ],
)
def test_a_broken_box_is_a_reject_that_names_column_and_value(cell: str, said: str, tmp_path: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "a.png")
    found = files.resolve(marked(cell), str(tmp_path))
    with pytest.raises(ValueError, match="'face' holds") as raised:
        faces.read(found, 0, 10**6, {}, Framing(16))
    assert said in str(raised.value)
    assert cell[:50] in str(raised.value)
    assert "expected [x, y, width, height]" in str(raised.value)
    assert files.shown(marked(cell)) == "a.png"


def test_a_missing_box_is_told_or_the_whole_picture_taken(tmp_path: Path) -> None:
    pixels = noise()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert "--face-missing whole" in marks_reason(marked(None))
    whole = files.resolve(marked(None, Told(("face",), missing=boxes.WHOLE)), str(tmp_path))
    assert (faces.read(whole, 0, 10**6, {}, Framing(16)).pixels == pixels).all()
    assert marked(None, Told(("face",), missing=boxes.DETECT)) == "a.png"
    assert ONE.over(["a.png#xywh=1,2,3,4"], [["[5, 6, 7, 8]"]]) == ["a.png#xywh=1,2,3,4"]


def test_a_crop_is_that_of_pillow(tmp_path: Path) -> None:
    image = Image.fromarray(noise())
    image.save(tmp_path / "a.png")
    found = faces.read(f"{tmp_path / 'a.png'}#xywh=12,5,20,30", 0, 10**6, {}, Framing(16, margin=0.0))
    assert (found.pixels == np.asarray(image.crop((12, 5, 32, 35)))).all()
    assert found.told == ()
    share = faces.read(f"{tmp_path / 'a.png'}#xywh=percent:20,12.5,50,75", 0, 10**6, {}, Framing(16, margin=0.0))
    assert (share.pixels == np.asarray(image.crop((12, 5, 42, 35)))).all()
    assert share.told == ("with a face told in fractions of the picture",)
    wider = faces.read(f"{tmp_path / 'a.png'}#xywh=12,10,20,20", 0, 10**6, {}, Framing(16))
    assert (wider.pixels == np.asarray(image.crop((8, 6, 36, 34)))).all()


def test_beyond_the_edge_the_edge_is_repeated() -> None:
    pixels = noise()
    found = faces.cut(pixels, (-5, 30, 20, 20), 0.0, 10**6)
    assert found.shape == (20, 20, 3)
    assert (found[:10, 5:] == pixels[30:, :15]).all()
    assert (found[:10, :5] == pixels[30:, :1]).all()
    assert (found[10:, 5:] == pixels[39:, :15]).all()


@pytest.mark.parametrize(
    ("box", "said"),
    [((60, 0, 5, 5), "outside of the picture of 60 x 40"), ((0, -9, 5, 9), "outside"), ((0, 0, 9000, 9000), "max_pixels")],
)
def test_a_box_that_cannot_be_cut_is_refused(box: tuple[float, float, float, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        faces.cut(noise(), box, 0.2, 10**6)


def test_boxes_are_in_the_picture_as_people_see_it(tmp_path: Path) -> None:
    pixels = noise()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    seen = np.rot90(pixels, -1)
    found = faces.read(f"{tmp_path / 'a.png'}#xywh=3,20,30,35", 0, 10**6, {}, Framing(16, margin=0.0))
    assert (found.pixels == seen[20:55, 3:33]).all()


def test_marks_are_of_the_cell_and_not_of_the_file(tmp_path: Path) -> None:
    Image.fromarray(noise()).save(tmp_path / "a.png")
    cell = "a.png#xywh=1,2,3,4"
    assert marks.parted(cell) == ("a.png", "#xywh=1,2,3,4")
    assert files.resolve(cell, str(tmp_path)) == f"{tmp_path}/{cell}"
    assert files.resolve("a.png, b.png#face=whole", str(tmp_path)) == f"{tmp_path}/a.png#face=whole"
    assert files.is_several("a.png, b.png#face=whole", str(tmp_path))
    assert not files.is_several(cell, str(tmp_path))
    assert files.exists(f"{tmp_path}/{cell}")
    assert files.source(f"{tmp_path}/{cell}") == f"{tmp_path}/a.png"
    assert files.stamp(f"{tmp_path}/{cell}") == files.stamp(f"{tmp_path}/a.png")
    assert looking.suffix(cell) == ".png"
    assert files.shown(cell) == cell
    for plain in ("a#b.png", "#xywh=1,2,3,4", "a.png#xywh=", "a.png#page=3", "https://host/a.png#top"):
        assert marks.parted(plain) == (plain, "")
    data = "data:image/png;base64,iVBORw0KGgo="
    assert files.resolve(f"{data}#xywh=1,2,3,4", ".") == f"{data}#xywh=1,2,3,4"
    assert files.exists(f"{data}#xywh=1,2,3,4")


def umeyama(source: faces.Points, target: faces.Points) -> faces.Points:
    """[2, 3] as in the paper (equations 40 to 43), by singular values."""
    ours, theirs = source - source.mean(0), target - target.mean(0)
    left, values, right = np.linalg.svd(theirs.T @ ours / len(source))
    sign = np.diag([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    turn = left @ sign @ right
    scale = np.trace(np.diag(values) @ sign) / ours.var(0).sum()
    return np.column_stack([scale * turn, target.mean(0) - scale * turn @ source.mean(0)])


@pytest.mark.parametrize("points", [2, 5])
def test_the_similarity_is_umeyamas(points: int) -> None:
    drawn = np.random.default_rng(points)
    for _ in range(5):
        source, target = drawn.normal(size=(points, 2)) * 40, drawn.normal(size=(points, 2)) * 40
        a, b = faces.similarity(source, target)
        wanted = umeyama(source, target)
        np.testing.assert_allclose([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], wanted, atol=1e-9)


def dotted(scale: float, angle: float, shift: complex, side: int, radius: float) -> tuple[faces.Bytes, faces.Points]:
    """A picture with five dots where the template has them, turned, scaled and shifted: the eyes red and green."""
    places = (faces.TEMPLATE @ [1, 1j]) * scale * np.exp(1j * angle) + shift
    grid = np.arange(side)[None] + 1j * np.arange(side)[:, None]
    pixels = np.full((side, side, 3), 40, dtype=np.uint8)
    for place, colour in zip(places, [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)], strict=True):
        pixels[np.abs(grid - place) <= radius] = colour
    return pixels, np.stack([places.real, places.imag], 1)


@pytest.mark.parametrize(("scale", "angle", "points"), [(1.3, 0.4, 5), (0.5, -0.7, 5), (4.2, 0.2, 5), (2.0, 2.5, 2)])
@pytest.mark.parametrize("size", [112, 64])
def test_an_aligned_face_has_its_eyes_where_the_template_has_them(
    scale: float, angle: float, points: int, size: int, tmp_path: Path
) -> None:
    side = int(400 * max(scale, 1))
    pixels, places = dotted(scale, angle, (1 + 1j) * (side / 2 - 56 * scale * np.exp(1j * angle)), side, 5 * scale)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    cell = Told(("eyes",), points=True).over([str(tmp_path / "a.png")], [[json.dumps(places[:points].tolist())]])[0]
    assert cell is not None
    found = faces.read(cell, 0, 10**8, {}, Framing(size)).pixels
    assert found.shape == (size, size, 3)
    for channel, other, wanted in ((0, 1, faces.TEMPLATE[0]), (1, 0, faces.TEMPLATE[1])):
        eye = (found[..., channel].astype(int) - found[..., other] > 120) & (found[..., 2] < 100)
        centre = np.argwhere(eye).mean(0)[::-1]
        assert np.abs(centre - wanted * size / 112).max() < 1


def test_landmarks_in_their_forms() -> None:
    told = Told(("points",), points=True)
    assert marked("[[1, 2], [3, 4]]", told) == "a.png#points=1,2,3,4"
    assert marked("[1,2,3,4,5,6,7,8,9,10]", told) == "a.png#points=1,2,3,4,5,6,7,8,9,10"
    assert "four numbers may be a box" in marks_reason(marked("1 2 3 4", told))
    assert marked("[[0.25, 0.5], [0.75, 0.5]]", told) == "a.png#points=percent:25,50,75,50"
    assert "2 points (the eyes) or 5" in marks_reason(marked("[[1, 2], [3, 4], [5, 6]]", told))
    assert "all at one place" in marks_reason(marked("[[5, 5], [5, 5]]", told))
    assert "landmarks" in marks_reason(marked(None, told))


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([[100, 100], [120, 100]], "outside of the picture of 60 x 40"),
        ([[10, 10], [10.001, 10]], "within"),
        ([[10, 10], [90000, 10]], "too far apart"),
        ([[30, 20], [30, 20]], "all at one place"),
    ],
)
def test_landmarks_of_no_face_are_refused(points: list[list[float]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        faces.aligned(noise(), np.array(points), 16, 0.0)


def test_a_margin_draws_the_template_together() -> None:
    near, far = faces.template(2, 112, 0.0), faces.template(2, 112, 0.5)
    assert near[0].tolist() == faces.TEMPLATE[0].tolist()
    assert far[1, 0] - far[0, 0] == pytest.approx((near[1, 0] - near[0, 0]) / 2)


def test_told_goes_through_json() -> None:
    told = Told(("x", "y", "w", "h"), missing=boxes.WHOLE)
    assert Told.from_dict(json.loads(json.dumps(told.as_dict()))) == told
    with pytest.raises(ValueError, match="not told"):
        Told.from_dict({"columns": [], "points": False, "missing": "reject"})


def test_a_shape_is_that_of_the_face() -> None:
    assert faces.shape("a.png#xywh=1,2,90,30", 500, 400, False) == 3
    assert faces.shape("a.png#xywh=percent:0,0,50,25", 100, 50, False) == 4
    assert faces.shape("a.png#points=1,2,3,4", 500, 400, False) == 1
    assert faces.shape("a.png", 500, 400, False) == 1.25
    assert faces.shape("a.png", 500, 400, True) == 1


@pytest.mark.parametrize("cell", ["[16, 51, 48, 48]", "16 51 48 48", "(16, 51, 48, 48)"])
def test_a_box_is_not_taken_for_two_eyes(cell: str) -> None:
    assert boxes.numbers(cell) == [16, 51, 48, 48]
    with pytest.raises(ValueError, match="--face-boxes"):
        boxes.numbers(cell, points=True)
    assert boxes.numbers("[[16, 51], [48, 48]]", points=True) == [16, 51, 48, 48]
    assert len(boxes.numbers("1 2 3 4 5 6 7 8 9 10", points=True)) == 10


@pytest.mark.parametrize(
    ("cell", "mark"),
    [
        ("-0.01 0.1 0.5 0.5", "#xywh=percent:-1,10,50,50"),
        ('{"left": 0.5, "top": 0.1, "right": 1.001, "bottom": 0.6}', "#xywh=percent:50,10,50.1,50"),
        ("120 80 1 1", "smaller than a pixel"),
    ],
)
def test_a_face_that_stands_out_of_the_picture_a_little_is_told_in_fractions_still(cell: str, mark: str) -> None:
    assert mark in Told(("face",)).over(["a.png"], [[cell]])[0]  # type: ignore[operator]


@pytest.mark.parametrize("cell", ["nan", "[]", "None", " - "])
def test_cells_of_no_face_are_missing_ones(cell: str) -> None:
    assert Told(("face",), missing=boxes.WHOLE).over(["a.png"], [[cell]]) == ["a.png#face=whole"]
    assert Told(("face",), missing=boxes.DETECT).over(["a.png"], [[cell]]) == ["a.png"]
