"""What was made under a root: a line for each artifact. Nothing rests on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmcli.reporting import strict

HISTORY = "history.jsonl"


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
            entry = strict.numbers(json.loads(line))
            if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                found.append(entry)
    return found


def remember(root: Path, name: str, made: Mapping[str, Any]) -> None:
    """Adds a line to the history, in one write: several processes may do so at once. It is no artifact: nothing rests on it."""
    metrics = {key: own for key, own in made["metrics"].items() if key in {"primary_metric", "val", "test", "train"}}
    told = {key: made[key] for key in ("kind", "created", "seconds", "command", "hash", "seed")}
    line = strict.text({"name": name, **told, "metrics": metrics}) + "\n"
    with suppress(OSError), (root / HISTORY).open("ab", buffering=0) as file:
        file.write(line.encode())
