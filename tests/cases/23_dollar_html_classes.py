"""Class names with dollar signs ($0-$50, $x_$, $$$), HTML, pipes, quotes, emoji; a text with <script>.
EXPECT: run goes through; plots and report show the names as they are; nothing of it is markup in report.html.
RUN: mmcli run data.csv --target price --no-optimize -a art
"""

import csv
import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
names = ["$0_$10^", "$$", "<b>x</b>|y", '🙂 "q" \\frac$']
with (out / "data.csv").open("w", encoding="utf-8", newline="") as f:
    w = csv.writer(f)
    w.writerow(["text", "$x_$ <i>", "price"])
    for i in range(160):
        w.writerow([f"item {'abcd'[i % 4]} <script>alert({i})</script> $x_$ {i}", f"{i % 4 + i * 0.01:.2f}", names[i % 4]])
