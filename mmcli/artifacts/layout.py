"""Where artifacts lie under the root, and what they are called. Knows nothing of their content."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

PREPROCESS = "preprocess"
BASELINES = "baselines"
FUSIONS = "fusions"
OPTIMIZED = "optimized"
FOLDED = "folded"
"""The average of the pipelines of all folds."""
FOLDS = "folds"
"""Where the folds beside the root itself, which is the first, lie: each an artifacts root, by its number."""
REFIT = "refit"
"""One pipeline that is trained on all labelled rows; and, in `FOLDS`, its root."""
LEADERBOARD = "leaderboard"
EVALUATION = "evaluation"
GALLERIES = "galleries"
SCHEMA = "schema.json"
"""In `PREPROCESS`: what the columns are."""
TRADEOFF = "tradeoff.json"
"""In `OPTIMIZED`: all models that were measured."""


_LONGEST = 100
"""Bytes of a folder's name: file systems take 255, and something is put before and behind it."""
_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    "conin$",
    "conout$",
    *(f"{port}{i}" for port in ("com", "lpt") for i in "0123456789¹²³"),
}
"""What Windows takes for a device, whatever comes after a point."""


def safe(name: str) -> str:
    """A column's name as a folder's: letters of any script stay, what a file system or URL would stumble over is quoted.

    What no file system takes even so (a name that is too long, or would be composed otherwise) is cut, and told from others by
    a hash behind `~`: two names never share a folder. Where case does not count, they may: see
    `same_where_case_does_not_count`.
    """
    quoted = "".join(char if char.isalnum() or char in " _-." else _quoted(char) for char in name)
    if name.startswith("."):
        quoted = quoted.replace(".", "%2E", 1)
    if quoted.endswith((".", " ")):
        quoted = quoted[:-1] + _quoted(quoted[-1])
    if quoted.partition(".")[0].strip().lower() in _DEVICES:
        quoted = _quoted(quoted[0]) + quoted[1:]
    if len(quoted.encode()) <= _LONGEST and unicodedata.is_normalized("NFC", name):
        return quoted
    cut = quoted.encode()[: _LONGEST - 13].decode("utf-8", "ignore")
    head = re.sub(r"%[0-9A-F]?$", "", unicodedata.normalize("NFC", cut)).rstrip(". ")
    return f"{head}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _quoted(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def same_where_case_does_not_count(names: Sequence[str]) -> tuple[str, str] | None:
    """Two names whose folders would be one on a file system that takes `T` for `t`."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(safe(name).casefold(), name)
        if other != name:
            return other, name
    return None


def short(name: str) -> str:
    """A part's name; of a user's own, that of its class."""
    return name.rpartition(":")[2] if ".py:" in name else name


def encoder(column: str, architecture: str) -> str:
    return f"encoders/{safe(column)}/{safe(short(architecture))}"


def fusion(method: str) -> str:
    return f"fusions/{safe(short(method))}"


def fold(root: Path, number: int) -> Path:
    """The artifacts root of a fold, counted from 1: the first is the root itself; 0 is that of the refit."""
    return root if number == 1 else root / FOLDS / (str(number) if number else REFIT)


def is_fold(root: Path) -> bool:
    """Whether an artifacts root is that of a fold beside the first, or of the refit."""
    return root.parent.name == FOLDS


def in_fold(name: str) -> tuple[int, str]:
    """The fold, and the name in its root, of an artifact as the root above names it: `folds/2/fusions/late`."""
    found = re.fullmatch(rf"{FOLDS}/([1-9]\d{{0,2}}|{REFIT})/(.+)", name)
    return (0 if found[1] == REFIT else int(found[1]), found[2]) if found else (1, name)


def encoders(root: Path) -> list[tuple[str, str]]:
    """(column, architecture) of every encoder there, complete or not, sorted by folder."""
    found = []
    for path in _folders(root / "encoders", "*/*"):
        told = _told(path, "column"), _told(path, "architecture")
        here = encoder(*told) == path.relative_to(root).as_posix()
        found.append(told if here else (unquote(path.parent.name), unquote(path.name)))
    return found


def encoder_names(root: Path) -> list[str]:
    """The names of all encoders, complete or not, sorted."""
    return [path.relative_to(root).as_posix() for path in _folders(root / "encoders", "*/*")]


def encoders_of(root: Path, column: str) -> list[str]:
    """The names of a column's encoders, complete or not, sorted."""
    return [path.relative_to(root).as_posix() for path in _folders(root / "encoders", f"{_literal(safe(column))}/*")]


def fusions(root: Path) -> list[str]:
    """The method of every fusion there, sorted by folder."""
    found = []
    for path in _folders(root / "fusions", "*"):
        told = _told(path, "method")
        found.append(told if fusion(told) == path.relative_to(root).as_posix() else unquote(path.name))
    return found


def fusion_names(root: Path) -> list[str]:
    """The names of all fusions, complete or not, sorted."""
    return [path.relative_to(root).as_posix() for path in _folders(root / "fusions", "*")]


def gallery(name: str) -> str:
    return f"{GALLERIES}/{name}"


def galleries(root: Path) -> list[str]:
    """The names of all galleries, complete or not, sorted."""
    return [path.name for path in _folders(root / GALLERIES, "*")]


def _literal(name: str) -> str:
    """A folder's name, of which no character stands for others in a pattern."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _told(folder: Path, key: str) -> str:
    """What the manifest in a folder says of its name, which may not tell; empty where there is none that says it."""
    try:
        manifest = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))
        told = manifest["config"][key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return told if isinstance(told, str) else ""


def _folders(base: Path, pattern: str) -> list[Path]:
    return sorted(p for p in base.glob(pattern) if p.is_dir() and not p.name.startswith("."))
