"""Writing and reading artifacts: a manifest means complete, a checksum means unchanged, a lineage means fresh.

An artifact under construction is the hidden directory `.NAME.partial` beside its place. It is named for what it will be and
holds the fingerprint of what it is made from, so a killed stage finds its own shards and checkpoints again and goes on from
there. When all files are there the manifest is written last, everything is flushed to disk, and the directory renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmcli import __version__
from mmcli.artifacts.lock import locked
from mmcli.errors import ArtifactError

FORMAT_VERSION = 6
MANIFEST = "artifact.json"
HISTORY = "history.jsonl"
_FINGERPRINT = ".fingerprint"


def digest(value: Any) -> str:
    """sha256 of a JSON value in canonical form: for fingerprints and content hashes."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A complete artifact on disk, with its manifest read. Files are checked as they are asked for."""

    root: Path
    name: str
    manifest: dict[str, Any]

    @property
    def path(self) -> Path:
        return self.root / self.name

    @property
    def hash(self) -> str:
        """Identity of the content: the same bits made twice have the same hash."""
        return str(self.manifest["hash"])

    def parent(self, part: str = "") -> dict[str, str]:
        """This artifact, or a part of it, as an entry of another's `parents`."""
        return {f"{self.name}#{part}": self.manifest["parts"][part]} if part else {self.name: self.hash}

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.manifest["config"])

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.manifest["metrics"])

    def file(self, relative: str) -> Path:
        """The path of one of its files, after checking its sha256.

        Raises:
            ArtifactError: the file is missing or is not what the manifest says.
        """
        entry = self.manifest["files"].get(relative)
        path = self.path / relative
        if entry is None or not path.is_file():
            raise ArtifactError(f"{self.path} lacks the file {relative}", self._remake())
        if file_digest(path) != entry["sha256"]:
            raise ArtifactError(f"{path} is damaged: its sha256 is not the manifest's", self._remake())
        return path

    def json(self, relative: str) -> Any:
        """One of its JSON files, checked and parsed."""
        return json.loads(self.file(relative).read_text(encoding="utf-8"))

    def _remake(self) -> str:
        return f'Make it again: "{self.manifest["command"]} --force".'


@dataclass
class Draft:
    """An artifact under construction. Put files under `path`; `finish` what describes them."""

    path: Path
    parents: Mapping[str, str]
    resumed: bool
    metrics: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Any] = field(default_factory=dict)
    """Shapes and dtypes by file, for the manifest."""
    parts: dict[str, list[str]] = field(default_factory=dict)
    """Part -> prefixes of its files: children may depend on a part alone, as the parent `NAME#PART`."""
    volatile: set[str] = field(default_factory=set)
    """Files that may differ between equal runs (they hold times): not part of the content hash."""

    def write_json(self, relative: str, value: Any) -> None:
        """A readable JSON file, flushed to disk."""
        write_atomic(self.path / relative, json.dumps(value, ensure_ascii=False, indent=1).encode())


@contextmanager
def writing(
    root: Path,
    name: str,
    *,
    kind: str,
    command: str,
    config: Mapping[str, Any],
    seed: int,
    parents: Mapping[str, str],
    fingerprint: str,
    late: Mapping[str, Any] | None = None,
) -> Iterator[Draft]:
    """Makes the artifact `name` under `root`: yields its draft, then seals it; on an exception the draft stays, to be resumed.
    What `late` holds by then is laid over the config: what only the work itself could tell.

    Raises:
        BusyError: another process is writing it.
    """
    final = root / name
    partial = final.parent / f".{final.name}.partial"
    with locked(root, name):
        _recover(final, partial)
        resumed = _matches(partial, fingerprint)
        if not resumed:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write_atomic(partial / _FINGERPRINT, fingerprint.encode())
        started = time.time()
        draft = Draft(partial, parents, resumed)
        yield draft
        (partial / _FINGERPRINT).unlink()
        manifest: dict[str, Any] = {
            "kind": kind,
            "format_version": FORMAT_VERSION,
            "command": command,
            "config": {**config, **(late or {})},
            "seed": seed,
            "parents": dict(parents),
            "fingerprint": fingerprint,
            "files": _files(partial, draft.tensors),
            "metrics": draft.metrics,
        }
        lasting = {file: entry["sha256"] for file, entry in manifest["files"].items() if file not in draft.volatile}
        manifest["hash"] = digest([kind, manifest["config"], lasting])
        manifest["parts"] = {
            part: digest({file: sha for file, sha in lasting.items() if file.startswith(tuple(prefixes))})
            for part, prefixes in draft.parts.items()
        }
        manifest["seconds"] = round(time.time() - started, 3)
        manifest["created"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        manifest["versions"] = _versions()
        write_atomic(partial / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1).encode())
        _replace(final, partial)
        _remember(root, name, manifest)


