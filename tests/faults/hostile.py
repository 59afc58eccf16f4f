"""Artifacts that somebody made to do harm: their checksums and seals fit, what they say does not.

    python -m tests.faults.hostile [--count N] [--root CHAIN]

runs the commands over so many of them, and tells how many ran code, crashed, or were called a bug.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmcli.artifacts import manifest, store, tensors
from tests.faults.tiny import FAST, call, make_chain

EVIL = "from pathlib import Path\nPath({marker!r}).write_text('it ran')\n"
FUSION = "fusions/gated"
ENCODER = "encoders/text/rnn"
RECIPE = "candidates/fused%2C float32/recipe.json"
PICKED = "fused, float32"
COMMANDS: dict[str, tuple[str, ...]] = {
    "status": ("status",),
    "predict": ("predict", "TABLE", "-o", "OUT", *FAST),
    "predict by a fusion": ("predict", "TABLE", "-o", "OUT", "--model", "FUSION", *FAST),
    "evaluate": ("evaluate", "--quick", "--force", *FAST),
    "export": ("export", "--to", "TO", "--format", "safetensors", "--quiet"),
    "optimize": ("optimize", "--pick", PICKED, *FAST),
    "fuse": ("fuse", "--method", "concat", "--seeds", "1", "--set=training.epochs=1", *FAST),
}
"""What reads artifacts, each in its own way."""


@dataclass(frozen=True)
class Forgery:
    """One artifact that was made to do harm."""

    name: str
    apply: Callable[[Path, Path], None]
    """Of the artifacts root, and a Python file that must not run."""


def reseal(folder: Path, change: Callable[[Any], None] | None = None) -> None:
    """Makes the checksums of a folder's manifest fit what lies there, after a change to what it says."""
    path = folder / store.MANIFEST
    found = json.loads(path.read_text(encoding="utf-8"))
    for relative, entry in found["files"].items():
        file = folder / relative
        if file.is_file():
            entry |= {"sha256": store.file_digest(file), "bytes": file.stat().st_size}
    if change is not None:
        change(found)
    try:
        found["hash"] = manifest.content_hash(found)
        found["seal"] = manifest.seal(found)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        pass  # what is there can be sealed by nobody
    path.write_text(json.dumps(found), encoding="utf-8")


def set_at(value: Any, place: tuple[str | int, ...], new: Any) -> None:
    """Puts something at a place of nested JSON; `*` is whatever key comes first."""
    for key in place[:-1]:
        value = value[next(iter(value)) if key == "*" else key]
    value[next(iter(value)) if place[-1] == "*" else place[-1]] = new


def _deep() -> Any:
    value: Any = 0
    for _ in range(400):
        value = [value]
    return value


