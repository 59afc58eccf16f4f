"""Files of every kind with bits changed or their ends cut off are a tensor or a reject, never an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from mmcli import registry
from mmcli.media import looking
from tests.modalities import clips
from tests.modalities.media_kinds import PICTURES, SOUNDS

KINDS = {"image": PICTURES, "audio": SOUNDS, "video": clips.CLIPS}
TIMES = {"image": 6, "audio": 6, "video": 3}


def damaged(data: bytes, times: int) -> Iterator[bytes]:
    """Bytes changed near the beginning and anywhere; every third is cut off besides."""
    generator = np.random.default_rng(len(data))
    for turn in range(times):
        changed = bytearray(data)
        for place in (*generator.integers(0, min(len(data), 400), 4), *generator.integers(0, len(data), 4)):
            changed[place] = int(generator.integers(0, 256))
        yield bytes(changed[: generator.integers(1, len(data))] if turn % 3 == 0 else changed)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in KINDS.items() for name in names])
def test_damage_is_told_or_survived(tmp_path: Path, kind: str, name: str) -> None:
    if "heif" in name:
        pytest.importorskip("pillow_heif")
    try:
        if kind == "image":
            data, suffix = PICTURES[name].data(), PICTURES[name].suffix
        else:
            path = clips.write(tmp_path, name) if kind == "video" else SOUNDS[name].write(tmp_path)
            data, suffix = path.read_bytes(), path.suffix
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"cannot be made here: {error}")
    part = registry.load("modalities", kind)
    for number, content in enumerate(damaged(data, TIMES[kind])):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(content)
        encoded = part.fit(registry.config_of(part)(), iter([str(path)])).transform([str(path)])
        assert bool(encoded.column.present[0]) == (not encoded.rejects)
        assert all(reject.reason and "\n" not in reject.reason for reject in encoded.rejects)
        assert encoded.column.values.float().isfinite().all()
        looking.look([path.name], str(tmp_path))
