"""Where a model comes from: when, how long, by which commands, on what machine, with which versions. Makes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from mmcli.artifacts.store import Artifact
from mmcli.reporting import machine
from mmcli.reporting.grid import Grid


@dataclass(frozen=True)
class Provenance:
    """What a reader needs to make it again."""

    date: str
    duration: str
    machine: str
    versions: str
    commands: tuple[str, ...]
    """Those that made the parts, the first first."""
    parts: Grid


def of(artifacts: Sequence[Artifact], command: str, seconds: float) -> Provenance:
    """Of the artifacts behind a report, in the order in which they were made, and of the evaluation itself."""
    root = artifacts[-1].root
    rows = [
        [own.path.relative_to(root).as_posix(), str(own.manifest.get("created", ""))[:19].replace("T", " "), _took(own)]
        for own in artifacts
    ]
    total = sum(float(own.manifest.get("seconds", 0.0)) for own in artifacts) + seconds
    typed = [str(own.manifest["command"]) for own in artifacts if own.manifest["kind"] != "baselines"]
    versions = artifacts[-1].manifest.get("versions", {})
    return Provenance(
        date=time.strftime("%d %B %Y, %H:%M %Z").strip(),
        duration=lasted(total),
        machine=machine.described(),
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        commands=tuple(dict.fromkeys([*typed, command])),
        parts=Grid.of("Parts of the model, when they were made and how long that took", ["part", "made", "took"], rows, (0, 1)),
    )


def _took(artifact: Artifact) -> str:
    return lasted(float(artifact.manifest.get("seconds", 0.0)))


def lasted(seconds: float) -> str:
    """`8 s`, `2 min 5 s`, `1 h 3 min`."""
    whole = round(seconds)
    if whole < 1:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
