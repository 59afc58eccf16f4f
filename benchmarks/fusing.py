"""Seconds of one more fusion, once the encoders are there: the figures of docs/performance.md.

    python benchmarks/fusing.py DATA [--artifacts DIR] [--json] [--check]

On the emoji table with two inputs (preprocess and train-encoder are passed over where the artifacts are there): every method by
itself, one seed, the best encoder of each input, as a user calls it, start-up included; then all of them in one call. Bars:
each under 5 s, all under 2 minutes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from _table import Row, finish, options
from fusions import TABLES

from mmcli import registry

BAR_EACH_S, BAR_ALL_S = 5.0, 120.0


def run(root: Path, *words: str) -> float:
    """Seconds of a command."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "mmcli", *words, "--artifacts", str(root), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Each method, then all."""
    parser = options(str(__doc__))
    parser.add_argument("data", type=Path)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts-fusing"))
    arguments = parser.parse_args()
    table, root = TABLES[0], arguments.artifacts
    if not (root / "encoders").exists():
        run(root, "preprocess", str(arguments.data / table.file), *table.options)
        run(root, "train-encoder")
    how = ("--seeds", "1", "--best-only", "--force")
    run(root, "fuse", "--method", "gated", *how)  # the baselines are there from now on
    rows = []
    for method in registry.parts("fusions"):
        if "NEEDS_FOLDS" in registry.resolve("fusions", method).literals:
            continue  # its encoders are trained another way
        seconds = run(root, "fuse", "--method", method, "--no-board", *how)
        rows.append(Row(method, seconds, "bar", BAR_EACH_S / seconds, None, "under 5 s", seconds < BAR_EACH_S))
        print(f"{method}: {seconds:.1f} s", file=sys.stderr)
    for path in (root / "fusions").iterdir():  # or they would be up to date
        for file in path.glob("artifact.json"):
            file.unlink()
    seconds = run(root, "fuse", "--method", "all", "--seeds", "1", "--best-only")
    rows.append(Row("all", seconds, "bar", BAR_ALL_S / seconds, None, "under 120 s", seconds < BAR_ALL_S))
    print(f"all: {seconds:.1f} s", file=sys.stderr)
    finish(rows, arguments)


if __name__ == "__main__":
    main()
