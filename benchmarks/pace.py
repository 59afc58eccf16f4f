"""Score against seconds of `run` as it is and as it was: the table of docs/encoders.md.

    python benchmarks/pace.py DATA --before FOLDER [--only "emoji,..."] [--seeds 3] [--artifacts DIR]

DATA holds the tables; FOLDER is a checkout of an earlier commit. For each table and seed: `run` at its defaults, of both, one
after the other, on one thread; seconds are of the processor (user and system, of all processes), so that other work on the
machine tells little. Scores are on test, of the fused model and of each column's chosen encoder. Adds to docs/pace.json what is
not there yet; then run python docs/generate.py.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "pace.json"
TABLES = {
    "emoji, image and tags_zh": ("emoji/data.csv", "--target", "group", "--input", "image", "--input", "tags_zh"),
    "emoji, image and name_en": ("emoji/data.csv", "--target", "group", "--input", "image", "--input", "name_en"),
    "monsters, holiness": ("crawl_monsters/data.csv", "--target", "holiness", "--ignore", "flags"),
    "monsters, hd": ("crawl_monsters/data.csv", "--target", "hd", *(f"--ignore={name}" for name in ("hp", "flags", "name"))),
    "spoken digits": ("spoken_digits/data.csv", "--target", "label", "--ignore", "speaker"),
}


def seconds() -> float:
    """Those that the processor spent on commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(code: Path, words: tuple[str, ...], root: Path, seed: int) -> dict[str, Any]:
    """What one `run` of a checkout takes and reaches."""
    shutil.rmtree(root, ignore_errors=True)
    env = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1", "MMCLI_THREADS": "1"}
    start = seconds()
    command = [sys.executable, "-m", "mmcli", "run", *words, "--seed", str(seed), "--artifacts", str(root), "--quiet"]
    subprocess.run(command, check=True, env=env, cwd=code)
    spent = seconds() - start
    found = json.loads((root / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    metric, test = found["primary_metric"], found["test"]
    scores = {name: own[metric] for name, own in test["columns"].items()}
    encoders = {}
    for path in sorted((root / "encoders").glob("*/*/artifact.json")):
        own = json.loads(path.read_text(encoding="utf-8"))["metrics"]
        encoders[path.parent.relative_to(root / "encoders").as_posix()] = own["seconds"]
    best = test.get("optimized") or test["fused"]
    return {"metric": metric, "seconds": spent, "test": best[metric], "columns": scores, "training": encoders}


def main() -> None:
    """Measures the tables and adds what was found to the page's figures."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("data", type=Path)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--only", default="", help="names of tables, with semicolons")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts-pace"))
    arguments = parser.parse_args()
    only = set(filter(None, arguments.only.split(";")))
    for seed in range(arguments.seeds):
        for name, (file, *words) in TABLES.items():
            if only and name not in only:
                continue
            table = (str((arguments.data / file).resolve()), *words)
            for when, code in (("after", ROOT), ("before", arguments.before.resolve())):
                page = json.loads(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
                known = page.setdefault(name, {}).setdefault(when, {})
                if str(seed) in known:
                    continue
                own = known[str(seed)] = measure(code, table, arguments.artifacts.resolve() / when, seed)
                PAGE.write_text(json.dumps(page, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
                print(name, seed, when, own, file=sys.stderr)


if __name__ == "__main__":
    main()
