"""Clips to a few frames: those that mmcli would take, upright, at one size, normalised, with the time of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av  # noqa: F401 - asked for at once, not at the first clip
import numpy as np

from mmcli.exports.images import normalised
from mmcli.exports.made import Array, Cells, Made, each
from mmcli.exports.resizing import square
from mmcli.media import files, frames


class Clips:
    """Paths -> float32 [B, frames, 3, size, size], rounded to float16 as in training, and times float32 [B, frames]."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:  # noqa: ARG002 - no file beside the state
        self.config = state["config"]
        self.mean, self.std = (np.array(self.config[k], dtype=np.float32).reshape(3, 1, 1) for k in ("mean", "std"))

    def names_file(self, cell: str) -> bool:  # noqa: ARG002 - always
        return True

    def __call__(self, cells: Cells) -> Made:
        count, size, most = (self.config[name] for name in ("frames", "size", "max_decoded"))
        values = np.zeros((len(cells), count, 3, size, size), dtype=np.float32)
        times = np.zeros((len(cells), count), dtype=np.float32)
        remarks = Counter[str]()

        def read(position: int, cell: str) -> None:
            shown = self._read(cell)
            values[position] = normalised(np.stack(shown.kept), self.mean, self.std)
            times[position] = shown.times
            remarks.update([] if shown.exact else [f"whose nearest keyframes were taken (max_decoded = {most})"])
            remarks.update(["with damaged frames, in whose place the ones before them stand"] if shown.lost else [])

        present, rejects = each(cells, read, "a clip that can be decoded")
        return Made(values, present, times=times, rejects=rejects, remarks=remarks)

    def _read(self, path: str) -> frames.Shown[Array]:
        found = files.unmarked(path)
        clip = frames.index(found)
        most = frames.bounded(clip, self.config["max_pixels"], self.config["max_decoded"])
        return frames.pick(found, clip, self.config["frames"], most, self._squared)

    def _squared(self, frame: Any) -> Array:
        """uint8 [3, size, size], upright."""
        frames.checked(frame, self.config["max_pixels"])
        turns, size = round((frame.rotation or 0) / 90) % 4, self.config["size"]
        shrink = min(frame.width, frame.height) // (2 * size)
        if shrink >= 2:  # towards twice the size by area, in the decoder's own colours
            frame = frame.reformat(width=frame.width // shrink, height=frame.height // shrink, interpolation="AREA")
        return square(np.rot90(frame.to_ndarray(format="rgb24"), turns), size, self.config["fit"], fill=0)