WRONG: tuple[tuple[str, Any], ...] = (
    ("a list", [1]),
    ("an object", {"a": 1}),
    ("nothing", None),
    ("a number", 5),
    ("a text", "x"),
    ("a huge number", 10**30),
    ("below zero", -1),
    ("endless", math.inf),
    ("no number", math.nan),
    ("a NUL", "a\0b"),
    ("half a character", "\ud800"),
    ("nesting", _deep()),
    ("a path", "../../../etc/passwd"),
)
NAMES = (
    (FUSION, store.MANIFEST, ("config", "method")),
    (FUSION, store.MANIFEST, ("config", "head", "name")),
    (FUSION, store.MANIFEST, ("config", "encoders", "*", "architecture")),
    (FUSION, store.MANIFEST, ("config", "encoders", "*", "head", "name")),
    (ENCODER, store.MANIFEST, ("config", "architecture")),
    (ENCODER, store.MANIFEST, ("config", "head", "name")),
    ("optimized", store.MANIFEST, ("config", "method")),
    ("optimized", store.MANIFEST, ("config", "recipe", "members", 0, "method")),
    ("optimized", store.MANIFEST, ("config", "recipe", "head", "name")),
    ("optimized", store.MANIFEST, ("config", "recipe", "encoders", "*", "architecture")),
    ("optimized", RECIPE, ("recipe", "members", 0, "method")),
    ("optimized", RECIPE, ("recipe", "head", "name")),
    ("optimized", RECIPE, ("recipe", "encoders", "*", "architecture")),
    ("optimized", RECIPE, ("recipe", "encoders", "*", "head", "name")),
    ("preprocess", "task.json", ("task",)),
    ("preprocess", "columns/text/modality.json", ("modality",)),
    ("preprocess", "columns/width/modality.json", ("modality",)),
)
"""Where a part is named: a user's own file may stand there, which is run only if the user names it too."""
OTHERS = (
    (FUSION, store.MANIFEST, ("config", "fusion")),
    (FUSION, store.MANIFEST, ("config", "fusion", "hidden")),
    (FUSION, store.MANIFEST, ("config", "encoders")),
    (FUSION, store.MANIFEST, ("config", "encoders", "*", "input")),
    (FUSION, store.MANIFEST, ("config", "encoders", "*", "encoder")),
    (FUSION, store.MANIFEST, ("config", "seeds")),
    (FUSION, store.MANIFEST, ("config", "training")),
    (FUSION, store.MANIFEST, ("config", "trained_encoders")),
    (FUSION, store.MANIFEST, ("metrics", "val")),
    (FUSION, store.MANIFEST, ("metrics", "primary_metric")),
    (FUSION, store.MANIFEST, ("parents",)),
    (FUSION, store.MANIFEST, ("files",)),
    (FUSION, store.MANIFEST, ("files", "*")),
    (FUSION, store.MANIFEST, ("kind",)),
    (FUSION, store.MANIFEST, ("command",)),
    (FUSION, store.MANIFEST, ("format_version",)),
    (ENCODER, store.MANIFEST, ("config", "column")),
    (ENCODER, store.MANIFEST, ("config", "encoder")),
    (ENCODER, store.MANIFEST, ("config", "encoder", "hidden")),
    (ENCODER, store.MANIFEST, ("metrics",)),
    ("optimized", store.MANIFEST, ("config", "way")),
    ("optimized", store.MANIFEST, ("config", "base")),
    ("optimized", store.MANIFEST, ("config", "recipe")),
    ("optimized", store.MANIFEST, ("config", "recipe", "members")),
    ("optimized", store.MANIFEST, ("config", "recipe", "calibration")),
    ("optimized", store.MANIFEST, ("config", "recipe", "calibration_shape")),
    ("optimized", store.MANIFEST, ("metrics", "conformal")),
    ("optimized", store.MANIFEST, ("metrics", "history")),
    ("optimized", RECIPE, ("weights",)),
    ("optimized", RECIPE, ("way",)),
    ("optimized", RECIPE, ("recipe",)),
    ("optimized", "tradeoff.json", ("rows",)),
    ("optimized", "tradeoff.json", ("reference",)),
    ("preprocess", store.MANIFEST, ("config", "schema")),
    ("preprocess", "task.json", ("state",)),
    ("preprocess", "task.json", ("state", "*")),
    ("preprocess", "schema.json", ("columns",)),
    ("preprocess", "schema.json", ("columns", "*", "shards")),
    ("preprocess", "schema.json", ("inputs",)),
    ("preprocess", "schema.json", ("inputs", "*")),
    ("preprocess", "schema.json", ("targets",)),
    ("preprocess", "schema.json", ("na",)),
    ("preprocess", "columns/text/modality.json", ("state",)),
    ("preprocess", "columns/width/modality.json", ("state",)),
    ("preprocess", "columns/width/modality.json", ("state", "*")),
    ("baselines", store.MANIFEST, ("metrics",)),
)
"""Other places, where wrong values may stand."""


def _changed(artifact: str, relative: str, place: tuple[str | int, ...], new: Any) -> Callable[[Path, Path], None]:
    def apply(root: Path, evil: Path) -> None:
        folder = root / artifact
        value = f"{evil}:Mine" if new is EVIL else new
        if relative == store.MANIFEST:
            reseal(folder, lambda found: set_at(found, place, value))
            return
        path = folder / relative
        found = json.loads(path.read_text(encoding="utf-8"))
        set_at(found, place, value)
        path.write_text(json.dumps(found), encoding="utf-8")
        reseal(folder)

    return apply


def _tensors(artifact: str, relative: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path, Path], None]:
    def apply(root: Path, evil: Path) -> None:
        found: dict[str, Any] = tensors.load(root / artifact / relative)
        change(found)
        tensors.save(root / artifact / relative, found)
        reseal(root / artifact)

    return apply


