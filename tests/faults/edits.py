"""Values of manifests changed by hand, with nothing sealed again: each is told by what reads it.

python -m tests.faults.edits [--count N] [--root CHAIN]
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.flips import OF, result
from tests.faults.forked import say, warm_up
from tests.faults.tiny import make_chain

SLOW = ("evaluate", "search", "pick", "compare")
Place = tuple[str | int, ...]


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    """Where plain values stand in nested JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, own in inner:
        yield from places(own, (*above, key))
    if not isinstance(value, dict | list):
        yield above


def edited(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x" if isinstance(value, str) else 0


def run(chain: Path, folder: Path, count: int, seed: int = 0) -> tuple[int, list[str]]:
    """Edits so many values, one at a time; gives how many were told, and what is wrong."""
    draw, told, wrong = random.Random(seed), 0, list[str]()
    warm_up(("predict",))
    manifests = sorted(path.relative_to(chain) for path in chain.rglob("artifact.json"))
    for _ in range(count):
        file = draw.choice(manifests)
        shutil.copytree(chain, folder / "a")
        manifest = json.loads((folder / "a" / file).read_text(encoding="utf-8"))
        place = draw.choice(list(places(manifest)))
        at = manifest
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = edited(at[place[-1]])
        (folder / "a" / file).write_text(json.dumps(manifest), encoding="utf-8")
        for reader in {"status", *(own for own in OF.get(file.parts[0], ()) if own not in SLOW)}:  # all manifests: status
            code, output, _ = result(reader, chain, folder)
            said = code == 4 or "damaged" in output or "stale" in output
            told += said and reader == "status"
            if "bug in mmcli" in output or code not in {0, 4} or (not said and reader == "status"):
                wrong.append(f"{file} {place}, {reader}: {code} {' '.join(output.split())[-200:]}")
                say(wrong[-1])
        shutil.rmtree(folder / "a")
    return told, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        chain = asked.root or make_chain(folder)
        told, wrong = run(chain, folder, asked.count)
    say(f"{asked.count} edits: {told} told, {len(wrong)} wrong")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main()))
