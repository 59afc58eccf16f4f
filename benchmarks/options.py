"""What each option of training a fusion earns on real tables: the table of docs/fusions.md on it.

    python benchmarks/options.py DATA [--only "crawl hd,..."] [--seeds 5] [--artifacts DIR] [--through]

For each table: preprocess and train-encoder (`auto`; passed over where the artifacts are there), then the method `gated` with
each option set apart from the defaults, from as many seeds: on the embeddings with one fusion to a seed, and with --through as
well through the best encoder of each input. Each difference is paired by seed. Writes docs/options.json; then run
python docs/generate.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusions import Table, wanted

from mmcli.artifacts import layout, store, tensors
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.models.loading import OUTPUTS
from mmcli.reporting.console import Console
from mmcli.stages import Context
from mmcli.stages.fuse import Options, run

DOCS = Path(__file__).parent.parent / "docs"
ON_EMBEDDINGS = {
    "as it is": (),
    "without the columns' decisions": ("decisions=false",),
    "without swapping": ("swap=false",),
    "modality dropout 0.1": ("modality_dropout=0.1",),
    "modality dropout 0.3": ("modality_dropout=0.3",),
    "soup of up to 5 epochs": ("soup=5",),
}
AVERAGED = "three seeds averaged"
THROUGH = {
    "as it is": (),
    "auxiliary heads off": ("auxiliary=0",),
    "gradients balanced, 0.5": ("balance=0.5",),
    "teachers, weight 1": ("anchor=1",),
    "columns aligned, 0.1": ("align=0.1",),
    "modality dropout 0.1": ("modality_dropout=0.1",),
    "soup of up to 5 epochs": ("soup=5",),
}


def fused(root: Path, settings: tuple[str, ...], options: Options, seed: int) -> dict[str, float]:
    """Val and test score, and seconds, of one fusion."""
    started = time.perf_counter()
    gathered = Settings.gather(assignments=[f"fuse.training.{own}" for own in settings], command="fuse")
    run(options, Context(root=root, console=Console(quiet=True), settings=gathered, seed=seed, force=True))
    seconds = time.perf_counter() - started
    dataset = Dataset.open(root)
    artifact = store.read(root, layout.fusion("gated"), "fusion", "")
    outputs = tensors.load(artifact.file(OUTPUTS))["outputs"]
    task, found = dataset.task, {"seconds": round(seconds, 1)}
    for split in ("val", "test"):
        index = dataset.splits[split]
        found[split] = task.score(outputs[index], dataset.targets[index])[task.primary_metric]
    return found


def measure(table: Table, data: Path, root: Path, seeds: int, through: bool) -> dict[str, Any]:
    """All scores, by option and seed."""
    if not (root / "encoders").exists():
        for words in (("preprocess", str(data), *table.options), ("train-encoder",)):
            command = [sys.executable, "-m", "mmcli", *words, "--artifacts", str(root), "--quiet"]
            subprocess.run(command, check=True)
    single = Options(seeds=1, board=False)
    wanted = [("embeddings", name, own, single) for name, own in ON_EMBEDDINGS.items()]
    wanted.append(("embeddings", AVERAGED, (), replace(single, seeds=3)))
    if through:
        joint = replace(single, train_encoders=True, best_only=True)
        wanted.append(("through", "on the embeddings alone", (), replace(single, best_only=True)))
        wanted += [("through", name, own, joint) for name, own in THROUGH.items()]
    found: dict[str, Any] = {"embeddings": {}, "through": {}}
    for how, name, settings, options in wanted:
        scores = [fused(root, settings, options, 10 * seed) for seed in range(seeds)]
        found[how][name] = {key: [own[key] for own in scores] for key in ("val", "test", "seconds")}
        print(table.name, how, name, json.dumps(found[how][name]), file=sys.stderr)
    task = Dataset.open(root).task
    return {"metric": task.primary_metric, "higher_is_better": task.primary_higher_is_better, **found}


def main() -> None:
    """Measures the tables and writes what was found."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="", help="names of tables, with commas")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts-options"))
    parser.add_argument("--through", action="store_true", help="encoders trained with the fusion as well")
    arguments = parser.parse_args()
    path = DOCS / "options.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for table, data in wanted(arguments.data, arguments.only):
        root = arguments.artifacts / table.name.replace(" ", "_")
        found[table.name] = measure(table, data, root, arguments.seeds, arguments.through)
        path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
