"""A little of each script in one process, for the suite: `python -m tests.faults.fast CHAIN`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.faults import disk, flips, kills
from tests.faults.forked import say


def main() -> None:
    """Says as JSON how much was done of each, and what is wrong."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        found = {"flips": flips.fast(Path(sys.argv[1]))}
        for name, script, count in (("kills", kills, 3), ("disk", disk, 4)):
            (folder / name).mkdir()
            names = ["preprocess", "fuse"] if name == "kills" else ["preprocess"]
            found[name] = script.run(folder / name, count, names, chain=Path(sys.argv[1]))
    say(json.dumps(found))


if __name__ == "__main__":
    main()
