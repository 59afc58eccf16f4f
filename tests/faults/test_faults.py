"""The fast part of what the scripts beside this file do at length: see docs/security.md."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmcli.artifacts import store
from mmcli.artifacts.disk import exchanged
from tests.conftest import shared
from tests.faults import hostile
from tests.faults.forked import hashes
from tests.faults.tiny import call, make_chain, words

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forks")
LEFT_OUT = ("evaluate", "onnx", "member")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of a chain that is as small as may be. Tests must not change it."""
    return shared(tmp_path_factory, "tiny", lambda folder: make_chain(folder, LEFT_OUT) and None) / "artifacts"


FORGERIES = list(hostile.forgeries())
CODE = [own for own in FORGERIES if own.name.endswith("a Python file") or own.name in {"a library", "a cycle of parents"}]
CHOSEN = [*CODE[::5], *random.Random(0).sample([own for own in FORGERIES if own not in CODE and "graph" not in own.name], 8)]


@pytest.mark.parametrize("forgery", CHOSEN, ids=lambda own: own.name)
def test_a_hostile_artifact_runs_nothing_and_is_told(tiny: Path, tmp_path: Path, forgery: hostile.Forgery) -> None:
    read_by = ("optimize",) if "recipe.json" in forgery.name else ("status", "predict by a fusion", "predict")
    commands = {name: hostile.COMMANDS[name] for name in read_by}
    assert hostile.trouble(forgery, tiny, tmp_path, commands) == []


@pytest.mark.parametrize(("part", "command"), [("tradeoff.json rows", "optimize"), ("schema.json inputs", "fuse")])
def test_what_flags_are_held_against_is_not_trusted_either(tiny: Path, tmp_path: Path, part: str, command: str) -> None:
    for number, forgery in enumerate(own for own in FORGERIES if part in own.name):
        place = tmp_path / str(number)
        place.mkdir()
        assert hostile.trouble(forgery, tiny, place, {command: hostile.COMMANDS[command]}) == []


def test_there_are_hostile_artifacts_enough() -> None:
    assert len({own.name for own in FORGERIES}) >= 200


@pytest.mark.slow
def test_a_little_of_every_fault(tiny: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.fast", str(tiny)]  # whose forks have no threads of pytest's
    made = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert made.returncode == 0, made.stdout + made.stderr[-2000:]
    found = json.loads(made.stdout.splitlines()[-1])
    assert {name: wrong for name, (_, wrong) in found.items()} == {"flips": [], "kills": [], "disk": []}
    assert found["flips"][0] >= 5  # were told; what others hit, nothing reads
    assert found["kills"][0] >= 3
    assert found["disk"][0] == 4


def test_made_twice_they_have_the_same_hashes(tiny: Path, tmp_path: Path) -> None:
    """From the same encoders, whatever the clock said meanwhile; of an optimised model, all models that were tried."""
    for name in ("preprocess", "encoders"):
        shutil.copytree(tiny / name, tmp_path / "a" / name)
    for stage in ("fuse", "optimize"):
        said = [
            word
            for word in words(stage, tiny.parent / "data.csv", tmp_path / "a")
            if word.removeprefix("--only=") not in LEFT_OUT
        ]
        code, output = call(*said)
        assert code == 0, output
    assert hashes(tmp_path / "a") == hashes(tiny)
    manifests = [json.loads((root / "leaderboard" / "artifact.json").read_text()) for root in (tiny, tmp_path / "a")]
    assert [row.keys() & {"seconds", "latency_ms"} for own in manifests for row in own["metrics"]["rows"]] == [set()] * (
        2 * len(manifests[0]["metrics"]["rows"])
    )


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "file").write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write_atomic(tmp_path / "file", b"after")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"before")]


def test_two_folders_change_places_in_one_step(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if not exchanged(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this system cannot")
    assert (tmp_path / "one" / "file").read_text() == "other"
    assert (tmp_path / "other" / "file").read_text() == "one"
    assert not exchanged(tmp_path / "one", tmp_path / "nothing")
