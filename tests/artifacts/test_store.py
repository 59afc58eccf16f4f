from __future__ import annotations

import json
import math
import multiprocessing
import os
from pathlib import Path

import pytest

from mmcli.artifacts import layout, store
from mmcli.artifacts.history import history
from mmcli.artifacts.lock import locked
from mmcli.errors import ArtifactError, BusyError


def make(
    root: Path, name: str = "thing", content: str = "x", parents: dict[str, str] | None = None, **config: int
) -> store.Artifact:
    with store.writing(
        root, name, kind="test", command=f"mmcli make {name}", config=config, seed=0, parents=parents or {}, fingerprint=content
    ) as draft:
        (draft.path / "sub").mkdir(exist_ok=True)
        (draft.path / "sub" / "a.txt").write_text(content)
        (draft.path / "log.csv").write_text(str(os.times()))
        draft.volatile.add("log.csv")
        draft.parts["a"] = ["sub/"]
    return store.read(root, name, "test", "mmcli make")


def test_the_manifest_describes_every_file(tmp_path: Path) -> None:
    artifact = make(tmp_path, content="hello", width=3)
    assert artifact.manifest["files"]["sub/a.txt"]["bytes"] == 5
    assert artifact.manifest["files"]["sub/a.txt"]["sha256"].startswith("2cf24dba5fb0a30e")
    assert artifact.config == {"width": 3}
    assert artifact.file("sub/a.txt").read_text() == "hello"
    assert not list(tmp_path.glob(".*.partial"))


def test_the_hash_is_of_the_content_alone(tmp_path: Path) -> None:
    first = make(tmp_path, content="same")
    assert make(tmp_path, content="same").hash == first.hash
    assert make(tmp_path, content="other").hash != first.hash
    assert make(tmp_path, content="same", width=1).hash != first.hash


def test_what_is_no_number_is_null_on_disk_and_no_number_when_read(tmp_path: Path) -> None:
    with store.writing(tmp_path, "thing", kind="test", command="c", config={}, seed=0, parents={}, fingerprint="f") as draft:
        draft.metrics.update(val={"auroc": math.nan, "loss": math.inf}, primary_metric="auroc", latency_ms=None)
        draft.write_json("told.json", {"value": math.nan})
    for name in ("thing/artifact.json", "thing/told.json", "history.jsonl"):
        json.loads((tmp_path / name).read_text(), parse_constant=lambda found, name=name: pytest.fail(f"{name} holds {found}"))
    metrics = store.read(tmp_path, "thing", "test", "mmcli make").metrics
    assert math.isnan(metrics["val"]["auroc"]) and metrics["latency_ms"] is None
    assert math.isnan(history(tmp_path)[0]["metrics"]["val"]["auroc"])


def test_a_draft_that_fails_stays_and_is_resumed_only_by_its_like(tmp_path: Path) -> None:
    def attempt(fingerprint: str, fail: bool) -> bool:
        arguments = {"kind": "test", "command": "c", "config": {}, "seed": 0, "parents": {}}
        with store.writing(tmp_path, "thing", fingerprint=fingerprint, **arguments) as draft:  # type: ignore[arg-type]
            found = (draft.path / "half").exists()
            (draft.path / "half").write_text("")
            assert draft.resumed == found
            if fail:
                raise RuntimeError("killed")
        return found

    with pytest.raises(RuntimeError):
        attempt("one", fail=True)
    with pytest.raises(ArtifactError, match="is unfinished"):
        store.read(tmp_path, "thing", "test", "mmcli make")
    with pytest.raises(RuntimeError):
        attempt("two", fail=True)  # another fingerprint starts anew
    assert attempt("two", fail=False)


def test_an_old_artifact_stays_whole_until_the_new_one_is_complete(tmp_path: Path) -> None:
    make(tmp_path, content="old")
    with (
        pytest.raises(RuntimeError),
        store.writing(tmp_path, "thing", kind="test", command="", config={}, seed=0, parents={}, fingerprint="new"),
    ):
        raise RuntimeError("killed")
    assert store.read(tmp_path, "thing", "test", "").file("sub/a.txt").read_text() == "old"


@pytest.mark.parametrize("moment", ["sealed", "moved aside"])
def test_a_kill_between_the_renames_is_mended(tmp_path: Path, moment: str) -> None:
    make(tmp_path, content="new")
    (tmp_path / "thing").rename(tmp_path / ".thing.partial")
    if moment == "moved aside":
        make_old = tmp_path / ".thing.old"
        make_old.mkdir()
        (make_old / store.MANIFEST).write_text("{}")
    make(tmp_path, name="thing", content="newer")
    assert store.read(tmp_path, "thing", "test", "").file("sub/a.txt").read_text() == "newer"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".thing")] == []


def test_a_changed_file_is_noticed_on_reading(tmp_path: Path) -> None:
    artifact = make(tmp_path)
    (artifact.path / "sub" / "a.txt").write_text("y")
    with pytest.raises(ArtifactError, match=r'a\.txt is damaged.*\n.*"mmcli make thing --force"'):
        artifact.file("sub/a.txt")
    (artifact.path / "sub" / "a.txt").unlink()
    with pytest.raises(ArtifactError, match="lacks the file"):
        artifact.file("sub/a.txt")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ("{}", "is damaged"),
        ('{"hash": "x", "kind": "other"}', "holds a other, expected a test"),
        ('{"hash": "x", "kind": "test", "format_version": 99}', "has format version 99"),
    ],
)
def test_a_bad_manifest_is_named(tmp_path: Path, damage: str, message: str) -> None:
    make(tmp_path)
    (tmp_path / "thing" / store.MANIFEST).write_text(damage)
    with pytest.raises(ArtifactError, match=message):
        store.read(tmp_path, "thing", "test", "mmcli make")
    assert store.up_to_date(tmp_path, "thing", "x") is None


