"""Given split in which one class has no test row, and one only 2 val rows; 90:8:2 imbalance; a column that is the target
(leak); 10 exact duplicates across train and test.
EXPECT: metrics equal sklearn's; macro F1 over which classes is said; AUROC not nan or said; leak and duplicates are
warned of.
RUN: mmcli run data.csv --target label --no-optimize -a art ; compare art/evaluation
"""

import csv
import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
with (out / "data.csv").open("w", encoding="utf-8", newline="") as f:
    w = csv.writer(f)
    w.writerow(["id", "text", "x", "leak", "split", "label"])
    rows = []
    for i in range(300):
        s = "train" if i < 200 else "val" if i < 250 else "test"
        label = "rare" if i % 50 == 7 and s != "test" else "mid" if i % 11 == 3 else "main"
        noise = "main" if i % 13 == 0 else label
        x = {"main": 0, "mid": 1, "rare": 2}[label] + i * 0.377 % 3
        rows.append([f"text of {noise} {i * 7919 % 101}", f"{x:.2f}", f"code_{label}", s, label])
        again = rows[i - 250] if 250 <= i < 260 and rows[i - 250][4] != "rare" else rows[i]
        w.writerow([i, *again[:3], s, again[4]])
