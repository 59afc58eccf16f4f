"""Finding faces on a picture by an ONNX file with YuNet's outputs (Wu 2023; face_detection_yunet_2023mar of OpenCV's zoo).

It takes BGR from 0 to 255, [1, 3, H, W]; for each of the strides 8, 16 and 32 it says of each cell of the grid how likely a
face is there (`cls_8`, `obj_8`), its box (`bbox_8`) and its landmarks (`kps_8`). Takes onnxruntime, of the extra `export`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mmcli.media import onnxfiles

Array = np.ndarray[Any, np.dtype[Any]]
STRIDES = (8, 16, 32)
OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES)
LONGEST = 640
"""Pixels of the longer side that a file without a fixed size is given at most."""
MOST_BYTES = 64 << 20
SCORE, OVERLAP, MOST = 0.6, 0.3, 5000
"""From which score on it is a face, how much two may overlap (IoU), how many are looked at: OpenCV's, its score aside."""


@dataclass(frozen=True)
class Face:
    """One that was found, in pixels of the picture."""

    score: float
    box: tuple[float, float, float, float]
    """left, top, width, height."""
    points: Array
    """float64 [5, 2]: eyes, nose, corners of the mouth, each pair from left to right as one sees it."""

    @property
    def area(self) -> float:
        return self.box[2] * self.box[3]


class Detector:
    """A file with YuNet's outputs, loaded when it is first asked; asked by many threads at once."""

    def __init__(self, data: bytes, score: float = SCORE) -> None:
        self.data = data
        self.score = score
        self._lock = threading.Lock()
        self._session: Any = None

    def __reduce__(self) -> tuple[type[Detector], tuple[bytes, float]]:
        """Copies make their own session."""
        return Detector, (self.data, self.score)

    def load(self) -> Any:
        """What runs it.

        Raises:
            ImportError: onnxruntime is not installed.
            ValueError: the file is not what is expected; says what it is.
        """
        with self._lock:
            if self._session is None:
                self._session = _session(self.data)
            return self._session

    def faces(self, pixels: Array) -> list[Face]:
        """Those on a picture, uint8 [H, W, 3] in RGB, the largest first.

        Raises:
            ValueError: there is none.
        """
        session = self.load()
        (taken,) = session.get_inputs()
        fixed = [side if isinstance(side, int) else 0 for side in taken.shape[2:]]
        values, scale = prepared(pixels, fixed[0], fixed[1])
        found = dict(zip(OUTPUTS, session.run(list(OUTPUTS), {taken.name: values}), strict=True))
        faces, best = decoded(found, values.shape[2:], self.score)
        if not faces:
            raise ValueError(f"no face was found (best score {best:.2f} < {self.score:g}; --detector-score)")
        own = [Face(f.score, tuple(v / scale for v in f.box), f.points / scale) for f in faces]  # type: ignore[arg-type]
        return sorted(own, key=lambda face: (-face.area, -face.score))


def prepared(pixels: Array, height: int, width: int) -> tuple[Array, float]:
    """float32 [1, 3, H, W] of a picture, and by how much it was made smaller: never larger, black on the right and below, up to
    the file's own size, else (0) to multiples of 32."""
    high, wide = pixels.shape[:2]
    scale = min(1.0, (height or LONGEST) / high, (width or LONGEST) / wide)
    rows, columns = max(round(high * scale), 1), max(round(wide * scale), 1)
    if (rows, columns) != (high, wide):
        pixels = np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BILINEAR))
    values = np.zeros((1, 3, height or -(-rows // 32) * 32, width or -(-columns // 32) * 32), dtype=np.float32)
    values[0, :, :rows, :columns] = pixels[..., ::-1].transpose(2, 0, 1)
    return values, scale


def decoded(outputs: Mapping[str, Array], shape: tuple[int, ...], least: float) -> tuple[list[Face], float]:
    """Faces from the outputs for a picture [H, W], the most likely first, and the best score of any cell."""
    scores, boxes, points = [], [], []
    for stride in STRIDES:
        rows, columns = shape[0] // stride, shape[1] // stride
        cls, obj, box, kps = (outputs[f"{kind}_{stride}"].reshape(rows * columns, -1) for kind in ("cls", "obj", "bbox", "kps"))
        corner = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), 2).reshape(-1, 2).astype(np.float64)
        scores.append(np.sqrt(cls[:, 0].clip(0, 1).astype(np.float64) * obj[:, 0].clip(0, 1)))
        size = np.exp(box[:, 2:].clip(-50, 50).astype(np.float64)) * stride
        boxes.append(np.concatenate([(corner + box[:, :2]) * stride - size / 2, size], 1))
        points.append((kps.reshape(-1, 5, 2) + corner[:, None]) * stride)
    score, box, kps = np.concatenate(scores), np.concatenate(boxes), np.concatenate(points)
    best = float(np.nan_to_num(score).max(initial=0.0))
    likely = np.argsort(-score, kind="stable")[:MOST]
    likely = likely[score[likely] >= least]
    likely = likely[np.isfinite(box[likely]).all(1) & np.isfinite(kps[likely]).all((1, 2))]
    return [Face(float(score[i]), tuple(box[i].tolist()), kps[i]) for i in _apart(box, likely)], best


def _apart(boxes: Array, order: Array) -> list[int]:
    """Those that overlap none that comes before them by more than `OVERLAP` (non-maximum suppression)."""
    kept = []
    ends, areas = boxes[:, :2] + boxes[:, 2:], boxes[:, 2] * boxes[:, 3]
    while len(order):
        first, order = order[0], order[1:]
        kept.append(int(first))
        low, high = np.maximum(boxes[first, :2], boxes[order, :2]), np.minimum(ends[first], ends[order])
        common = (high - low).clip(0).prod(1)
        order = order[common <= OVERLAP * (areas[first] + areas[order] - common)]
    return kept


def _session(data: bytes) -> Any:
    session = onnxfiles.session(data, threads=1)  # cells are the parallelism
    given = [own.name for own in session.get_outputs()]
    lacking = [name for name in OUTPUTS if name not in given]
    if lacking:
        raise ValueError(f"it lacks the outputs {', '.join(lacking)} of YuNet: it gives {', '.join(given)[:200]}")
    taken = session.get_inputs()
    if len(taken) != 1 or len(taken[0].shape) != 4 or taken[0].shape[1] != 3:
        raise ValueError(f"it takes {', '.join(f'{own.name} {own.shape}' for own in taken)}, not one picture [1, 3, H, W]")
    for side in taken[0].shape[2:]:
        if isinstance(side, int) and (side <= 0 or side % STRIDES[-1]):
            raise ValueError(f"it takes pictures of {taken[0].shape[2:]}, no multiples of {STRIDES[-1]}")
    return session
