"""Every fusion method on real tables: the figures of docs/fusions.md.

    python benchmarks/fusions.py DATA [--only crawl_hd,...] [--seeds 5] [--artifacts DIR]

DATA holds the tables; where one is missing it is passed over. For each: preprocess, train-encoder (`auto`), fuse --method all;
then the test scores of all methods, of the best single column and of the linear baseline, and how the default method bears
missing inputs: with each input absent in half of the test rows, against the best of the inputs that are left. Nothing looks
at test to choose. Writes docs/fusions.json; then run python docs/generate.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.jobs import fusion as fusion_job
from mmcli.models import loading
from mmcli.proof.baselines import outputs as baseline_outputs
from mmcli.training import device

DOCS = Path(__file__).parent.parent / "docs"
ROBUST = ("--method", "gated", "--modality-dropout", "0.3")


@dataclass(frozen=True)
class Table:
    """A table, its target and its inputs."""

    name: str
    file: str
    options: tuple[str, ...]
    folds: int = 0


TABLES = (
    Table("emoji group", "emoji/data.csv", ("--target", "group", "--input", "image", "--input", "tags_zh")),
    Table("crawl holiness", "crawl_monsters/data.csv", ("--target", "holiness", "--ignore", "flags")),
    Table(
        "crawl hd",
        "crawl_monsters/data.csv",
        ("--target", "hd", "--ignore", "hp", "--ignore", "flags", "--ignore", "name"),
        folds=3,
    ),
    Table(
        "crawl flags",
        "crawl_monsters/data.csv",
        ("--target", "flags", "--label-separator", "|", "--ignore", "name", "--ignore", "hp", "--ignore", "hd"),
    ),
    Table("spoken digits", "spoken_digits/data.csv", ("--target", "label", "--ignore", "speaker")),
    Table("emoji match", "emoji/match.csv", ("--target", "match")),
)


def wanted(data: Path, only: str) -> Iterator[tuple[Table, Path]]:
    """The tables that are there, of those named with commas, each with its file."""
    for table in TABLES:
        if (data / table.file).exists() and (not only or table.name in only.split(",")):
            yield table, data / table.file


def run(*words: str) -> float:
    """Runs mmcli; gives the seconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mmcli", *words, "--quiet"], check=True)
    return time.perf_counter() - started


def measure(table: Table, data: Path, root: Path, seeds: int) -> dict[str, Any]:
    """All that the page says of a table."""
    place = ("--artifacts", str(root))
    run("preprocess", str(data), *table.options, *place)
    seconds = {"encoders": run("train-encoder", *place, *(("--folds", str(table.folds)) if table.folds else ()))}
    seconds["fuse"] = run("fuse", "--method", "all", "--seeds", str(seeds), *place)
    dataset = Dataset.open(root)
    task, test = dataset.task, dataset.splits["test"]
    board = json.loads((root / layout.LEADERBOARD / "leaderboard.json").read_text())
    fusions = loading.fresh_fusions(root)
    targets = dataset.targets[test]
    best = max(loading.best_by_input(loading.encoders_of(fusions[0])).values(), key=loading.rank)
    single = tensors.load(best.file(loading.EMBEDDINGS))["outputs"][test].float()
    linear = baseline_outputs(store.read(root, layout.BASELINES, "baselines", "mmcli fuse"))["linear"][test]
    primary, scored = task.primary_metric, {}
    for artifact in fusions:
        own = tensors.load(artifact.file(loading.OUTPUTS))["outputs"][test]
        scored[layout.short(artifact.config["method"])] = {
            "test": task.intervals(own, targets)[primary].as_dict(),
            "over_column": task.gain(own, single, targets).as_dict(),
            "over_linear": task.gain(own, linear, targets).as_dict(),
        }
    robust = robustness(dataset, root, place)
    return {
        "metric": primary,
        "higher_is_better": task.primary_higher_is_better,
        "rows": {split: len(index) for split, index in dataset.splits.items()},
        "seeds": seeds,
        "folds": table.folds,
        "decisions": fusions[0].config["training"]["decisions"],
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "board": board,
        "winner": layout.short(fusions[0].config["method"]),
        "column": {"name": best.config["column"], "test": task.intervals(single, targets)[primary].as_dict()},
        "linear": {"test": task.intervals(linear, targets)[primary].as_dict()},
        "methods": scored,
        "robustness": robust,
    }


def robustness(dataset: Dataset, root: Path, place: tuple[str, ...]) -> dict[str, Any]:
    """With each input absent in half of the test rows: the fused score, and that of the best input that is left."""
    before = root / layout.fusion("gated")
    aside = before.with_name(".aside")
    before.rename(aside)
    try:
        run("fuse", *ROBUST, "--no-board", *place)
        artifact = store.read(root, layout.fusion("gated"), "fusion", "")
        return {name: halved(dataset, artifact, name) for name in dict.fromkeys(c["input"] for c in chosen(artifact).values())}
    finally:
        if before.exists():
            import shutil

            shutil.rmtree(before)
        aside.rename(before)


def chosen(artifact: Artifact) -> dict[str, Any]:
    """The encoders that a fusion reads, by name."""
    found: dict[str, Any] = artifact.config["encoders"]
    return found


def halved(dataset: Dataset, artifact: Artifact, absent: str) -> dict[str, Any]:
    """One input taken from every second test row."""
    task, test = dataset.task, dataset.splits["test"]
    gone = torch.zeros(len(dataset.rows), dtype=torch.bool)
    gone[test[torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[: len(test) // 2]]] = True
    encoders = loading.encoders_of(artifact)
    features = {name: fusion_job.embeddings(own) for name, own in encoders.items()}
    for name, choice in chosen(artifact).items():
        if choice["input"] == absent:
            features[name] = replace(features[name], present=features[name].present & ~gone)
    network = loading.load_fused(dataset, artifact)
    fused = fusion_job.answers(network.fusion_head, features, device.choose("cpu", "float32")).of(test)
    others = [own for own in loading.best_by_input(encoders).values() if own.config["column"] != absent]
    best = max(others, key=loading.rank)
    left = tensors.load(best.file(loading.EMBEDDINGS))["outputs"][test].float()
    targets = dataset.targets[test]
    return {
        "fused": task.intervals(fused, targets)[task.primary_metric].as_dict(),
        "left": best.config["column"],
        "alone": task.intervals(left, targets)[task.primary_metric].as_dict(),
        "gain": task.gain(fused, left, targets).as_dict(),
    }


def main() -> None:
    """Measures the tables and writes what was found."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="", help="names of tables, with commas")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts-fusions"))
    arguments = parser.parse_args()
    path = DOCS / "fusions.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for table, data in wanted(arguments.data, arguments.only):
        found[table.name] = measure(table, data, arguments.artifacts / table.name.replace(" ", "_"), arguments.seeds)
        path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        print(f"{table.name}: {found[table.name]['board']['verdict']}", file=sys.stderr)


if __name__ == "__main__":
    main()