def _each(change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda found: found.update({name: change(tensor) for name, tensor in found.items()})


def _bytes(artifact: str, relative: str, data: bytes) -> Callable[[Path, Path], None]:
    def apply(root: Path, evil: Path) -> None:
        (root / artifact / relative).write_bytes(data)
        reseal(root / artifact)

    return apply


def _link(artifact: str, relative: str, folder: bool = False) -> Callable[[Path, Path], None]:
    def apply(root: Path, evil: Path) -> None:
        path = root / artifact / relative
        other = evil.parent / f"elsewhere-{path.name}"
        path.rename(other)
        path.symlink_to(other, target_is_directory=folder)

    return apply


def _cycle(root: Path, evil: Path) -> None:
    gated = json.loads((root / FUSION / store.MANIFEST).read_text(encoding="utf-8"))
    reseal(root / ENCODER, lambda found: found.update(parents={FUSION: gated["hash"]}))


def _own_parent(root: Path, evil: Path) -> None:
    reseal(root / FUSION, lambda found: found.update(parents={FUSION: found["hash"]}))


def _library(root: Path, evil: Path) -> None:
    """A shared library as the way to run it: here a file that would be loaded, had it not to be made here."""
    (root / "optimized" / "model.pt2").write_bytes(evil.read_bytes())

    def change(found: Any) -> None:
        found["config"]["way"] = "aot"
        found["files"]["model.pt2"] = {"bytes": 0, "sha256": store.file_digest(root / "optimized" / "model.pt2")}
        found["metrics"]["compiled_here"] = {found["files"]["model.pt2"]["sha256"]: "0" * 64}

    reseal(root / "optimized", change)


def _copied(root: Path, evil: Path) -> None:
    shutil.rmtree(root / FUSION)
    shutil.copytree(root / "fusions" / "concat", root / FUSION)


def _file_outside(root: Path, evil: Path) -> None:
    def change(found: Any) -> None:
        found["files"][f"../../../{evil.name}"] = {"bytes": 1, "sha256": store.file_digest(evil)}

    reseal(root / FUSION, change)


def forgeries() -> Iterator[Forgery]:
    """All of them, those that name code first."""
    for artifact, relative, place in NAMES:
        where = f"{artifact}/{relative} {'.'.join(map(str, place))}"
        yield Forgery(f"{where}: a Python file", _changed(artifact, relative, place, EVIL))
        for said, value in (("an unknown part", "no-such-part"), ("a list", ["gated"]), ("a path", "../gated")):
            yield Forgery(f"{where}: {said}", _changed(artifact, relative, place, value))
    special: dict[str, Callable[[Path, Path], None]] = {
        "a library": _library,
        "a cycle of parents": _cycle,
        "its own parent": _own_parent,
        "copied under another name": _copied,
        "a file outside": _file_outside,
        "a parent outside": _changed(FUSION, store.MANIFEST, ("parents",), {"../../outside": "0" * 64}),
        "a linked file": _link(FUSION, "weights.safetensors"),
        "a linked folder": _link("preprocess", "columns", folder=True),
        "an empty manifest": lambda root, _: (root / FUSION / store.MANIFEST).write_bytes(b"") and None,
        "a manifest of nesting": lambda root, _: (root / FUSION / store.MANIFEST).write_text("[" * 100_000) and None,
        "a manifest of numbers": lambda root, _: (root / FUSION / store.MANIFEST).write_text("9" * 5000) and None,
        "JSON of nesting": _bytes("preprocess", "task.json", b'{"a":' * 50_000),
        "JSON of no characters": _bytes("preprocess", "schema.json", b"\xff\xfe\x00"),
        "rows that are no table": _bytes("preprocess", "rows.parquet", b"PAR1 nothing PAR1"),
        "weights of nothing": _bytes(FUSION, "weights.safetensors", b""),
        "weights with a huge header": _bytes(FUSION, "weights.safetensors", (2**60).to_bytes(8, "little") + b"{}"),
        "weights that are text": _bytes("optimized", "weights.safetensors", b"not tensors"),
        "a graph of nothing": _bytes("optimized", "model.onnx", b"\x08\x01nothing"),
        "embeddings of nothing": _bytes(ENCODER, "embeddings.safetensors", b"{}"),
    }
    yield from (Forgery(name, apply) for name, apply in special.items())
    shapes: dict[str, Callable[[dict[str, Any]], None]] = {
        "of other shapes": _each(lambda t: t.reshape(-1)[:1].repeat(3)),
        "of no rows": _each(lambda t: t[:0] if t.dim() else t),
        "of another type": _each(lambda t: t.to(torch.int8)),
        "without names": lambda found: found.clear(),
        "with a name too many": lambda found: found.update(another=torch.ones(2)),
    }
    files = ((FUSION, "weights"), (FUSION, "outputs"), (ENCODER, "weights"), (ENCODER, "embeddings"), ("optimized", "weights"))
    for artifact, name in (
        *files,
        ("baselines", "outputs"),
        ("preprocess", "columns/text/00000"),
        ("preprocess", "columns/width/00000"),
    ):
        for said, change in shapes.items():
            yield Forgery(f"{artifact}/{name} {said}", _tensors(artifact, f"{name}.safetensors", change))
    text = "columns/text/00000.safetensors"
    for said, offsets in {
        "negative offsets": lambda t: t - 5,
        "falling offsets": lambda t: t.flip(0),
        "endless offsets": lambda t: t * 2**40,
        "offsets of nothing": lambda t: t[:1],
    }.items():
        change = lambda found, offsets=offsets: found.update(offsets=offsets(found["offsets"]))  # noqa: E731
        yield Forgery(f"{text}: {said}", _tensors("preprocess", text, change))
    ids = lambda found: found.update(values=found["values"] + 10**6)  # noqa: E731
    yield Forgery(f"{text}: ids of no token", _tensors("preprocess", text, ids))
    for number, (artifact, relative, place) in enumerate(OTHERS):
        for step in range(5):
            said, value = WRONG[(number + step * 3) % len(WRONG)]
            where = f"{artifact}/{relative} {'.'.join(map(str, place))}"
            yield Forgery(f"{where}: {said}", _changed(artifact, relative, place, value))


def trouble(forgery: Forgery, chain: Path, place: Path, commands: dict[str, tuple[str, ...]]) -> list[str]:
    """What went wrong with the commands over a forged copy of the chain, in words; empty where all held."""
    root, marker, evil = place / "a", place / "ran", place / "evil.py"
    found = []
    shutil.copytree(chain, root)
    evil.write_text(EVIL.format(marker=str(marker)), encoding="utf-8")
    forgery.apply(root, evil)
    places = {"TABLE": chain.parent / "data.csv", "OUT": place / "p.csv", "TO": place / "e", "FUSION": root / FUSION}
    for name, command in commands.items():
        code, output = call(*(places.get(word, word) for word in command), "-a", root)
        said = " ".join(output.split())
        if marker.exists():
            found.append(f"{forgery.name}: {name} ran code")
            marker.unlink()
        if code not in {0, 4} or "bug in mmcli" in said or "Traceback" in said:
            found.append(f"{forgery.name}: {name} ended with {code}: {said[-400:]}")
        elif code == 4 and not {"mmcli", "--trust"} & set(re.split(r'[ ":]', said.rpartition("error:")[2])):
            found.append(f"{forgery.name}: {name} names no command: {said[-400:]}")
    return found


def main() -> int:
    """Runs so many forgeries, spread over all; gives how many held not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--only", default="", help="those whose names hold this")
    parser.add_argument("--command", action="append", choices=COMMANDS, default=[])
    asked = parser.parse_args()
    commands = {name: words for name, words in COMMANDS.items() if name in asked.command or not asked.command}
    failed = done = 0
    with tempfile.TemporaryDirectory() as folder:
        chain = asked.root or make_chain(Path(folder))
        every = [forgery for forgery in forgeries() if asked.only in forgery.name]
        chosen = every[:: max(1, len(every) // asked.count)]
        for forgery in chosen:
            with tempfile.TemporaryDirectory() as place:
                found = trouble(forgery, chain, Path(place), commands)
            done += 1
            failed += bool(found)
            for line in found:
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{done} hostile artifacts, {len(commands)} commands each: {failed} did not end as they should\n")
    return failed


if __name__ == "__main__":
    sys.exit(bool(main()))
