"""From a finished partial to the artifact's place, in one step for readers; and what a kill on the way leaves, mended.

A partial with a manifest and a fingerprint is sealed but not yet in its place; one with a manifest alone is what was replaced.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mmcli.artifacts import disk, manifest
from mmcli.artifacts.lock import locked
from mmcli.artifacts.manifest import MANIFEST
from mmcli.errors import BusyError

FINGERPRINT = ".fingerprint"


def matches(partial: Path, fingerprint: str) -> bool:
    """Whether a partial is to become what has this fingerprint."""
    with suppress(OSError):
        return (partial / FINGERPRINT).read_bytes() == fingerprint.encode()
    return False


def tidy(root: Path, name: str) -> None:
    """Ends what a killed process has left half-done, if there is something and nobody is at it."""
    final = root / name
    if (partial_of(final) / MANIFEST).exists() or aside_of(final).exists() or (final / FINGERPRINT).exists():
        with suppress(BusyError, OSError), locked(root, name):
            recover(final)


def recover(final: Path) -> None:
    """Ends a replacement that a kill cut in two: the new artifact was sealed, perhaps the old one already moved aside."""
    partial = partial_of(final)
    if (partial / MANIFEST).is_file():
        if (partial / FINGERPRINT).is_file() and _whole(partial):
            replace(final)
        else:
            disk.removed(partial)  # what was replaced; or sealed, and damaged since
    if not final.exists() and aside_of(final).exists():
        aside_of(final).rename(final)
    disk.removed(aside_of(final))
    (final / FINGERPRINT).unlink(missing_ok=True)


def _whole(partial: Path) -> bool:
    """Whether the files of a sealed partial are those of its manifest: after a power cut they may not be."""
    try:
        found = manifest.parse((partial / MANIFEST).read_bytes())
        files = manifest.of(partial, found["name"])["files"]
        return all(disk.digest_of(partial / file) == entry["sha256"] for file, entry in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def replace(final: Path) -> None:
    """Puts the sealed partial in its place: where the system can, it and the old one change places in one step."""
    partial = partial_of(final)
    disk.sync_folders(partial)
    if not final.exists():
        partial.rename(final)
    elif not disk.exchanged(partial, final):
        disk.removed(aside_of(final))
        final.rename(aside_of(final))
        partial.rename(final)
    disk.sync(final.parent)
    (final / FINGERPRINT).unlink(missing_ok=True)
    disk.removed(partial)
    disk.removed(aside_of(final))


def partial_of(final: Path) -> Path:
    """Where the artifact lies while it is made."""
    return final.parent / f".{final.name}.partial"


def aside_of(final: Path) -> Path:
    """Where the old one lies for a moment, if the two cannot change places."""
    return final.parent / f".{final.name}.old"
