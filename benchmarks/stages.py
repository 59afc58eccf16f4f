"""Time and peak memory of each stage of a chain.

    python benchmarks/stages.py TABLE [mmcli preprocess options] [--json] [--check]

Beside them, in the same run, one more fusion on the embeddings that are there, and a stage that has nothing left to do.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from _table import Row, finish, measured, options

MMCLI = str(Path(sys.executable).with_name("mmcli"))


def main() -> None:
    """Each stage once, as its own process."""
    parser = options(str(__doc__))
    parser.add_argument("table")
    arguments, told = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as root:
        stages = {
            "preprocess": [arguments.table, *told],
            "train-encoder": [],
            "fuse": ["--method", "gated"],
            "optimize": [],
            "evaluate": [],
        }
        rows, total = [], 0.0
        for stage, extra in stages.items():
            seconds, peak, status = measured([MMCLI, stage, *extra, "--quiet"], MMCLI_ARTIFACTS=root)
            if status:
                sys.exit(f"mmcli {stage} {' '.join(extra)} ended with status {status}")
            total += seconds
            rows.append(Row(stage, seconds, peak_mb=peak))
        rows.append(Row("all five", total))
        seconds, peak, _ = measured([MMCLI, "fuse", "--method", "concat", "--quiet"], MMCLI_ARTIFACTS=root)
        rows.append(Row("one more fusion", seconds, "all five", seconds / total, peak, "under 0.25", seconds < 0.25 * total))
        seconds, peak, _ = measured([MMCLI, "preprocess", arguments.table, *told, "--quiet"], MMCLI_ARTIFACTS=root)
        rows.append(Row("preprocess again, nothing changed", seconds, "preprocess", seconds / rows[0].seconds, peak))
    finish(rows, arguments)


if __name__ == "__main__":
    main()
