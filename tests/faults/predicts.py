"""Eight predictions at once: to eight files all are right; to one file it is whole, and those that came too late say so.

python -m tests.faults.predicts [--count N] [--root CHAIN]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.faults.forked import child, say, warm_up
from tests.faults.tiny import FAST, make_chain

BUSY = 5


def together(commands: list[list[str]]) -> list[tuple[int, str]]:
    """The exit codes and words of commands that run at the same time."""
    ends = []
    for command in commands:
        ours, theirs = os.pipe()
        if not (process := os.fork()):
            code, output = child(command, lambda: None)
            os.write(theirs, output[-2000:].encode())
            os._exit(code)
        os.close(theirs)
        ends.append((process, ours))
    found = []
    for process, ours in ends:
        with os.fdopen(ours, encoding="utf-8", errors="replace") as pipe:
            said = pipe.read()
        found.append((os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said))
    return found


def run(chain: Path, folder: Path, count: int) -> list[str]:
    """What is wrong with so many predictions at once, to as many files and to one."""
    warm_up(("predict",))

    def command(name: str) -> list[str]:
        return ["predict", str(chain.parent / "data.csv"), "-o", str(folder / name), "-a", str(chain), *FAST]

    ((code, said),) = together([command("alone.csv")])
    wanted = (folder / "alone.csv").read_bytes() if code == 0 else b""
    wrong = [] if code == 0 else [f"one alone ended with {code}: {said}"]
    for number, (code, said) in enumerate(together([command(f"{number}.csv") for number in range(count)])):
        if code or (folder / f"{number}.csv").read_bytes() != wanted:
            wrong.append(f"to a file of its own it ended with {code}: {said}")
    ends = together([command("same.csv")] * count)
    wrong += [f"to the same file one ended with {code}: {said}" for code, said in ends if code not in {0, BUSY}]
    if (0 not in {code for code, _ in ends}) or (folder / "same.csv").read_bytes() != wanted:
        wrong.append("the file that all wrote is not right")
    left = [path.name for path in folder.iterdir() if "partial" in path.name]
    return wrong + [f"it leaves {name}" for name in left]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        chain = asked.root or make_chain(folder)
        (folder / "out").mkdir()
        wrong = run(chain, folder / "out", asked.count)
    for line in wrong:
        say(line)
    say(f"{asked.count} predictions at once, twice: {len(wrong)} wrong")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main()))
