"""Single bits flipped in every file that a command reads: each is told, or changes nothing.

    python -m tests.faults.flips [--count N]

counts what was silent (another result, and no word of it) and what was called a bug.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.faults.forked import child, say, warm_up
from tests.faults.hostile import FUSION, PICKED
from tests.faults.tiny import FAST, make_chain

Result = Callable[[Path, str], str]


def _file(name: str) -> Result:
    return lambda place, _: hashlib.sha256((place / name).read_bytes()).hexdigest()


def _scores(place: Path, _: str) -> str:
    return json.dumps(json.loads((place / "a/evaluation/metrics.json").read_text(encoding="utf-8")), sort_keys=True)


def _picked(place: Path, _: str) -> str:
    manifest = json.loads((place / "a/optimized/artifact.json").read_text(encoding="utf-8"))
    return json.dumps([manifest["config"]["picked"], manifest["hash"]])


def _said(place: Path, output: str) -> str:
    return output.replace(str(place), "")


READERS: dict[str, tuple[tuple[str, ...], Result]] = {
    "status": (("status", "--json"), _said),
    "predict": (("predict", "TABLE", "-o", "OUT", *FAST), _file("p.csv")),
    "predict by a fusion": (("predict", "TABLE", "-o", "OUT", "--model", "FUSION", *FAST), _file("p.csv")),
    "evaluate": (("evaluate", "--quick", "--force", *FAST), _scores),
    "pick": (("optimize", "--pick", PICKED, *FAST), _picked),
    "compare": (("evaluate", "--compare", "HERE", "HERE", "--json", "--quiet"), _said),
    "search": (("optimize", "--trials=3", "--goal=accuracy", "--only=search", *FAST), _picked),
}
"""What reads artifacts, and what it gives."""
OF = {
    "preprocess": ("predict by a fusion", "evaluate"),
    "encoders": ("predict by a fusion", "evaluate"),
    "baselines": ("evaluate",),
    "fusions": ("predict by a fusion", "evaluate"),
    "leaderboard": ("status",),
    "optimized": ("predict", "pick"),
    "evaluation": ("compare",),
    "search": ("search",),
}
"""Folder -> the commands that read it."""


SLOW = ("evaluate", "search", "compare", "pick")


def result(reader: str, chain: Path, place: Path) -> tuple[int, str, str]:
    """Exit code, words and result of a command over what lies in `place/a`."""
    command, of = READERS[reader]
    root = place / "a"
    places = {"TABLE": chain.parent / "data.csv", "OUT": place / "p.csv", "FUSION": root / FUSION, "HERE": root}
    words = [str(places.get(word, word)) for word in command]
    code, output = child([*words, *([] if reader == "compare" else ["-a", str(root)])], lambda: None)
    return code, output, of(place, output) if code == 0 else ""


def flipped(file: Path, draw: random.Random) -> None:
    """One bit of a file the other way."""
    data = bytearray(file.read_bytes())
    bit = draw.randrange(len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(bytes(data))


def run(chain: Path, folder: Path, count: int, seed: int = 0, skip: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Flips so many bits, one at a time, in files in turn; gives what was silent and what was a bug, and how many were told."""
    draw = random.Random(seed)
    warm_up(("predict",) if skip else ())
    readers = {reader for own in OF.values() for reader in own if reader not in skip} | {"status"}
    wanted = {}
    for reader in readers:
        shutil.copytree(chain, folder / "a")
        code, output, wanted[reader] = result(reader, chain, folder)
        assert code == 0, (reader, output)
        shutil.rmtree(folder / "a")
    files = sorted(path.relative_to(chain) for path in chain.rglob("*") if path.is_file() and path.stat().st_size)
    files = [file for file in files if file.parts[0] in OF and not file.name.endswith(".lock")]
    files = [file for file in files if not set(OF[file.parts[0]]) <= set(skip) or file.name == "artifact.json"]
    found: dict[str, list[str]] = {"silent": [], "bug": [], "told": [], "no matter": []}
    for number in range(count):
        file = files[number % len(files)] if count >= len(files) else draw.choice(files)
        readers = [reader for reader in OF[file.parts[0]] if reader not in skip]
        reader = draw.choice([*readers, "status"] if file.name == "artifact.json" or not readers else readers)
        shutil.copytree(chain, folder / "a")
        flipped(folder / "a" / file, draw)
        code, output, now = result(reader, chain, folder)
        shutil.rmtree(folder / "a")
        told = code == 4 or "damaged" in output or "stale" in output or "begins anew" in output
        kind = "bug" if "bug in mmcli" in output or code not in {0, 4} else "told" if told else "no matter"
        if kind == "no matter" and now != wanted[reader]:
            kind = "silent"
        found[kind].append(f"{file}, {reader}: {code} {' '.join(output.split())[-300:] if kind == 'bug' else ''}")
        if kind in {"silent", "bug"}:
            say(f"{kind}: {found[kind][-1]}")
    return found


def fast(chain: Path) -> tuple[int, list[str]]:
    """A few flips by the quick commands: how many, and what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(chain, Path(folder), 20, skip=SLOW)
    return len(found["told"]), found["silent"] + found["bug"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chain = asked.root or make_chain(Path(folder))
        found = run(chain, Path(folder), asked.count, asked.seed)
    say(", ".join(f"{len(own)} {kind}" for kind, own in found.items()))
    return len(found["silent"]) + len(found["bug"])


if __name__ == "__main__":
    sys.exit(bool(main()))
