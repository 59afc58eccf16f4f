"""A detector of faces: how its outputs are read, which face is taken, what is no detector."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcli.media import detecting, faces
from mmcli.media.detecting import STRIDES, Detector
from mmcli.media.faces import Framing
from tests.media import yunet


def plainly(outputs: dict[str, detecting.Array], height: int, width: int, least: float) -> list[tuple[float, ...]]:
    """Score, box and landmarks as OpenCV's loops have them, cell by cell, and one after the other those that overlap no
    likelier one."""
    found = []
    for stride in STRIDES:
        columns = width // stride
        for row in range(height // stride):
            for column in range(columns):
                cell = row * columns + column
                cls, obj = (min(max(float(outputs[f"{kind}_{stride}"][0, cell, 0]), 0), 1) for kind in ("cls", "obj"))
                box, kps = outputs[f"bbox_{stride}"][0, cell], outputs[f"kps_{stride}"][0, cell]
                wide, high = math.exp(box[2]) * stride, math.exp(box[3]) * stride
                left, top = (column + box[0]) * stride - wide / 2, (row + box[1]) * stride - high / 2
                points = [(kps[2 * n + axis] + (column, row)[axis]) * stride for n in range(5) for axis in (0, 1)]
                if math.sqrt(cls * obj) >= least:
                    found.append((math.sqrt(cls * obj), left, top, wide, high, *points))
    found.sort(key=lambda face: -face[0])
    kept: list[tuple[float, ...]] = []
    for own in found:
        for other in kept:
            across = min(own[1] + own[3], other[1] + other[3]) - max(own[1], other[1])
            down = min(own[2] + own[4], other[2] + other[4]) - max(own[2], other[2])
            common = max(across, 0) * max(down, 0)
            if common / (own[3] * own[4] + other[3] * other[4] - common) > 0.3:
                break
        else:
            kept.append(own)
    return kept


@pytest.mark.parametrize("least", [0.3, 0.7])
def test_outputs_are_read_as_opencv_reads_them(least: float) -> None:
    drawn, height, width = np.random.default_rng(1), 96, 128
    sizes = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    outputs = {}
    for kind, count in sizes.items():
        for stride in STRIDES:
            shape = (1, height // stride * (width // stride), count)
            values = drawn.uniform(-0.3, 1.2, shape) if count == 1 else drawn.normal(0, 0.7, shape)
            outputs[f"{kind}_{stride}"] = values.astype(np.float32)
    wanted = plainly(outputs, height, width, least)
    found, best = detecting.decoded(outputs, (height, width), least)
    assert len(found) == len(wanted) > 5
    np.testing.assert_allclose([[f.score, *f.box, *f.points.ravel()] for f in found], wanted, rtol=1e-5, atol=1e-4)
    assert best == pytest.approx(max(own[0] for own in plainly(outputs, height, width, 0)))
    assert detecting.decoded(outputs, (height, width), 0.999) == ([], best) or found[0].score >= 0.999


def test_pictures_are_made_smaller_never_larger() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    values, scale = detecting.prepared(pixels, 0, 0)
    assert (values.shape, scale) == ((1, 3, 32, 64), 1.0)
    assert (values[0, :, :30, :50] == pixels[..., ::-1].transpose(2, 0, 1)).all()  # BGR
    assert not values[0, :, 30:].any()
    assert not values[0, :, :, 50:].any()
    assert detecting.prepared(pixels, 32, 32)[0].shape == (1, 3, 32, 32)
    large, scale = detecting.prepared(np.zeros((1280, 640, 3), dtype=np.uint8), 0, 0)
    assert (large.shape, scale) == ((1, 3, 640, 320), 0.5)


@pytest.mark.parametrize("side", ["side", 160])
def test_the_largest_face_is_taken_and_they_are_counted(side: int | str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    detector = Detector(yunet.write(tmp_path / "squares.onnx", side).read_bytes())
    path = yunet.scene(tmp_path / "two.png", [(4, 4, 16), (40, 24, 32)])
    pixels = np.asarray(Image.open(path))
    found = detector.faces(pixels)
    assert [face.box for face in found] == [pytest.approx((40, 24, 32, 32)), pytest.approx((4, 4, 16, 16))]
    np.testing.assert_allclose(found[0].points, yunet.PLACES * 32 + [40, 24], atol=1e-4)
    read = faces.read(str(path), 0, 10**6, {}, Framing(32, detector=detector))
    assert read.told == ("hold more faces than one, of which the largest is taken",)
    expected = pixels[24:56, 40:72]
    assert np.abs(read.pixels.astype(int) - expected)[1:-1, 1:-1].max() <= 2  # the template over the square: 32 to 32 pixels
    one = faces.read(str(yunet.scene(tmp_path / "one.png", [(40, 24, 32)])), 0, 10**6, {}, Framing(32, detector=detector))
    assert one.told == ("hold one face",)
    assert (one.pixels == read.pixels).all()
    none = yunet.scene(tmp_path / "none.png", [(40, 24, 24)])
    with pytest.raises(ValueError, match=r"no face was found \(best score 0\.\d\d < 0\.6; --detector-score\)"):
        faces.read(str(none), 0, 10**6, {}, Framing(32, detector=detector))
    whole = faces.read(f"{none}#face=whole", 0, 10**6, {}, Framing(32, detector=detector))
    assert whole.pixels.shape == (96, 128, 3)
    box = faces.read(f"{none}#xywh=40,24,24,24", 0, 10**6, {}, Framing(32, margin=0.0, detector=detector))
    assert box.pixels.shape == (24, 24, 3)


def test_faces_of_a_picture_that_is_made_smaller_are_where_they_are(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    detector = Detector(yunet.write(tmp_path / "squares.onnx", 64).read_bytes())
    path = yunet.scene(tmp_path / "large.png", [(80, 48, 64)], (256, 192))
    (found,) = detector.faces(np.asarray(Image.open(path)))
    assert found.box == pytest.approx((80, 48, 64, 64))


def test_a_file_whose_weights_lie_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an artifact holds must not read what lies where a command happens to run."""
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    model = onnx.load(yunet.write(tmp_path / "a.onnx"))
    monkeypatch.chdir(tmp_path)
    onnx.save(model, "apart.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(ValueError, match="its weights lie in another file"):
        Detector(Path("apart.onnx").read_bytes()).load()


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="ONNX Runtime cannot read it"):
        Detector(b"nothing of the kind").load()
    with pytest.raises(ValueError, match="lacks the outputs kps_16 of YuNet"):
        Detector(yunet.write(tmp_path / "a.onnx", lacking="kps_16").read_bytes()).load()
    with pytest.raises(ValueError, match="no multiples of 32"):
        Detector(yunet.write(tmp_path / "b.onnx", 40).read_bytes()).load()