def test_lineage_tells_what_is_stale_through_generations(tmp_path: Path) -> None:
    parent = make(tmp_path, "parent", "one")
    child = make(tmp_path, "child", "c", parents=parent.parent())
    grandchild = make(tmp_path, "grandchild", "g", parents=child.parent())
    assert store.stale_parent(grandchild) is None
    make(tmp_path, "parent", "one")  # the same bits again
    assert store.stale_parent(grandchild) is None
    make(tmp_path, "parent", "two")
    assert store.stale_parent(grandchild) == "parent"
    with pytest.raises(ArtifactError, match='grandchild is older than parent\nRun "mmcli make grandchild"'):
        store.require_fresh(grandchild)


def test_a_child_of_a_part_outlives_changes_elsewhere(tmp_path: Path) -> None:
    def parent(other: str) -> store.Artifact:
        arguments = {"kind": "test", "command": "c", "config": {}, "seed": 0, "parents": {}}
        with store.writing(tmp_path, "parent", fingerprint=other, **arguments) as draft:  # type: ignore[arg-type]
            (draft.path / "a.txt").write_text("same")
            (draft.path / "b.txt").write_text(other)
            draft.parts |= {"a": ["a"], "b": ["b"]}
        return store.read(tmp_path, "parent", "test", "")

    first = parent("one")
    of_a = make(tmp_path, "of_a", parents=first.parent("a"))
    of_b = make(tmp_path, "of_b", parents=first.parent("b"))
    parent("two")
    assert store.stale_parent(of_a) is None
    assert store.stale_parent(of_b) == "parent"


def test_up_to_date_needs_the_same_fingerprint(tmp_path: Path) -> None:
    make(tmp_path, content="x")
    assert store.up_to_date(tmp_path, "thing", "x") is not None
    assert store.up_to_date(tmp_path, "thing", "y") is None


def _hold(root: str, ready: object, done: object) -> None:
    with locked(Path(root), "encoders/photo/cnn"):
        ready.set()  # type: ignore[attr-defined]
        done.wait(30)  # type: ignore[attr-defined]


def test_a_second_writer_ends_at_once_and_names_the_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path), ready, done))
    holder.start()
    assert ready.wait(60)
    with (
        pytest.raises(BusyError, match=f"encoders/photo/cnn is being written by process {holder.pid} on"),
        locked(tmp_path, "encoders/photo/cnn"),
    ):
        pass
    holder.kill()  # the kernel lets go of the lock
    holder.join()
    with locked(tmp_path, "encoders/photo/cnn"):
        pass


def test_names_of_columns_are_safe_and_come_back(tmp_path: Path) -> None:
    for column in ["photo", "标签 zh", "a/b", "..", "x%2Fy", "C:\\z"]:
        name = layout.encoder(column, "cnn")
        assert name.count("/") == 2
        (tmp_path / name).mkdir(parents=True)
        assert (tmp_path / name).resolve().is_relative_to(tmp_path.resolve() / "encoders")
        assert (column, "cnn") in layout.encoders(tmp_path)


NAMES = (
    *("x" * 348, "x" * 347, "图" * 120, "🙂" * 40, "$x_$", "<b>", 'a"b', "a'b", "..", ".", "...", "a.", "a..", "a ", " a"),
    *(
        "CON",
        "con.txt",
        "nul",
        "COM1",
        "~",
        "a~b",
        "%43ON",
        "a%2E",
        "\u1112\u1161",
        "하",
        "e\u0301",
        "é",
        "a\nb",
        "\x00",
        "|?*:",
    ),
)


def test_every_name_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folders = [layout.safe(name) for name in NAMES]
    assert len(set(folders)) == len(NAMES)
    for folder in folders:
        assert len(folder.encode()) <= 100
        assert not set(folder) & set('<>:"/\\|?*\n\x00')
        assert folder[-1] not in ". " and folder[0] != "."
        assert folder.split(".")[0].lower() not in {"con", "nul", "com1"}
    (tmp_path / folders[0] / f".{folders[2]}.partial").mkdir(parents=True)
    assert layout.safe("photo zh-标签_2.5") == "photo zh-标签_2.5"
    assert layout.same_where_case_does_not_count(["T", "x", "t"]) == ("T", "t")
    assert layout.same_where_case_does_not_count(["T", "x"]) is None


@pytest.mark.parametrize("column", NAMES)
def test_the_column_of_an_encoder_is_read_from_its_manifest(column: str, tmp_path: Path) -> None:
    folder = tmp_path / layout.encoder(column, "cnn")
    folder.mkdir(parents=True)
    config = {"config": {"column": column, "architecture": "cnn"}}
    (folder / store.MANIFEST).write_text(json.dumps(config), encoding="utf-8")
    assert layout.encoders(tmp_path) == [(column, "cnn")]


def test_metrics_and_versions_are_plain_json(tmp_path: Path) -> None:
    make(tmp_path)
    manifest = json.loads((tmp_path / "thing" / store.MANIFEST).read_text())
    assert set(manifest) >= {"kind", "format_version", "config", "seed", "parents", "files", "metrics", "hash", "versions"}
    assert manifest["versions"]["torch"]
