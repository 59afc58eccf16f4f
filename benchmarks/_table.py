"""What the benchmarks share: measuring a command, printing the table, --json and --check."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass
class Row:
    """One measurement; `bar` is the most (or, of a ratio, the least) that is allowed."""

    what: str
    seconds: float
    reference: str = ""
    ratio: float | None = None
    peak_mb: float | None = None
    bar: str = ""
    passed: bool = True


def measured(command: Sequence[str], repeats: int = 1, **environment: str) -> tuple[float, float, int]:
    """Median seconds, peak resident MB and exit status of a command, its output thrown away."""
    times, peak, status = [], 0.0, 0
    for _ in range(repeats):
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
        )
        _, code, usage = os.wait4(process.pid, 0)
        times.append(time.perf_counter() - started)
        peak, status = max(peak, usage.ru_maxrss / 1024), os.waitstatus_to_exitcode(code)
    return statistics.median(times), peak, status


def options(about: str) -> argparse.ArgumentParser:
    """--json and --check."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="end with status 1 where a bar is missed")
    return parser


def finish(rows: Sequence[Row], arguments: argparse.Namespace) -> None:
    """Prints the rows and ends the process."""
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        header = ["what", "seconds", "peak MB", "ratio", "of", "bar", ""]
        lines = [
            [
                row.what,
                f"{row.seconds:.3f}",
                f"{row.peak_mb:.0f}" if row.peak_mb else "",
                f"{row.ratio:.2f}" if row.ratio is not None else "",
                row.reference,
                row.bar,
                "" if row.passed else "missed",
            ]
            for row in rows
        ]
        widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
        for line in [header, *lines]:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    sys.exit(1 if arguments.check and not all(row.passed for row in rows) else 0)
