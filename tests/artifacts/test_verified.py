"""What is read is what was written: seals, keyed digests, files that vouch for themselves; and what is left half-done goes."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcli.artifacts import disk, manifest, own, store, tensors
from mmcli.errors import ArtifactError, ChangedError, ConfigError, MissingPackageError
from mmcli.training import checkpoint
from tests.artifacts.test_store import make


def edit(folder: Path, change: Callable[[dict[str, Any]], None], *, reseal: bool = False) -> None:
    found = json.loads((folder / store.MANIFEST).read_text())
    change(found)
    if reseal:
        found["seal"] = manifest.seal(found)
    (folder / store.MANIFEST).write_text(json.dumps(found))


@pytest.mark.parametrize("key", ["name", "metrics", "config", "parents", "created", "measured", "parts"])
def test_a_manifest_is_sealed_as_a_whole(tmp_path: Path, key: str) -> None:
    make(tmp_path)
    new: dict[str, Any] = {"str": "x", "dict": {"a": "1"}, "list": ["a"]}
    edit(tmp_path / "thing", lambda found: found.update({key: new[type(found[key]).__name__]}))
    with pytest.raises(ArtifactError, match="is damaged: it is not as it was sealed"):
        store.read(tmp_path, "thing", "test", "mmcli make")


def test_the_hash_is_reckoned_anew(tmp_path: Path) -> None:
    make(tmp_path)
    edit(tmp_path / "thing", lambda found: found["config"].update(width=7), reseal=True)
    with pytest.raises(ArtifactError, match="its hash is not that of what it lists"):
        store.read(tmp_path, "thing", "test", "mmcli make")


def test_the_hash_is_of_metrics_but_not_of_times(tmp_path: Path) -> None:
    def hash_of(seconds: float, score: float) -> str:
        with store.writing(
            tmp_path, "thing", kind="test", command="c", config={}, seed=0, parents={}, fingerprint=f"{seconds}{score}"
        ) as draft:
            draft.metrics.update(seconds=seconds, latency_ms=seconds, val=score)
            draft.measured.add("latency_ms")
        return store.read(tmp_path, "thing", "test", "").hash

    assert hash_of(1.0, 0.5) == hash_of(2.0, 0.5) != hash_of(1.0, 0.25)


def test_a_copy_under_another_name_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "one")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    with pytest.raises(ArtifactError, match="it is that of one, copied under another name"):
        store.read(tmp_path, "other", "test", "mmcli make")


def test_what_comes_of_itself_is_told(tmp_path: Path) -> None:
    artifact = make(tmp_path)
    edit(tmp_path / "thing", lambda found: found.update(parents={"thing": found["hash"]}), reseal=True)
    with pytest.raises(ArtifactError, match="comes of itself: thing of thing"):
        store.stale_parent(store.read(tmp_path, artifact.name, "test", ""))


def test_a_linked_file_is_refused(tmp_path: Path) -> None:
    artifact = make(tmp_path)
    file = artifact.path / "sub" / "a.txt"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="is a link"):
        artifact.file("sub/a.txt")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../x", "a\0b", "", "a//b", "a\\b"])
def test_names_that_lead_out_of_the_folder(name: str) -> None:
    assert not manifest.inside(name)
    assert manifest.inside("candidates/fused%2C float32/recipe.json")


def test_a_reader_that_meets_a_change_reads_again(tmp_path: Path) -> None:
    old = [make(tmp_path, content="old")]
    make(tmp_path, content="new")

    def read() -> str:
        artifact = old.pop() if old else store.read(tmp_path, "thing", "test", "")
        return artifact.file("sub/a.txt").read_text()

    assert store.read_again(read) == "new"
    now = store.read(tmp_path, "thing", "test", "").manifest
    with pytest.raises(ChangedError, match="was replaced while it was read"):
        store.Artifact(tmp_path, "thing", {**now, "seal": "x", "files": {}}).file("a")


def test_what_makes_no_sense_ends_with_the_command(tmp_path: Path) -> None:
    artifact = make(tmp_path)
    for error in (KeyError("x"), TypeError("x"), ConfigError("unknown part"), RuntimeError("shape")):
        with pytest.raises(ArtifactError, match='Make it again: "mmcli make thing --force"'), artifact.understood("recipe"):
            raise error
    with pytest.raises(MissingPackageError), artifact.understood():  # which is no fault of the artifact
        raise MissingPackageError("onnx is not installed")


def test_force_begins_from_nothing_and_half_written_files_are_not_sealed(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"kind": "test", "command": "c", "config": {}, "seed": 0, "parents": {}, "fingerprint": "f"}
    (tmp_path / ".thing.partial").mkdir()
    for name, text in ((".fingerprint", "f"), ("old", "")):
        (tmp_path / ".thing.partial" / name).write_text(text)
    with store.writing(tmp_path, "thing", anew=True, **arguments) as draft:
        assert not draft.resumed
        assert not (draft.path / "old").exists()
        (draft.path / "half.1-1.writing").write_text("half")
    assert store.read(tmp_path, "thing", "test", "").manifest["files"] == {}
    assert [path.name for path in (tmp_path / "thing").iterdir()] == [store.MANIFEST]


def test_the_next_command_clears_away_what_was_replaced(tmp_path: Path) -> None:
    make(tmp_path, content="x")
    shutil.copytree(tmp_path / "thing", tmp_path / ".thing.partial")  # with its manifest and without a fingerprint: the old one
    assert store.up_to_date(tmp_path, "thing", "x") is not None
    assert not (tmp_path / ".thing.partial").exists()


def test_half_written_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead = 2**22 + 1  # beyond the largest number of a process
    for name in (f"a.{dead}-0.writing", f"b.{os.getpid()}-0.writing", "c.writing"):
        (tmp_path / name).write_text("")
    assert disk.swept(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == [f"b.{os.getpid()}-0.writing"]


def test_a_sealed_file_tells_any_flipped_bit(tmp_path: Path) -> None:
    named = {"a": torch.arange(6).reshape(2, 3), "b": torch.tensor(1.5), "c": torch.tensor([True, False])}
    file = tmp_path / "f.safetensors"
    file.write_bytes(tensors.sealed(named, {"epoch": 3}))
    found, values = tensors.unsealed(file)
    assert values == tensors.values_of(file) == {"epoch": 3}
    assert all(torch.equal(found[name], named[name]) and found[name].dtype == named[name].dtype for name in named)
    data = file.read_bytes()
    for place in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[place] ^= 1
        file.write_bytes(flipped)
        try:
            again, told = tensors.unsealed(file)
        except ValueError:
            continue
        assert told == values  # padding between the header and the data
        assert all(torch.equal(again[name], named[name]) for name in named)


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    assert not checkpoint.is_whole(file)
    checkpoint.save(file, {"module": {"w": torch.ones(4)}}, {"epoch": 1})
    assert checkpoint.is_whole(file)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert not checkpoint.is_whole(file)
    with pytest.raises(ValueError, match="its sha256"):
        checkpoint.load(file)


def test_only_who_has_the_key_can_mark_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "mine"))
    assert not own.is_own("a" * 64, "0" * 64)
    assert not own.key_file().exists()  # reading makes none
    mark = own.mark("a" * 64)
    assert own.is_own("a" * 64, mark)
    assert not own.is_own("b" * 64, mark)
    assert not own.is_own("a" * 64, None)
    assert stat.S_IMODE(own.key_file().stat().st_mode) == 0o600
    assert own.mark("a" * 64) == mark
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "theirs"))
    assert own.mark("a" * 64) != mark
    assert not own.is_own("a" * 64, mark)
