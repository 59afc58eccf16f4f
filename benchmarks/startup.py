"""How soon the command line answers, beside `import torch` in the same run: python benchmarks/startup.py [--json] [--check]"""

from __future__ import annotations

import sys
from pathlib import Path

from _table import Row, finish, measured, options

REPEATS = 9
MMCLI = str(Path(sys.executable).with_name("mmcli"))
COMMANDS = {
    "mmcli --help": ([MMCLI, "--help"], 0.2),
    "mmcli fuse --help": ([MMCLI, "fuse", "--help"], 0.2),
    "mmcli fuse --methode x (usage error)": ([MMCLI, "fuse", "--methode", "x"], 0.2),
    "mmcli fuse --method gatd (unknown method)": ([MMCLI, "fuse", "--method", "gatd"], 0.2),
    "mmcli list": ([MMCLI, "list"], 0.2),
}


def main() -> None:
    """Medians of repeated calls, the first thrown away."""
    arguments = options(str(__doc__)).parse_args()
    measured([sys.executable, "-c", "import torch"])
    torch, peak, _ = measured([sys.executable, "-c", "import torch"], 3)
    rows = [Row("import torch", torch, peak_mb=peak)]
    for what, (command, bar) in COMMANDS.items():
        measured(command)
        seconds, peak, _ = measured(command, REPEATS)
        rows.append(Row(what, seconds, "import torch", seconds / torch, peak, f"under {bar} s", seconds < bar))
    finish(rows, arguments)


if __name__ == "__main__":
    main()
