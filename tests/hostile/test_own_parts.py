"""Artifacts that name a Python file: nothing in it is run, whatever names it, unless the user names the file as well."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcli import load, registry
from mmcli.artifacts import store
from mmcli.errors import ArtifactError, ExitCode
from tests.conftest import run
from tests.faults.hostile import reseal

pytestmark = pytest.mark.slow

EVIL = "from pathlib import Path\nPath({marker!r}).write_text('it ran')\n"


@pytest.fixture(autouse=True)
def _nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_trusted", {})


def forge(folder: Path, relative: str, change: Callable[[Any], None]) -> None:
    """Changes a JSON file of an artifact as an attacker would: the manifest's checksums and seal are made to fit."""
    if relative == store.MANIFEST:
        reseal(folder, change)
        return
    path = folder / relative
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
    reseal(folder)


def _method(value: Any, evil: str) -> None:
    value["config"]["method"] = evil
    for member in value["config"].get("recipe", {}).get("members", []):
        member["method"] = evil


def _architecture(value: Any, evil: str) -> None:
    value["config"]["architecture"] = evil


def _architectures(value: Any, evil: str) -> None:
    for choice in value["config"].get("recipe", value["config"])["encoders"].values():
        choice["architecture"] = evil


def _task(value: Any, evil: str) -> None:
    value["task"] = evil


def _modality(value: Any, evil: str) -> None:
    value["modality"] = evil


PREDICT = ("predict", "TABLE", "-o", "OUT")
THROUGH = ("fuse", "--train-encoders", "--set=training.epochs=1")
OF_FUSION = ("--model", "FUSION")
FORGERIES: dict[str, tuple[str, str, Callable[[Any, str], None], tuple[tuple[str, ...], ...]]] = {
    "the method of a fusion": ("fusions/gated", store.MANIFEST, _method, ((*PREDICT, *OF_FUSION),)),
    "the encoders of a fusion": ("fusions/gated", store.MANIFEST, _architectures, ((*PREDICT, *OF_FUSION),)),
    "an encoder": ("encoders/picture/cnn", store.MANIFEST, _architecture, (THROUGH,)),
    "the members of an optimised model": ("optimized", store.MANIFEST, _method, (PREDICT, ("export", "--to", "TO"))),
    "the encoders of an optimised model": ("optimized", store.MANIFEST, _architectures, (PREDICT, ("export", "--to", "TO"))),
    "the task": (
        "preprocess",
        "task.json",
        _task,
        (PREDICT, ("evaluate", "--force"), ("export", "--to", "TO"), ("optimize", "--force"), ("fuse",), ("train-encoder",)),
    ),
    "a modality": (
        "preprocess",
        "columns/picture/modality.json",
        _modality,
        (PREDICT, ("evaluate", "--force"), ("train-encoder",)),
    ),
}
"""What is forged -> the artifact, its file, how, and the commands that read it."""


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside the artifact"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_file_that_an_artifact_names_is_never_run(
    chain: Path, table: Path, tmp_path: Path, forgery: str, inside: bool
) -> None:
    root, marker = tmp_path / "a", tmp_path / "ran"
    shutil.copytree(chain, root)
    artifact, relative, change, commands = FORGERIES[forgery]
    evil = (root / artifact if inside else tmp_path) / "evil.py"
    evil.write_text(EVIL.format(marker=str(marker)))
    forge(root / artifact, relative, lambda value: change(value, f"{evil}:Mine"))
    places = {"TABLE": table, "OUT": tmp_path / "p.csv", "TO": tmp_path / "e", "FUSION": root / "fusions" / "gated"}
    for command in (*commands, ("status",)):
        code, output = run(*(places.get(word, word) for word in command), "-a", root)
        assert not marker.exists(), f"{command} ran the file"
        assert "bug in mmcli" not in output, output
        if command in commands:
            assert code == ExitCode.ARTIFACT, output


def test_a_named_file_stands_for_that_of_the_artifact_wherever_it_lay(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine.py", tmp_path / "artifact" / "mine.py"
    theirs.parent.mkdir()
    theirs.write_text(EVIL.format(marker=str(tmp_path / "ran")))
    mine.write_text('"""A part of the user."""\n')
    name = f"{theirs}:Mine"
    with pytest.raises(ArtifactError, match="a file that you have not named: nothing in it was run"):
        registry.resolve("fusions", name)
    registry.trust(str(mine))
    assert registry.resolve("fusions", name).path == mine
    assert registry.trusted() == [mine]


def test_python_has_to_name_it_as_well(chain: Path, tmp_path: Path) -> None:
    root = tmp_path / "a"
    shutil.copytree(chain, root)
    (tmp_path / "evil.py").write_text(EVIL.format(marker=str(tmp_path / "ran")))
    forge(root / "fusions" / "gated", store.MANIFEST, lambda value: _method(value, f"{tmp_path / 'evil.py'}:Mine"))
    with pytest.raises(ArtifactError, match="not named"):
        load(root / "fusions" / "gated")
    assert not (tmp_path / "ran").exists()
