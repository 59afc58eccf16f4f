"""Where artifacts lie under the root, and what they are called. Knows nothing of their content."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

PREPROCESS = "preprocess"
BASELINES = "baselines"
OPTIMIZED = "optimized"
LEADERBOARD = "leaderboard"
EVALUATION = "evaluation"


def safe(name: str) -> str:
    """A column's name as a folder's: letters of any script stay, what a file system or URL would stumble over is quoted."""
    return "".join(char if char.isalnum() or char in " _-." else quote(char, safe="") for char in name).replace(
        ".", "%2E", 1 if name.startswith(".") else 0
    )


def short(name: str) -> str:
    """A part's name; of a user's own, that of its class."""
    return name.rpartition(":")[2] if ".py:" in name else name


def encoder(column: str, architecture: str) -> str:
    return f"encoders/{safe(column)}/{safe(short(architecture))}"


def fusion(method: str) -> str:
    return f"fusions/{safe(short(method))}"


def encoders(root: Path) -> list[tuple[str, str]]:
    """(column, architecture) of every encoder there, complete or not, sorted."""
    return [(unquote(path.parent.name), unquote(path.name)) for path in _folders(root / "encoders", "*/*")]


def fusions(root: Path) -> list[str]:
    """The method of every fusion there, sorted."""
    return [unquote(path.name) for path in _folders(root / "fusions", "*")]


def _folders(base: Path, pattern: str) -> list[Path]:
    return sorted(p for p in base.glob(pattern) if p.is_dir() and not p.name.startswith("."))
