"""A table with Ludwig's convention: split = 0 (train), 1 (validation), 2 (test).
EXPECT: taken as the split, or a warning/error that column `split` does not name splits; never used as an input.
RUN: mmcli inspect data.csv --target label
"""

import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
with (out / "data.csv").open("w", encoding="utf-8") as f:
    f.write("x,split,label\n")
    for i in range(60):
        f.write(f"{i * 0.7 % 3:.2f},{0 if i < 40 else 1 if i < 50 else 2},{'ab'[i % 2]}\n")
