"""Writing and reading artifacts: a manifest means complete, a checksum means unchanged, a lineage means fresh.

An artifact under construction is the hidden directory `.NAME.partial` beside its place. It is named for what it will be and
holds the fingerprint of what it is made from, so a killed stage finds its own shards and checkpoints again and goes on from
there. When all files are there the manifest is written last, everything is flushed to disk, and the directory takes the place
of the old one in one step.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from mmcli import __version__
from mmcli.artifacts import disk, layout, manifest, placing
from mmcli.artifacts.disk import write_atomic
from mmcli.artifacts.history import remember
from mmcli.artifacts.lock import locked
from mmcli.artifacts.manifest import FORMAT_VERSION, MANIFEST, digest
from mmcli.errors import ArtifactError, BusyError, ChangedError, MissingPackageError, MmcliError
from mmcli.reporting import strict

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "Artifact",
    "Draft",
    "digest",
    "exists",
    "file_digest",
    "read",
    "read_again",
    "require_fresh",
    "stale_parent",
    "up_to_date",
    "write_atomic",
    "writing",
]

T = TypeVar("T")
_OTHERS = (OSError, SafetensorError)
"""What libraries raise of files that are not theirs."""


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    return disk.digest_of(path)


def read_again(work: Callable[[], T]) -> T:
    """What `work` gives; done once more where an artifact was replaced meanwhile."""
    try:
        return work()
    except ChangedError:
        return work()


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

    def parent(self, part: str = "", fold: int = 1) -> dict[str, str]:
        """This artifact, or a part of it, as an entry of another's `parents`; of a root above, where it lies in a fold's."""
        name = self.name if fold == 1 else f"{layout.FOLDS}/{fold or layout.REFIT}/{self.name}"
        return {f"{name}#{part}": self.manifest["parts"][part]} if part else {name: self.hash}

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.manifest["config"])

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.manifest["metrics"])

    def file(self, relative: str) -> Path:
        """The path of one of its files, after checking its sha256.

        Raises:
            ArtifactError: the file is missing, is a link, or is not what the manifest says.
        """
        entry = self.manifest["files"].get(relative)
        path = self.path / relative
        if entry is None or not path.is_file():
            raise self._wrong(f"{self.path} lacks the file {relative}")
        if self.path.resolve() / relative != path.resolve():
            raise self._wrong(f"{path} is a link: a file of an artifact lies in its folder")
        try:
            found = disk.digest_of(path)
        except FileNotFoundError:
            raise self._wrong(f"{self.path} lacks the file {relative}") from None
        if found != entry["sha256"]:
            raise self._wrong(f"{path} is damaged: its sha256 is not the manifest's")
        return path

    def json(self, relative: str) -> Any:
        """One of its JSON files, checked and parsed."""
        path = self.file(relative)
        try:
            return manifest.parse(path.read_bytes())
        except ValueError as error:
            raise ArtifactError(f"{path} is no JSON that can be read: {error}", self._remake()) from None

    @contextmanager
    def understood(self, what: str = "") -> Iterator[None]:
        """Makes something of its content.

        Raises:
            ArtifactError: that makes no sense: an unknown part, options or tensors that do not fit; says what to run.
        """
        try:
            yield
        except (ArtifactError, BusyError, MissingPackageError):
            raise
        except MmcliError as error:
            said = " ".join(filter(None, (error.message, error.remedy)))
            raise ArtifactError(f"{self.path}{what and f', {what}'}: {said}", self._remake()) from None
        except (
            *_OTHERS,
            ArithmeticError,
            AssertionError,
            AttributeError,
            LookupError,
            MemoryError,
            RecursionError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            line = next(iter(str(error).splitlines()), "")[:200]
            raise ArtifactError(
                f"{self.path}{what and f', {what}'}: what it says makes no sense: {type(error).__name__}: {line}",
                self._remake(),
            ) from error

    def _wrong(self, message: str) -> ArtifactError:
        """The error; another where the artifact has been replaced since its manifest was read."""
        try:
            now = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))["seal"]
        except (OSError, ValueError, KeyError, TypeError):
            now = None
        if now is not None and now != self.manifest["seal"]:
            return ChangedError(f"{self.path} was replaced while it was read", "Run the same command again.")
        return ArtifactError(message, self._remake())

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
    measured: set[str] = field(default_factory=lambda: {"seconds"})
    """Metrics that may: what a clock had a say in."""

    def write_json(self, relative: str, value: Any) -> None:
        """A readable JSON file, flushed to disk: what is no number in it is null, see `mmcli.reporting.strict`."""
        write_atomic(self.path / relative, strict.text(value, indent=1).encode())


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
    anew: bool = False,
) -> Iterator[Draft]:
    """Makes the artifact `name` under `root`: yields its draft, then seals it; on an exception the draft stays, to be resumed
    by its like, unless that begins `anew`. What `late` holds by then is laid over the config: what only the work itself could
    tell.

    Raises:
        BusyError: another process is writing it.
    """
    final = root / name
    partial = placing.partial_of(final)
    with locked(root, name):
        placing.recover(final)
        resumed = not anew and placing.matches(partial, fingerprint)
        if resumed:
            disk.swept(partial, all_of_them=True)
        else:
            disk.removed(partial)
            partial.mkdir(parents=True)
            write_atomic(partial / placing.FINGERPRINT, fingerprint.encode())
        started = time.time()
        draft = Draft(partial, parents, resumed)
        yield draft
        disk.swept(partial, all_of_them=True)
        made: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "format_version": FORMAT_VERSION,
            "command": command,
            "config": {**config, **(late or {})},
            "seed": seed,
            "parents": dict(parents),
            "fingerprint": fingerprint,
            "files": _files(partial, draft),
            "metrics": draft.metrics,
            "measured": sorted(draft.measured & set(draft.metrics)),
        }
        made = json.loads(strict.text(made))  # as it will be read
        made["hash"] = manifest.content_hash(made)
        made["parts"] = _parts(draft, manifest.lasting(made["files"]))
        made["seconds"] = round(time.time() - started, 3)
        made["created"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        made["versions"] = dict(_versions())
        made["seal"] = manifest.seal(made)
        write_atomic(partial / MANIFEST, strict.text(made, indent=1).encode())
        placing.replace(final)
        remember(root, name, made)


def read(root: Path, name: str, kind: str, made_by: str) -> Artifact:
    """The complete artifact `name`.

    Raises:
        ArtifactError: missing, unfinished, damaged, of another kind or format version, copied from under another name; says
            what to run.
    """
    path = root / name
    again = f'Make it again: "{made_by} --force".' if made_by else "Make it again, or remove its folder."
    if not (path / MANIFEST).is_file():
        placing.tidy(root, name)
    if not (path / MANIFEST).is_file():
        state = "is unfinished" if placing.partial_of(path).exists() else "does not exist"
        raise ArtifactError(f"{path} {state}", f'Run "{made_by}" first, or name another folder with --artifacts.')
    try:
        found = manifest.of(path, name)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path / MANIFEST} is damaged: {error}", again) from None
    if found["kind"] != kind:
        raise ArtifactError(f"{path} holds a {str(found['kind'])[:80]}, expected a {kind}", f"Name another folder. {again}")
    if found["format_version"] != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {str(found['format_version'])[:20]}, this mmcli {__version__} reads {FORMAT_VERSION}",
            again,
        )
    return Artifact(root, name, found)


def exists(root: Path, name: str) -> bool:
    """Whether there is a complete artifact of that name."""
    return (root / name / MANIFEST).is_file()


def stale_parent(artifact: Artifact) -> str | None:
    """The name of a parent that has changed, gone, or is itself stale since the artifact was made; None if it is fresh.

    Raises:
        ArtifactError: a parent is damaged, or what comes of it is among those that it came of.
    """
    return _stale_parent(artifact, (), {})


def _stale_parent(artifact: Artifact, above: tuple[Artifact, ...], known: dict[Path, Artifact | None]) -> str | None:
    if artifact.path in {other.path for other in above}:
        names = [other.name for other in (*above, artifact)]
        raise ArtifactError(f"{artifact.path} comes of itself: {' of '.join(names)}", artifact._remake())
    for reference, parent_hash in artifact.manifest["parents"].items():
        parent, _, part = reference.partition("#")
        path = artifact.root / parent
        if path not in known:
            known[path] = _parent_of(artifact, parent)
        current = known[path]
        if current is None or parent_hash != (current.manifest["parts"].get(part) if part else current.hash):
            return str(parent)
        deeper = _stale_parent(current, (*above, artifact), known)
        if deeper:
            return deeper if current.root == artifact.root else f"{current.root.relative_to(artifact.root).as_posix()}/{deeper}"
    return None


def _parent_of(artifact: Artifact, parent: str) -> Artifact | None:
    """None where it is not there, or of an older format."""
    path = artifact.root / parent
    fold, name = layout.in_fold(parent)
    try:
        found = manifest.of(path, name)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path / MANIFEST} is damaged: {error}", f'Make it again with --force, then: "{artifact.manifest["command"]}".'
        ) from None
    return Artifact(layout.fold(artifact.root, fold), name, found) if found["format_version"] == FORMAT_VERSION else None


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
    """The artifact, if it is complete and was made from exactly this fingerprint; what a killed process left beside it is put
    in its place or goes."""
    placing.tidy(root, name)
    try:
        found = manifest.of(root / name, name)
    except (OSError, ValueError):
        return None
    if found["format_version"] != FORMAT_VERSION or found["fingerprint"] != fingerprint:
        return None
    return Artifact(root, name, found)


def _files(folder: Path, draft: Draft) -> dict[str, Any]:
    entries = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_file() and relative not in {placing.FINGERPRINT, MANIFEST}:
            disk.sync(path)
            entry: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": disk.digest_of(path)}
            if relative in draft.tensors:
                entry["tensors"] = draft.tensors[relative]
            if relative in draft.volatile:
                entry["fleeting"] = True
            entries[relative] = entry
    return entries


def _parts(draft: Draft, lasting: Mapping[str, str]) -> dict[str, str]:
    """Part -> a digest of its files, from the sha256 of each."""
    return {
        part: digest({file: sha for file, sha in lasting.items() if file.startswith(tuple(prefixes))})
        for part, prefixes in draft.parts.items()
    }


@cache
def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("torch", "torchvision", "tokenizers", "pandas", "numpy", "pillow", "safetensors")
    return {"mmcli": __version__, "python": platform.python_version(), **{name: version(name) for name in names}}
