"""Bad media never stop a run and never pass unseen: each file ends in seconds, in bounded memory, as a tensor or a reject."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmcli import registry
from mmcli.modalities import Modality
from tests.conftest import draw, shared, write_clip, write_csv, write_wave
from tests.hostile import corpus
from tests.hostile.corpus import EITHER, REJECT, RIGHT, Case

SECONDS = 20.0
"""For one file on a slow, busy machine; each takes well under one second on a quiet one, the largest two."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, "hostile", lambda folder: corpus.make(folder) and None)


def fitted(kind: str) -> Modality:
    part = registry.load("modalities", kind)
    cells = iter(["[1, 2, 3, 4]", "[2, 3, 4, 6]"] if kind == "vector" else [])
    modality: Modality = part.fit(registry.config_of(part)(), cells)
    return modality


def test_the_corpus_is_large_and_covers_every_kind_of_file() -> None:
    assert len(corpus.CASES) >= 60
    assert {found.kind for found, _ in corpus.CASES} == {"image", "audio", "video", "vector"}
    assert len({found.name for found, _ in corpus.CASES}) == len(corpus.CASES)


@pytest.mark.parametrize("found", [found for found, _ in corpus.CASES], ids=lambda found: found.name)
def test_each_file_is_a_tensor_or_a_reject(files: Path, found: Case) -> None:
    if found.name == "forbidden.png" and hasattr(os, "geteuid") and not os.geteuid():
        pytest.skip("root may read everything")
    modality = fitted(found.kind)
    started = time.monotonic()
    encoded = modality.transform([str(files / found.name)])
    assert time.monotonic() - started < SECONDS
    here = bool(encoded.column.present[0])
    assert here == (not encoded.rejects)
    assert found.expected == EITHER or here == (found.expected == RIGHT), [r.reason for r in encoded.rejects]
    if not here:
        reason = encoded.rejects[0].reason
        assert found.says in reason
        assert reason
        assert "\n" not in reason
        return
    values = modality.restore(encoded.column).values.float()
    assert values.isfinite().all()
    assert values.numel()
    if found.mean is not None:
        pixels = modality.denormalize(values[0])  # type: ignore[attr-defined]
        assert abs(pixels.float().mean().item() - found.mean) < 3


@pytest.mark.slow
def test_a_whole_run_over_the_corpus_lists_every_reject_in_bounded_memory(tmp_path: Path) -> None:
    """A table with one good file of each kind to a row, and the hostile ones among them."""
    cases = corpus.make(tmp_path / "media")
    draw("round", "red").save(tmp_path / "media" / "good.png")
    write_wave(tmp_path / "media" / "good.wav")
    write_clip(tmp_path / "media" / "good.mp4")
    kinds = {"image": "good.png", "audio": "good.wav", "video": "good.mp4", "vector": "[1, 2, 3, 4]"}
    rows = []
    for number, found in enumerate(cases):
        cells = {kind: good if good.startswith("[") else f"media/{good}" for kind, good in kinds.items()}
        cells[found.kind] = f"media/{found.name}"
        rows.append([*cells.values(), "ab"[number % 2]])
    table = write_csv(tmp_path / "data.csv", [*kinds, "label"], rows)
    types = [f"--type={kind}={kind}" for kind in kinds]
    command = [sys.executable, "-m", "mmcli", "preprocess", str(table), *types, "--max-bad", "0.9", "--workers", "2"]
    # Started by a small process, which measures it: what a process forks off begins with that one's own peak.
    launcher = "import resource as r, subprocess as s, sys; code = s.run(sys.argv[1:], stdout=s.DEVNULL).returncode; "
    launcher += "print(r.getrusage(r.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    whole = [sys.executable, "-c", launcher, *command, "-a", str(tmp_path / "a")]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kilobytes = int(done.stdout)
    assert 100_000 < kilobytes < 2_000_000
    with (tmp_path / "a" / "preprocess" / "rejects.csv").open(encoding="utf-8", newline="") as file:
        rejects = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    for number, found in enumerate(cases, 1):
        if found.expected == REJECT and found.name != "forbidden.png":
            assert rejects[found.name]["row"] == str(number), found.name
            assert rejects[found.name]["column"] == found.kind
            assert rejects[found.name]["reason"]
        assert found.expected != RIGHT or found.name not in rejects
    assert torch.get_num_threads() >= 1
