"""Pictures to grids: read as mmcli reads them, brought to one size, normalised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcli.exports.damage import reading
from mmcli.exports.made import Array, Cells, Made, each
from mmcli.exports.resizing import square
from mmcli.media import faces
from mmcli.media.detecting import Detector


class Images:
    """Paths -> float32 [B, 3, size, size], rounded to float16 as in training."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:
        self.config = state["config"]
        detector = None
        if state.get("detector"):
            path = folder / state["detector"]
            with reading(path):
                detector = Detector(path.read_bytes(), self.config["detector_score"])
                detector.load()  # what is wrong with it is no fault of the cells
        self.framing = faces.Framing(self.config["size"], self.config["face_margin"], detector)
        self.levels = {kind: (black, white) for kind, (black, white) in state.get("levels", {}).items()}
        self.mean, self.std = (np.array(state[name], dtype=np.float32).reshape(3, 1, 1) for name in ("mean", "std"))

    def names_file(self, cell: str) -> bool:  # noqa: ARG002 - always
        return True

    def __call__(self, cells: Cells) -> Made:
        size, fit = self.config["size"], self.config["fit"]
        enough = 0 if self.config["exact"] else 2 * size
        values, remarks = np.zeros((len(cells), 3, size, size), dtype=np.float32), Counter[str]()

        def read(position: int, cell: str) -> None:
            picture = faces.read(cell, enough, self.config["max_pixels"], self.levels, self.framing)
            values[position] = normalised(square(picture.pixels, size, fit, fill=255), self.mean, self.std)
            remarks.update(picture.told)

        present, rejects = each(cells, read, "an image that Pillow can read")
        return Made(values, present, rejects=rejects, remarks=remarks)


def normalised(pixels: Array, mean: Array, std: Array) -> Array:
    """float16 of bytes: from 0 to 1, less the mean, by the deviation."""
    values: Array = ((pixels.astype(np.float32) / np.float32(255) - mean) / std).astype(np.float16)
    return values
