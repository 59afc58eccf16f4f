"""All scripts of this folder, each as often as is said: 0 leaves one out.

python -m tests.faults --kills 200 --orphans 200 --writes 999 --flips 1000 --edits 100 --artifacts 400 --cells 999 --predicts 8
"""

from __future__ import annotations

import argparse
import subprocess
import sys

SCRIPTS = {
    "kills": "kills",
    "orphans": "orphans",
    "writes": "disk",
    "flips": "flips",
    "edits": "edits",
    "artifacts": "hostile",
    "cells": "cells",
    "predicts": "predicts",
}
"""Option -> the script that it counts for."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SCRIPTS:
        parser.add_argument(f"--{name}", type=int, default=0, metavar="N")
    asked = vars(parser.parse_args())
    commands = [[sys.executable, "-m", f"tests.faults.{SCRIPTS[own]}", "--count", str(n)] for own, n in asked.items() if n]
    return sum(subprocess.run(command, check=False).returncode != 0 for command in commands)


if __name__ == "__main__":
    sys.exit(bool(main()))
