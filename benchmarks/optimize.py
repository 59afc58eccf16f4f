"""What optimize gains on real tables: the figures of docs/performance.md.

    python benchmarks/optimize.py DATA [--only "crawl hd,..."] [--seeds 0,1,2] [--time-budget 150s] [--artifacts DIR] [--json]

For each table: preprocess and train-encoder (`auto`; passed over where the artifacts are there), then for each seed fuse
(`gated`), optimize --goal accuracy and evaluate, and the picks of --goal balanced and --goal latency from the same models.
Prints test scores of the fused and of the picked models, the latency of one row, and the largest difference of the ONNX export.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from fusions import Table, wanted

GOALS = ("accuracy", "balanced", "latency")


def mmcli(*words: str) -> Any:
    """Runs a command; gives what it prints as JSON."""
    command = [sys.executable, "-m", "mmcli", *words, "--quiet", "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def measure(table: Table, data: Path, root: Path, seeds: list[int], budget: str) -> dict[str, Any]:
    """Each seed's test scores, latencies and sizes."""
    place = ("--artifacts", str(root))
    if not (root / "encoders").exists():
        mmcli("preprocess", str(data), *table.options, *place)
        mmcli("train-encoder", *place)
    rows = []
    for seed in seeds:
        again = ("--seed", str(seed), *place)
        mmcli("fuse", "--method", "gated", *again)
        row: dict[str, Any] = {}
        for goal in GOALS:
            found = mmcli("optimize", "--goal", goal, "--time-budget", budget, *again)
            told = mmcli("evaluate", "--quick", *again)
            metric = told["primary_metric"]
            row["fused"] = {"test": told["test"]["fused"][metric]["value"], "ms": found["before"]["p50_ms_1"]}
            row[goal] = {
                "picked": found["picked"],
                "test": told["test"]["optimized"][metric]["value"],
                "ms": found["after"]["p50_ms_1"],
                "mb": found["after"]["size_mb"],
            }
        with tempfile.TemporaryDirectory() as folder:
            row["onnx"] = mmcli("export", "--to", folder, *place)["largest_difference"]
        rows.append(row)
        print(table.name, seed, json.dumps(row), file=sys.stderr)
    return {"metric": metric, "rows": rows}


def main() -> None:
    """Measures the tables and prints what was found."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="", help="names of tables, with commas")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of fuse and optimize, with commas")
    parser.add_argument("--time-budget", default="150s")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts-optimize"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    found = {}
    for table, data in wanted(arguments.data, arguments.only):
        root = arguments.artifacts / table.name.replace(" ", "_")
        found[table.name] = measure(table, data, root, seeds, arguments.time_budget)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    print(
        f"{'table':<16}{'fused':>8}"
        + "".join(f"{goal:>10}" for goal in GOALS)
        + f"{'ms fused':>10}{'ms latency':>11}{'ratio':>7}"
    )
    for name, own in found.items():
        rows = own["rows"]
        scores = [mean(row["fused"]["test"] for row in rows), *(mean(row[goal]["test"] for row in rows) for goal in GOALS)]
        times = mean(row["fused"]["ms"] for row in rows), mean(row["latency"]["ms"] for row in rows)
        cells = f"{scores[0]:>8.3f}" + "".join(f"{score:>10.3f}" for score in scores[1:])
        print(f"{name:<16}{cells}{times[0]:>10.2f}{times[1]:>11.2f}{times[0] / times[1]:>7.1f}  {own['metric']}")


if __name__ == "__main__":
    main()
