"""What the model will see of some rows: de-normalised pictures, tokens, spectrograms, frames, the values of fields.

Everything is drawn from the tensors that would go to disk, not from the files: what is wrong in preprocessing shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmcli.data.sharding import resolved
from mmcli.modalities import Modality
from mmcli.reporting import html
from mmcli.reporting.html import picture_of
from mmcli.signals import Column, SignalSpec

MOST_TOKENS, MOST_VALUES = 120, 16


def views(modality: Modality, column: str, kind: str, cells: Sequence[str | None], media_root: str) -> list[dict[str, Any]]:
    """For each cell what the page shows of it: column, modality, absent, picture, tokens, figures, text, wide."""
    encoded = modality.transform(resolved(cells, media_root, modality))
    restored = modality.restore(encoded.column)
    reasons = {reject.position: reject.reason for reject in encoded.rejects}
    spec = modality.describe()
    found = []
    for row, cell in enumerate(cells):
        view: dict[str, Any] = {
            "column": column,
            "modality": kind,
            "text": cell if cell is None or len(cell) < 400 else cell[:399] + "…",
        }
        view |= dict.fromkeys(("absent", "picture", "tokens", "figures"), "") | {"wide": spec.kind == "clip"}
        if not restored.present[row]:
            view["absent"] = f"cannot be read: {reasons[row]}" if row in reasons else "absent"
        else:
            view |= seen(modality, spec, restored, row)
        found.append(view)
    return found


def seen(modality: Modality, spec: SignalSpec, column: Column, row: int) -> dict[str, Any]:
    signal = column.gather(torch.tensor([row]))
    values = signal.values[0]
    if spec.kind == "grid":
        return {"picture": picture_of(_image(_pixels(modality, values)))}
    if spec.kind == "clip":
        frames = _pixels(modality, values)
        strip = torch.cat(list(frames), 2)
        times = [] if signal.times is None else [f"{moment:.2f} s" for moment in signal.times[0].tolist()]
        return {"picture": picture_of(_image(strip)), "figures": [("frames at", ", ".join(times))]}
    if spec.kind == "spectrogram":
        return {
            "picture": picture_of(_spectrogram(values.float())),
            "figures": [("frames x bands", f"{len(values)} x {values.shape[1]}")],
        }
    if spec.kind == "ids":
        pieces = [spec.pieces[i].decode("utf-8", "replace") for i in values.tolist()]
        more = [f"... {len(pieces) - MOST_TOKENS} more"] if len(pieces) > MOST_TOKENS else []
        return {"tokens": pieces[:MOST_TOKENS] + more}
    if spec.kind == "fields":
        named = zip(spec.fields, values.tolist(), strict=True)
        return {"figures": [(field.name, f"id {value:.0f}" if field.categories else f"{value:.3f}") for field, value in named]}
    flat = values.float().flatten()
    shown = ", ".join(f"{value:.2f}" for value in flat[:MOST_VALUES].tolist())
    shape = " x ".join(map(str, values.shape))
    return {"figures": [(f"{shape} numbers", shown + (", ..." if len(flat) > MOST_VALUES else ""))]}


def _pixels(modality: Modality, values: Tensor) -> Tensor:
    """uint8 [..., 3, H, W], the normalisation undone."""
    pixels: Tensor = modality.denormalize(values)  # type: ignore[attr-defined]
    return pixels


def _image(pixels: Tensor) -> Image.Image:
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    times = max(1, 128 // image.height)
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _spectrogram(frames_TM: Tensor) -> Image.Image:
    """Low bands at the bottom, dark where there is little."""
    import matplotlib as mpl

    grid = frames_TM.T.flip(0).numpy()
    low, high = np.quantile(grid, [0.02, 0.995])
    colours = mpl.colormaps["magma"](np.clip((grid - low) / max(high - low, 1e-6), 0, 1), bytes=True)
    image = Image.fromarray(np.ascontiguousarray(colours[..., :3]))
    return image.resize((max(image.width * 2, 160), image.height * 2), Image.Resampling.NEAREST)


def page(title: str, subtitle: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The whole page, with no file beside it."""
    return html.render("sample.html.j2", {"title": title, "subtitle": subtitle, "rows": rows})
