"""Semicolon CSV from a European locale: 1.234,56 ; 0,125 (decimal comma).
EXPECT: `price` and `ratio` are numbers with the right value (0,125 = 0.125), or at least a warning; never silently 125,
or text.
RUN: mmcli inspect data.csv --target ratio ; mmcli preprocess
"""

import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
with (out / "data.csv").open("w", encoding="utf-8") as f:
    f.write("price;ratio;x\n")
    for i in range(80):
        p = f"{1000 + i * 37.41:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".")
        ratio = f"{(100 + i * 11) / 1000:.3f}".replace(".", ",")
        f.write(f"{p};{ratio};{i % 7}\n")
