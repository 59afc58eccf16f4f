"""A semicolon-separated CSV whose third row holds a text of 200,000 characters.
EXPECT: delimiter ';' is detected as it is without the long row.
RUN: mmcli inspect data.csv
"""

import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
with (out / "data.csv").open("w", encoding="utf-8") as f:
    f.write("text;x;label\n")
    for i in range(40):
        f.write(f"{'word ' * (40000 if i == 2 else 5)}{i};{i * 0.7 % 3:.2f};{'ab'[i % 2]}\n")