def read(root: Path, name: str, kind: str, made_by: str) -> Artifact:
    """The complete artifact `name`.

    Raises:
        ArtifactError: missing, unfinished, damaged, of another kind or format version; says what to run.
    """
    path = root / name
    if not (path / MANIFEST).is_file():
        state = "is unfinished" if (path.parent / f".{path.name}.partial").exists() else "does not exist"
        raise ArtifactError(f"{path} {state}", f'Run "{made_by}" first, or name another folder with --artifacts.')
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or "hash" not in manifest:
            raise ValueError("not a manifest")
    except (json.JSONDecodeError, UnicodeDecodeError, ValueError) as error:
        raise ArtifactError(f"{path / MANIFEST} is damaged: {error}", f'Make it again: "{made_by} --force".') from None
    if manifest.get("kind") != kind:
        raise ArtifactError(f"{path} holds a {manifest.get('kind')}, expected a {kind}", "Name another folder.")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {manifest.get('format_version')}, this mmcli {__version__} reads {FORMAT_VERSION}",
            f'Make it again: "{made_by} --force".',
        )
    return Artifact(root, name, manifest)


def exists(root: Path, name: str) -> bool:
    """Whether there is a complete artifact of that name."""
    return (root / name / MANIFEST).is_file()


def stale_parent(artifact: Artifact) -> str | None:
    """The name of a parent that has changed, gone, or is itself stale since the artifact was made; None if it is fresh."""
    for reference, parent_hash in artifact.manifest["parents"].items():
        parent, _, part = reference.partition("#")
        manifest = artifact.root / parent / MANIFEST
        if not manifest.is_file():
            return str(parent)
        current = json.loads(manifest.read_text(encoding="utf-8"))
        if parent_hash != (current["parts"].get(part) if part else current["hash"]):
            return str(parent)
        deeper = stale_parent(Artifact(artifact.root, parent, current))
        if deeper:
            return deeper
    return None


def require_fresh(artifact: Artifact) -> Artifact:
    """The artifact itself.

    Raises:
        ArtifactError: it was made from something that has changed since; says what to run.
    """
    parent = stale_parent(artifact)
    if parent:
        raise ArtifactError(
            f"{artifact.name} is older than {parent}", f'Run "{artifact.manifest["command"]}" to bring it up to date.'
        )
    return artifact


def up_to_date(root: Path, name: str, fingerprint: str) -> Artifact | None:
    """The artifact, if it is complete and was made from exactly this fingerprint."""
    manifest_file = root / name / MANIFEST
    if not manifest_file.is_file():
        return None
    try:
        manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
        same = manifest["fingerprint"] == fingerprint and manifest["format_version"] == FORMAT_VERSION
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        return None
    return Artifact(root, name, manifest) if same else None


def write_atomic(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Writes a file so that it is either whole or not there, and, with `flush`, on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.writing")
    with temporary.open("wb") as file:
        file.write(data)
        if flush:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)


def history(root: Path) -> list[dict[str, Any]]:
    """What was made under a root, the oldest first: name, command, created, seconds, hash, and of the metrics those of val and
    test. A line that cannot be read (cut off, or changed by hand) is passed over."""
    try:
        lines = (root / HISTORY).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and "name" in entry:
                found.append(entry)
    return found


def _remember(root: Path, name: str, manifest: Mapping[str, Any]) -> None:
    """Adds a line to the history, in one write: several processes may do so at once. It is no artifact: nothing rests on it."""
    metrics = {key: own for key, own in manifest["metrics"].items() if key in {"primary_metric", "val", "test", "train"}}
    told = {key: manifest[key] for key in ("kind", "created", "seconds", "command", "hash", "seed")}
    line = json.dumps({"name": name, **told, "metrics": metrics}, ensure_ascii=False) + "\n"
    with suppress(OSError), (root / HISTORY).open("ab", buffering=0) as file:
        file.write(line.encode())


def _matches(partial: Path, fingerprint: str) -> bool:
    file = partial / _FINGERPRINT
    return file.is_file() and file.read_text(encoding="utf-8") == fingerprint


def _recover(final: Path, partial: Path) -> None:
    """Ends a replacement that a kill cut in two: the new artifact was sealed, the old one already moved aside."""
    if (partial / MANIFEST).is_file():
        _replace(final, partial)
    elif not final.exists() and _aside(final).exists():
        _aside(final).rename(final)
    shutil.rmtree(_aside(final), ignore_errors=True)


def _replace(final: Path, partial: Path) -> None:
    _sync(partial)
    if final.exists():
        shutil.rmtree(_aside(final), ignore_errors=True)
        final.rename(_aside(final))
    partial.rename(final)
    _sync(final.parent)
    shutil.rmtree(_aside(final), ignore_errors=True)


def _aside(final: Path) -> Path:
    return final.parent / f".{final.name}.old"


def _sync(path: Path) -> None:
    """Puts a file or a directory on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(folder: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    entries = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            relative = path.relative_to(folder).as_posix()
            _sync(path)
            entry: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            if relative in tensors:
                entry["tensors"] = tensors[relative]
            entries[relative] = entry
    return entries


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("torch", "torchvision", "tokenizers", "pandas", "numpy", "pillow", "safetensors")
    return {"mmcli": __version__, "python": platform.python_version(), **{name: version(name) for name in names}}
